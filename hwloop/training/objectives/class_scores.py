"""Objectives that score every class from one row: linear heads, channel groups, prototypes, hidden layers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.errors import ConfigError
from hwloop.layers import Stage
from hwloop.layers.of_kind import OfKind
from hwloop.layers.rowwise import exact_linear, exact_product, rowwise
from hwloop.tasks import LearningTask
from hwloop.training.objectives import LocalObjective, StageObjective
from hwloop.training.options import COUNT, POSITIVE, SHARE, WithOptions, option


class ClassScores(OfKind, StageObjective):
    """Cross-entropy of class scores that a stage computes from its own outputs."""

    def __init__(self, task: LearningTask, label_smoothing: float) -> None:
        super().__init__()
        SHARE.check("label_smoothing", label_smoothing)
        self.task = task
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
        return self.task.loss(logits, labels, self.label_smoothing)

    def scores(self, stage: Stage, z: Tensor) -> Tensor:
        return rowwise(self.task.scores, self.exact_logits(stage, z))

    def settings(self) -> dict[str, Any]:
        """What a checkpoint needs beside the tensors."""
        return {"kind": self.kind}

    @classmethod
    @abstractmethod
    def from_settings(cls, width: int, task: LearningTask, settings: Mapping[str, Any]) -> Self:
        """Scores of a stage of this width from :meth:`settings`, for their tensors to be loaded into."""

    @property
    @abstractmethod
    def multiply_adds(self) -> int:
        """Digital multiply-adds of a row's scores."""


def first_bias(task: LearningTask) -> Tensor:
    """Where a head's bias starts, (n_outputs,)."""
    if task.first_bias is None:
        return torch.zeros(task.n_outputs, dtype=torch.float32)
    return torch.from_numpy(task.first_bias).to(torch.float32)


class Head(ClassScores):
    """A linear classifier on the stage's activation, trained with it."""

    kind = "linear"

    def __init__(self, width: int, task: LearningTask, label_smoothing: float, rng: torch.Generator) -> None:
        super().__init__(task, label_smoothing)
        # From "meta", because drawing the values that are replaced below would move torch's global generator.
        self.linear = nn.Linear(width, task.n_outputs, device="meta", dtype=torch.float32).to_empty(device="cpu")
        with torch.no_grad():
            self.linear.weight.normal_(0.0, width**-0.5, generator=rng)
            self.linear.bias.copy_(first_bias(task))

    def logits(self, stage: Stage, z: Tensor) -> Tensor:
        logits: Tensor = self.linear(stage.activate(z))
        return logits

    def exact_logits(self, stage: Stage, z: Tensor) -> Tensor:
        return exact_linear(self.linear, stage.activate(z))

    @classmethod
    def from_settings(cls, width: int, task: LearningTask, settings: Mapping[str, Any]) -> Self:
        return cls(width, task, 0.0, torch.Generator().manual_seed(0))

    @property
    def multiply_adds(self) -> int:
        return self.linear.weight.numel()


@dataclass(eq=False, kw_only=True)
class SmoothedObjective(WithOptions, LocalObjective):
    """Base of objectives with smoothed targets; all that training changes are their parameters and buffers.

    Attributes
    ----------
    label_smoothing
        Share of a target that is spread over all classes.
    """

    label_smoothing: float = option(0.1, SHARE)

    resumable = True


@dataclass(eq=False)
class LocalHeads(SmoothedObjective):
    """Cross-entropy of a linear head a stage.

    Mono-Forward (Gong et al., 2025) and deeply supervised nets (Lee et al., AISTATS 2015).
    """

    needs_classes = ""

    def for_stage(self, stage: Stage, task: LearningTask, rng: torch.Generator) -> Head:
        return Head(stage.width, task, self.label_smoothing, rng)


class ChannelGroups(ClassScores):
    """The channels of z belong to the classes in turn; a class scores the mean square activity of its group."""

    kind = "channel-groups"

    def __init__(self, width: int, task: LearningTask, slope: float, label_smoothing: float) -> None:
        super().__init__(task, label_smoothing)
        self.slope = slope
        members = torch.arange(width) % task.n_outputs
        self.means = functional.one_hot(members, task.n_outputs).to(torch.float32)
        self.means = self.means * (slope / self.means.sum(dim=0).clamp_min(1.0))

    def logits(self, stage: Stage, z: Tensor) -> Tensor:
        """Slope times the mean square of each group."""
        return stage.activate(z).square() @ self.means

    def exact_logits(self, stage: Stage, z: Tensor) -> Tensor:
        """Slope times the mean square of each group."""
        return exact_product(stage.activate(z).square(), self.means)

    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind, "slope": self.slope}

    @classmethod
    def from_settings(cls, width: int, task: LearningTask, settings: Mapping[str, Any]) -> Self:
        return cls(width, task, float(settings["slope"]), 0.0)

    @property
    def multiply_adds(self) -> int:
        """A square and a sum a channel."""
        return 2 * len(self.means)


