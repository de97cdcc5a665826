"""Linear readouts on what all stages give: ridge, softmax on activities, softmax on features."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.network import Readout
from hwloop.layers.rowwise import exact_product, rowwise
from hwloop.tasks import LearningTask
from hwloop.training.optimiser import AdamSettings, ResponseNoise, fit_ridge, one_cycle_adamw, shuffled_batches
from hwloop.training.plans import LabelOverlay
from hwloop.training.readouts import ReadoutBuilder
from hwloop.training.rules.output_error import OutputHead

NEVER_SEEN = -1e3  # log-odds of a class without a training row


class LinearReadout(Readout):
    """A linear map of what every stage gives, concatenated, to the outputs."""

    kind = "linear"
    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, see: StageView, overlay: LabelOverlay | None = None) -> None:
        super().__init__()
        self.n_outputs = len(bias)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self._see = see
        self._overlay = overlay

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        activity = seen(network, inputs, self._see, self._overlay, self.n_outputs)
        return exact_product(activity, self.weight) + self.bias

    @property
    def label_channels(self) -> int:
        """One a class where there is a neutral label."""
        return 0 if self._overlay is None else self.n_outputs

    def settings(self) -> dict[str, Any]:
        """Kind, shape, what it sees, and the amplitude of the neutral label, if it has one."""
        view = next(name for name, see in VIEWS.items() if see is self._see)
        amplitude = None if self._overlay is None else self._overlay.amplitude
        return {"kind": self.kind, "shape": list(self.weight.shape), "view": view, "amplitude": amplitude}

    @classmethod
    def from_settings(cls, network: PhysicalNetwork, settings: Mapping[str, Any]) -> Self:
        """A classifier of the recorded shape, all zero."""
        rows, classes = settings["shape"]
        amplitude = settings["amplitude"]
        overlay = None if amplitude is None else LabelOverlay.of_amplitude(amplitude)
        weight = torch.zeros(rows, classes, dtype=torch.float32)
        return cls(weight, torch.zeros(classes, dtype=torch.float32), VIEWS[settings["view"]], overlay)

    @property
    def multiply_adds(self) -> int:
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


class FeaturesBuilder(ReadoutBuilder):
    """Base of builders that keep the features of the training rows, stage after stage."""

    def __init__(self) -> None:
        self._features: list[Tensor] = []

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        self._features.append(features)


class RidgeBuilder(FeaturesBuilder):
    """Ridge regression onto the task's code of the targets, its strength by leave-one-out."""

    needs_classes = ""

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, task: LearningTask) -> Readout:
        return ridge_readout(torch.cat(self._features, dim=1), labels, task)


def ridge_readout(features: Tensor, labels: Tensor, task: LearningTask) -> LinearReadout:
    """The readout of least squares on features (rows, n) of the training rows."""
    codes, weights = task.encode(labels.numpy()), task.row_weights(labels.numpy())
    ridge = fit_ridge(features.to(torch.float64).numpy(), codes, weights=weights)
    weight, bias = (torch.from_numpy(a).to(torch.float32) for a in (ridge.weight, ridge.bias))
    return LinearReadout(task.code_gain * weight, task.code_gain * bias, measured_features)


def fit_softmax(activity: Tensor, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Weights (features, classes) and biases of a softmax (scikit-learn's ``LogisticRegression``)."""
    from sklearn.linear_model import LogisticRegression  # most trainers do without

    # Centred, or channels that are always active would take the solver thousands of steps.
    centre = activity.mean(dim=0)
    centred = activity - centre
    scale = float(centred.std()) or 1.0
    model = LogisticRegression(C=1.0, max_iter=1000).fit(centred.numpy() / scale, labels.numpy())
    weight = model.coef_ / scale
    bias = model.intercept_ - weight @ centre.numpy()
    if len(model.classes_) == 2:  # scikit-learn gives one row of weights for two classes
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    every_weight, every_bias = np.zeros((n_classes, weight.shape[1])), np.full(n_classes, NEVER_SEEN)
    every_weight[model.classes_], every_bias[model.classes_] = weight, bias
    return (
        torch.from_numpy(np.ascontiguousarray(every_weight.T)).to(torch.float32),
        torch.from_numpy(every_bias).to(torch.float32),
    )


class SoftmaxBuilder(ReadoutBuilder):
    """A softmax on the stages' activity under the neutral label.

    It costs one more row a sample a stage to train, and predicts in one pass in place of one a class.
    """

    needs_classes = "its readout is a softmax, which tells classes apart"

    def __init__(self, overlay: LabelOverlay) -> None:
        self._overlay = overlay

    def rows_a_sample(self) -> int:
        return 1

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Nothing to keep: the neutral rows are measured at the end."""

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, task: LearningTask) -> Readout:
        activity = seen(network, inputs, normalised_activity, self._overlay, task.n_outputs, "train")
        weight, bias = fit_softmax(activity, labels, task.n_outputs)
        return LinearReadout(weight, bias, normalised_activity, copy.copy(self._overlay))


class PositiveSoftmaxBuilder(FeaturesBuilder):
    """A softmax on the stages' activity in the rows that training measured without any label: it costs none more.

    Parameters
    ----------
    rows_a_sample
        Planned rows of a sample; the first one is the sample as it is.
    """

    needs_classes = "its readout is a softmax, which tells classes apart"

    def __init__(self, rows_a_sample: int) -> None:
        super().__init__()
        self._step = rows_a_sample

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Keep the features of the samples as they are."""
        super().add_stage(objective, features[:: self._step].clone())  # a view would hold all rows

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, task: LearningTask) -> Readout:
        """Fit on what each trained map makes of them."""
        activity = [
            normalised_activity(stage, features, stage.map(features))
            for (_, stage, _), features in zip(network, self._features, strict=True)
        ]
        weight, bias = fit_softmax(torch.cat(activity, dim=1), labels, task.n_outputs)
        return LinearReadout(weight, bias, normalised_activity)


class FeatureSoftmaxBuilder(FeaturesBuilder):
    """A linear readout of all responses: the task's loss by AdamW, its noise standing for the device's.

    A softmax for classes. Where the loss is the squared error it has a closed form: ridge regression, its strength
    by leave-one-out.

    Parameters
    ----------
    settings
        Of the training.
    """

    needs_classes = ""

    def __init__(self, settings: AdamSettings | None = None) -> None:
        super().__init__()
        self._settings = settings or AdamSettings()

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, task: LearningTask) -> Readout:
        features = torch.cat(self._features, dim=1)
        if task.least_squares:
            return ridge_readout(features, labels, task)
        settings, rng = self._settings, torch.Generator().manual_seed(self.seed)
        head = OutputHead([features.shape[1]], task)
        steps = settings.steps(len(labels))
        optimiser, rate = one_cycle_adamw(list(head.parameters()), settings, steps)
        batches = shuffled_batches(len(labels), settings.batch_samples, rng)
        largest = min(settings.batch_samples, len(labels)) * features.shape[1]
        noise = ResponseNoise(settings.response_noise, largest, rng)
        for _ in range(steps):
            batch = next(batches)
            noisy = noise.added_to(features[batch])
            head.set_gradient(noisy, head.judge(noisy, labels[batch]))
            optimiser.step()
            rate.step()
        weight, bias = head.weight.detach().T.contiguous(), head.bias.detach()
        return LinearReadout(weight, bias, measured_features)
