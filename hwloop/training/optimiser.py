"""The digital update: AdamW on measured features, with the options that every gradient trainer shares."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class AdamSettings:
    """How a stage's digital map is trained.

    Attributes
    ----------
    epochs, min_steps
        Passes over the training rows, and the steps that even a small training set gets.
    batch_samples
        Training samples a step.
    lr
        Peak learning rate of the one-cycle schedule (Smith & Topin 2018).
    weight_decay
        Decoupled decay (Loshchilov & Hutter 2019), multiplied by the learning rate in each step.
    response_noise
        Standard deviation of the noise added to stored, standardised responses while training, in units of a
        channel's standard deviation. It stands for the device's noise and more, and costs no row.
    """

    epochs: int = 30
    min_steps: int = 300
    batch_samples: int = 128
    lr: float = 0.01
    weight_decay: float = 1.0
    response_noise: float = 0.4

    def __post_init__(self) -> None:
        check_settings(self, counts=("epochs", "min_steps", "batch_samples"), positive=("lr",))
        for name in ("weight_decay", "response_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")

    def steps(self, samples: int) -> int:
        """Steps of a whole training."""
        return max(self.min_steps, self.epochs * -(-samples // self.batch_samples))


def check_settings(settings: object, counts: tuple[str, ...], positive: tuple[str, ...]) -> None:
    """Refuse counts that are no whole numbers of at least 1, and rates that are not positive."""
    for name in counts:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    for name in positive:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be positive and finite, not {getattr(settings, name)!r}")


def one_cycle_adamw(
    parameters: list[nn.Parameter], settings: AdamSettings, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW whose learning rate rises over the first tenth and falls to zero at the last step."""
    optimiser = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=settings.lr,
        total_steps=max(11, steps),  # with ten, the rise would end at step 0: torch divides by zero
        pct_start=0.1,
    )
    return optimiser, schedule


def shuffled_batches(samples: int, batch: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of sample numbers; each pass over the samples is a new permutation."""
    batch = min(batch, samples)
    while True:
        order = torch.randperm(samples, generator=rng)
        for start in range(0, samples - batch + 1, batch):
            yield order[start : start + batch]


class ResponseNoise:
    """Gaussian noise drawn once and read from random offsets: fresh draws would take most of a step's time."""

    def __init__(self, std: float, values: int, rng: torch.Generator) -> None:
        self._pool = std * torch.randn(2 * values, generator=rng, dtype=torch.float32) if std > 0 else None
        self._rng = rng

    def added_to(self, features: Tensor) -> Tensor:
        """The features with noise, shape unchanged; at most as many values as announced."""
        if self._pool is None:
            return features
        count = features.numel()
        start = int(torch.randint(len(self._pool) - count + 1, (), generator=self._rng))
        return features + self._pool[start : start + count].view_as(features)
