"""What a map does with an estimated gradient: Adam, momentum, or its sign alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import nn

from hwloop.errors import ConfigError
from hwloop.training.flight import MapGradient
from hwloop.training.optimiser import AdamSettings, one_cycle_adamw

MOMENTUM = 0.9
RISE = 0.1  # share of the steps in which the learning rate rises


class Updater(ABC):
    """Updates one map.

    Attributes
    ----------
    optimiser, rate
        All that it remembers from step to step, for checkpoints; a fit whose updater has no ``rate`` is executed
        again from its start.
    """

    optimiser: torch.optim.Optimizer
    rate: torch.optim.lr_scheduler.LRScheduler | None = None

    @abstractmethod
    def step(self, gradient: MapGradient) -> None:
        """One update."""


class Update(ABC):
    """Makes the updater of every map.

    Parameters
    ----------
    lr
        Peak learning rate of the one-cycle schedule (Smith & Topin 2018).
    """

    def __init__(self, lr: float) -> None:
        if not 0 < lr < math.inf:
            raise ConfigError(f"lr must be positive and finite, not {lr!r}")
        self.lr = lr

    @abstractmethod
    def start(self, linear: nn.Linear, steps: int) -> Updater:
        """An updater for a map that will take so many steps."""


class _ByOptimiser(Updater):
    """Hands the gradient to a torch optimiser."""

    def __init__(
        self,
        linear: nn.Linear,
        optimiser: torch.optim.Optimizer,
        rate: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        self._linear, self.optimiser, self._schedule = linear, optimiser, rate
        self.rate = rate

    def step(self, gradient: MapGradient) -> None:
        """The optimiser's step, then the schedule's."""
        self._linear.weight.grad, self._linear.bias.grad = self.direction(gradient)
        self.optimiser.step()
        self._schedule.step()

    def direction(self, gradient: MapGradient) -> tuple[torch.Tensor, torch.Tensor]:
        """What the optimiser descends along."""
        return gradient.weight, gradient.bias


class _BySign(_ByOptimiser):
    def direction(self, gradient: MapGradient) -> tuple[torch.Tensor, torch.Tensor]:
        return gradient.weight.sign(), gradient.bias.sign()


class Adam(Update):
    """AdamW; ``weight_decay`` is multiplied by the learning rate in each step."""

    def __init__(self, lr: float, weight_decay: float = 1.0) -> None:
        super().__init__(lr)
        self._settings = AdamSettings(lr=lr, weight_decay=weight_decay)

    def start(self, linear: nn.Linear, steps: int) -> Updater:
        """AdamW on weight and bias."""
        return _ByOptimiser(linear, *one_cycle_adamw(list(linear.parameters()), self._settings, steps))


class GradientDescent(Update):
    """Plain steps with momentum 0.9."""

    def start(self, linear: nn.Linear, steps: int) -> Updater:
        """Stochastic gradient descent on weight and bias."""
        return _ByOptimiser(linear, *_one_cycle_sgd(linear, self.lr, MOMENTUM, steps))


class SignDescent(Update):
    """Steps of one size, along the sign of the gradient (signSGD, Bernstein et al., ICML 2018)."""

    def start(self, linear: nn.Linear, steps: int) -> Updater:
        """The sign of each entry, without momentum."""
        return _BySign(linear, *_one_cycle_sgd(linear, self.lr, 0.0, steps))


def _one_cycle_sgd(
    linear: nn.Linear, lr: float, momentum: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = torch.optim.SGD(linear.parameters(), lr=lr, momentum=momentum)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=lr, total_steps=max(11, steps), pct_start=RISE, cycle_momentum=False
    )
    return optimiser, rate


class FixedStep(Update):
    """Plain steps of one learning rate, without momentum: for a rule that has tried the step itself."""

    def start(self, linear: nn.Linear, steps: int) -> Updater:
        """Gradient descent whose learning rate never changes."""
        optimiser = torch.optim.SGD(linear.parameters(), lr=self.lr)
        return _ByOptimiser(linear, optimiser, torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0))
