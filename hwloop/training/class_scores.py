"""Objectives that score every class from one row: linear heads, competing groups of channels, prototypes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.errors import ConfigError
from hwloop.layers import Stage
from hwloop.layers.rowwise import exact_linear, exact_product, rowwise
from hwloop.training.objectives import LocalObjective, StageObjective


class ClassScores(StageObjective):
    """Cross-entropy of class scores that a stage computes from its own outputs.

    Attributes
    ----------
    kind
        Its name in a checkpoint.
    """

    kind: ClassVar[str]

    def __init__(self, n_classes: int, label_smoothing: float) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise ConfigError(f"label_smoothing must lie within [0, 1], not {label_smoothing}")
        self.n_classes = n_classes
        self.label_smoothing = label_smoothing

    @abstractmethod
    def logits(self, stage: Stage, z: Tensor) -> Tensor:
        """Log-odds of every class, shape (rows, classes), with gradient."""

    @abstractmethod
    def exact_logits(self, stage: Stage, z: Tensor) -> Tensor:
        """The same without gradient, each row by itself."""

    def loss(self, stage: Stage, z: Tensor, labels: Tensor, before: Tensor | None = None) -> Tensor:
        """Cross-entropy of the prediction, together with that of the stages before where there is one."""
        logits = self.logits(stage, z)
        if before is not None:
            logits = logits + before
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def scores(self, stage: Stage, z: Tensor) -> Tensor:
        """Log-probabilities of every class."""
        return rowwise(lambda logits: torch.log_softmax(logits, dim=1), self.exact_logits(stage, z))

    def settings(self) -> dict[str, Any]:
        """What a checkpoint needs beside the tensors."""
        return {"kind": self.kind}

    @property
    @abstractmethod
    def multiply_adds(self) -> int:
        """Digital multiply-adds of a row's scores."""


class Head(ClassScores):
    """A linear classifier on the stage's activation, trained with it."""

    kind = "linear"

    def __init__(self, width: int, n_classes: int, label_smoothing: float, rng: torch.Generator) -> None:
        super().__init__(n_classes, label_smoothing)
        # From "meta", because drawing the values that are replaced below would move torch's global generator.
        self.linear = nn.Linear(width, n_classes, device="meta", dtype=torch.float32).to_empty(device="cpu")
        with torch.no_grad():
            self.linear.weight.normal_(0.0, width**-0.5, generator=rng)
            self.linear.bias.zero_()

    def logits(self, stage: Stage, z: Tensor) -> Tensor:
        """A linear map of the activation."""
        logits: Tensor = self.linear(stage.activate(z))
        return logits

    def exact_logits(self, stage: Stage, z: Tensor) -> Tensor:
        """A linear map of the activation."""
        return exact_linear(self.linear, stage.activate(z))

    @property
    def multiply_adds(self) -> int:
        """One matrix."""
        return self.linear.weight.numel()


class LocalHeads(LocalObjective):
    """Cross-entropy of a linear head a stage.

    Mono-Forward (Gong et al., 2025) and deeply supervised nets (Lee et al., AISTATS 2015).
    """

    resumable = True

    def __init__(self, label_smoothing: float = 0.1) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ConfigError(f"label_smoothing must lie within [0, 1], not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def for_stage(self, stage: Stage, n_classes: int, rng: torch.Generator) -> Head:
        """A head with random weights."""
        return Head(stage.width, n_classes, self.label_smoothing, rng)


class ChannelGroups(ClassScores):
    """The channels of z belong to the classes in turn; a class scores the mean square activity of its group."""

    kind = "channel-groups"

    def __init__(self, width: int, n_classes: int, slope: float, label_smoothing: float) -> None:
        super().__init__(n_classes, label_smoothing)
        self.slope = slope
        members = torch.arange(width) % n_classes
        self.means = functional.one_hot(members, n_classes).to(torch.float32)
        self.means = self.means * (slope / self.means.sum(dim=0).clamp_min(1.0))

    def logits(self, stage: Stage, z: Tensor) -> Tensor:
        """Slope times the mean square of each group."""
        return stage.activate(z).square() @ self.means

    def exact_logits(self, stage: Stage, z: Tensor) -> Tensor:
        """Slope times the mean square of each group."""
        return exact_product(stage.activate(z).square(), self.means)

    def settings(self) -> dict[str, Any]:
        """The slope."""
        return {"kind": self.kind, "slope": self.slope}

    @property
    def multiply_adds(self) -> int:
        """A square and a sum a channel."""
        return 2 * len(self.means)


class ChannelCompetition(LocalObjective):
    """Groups of channels that compete, one a class (CwComp; Papachristodoulou et al., AAAI 2024)."""

    resumable = True

    def __init__(self, slope: float = 1.0, label_smoothing: float = 0.1) -> None:
        _require_slope(slope)
        self.slope = slope
        self.label_smoothing = label_smoothing

    def for_stage(self, stage: Stage, n_classes: int, rng: torch.Generator) -> ChannelGroups:
        """Groups of equal size, to within one channel."""
        return ChannelGroups(stage.width, n_classes, self.slope, self.label_smoothing)

    def check(self, stage: Stage, n_classes: int) -> None:
        """Every class needs a channel."""
        if stage.width < n_classes:
            raise ConfigError(
                f"a stage of width {stage.width} has no channel for each of {n_classes} classes to compete with; "
                f"give network.width of {n_classes} or more"
            )


class ClassPrototypes(ClassScores):
    """A class scores the cosine between the stage's activation and a fixed random vector of its own."""

    kind = "prototypes"
    vectors: Tensor

    def __init__(self, vectors: Tensor, slope: float, label_smoothing: float) -> None:
        super().__init__(len(vectors), label_smoothing)
        self.slope = slope
        self.register_buffer("vectors", functional.normalize(vectors, dim=1))

    def logits(self, stage: Stage, z: Tensor) -> Tensor:
        """Slope times the cosine with every class's vector."""
        return self.slope * functional.normalize(stage.activate(z), dim=1) @ self.vectors.T

    def exact_logits(self, stage: Stage, z: Tensor) -> Tensor:
        """Slope times the cosine with every class's vector."""
        unit = rowwise(lambda rows: functional.normalize(stage.activate(rows), dim=1), z)
        return self.slope * exact_product(unit, self.vectors.T)

    def settings(self) -> dict[str, Any]:
        """The slope."""
        return {"kind": self.kind, "slope": self.slope}

    @property
    def multiply_adds(self) -> int:
        """A norm, and a product with each vector."""
        return self.vectors.shape[1] + self.vectors.numel()


class Prototypes(LocalObjective):
    """Fixed orthonormal class vectors a stage, random ones where there are more classes than channels."""

    resumable = True

    def __init__(self, slope: float = 8.0, label_smoothing: float = 0.1) -> None:
        _require_slope(slope)
        self.slope = slope
        self.label_smoothing = label_smoothing

    def for_stage(self, stage: Stage, n_classes: int, rng: torch.Generator) -> ClassPrototypes:
        """Vectors of its own for every stage."""
        vectors = torch.randn(n_classes, stage.width, generator=rng, dtype=torch.float32)
        if n_classes <= stage.width:
            vectors = torch.linalg.qr(vectors.T).Q.T
        return ClassPrototypes(vectors, self.slope, self.label_smoothing)


def _require_slope(slope: float) -> None:
    if not 0 < slope < float("inf"):
        raise ConfigError(f"slope must be positive and finite, not {slope}")
