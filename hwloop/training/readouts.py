"""Readouts: how the trained stages' activity becomes class scores, and how each is built after a fit."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.readout import Readout
from hwloop.layers.rowwise import exact_linear, exact_product, rowwise
from hwloop.training.objectives import Goodness, Head
from hwloop.training.plans import LabelOverlay
from hwloop.training.ridge import fit_ridge

if TYPE_CHECKING:
    from collections.abc import Sequence

NEVER_SEEN = -1e3  # log-odds of a class without a training row


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

    def so_far(self) -> Readout | None:
        """A readout of the stages that are trained already, where it costs nothing to build."""
        return None

    @abstractmethod
    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """The readout of the whole network, from its training inputs (samples, n) and labels."""


class HeadSum(Readout):
    """The sum of every stage's local log-probabilities."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """Sum over the stages; one row a stage."""
        total: Tensor | None = None
        # The heads come first: where not all stages are trained yet, zip stops before the next is measured.
        for head, (stage, _, z) in zip(self.heads, network.passes(inputs), strict=False):
            scores = head_scores(cast(Head, head), stage, z)
            total = scores if total is None else total + scores
        assert total is not None
        return total

    def settings(self) -> dict[str, Any]:
        """Kind and classes."""
        return {"kind": "head-sum", "n_classes": cast(Head, self.heads[0]).linear.out_features}

    @property
    def multiply_adds(self) -> int:
        """One matrix a head."""
        return sum(cast(Head, head).linear.weight.numel() for head in self.heads)


def head_scores(head: Head, stage: Stage, z: Tensor) -> Tensor:
    """A head's log-probabilities, each row by itself."""
    return rowwise(lambda logits: torch.log_softmax(logits, dim=1), exact_linear(head.linear, stage.activate(z)))


class HeadSumBuilder(ReadoutBuilder):
    """Collects the heads that the stages were trained with."""

    def __init__(self) -> None:
        self._heads: list[Head] = []

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Keep the head."""
        self._heads.append(cast(Head, objective))

    def so_far(self) -> Readout:
        """The heads of the stages trained so far."""
        return HeadSum(self._heads)

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
        """Theta times the summed goodness of each label: K rows a stage."""
        n_classes = self.passes
        labels = torch.arange(n_classes).repeat(len(inputs))
        rows = self.overlay.with_labels(inputs.repeat_interleave(n_classes, dim=0), labels, n_classes)
        total = torch.zeros(len(rows))
        for module, (stage, _, z) in zip(self.goodnesses, network.passes(rows), strict=False):
            goodness = cast(Goodness, module)
            total = total + goodness.theta * goodness_scores(goodness, stage, z)
        return total.reshape(len(inputs), n_classes)

    def settings(self) -> dict[str, Any]:
        """Kind, classes, the label's amplitude, and each stage's contrast."""
        thetas = [cast(Goodness, goodness).theta for goodness in self.goodnesses]
        amplitude = self.overlay.amplitude
        return {"kind": "label-scan", "n_classes": self.passes, "amplitude": amplitude, "thetas": thetas}

    @property
    def multiply_adds(self) -> int:
        """A norm and a product with the target for each label and stage."""
        return sum(2 * self.passes * cast(Goodness, g).target.numel() for g in self.goodnesses)


def goodness_scores(goodness: Goodness, stage: Stage, z: Tensor) -> Tensor:
    """A goodness a row, each row by itself."""
    return rowwise(lambda rows: goodness.goodness(stage, rows)[:, None], z)[:, 0]


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


class SoftmaxBuilder(ReadoutBuilder):
    """A softmax on the stages' activity under the neutral label.

    It costs one more row a sample a stage to train, and predicts in one pass in place of one a class.
    """

    def __init__(self, overlay: LabelOverlay) -> None:
        self._overlay = overlay

    def rows_a_sample(self) -> int:
        """The neutral row."""
        return 1

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Nothing to keep: the neutral rows are measured at the end."""

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """Measure the neutral rows and fit (scikit-learn's ``LogisticRegression``)."""
        activity = seen(network, inputs, normalised_activity, self._overlay, n_classes, "train")
        scale = float(activity.std()) or 1.0
        model = LogisticRegression(C=1.0, max_iter=1000).fit(activity.numpy() / scale, labels.numpy())
        weight, bias = model.coef_ / scale, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn gives one row of weights for two classes
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        every_weight, every_bias = np.zeros((n_classes, weight.shape[1])), np.full(n_classes, NEVER_SEEN)
        every_weight[model.classes_], every_bias[model.classes_] = weight, bias
        return LinearReadout(
            torch.from_numpy(np.ascontiguousarray(every_weight.T)).to(torch.float32),
            torch.from_numpy(every_bias).to(torch.float32),
            normalised_activity,
            copy.copy(self._overlay),
        )
