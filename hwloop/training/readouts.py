"""Readouts: how the trained stages' activity becomes class scores, and how each is built after a fit."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.network import Readout
from hwloop.layers.rowwise import exact_product, rowwise
from hwloop.training.class_scores import ClassScores
from hwloop.training.goodness import Goodness
from hwloop.training.plans import LabelOverlay
from hwloop.training.ridge import fit_ridge

if TYPE_CHECKING:
    from collections.abc import Sequence


class ReadoutBuilder(ABC):
    """Builds a network's readout, stage by stage while it is trained."""

    def rows_a_sample(self) -> int:
        """Rows that building it costs a training sample in each stage, beyond those of training."""
        return 0

    def passes(self, n_classes: int) -> int:
        """Rows that one prediction costs in each stage."""
        return 1

    @abstractmethod
    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Take over a trained stage: its objective, and its features of the training rows."""

    def up_to(self, stage: int) -> Readout | None:
        """The readout of the stages up to this one, from 0, where it costs nothing to build."""
        return None

    @abstractmethod
    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """The readout of the whole network, from its training inputs (samples, n) and labels."""


class HeadSum(Readout):
    """The sum of every stage's local log-probabilities, whatever scores its classes."""

    def __init__(self, heads: Sequence[ClassScores]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """Sum over the stages; one row a stage."""
        total: Tensor | None = None
        # Where not all stages are trained yet, no more are measured than have a head.
        for head, (stage, _, z) in zip(self.heads, network.passes(inputs, stages=len(self.heads)), strict=True):
            scores = cast(ClassScores, head).scores(stage, z)
            total = scores if total is None else total + scores
        assert total is not None
        return total

    def settings(self) -> dict[str, Any]:
        """Kind, classes, and what each stage's scores are."""
        heads = [cast(ClassScores, head) for head in self.heads]
        return {"kind": "head-sum", "n_classes": heads[0].n_classes, "heads": [h.settings() for h in heads]}

    @property
    def multiply_adds(self) -> int:
        """Of all heads."""
        return sum(cast(ClassScores, head).multiply_adds for head in self.heads)


class HeadSumBuilder(ReadoutBuilder):
    """Collects the heads that the stages were trained with."""

    def __init__(self) -> None:
        self._heads: list[ClassScores] = []

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Keep the head."""
        self._heads.append(cast(ClassScores, objective))

    def up_to(self, stage: int) -> Readout:
        """The heads of these stages."""
        return HeadSum(self._heads[: stage + 1])

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """All heads."""
        return HeadSum(self._heads)


class LabelScan(Readout):
    """Try every label: the class whose overlay gives the highest goodness, summed over the stages."""

    def __init__(self, goodnesses: Sequence[Goodness], overlay: LabelOverlay, n_classes: int) -> None:
        super().__init__()
        self.goodnesses = nn.ModuleList(goodnesses)
        self.overlay = overlay
        self.passes = n_classes

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """Each label's log-odds, summed over the stages: K rows a stage."""
        n_classes = self.passes
        labels = torch.arange(n_classes).repeat(len(inputs))
        rows = self.overlay.with_labels(inputs.repeat_interleave(n_classes, dim=0), labels, n_classes)
        total = torch.zeros(len(rows), dtype=torch.float32)
        passes = network.passes(rows, stages=len(self.goodnesses))
        for module, (stage, _, z) in zip(self.goodnesses, passes, strict=True):
            total = total + cast(Goodness, module).scores(stage, z)[:, 0]
        return total.reshape(len(inputs), n_classes)

    @property
    def label_channels(self) -> int:
        """One a class."""
        return self.passes

    def settings(self) -> dict[str, Any]:
        """Kind, classes, the label's amplitude, and each stage's goodness."""
        goodnesses = [cast(Goodness, goodness).settings() for goodness in self.goodnesses]
        amplitude = self.overlay.amplitude
        return {
            "kind": "label-scan",
            "n_classes": self.passes,
            "amplitude": amplitude,
            "goodnesses": goodnesses,
        }

    @property
    def multiply_adds(self) -> int:
        """A goodness for each label and stage."""
        return sum(self.passes * cast(Goodness, g).measure.multiply_adds for g in self.goodnesses)


class LabelScanBuilder(ReadoutBuilder):
    """Collects the goodnesses that the stages were trained with."""

    def __init__(self, overlay: LabelOverlay) -> None:
        self._overlay = overlay
        self._goodnesses: list[Goodness] = []

    def passes(self, n_classes: int) -> int:
        """One a class."""
        return n_classes

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Keep the goodness."""
        self._goodnesses.append(cast(Goodness, objective))

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """All goodnesses."""
        # A copy: the trainer may fit another network, and its label's amplitude with it.
        return LabelScan(self._goodnesses, copy.copy(self._overlay), n_classes)


class LinearReadout(Readout):
    """A linear classifier on what every stage gives, concatenated."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, see: StageView, overlay: LabelOverlay | None = None) -> None:
        super().__init__()
        self.n_classes = len(bias)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self._see = see
        self._overlay = overlay

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """Logits of a linear classifier."""
        activity = seen(network, inputs, self._see, self._overlay, self.n_classes)
        return exact_product(activity, self.weight) + self.bias

    @property
    def label_channels(self) -> int:
        """One a class where there is a neutral label."""
        return 0 if self._overlay is None else self.n_classes

    def settings(self) -> dict[str, Any]:
        """Kind, shape, what it sees, and the amplitude of the neutral label, if it has one."""
        view = next(name for name, see in VIEWS.items() if see is self._see)
        amplitude = None if self._overlay is None else self._overlay.amplitude
        return {"kind": "linear", "shape": list(self.weight.shape), "view": view, "amplitude": amplitude}

    @property
    def multiply_adds(self) -> int:
        """The matrix."""
        return self.weight.numel()


class StageView(Protocol):
    """What a linear readout sees of a stage: (stage, features, z) to (rows, anything)."""

    def __call__(self, stage: Stage, features: Tensor, z: Tensor) -> Tensor:
        """The view."""
        ...


def measured_features(stage: Stage, features: Tensor, z: Tensor) -> Tensor:
    """The standardised responses themselves."""
    return features


def normalised_activity(stage: Stage, features: Tensor, z: Tensor) -> Tensor:
    """|z| at unit length (Hinton 2022: only the pattern may count, not the goodness that is its length)."""
    return rowwise(lambda rows: nn.functional.normalize(stage.activate(rows).abs(), dim=1), z)


VIEWS: dict[str, StageView] = {"features": measured_features, "activity": normalised_activity}


def seen(
    network: PhysicalNetwork,
    inputs: Tensor,
    see: StageView,
    overlay: LabelOverlay | None,
    n_classes: int,
    purpose: str = "evaluate",
) -> Tensor:
    """What a linear readout sees of the whole network, shape (rows, sum over stages)."""
    if overlay is not None:
        inputs = overlay.without_label(inputs, n_classes)
    return torch.cat([see(*step) for step in network.passes(inputs, purpose)], dim=1)


class RidgeBuilder(ReadoutBuilder):
    """Ridge regression onto +-1 targets, its strength by leave-one-out."""

    def __init__(self) -> None:
        self._features: list[Tensor] = []

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Keep the features of the training rows."""
        self._features.append(features)

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """Solve in closed form."""
        features = torch.cat(self._features, dim=1).to(torch.float64).numpy()
        targets = 2.0 * nn.functional.one_hot(labels, n_classes).numpy() - 1.0
        ridge = fit_ridge(features, targets)
        weight, bias = (torch.from_numpy(a).to(torch.float32) for a in (ridge.weight, ridge.bias))
        # A least-squares score s in [-1, 1] estimates 2p - 1; 2 s is the log-odds near s = 0.
        return LinearReadout(2 * weight, 2 * bias, measured_features)