@dataclass(eq=False)
class ChannelCompetition(SmoothedObjective):
    """Groups of channels that compete, one a class (CwComp; Papachristodoulou et al., AAAI 2024).

    Attributes
    ----------
    slope
        Log-odds a unit of a group's mean square activity.
    """

    slope: float = option(1.0, POSITIVE)

    needs_classes = "its groups of channels compete for a class each"

    def for_stage(self, stage: Stage, task: LearningTask, rng: torch.Generator) -> ChannelGroups:
        """Groups of equal size, to within one channel."""
        return ChannelGroups(stage.width, task, self.slope, self.label_smoothing)

    def check(self, stage: Stage, task: LearningTask) -> None:
        if stage.width < task.n_outputs:
            raise ConfigError(
                f"a stage of width {stage.width} has no channel for each of {task.n_outputs} classes to compete "
                f"with; give network.width of {task.n_outputs} or more"
            )


class ClassPrototypes(ClassScores):
    """A class scores the cosine between the stage's activation and a fixed random vector of its own."""

    kind = "prototypes"
    vectors: Tensor

    def __init__(self, vectors: Tensor, task: LearningTask, slope: float, label_smoothing: float) -> None:
        super().__init__(task, label_smoothing)
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
        return {"kind": self.kind, "slope": self.slope}

    @classmethod
    def from_settings(cls, width: int, task: LearningTask, settings: Mapping[str, Any]) -> Self:
        return cls(torch.zeros(task.n_outputs, width, dtype=torch.float32), task, float(settings["slope"]), 0.0)

    @property
    def multiply_adds(self) -> int:
        """A norm, and a product with each vector."""
        return self.vectors.shape[1] + self.vectors.numel()


@dataclass(eq=False)
class Prototypes(SmoothedObjective):
    """Fixed orthonormal class vectors a stage, random ones where there are more classes than channels.

    Attributes
    ----------
    slope
        Log-odds a unit of the cosine.
    """

    slope: float = option(8.0, POSITIVE)

    needs_classes = "it has a fixed vector for each class"

    def for_stage(self, stage: Stage, task: LearningTask, rng: torch.Generator) -> ClassPrototypes:
        """Vectors of its own for every stage."""
        vectors = torch.randn(task.n_outputs, stage.width, generator=rng, dtype=torch.float32)
        if task.n_outputs <= stage.width:
            vectors = torch.linalg.qr(vectors.T).Q.T
        return ClassPrototypes(vectors, task, self.slope, self.label_smoothing)


class AuxiliaryHead(StageObjective):
    """A two-layer classifier on z, V relu(U z + c) + b, trained with the stage's map, then thrown away."""

    def __init__(
        self, width: int, hidden: int, task: LearningTask, label_smoothing: float, rng: torch.Generator
    ) -> None:
        super().__init__()
        self.task = task
        self.label_smoothing = label_smoothing
        self.inner = nn.Parameter(torch.randn(width, hidden, generator=rng, dtype=torch.float32) * width**-0.5)
        self.offset = nn.Parameter(0.5 * torch.randn(hidden, generator=rng, dtype=torch.float32))
        self.outer = nn.Parameter(
            torch.randn(hidden, task.n_outputs, generator=rng, dtype=torch.float32) * hidden**-0.5
        )
        self.bias = nn.Parameter(first_bias(task))

    def loss(self, stage: Stage, z: Tensor, labels: Tensor, before: Tensor | None = None) -> Tensor:
        logits = torch.relu(z @ self.inner + self.offset) @ self.outer + self.bias
        return self.task.loss(logits, labels, self.label_smoothing)


@dataclass(eq=False)
class AuxiliaryHeads(SmoothedObjective):
    """Z shall be what one more nonlinear layer can tell the classes from (Belilovsky et al., ICML 2019).

    A linear head asks that z itself separates the classes, and a linear map keeps of the responses what a readout
    could have taken from them directly: a next stage finds nothing new. A head with a nonlinearity asks for what
    the next device needs.

    Attributes
    ----------
    hidden
        Units of the head's hidden layer.
    """

    hidden: int = option(200, COUNT)

    needs_classes = ""

    def for_stage(self, stage: Stage, task: LearningTask, rng: torch.Generator) -> AuxiliaryHead:
        return AuxiliaryHead(stage.width, self.hidden, task, self.label_smoothing, rng)


class BlockHead(StageObjective):
    """A linear classifier on this stage's activation beside the activations of its block, which are constants.

    Attributes
    ----------
    members
        The stages whose activations it sees, from 0, this one's first.
    """

    def __init__(self, width: int, task: LearningTask, label_smoothing: float, rng: torch.Generator) -> None:
        super().__init__()
        self.task = task
        self.linear = Head(width, task, label_smoothing, rng).linear
        self.label_smoothing = label_smoothing
        self.members: list[int] = []

    def loss(self, stage: Stage, z: Tensor, labels: Tensor, before: Tensor | None = None) -> Tensor:
        own = stage.activate(z)
        logits = self.linear(own if before is None else torch.cat([own, before], dim=1))
        return self.task.loss(logits, labels, self.label_smoothing)


class BlockHeads(LocalObjective):
    """A head over a block; ``others`` is the width of the block's other stages that are known already."""

    needs_classes = ""

    def __init__(self, label_smoothing: float, others: int = 0) -> None:
        self.label_smoothing = label_smoothing
        self.others = others

    def for_stage(self, stage: Stage, task: LearningTask, rng: torch.Generator) -> BlockHead:
        return BlockHead(stage.width + self.others, task, self.label_smoothing, rng)
