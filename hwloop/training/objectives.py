"""Local objectives: what a stage's own outputs should become; no gradient comes from any other stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.errors import ConfigError
from hwloop.layers import Stage


class StageObjective(nn.Module):
    """The objective of one stage, with the parameters and fixed targets that belong to it alone."""

    @abstractmethod
    def loss(self, stage: Stage, z: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of the outputs z, shape (samples * rows_a_sample, width), labels (samples,)."""


class LocalObjective(ABC):
    """Makes the objective of each stage."""

    @abstractmethod
    def for_stage(self, stage: Stage, n_classes: int, rng: torch.Generator) -> StageObjective:
        """A stage's objective with freshly drawn parameters."""


class Head(StageObjective):
    """A linear classifier on the stage's activation, trained with it."""

    def __init__(self, width: int, n_classes: int, label_smoothing: float, rng: torch.Generator) -> None:
        super().__init__()
        # From "meta", because drawing the values that are replaced below would move torch's global generator.
        self.linear = nn.Linear(width, n_classes, device="meta").to_empty(device="cpu")
        self.label_smoothing = label_smoothing
        with torch.no_grad():
            self.linear.weight.normal_(0.0, width**-0.5, generator=rng)
            self.linear.bias.zero_()

    def loss(self, stage: Stage, z: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the head's prediction."""
        logits = self.linear(stage.activate(z))
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


class LocalHeads(LocalObjective):
    """Cross-entropy of a linear head a stage.

    Mono-Forward (Gong et al., 2025) and deeply supervised nets (Lee et al., AISTATS 2015).
    """

    def __init__(self, label_smoothing: float = 0.1) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ConfigError(f"label_smoothing must lie within [0, 1], not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def for_stage(self, stage: Stage, n_classes: int, rng: torch.Generator) -> Head:
        """A head with random weights."""
        return Head(stage.width, n_classes, self.label_smoothing, rng)


class Goodness(StageObjective):
    """The cosine between |z| and a fixed random unit vector, high for true labels and low for wrong ones.

    Momeni et al., Science 382, 1297 (2023): loss = softplus(-theta (g_positive - g_negative)).
    """

    target: Tensor

    def __init__(self, target: Tensor, theta: float) -> None:
        super().__init__()
        self.theta = theta
        self.register_buffer("target", functional.normalize(target, dim=0))

    def goodness(self, stage: Stage, z: Tensor) -> Tensor:
        """G of each row, shape (rows,), in [-1, 1]."""
        return functional.cosine_similarity(stage.activate(z).abs(), self.target[None, :], dim=1)

    def loss(self, stage: Stage, z: Tensor, labels: Tensor) -> Tensor:
        """Mean contrast of the true label's goodness with each wrong label's."""
        goodness = self.goodness(stage, z).reshape(len(labels), -1)
        return functional.softplus(-self.theta * (goodness[:, :1] - goodness[:, 1:])).mean()


def signed_target(width: int, rng: torch.Generator) -> Tensor:
    """A Gaussian direction, as published; |z| can align with it up to a cosine of about 0.71 only."""
    return torch.randn(width, generator=rng)


def nonnegative_target(width: int, rng: torch.Generator) -> Tensor:
    """The magnitude of a Gaussian direction, which |z| can align with fully."""
    return torch.randn(width, generator=rng).abs()


TARGETS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "signed": signed_target,
    "nonnegative": nonnegative_target,
}


class GoodnessContrast(LocalObjective):
    """A goodness a stage, with a random target vector of its own."""

    def __init__(self, theta: float, draw_target: Callable[[int, torch.Generator], Tensor]) -> None:
        if not 0 < theta < float("inf"):
            raise ConfigError(f"theta must be positive and finite, not {theta}")
        self.theta = theta
        self.draw_target = draw_target

    def for_stage(self, stage: Stage, n_classes: int, rng: torch.Generator) -> Goodness:
        """A goodness with a freshly drawn target."""
        return Goodness(self.draw_target(stage.width, rng), self.theta)
