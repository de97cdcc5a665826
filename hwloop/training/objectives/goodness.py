"""Goodness of a row, and contrasts between the goodness of true and of wrong rows (forward-forward learning)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.layers import Stage
from hwloop.layers.of_kind import OfKind
from hwloop.layers.rowwise import rowwise
from hwloop.tasks import LearningTask
from hwloop.training.objectives import LocalObjective, StageObjective
from hwloop.training.options import FINITE, POSITIVE, WithOptions, option

# -- what is good ----------------------------------------------------------------------------------------


class GoodnessMeasure(OfKind, nn.Module):
    """The goodness of a stage's outputs."""

    @abstractmethod
    def forward(self, stage: Stage, z: Tensor) -> Tensor:
        """Goodness of each row of z, shape (rows,)."""

    @classmethod
    @abstractmethod
    def of_width(cls, width: int) -> Self:
        """A measure of outputs of this width, for its tensors to be loaded into."""

    @property
    @abstractmethod
    def multiply_adds(self) -> int:
        """Digital multiply-adds of a row's goodness."""


class CosineToTarget(GoodnessMeasure):
    """The cosine between |z| and a fixed vector, in [-1, 1] (Momeni et al., Science 382, 1297, 2023)."""

    kind = "cosine"
    target: Tensor

    def __init__(self, target: Tensor) -> None:
        super().__init__()
        self.register_buffer("target", functional.normalize(target, dim=0))

    def forward(self, stage: Stage, z: Tensor) -> Tensor:
        return functional.cosine_similarity(stage.activate(z).abs(), self.target[None, :], dim=1)

    @classmethod
    def of_width(cls, width: int) -> Self:
        return cls(torch.ones(width, dtype=torch.float32))

    @property
    def multiply_adds(self) -> int:
        """A norm and a product with the target."""
        return 2 * self.target.numel()


class SquaredActivity(GoodnessMeasure):
    """The mean square of the stage's activation (Hinton, "The forward-forward algorithm", 2022)."""

    kind = "squared-activity"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, stage: Stage, z: Tensor) -> Tensor:
        return stage.activate(z).square().mean(dim=1)

    @classmethod
    def of_width(cls, width: int) -> Self:
        return cls(width)

    @property
    def multiply_adds(self) -> int:
        return self.width


NewMeasure = Callable[[int, torch.Generator], GoodnessMeasure]


def signed_target(width: int, rng: torch.Generator) -> CosineToTarget:
    """A Gaussian direction, as published; |z| can align with it up to a cosine of about 0.71 only."""
    return CosineToTarget(torch.randn(width, generator=rng, dtype=torch.float32))


def nonnegative_target(width: int, rng: torch.Generator) -> CosineToTarget:
    """The magnitude of a Gaussian direction, which |z| can align with fully."""
    return CosineToTarget(torch.randn(width, generator=rng, dtype=torch.float32).abs())


def squared_activity(width: int, rng: torch.Generator) -> SquaredActivity:
    """Nothing to draw."""
    return SquaredActivity(width)


TARGETS: dict[str, NewMeasure] = {"signed": signed_target, "nonnegative": nonnegative_target}
MEASURES: dict[str, NewMeasure] = {"squared": squared_activity, "cosine": nonnegative_target}

# -- contrasts: log-odds (samples, rows_a_sample), the positive row first, to a mean loss ------------------

Contrast = Callable[[Tensor], Tensor]


def pairwise(log_odds: Tensor) -> Tensor:
    """softplus(-(positive - negative)) over all negatives (SymBa, PhyLL)."""
    return functional.softplus(log_odds[:, 1:] - log_odds[:, :1]).mean()


def among_all(log_odds: Tensor) -> Tensor:
    """Cross-entropy: the positive row is to win against all negative ones together."""
    return functional.cross_entropy(log_odds, torch.zeros(len(log_odds), dtype=torch.int64))


def each_by_itself(log_odds: Tensor) -> Tensor:
    """softplus(-positive) + softplus(negative): every row is told real from wrong by itself (Hinton)."""
    return functional.softplus(-log_odds[:, :1]).mean() + functional.softplus(log_odds[:, 1:]).mean()


# -- objectives ------------------------------------------------------------------------------------------


class Goodness(StageObjective):
    """High goodness for positive rows, low for negative ones; log-odds are slope times (goodness - threshold)."""

    def __init__(
        self, measure: GoodnessMeasure, slope: float, contrast: Contrast = pairwise, threshold: float = 0.0
    ) -> None:
        super().__init__()
        self.measure = measure
        self.slope = slope
        self.contrast = contrast
        self.threshold = threshold

    def loss(self, stage: Stage, z: Tensor, labels: Tensor, before: Tensor | None = None) -> Tensor:
        """The contrast of a sample's rows, which stand side by side, the positive one first."""
        log_odds = self.slope * (self.measure(stage, z) - self.threshold)
        if before is not None:
            log_odds = log_odds + before[:, 0]
        return self.contrast(log_odds.reshape(len(labels), -1))

    def scores(self, stage: Stage, z: Tensor) -> Tensor:
        """Log-odds that the label on a row is its own, shape (rows, 1)."""
        return rowwise(lambda rows: self.slope * (self.measure(stage, rows) - self.threshold)[:, None], z)

    def settings(self) -> dict[str, Any]:
        """Kind of measure, slope and threshold."""
        return {"kind": self.measure.kind, "slope": self.slope, "threshold": self.threshold}

    @classmethod
    def from_settings(cls, width: int, settings: Mapping[str, Any]) -> Self:
        """The goodness of a stage of this width from :meth:`settings`, for its tensors to be loaded into."""
        measure = GoodnessMeasure.of_kind(settings["kind"]).of_width(width)
        return cls(measure, float(settings["slope"]), threshold=float(settings["threshold"]))


class GoodnessContrast(LocalObjective):
    """A goodness a stage, with what it draws at random of its own."""

    resumable = True
    needs_classes = ""  # the plan says which rows are right and which are wrong

    def __init__(
        self, new_measure: NewMeasure, slope: float, contrast: Contrast = pairwise, threshold: float = 0.0
    ) -> None:
        POSITIVE.check("the slope of a goodness", slope)
        FINITE.check("the threshold of a goodness", threshold)
        self.new_measure = new_measure
        self.slope = slope
        self.contrast = contrast
        self.threshold = threshold

    def for_stage(self, stage: Stage, task: LearningTask, rng: torch.Generator) -> Goodness:
        """A goodness with a freshly drawn measure."""
        return Goodness(self.new_measure(stage.width, rng), self.slope, self.contrast, self.threshold)


@dataclass(frozen=True)
class Threshold(WithOptions):
    """Squared activity that is to stand above a threshold in good rows and below it in bad ones (Hinton 2022).

    Attributes
    ----------
    theta
        The threshold of the mean square activation.
    slope
        Log-odds a unit of goodness.
    """

    theta: float = option(1.0, FINITE)
    slope: float = option(4.0, POSITIVE)

    def contrast(self) -> GoodnessContrast:
        """Every row told good or bad by itself."""
        return GoodnessContrast(squared_activity, self.slope, each_by_itself, self.theta)
