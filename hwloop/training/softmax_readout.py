"""A softmax on the stages' activity, for trainers whose stages score no class by themselves."""

from __future__ import annotations

import copy

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from hwloop.layers import PhysicalNetwork
from hwloop.layers.network import Readout
from hwloop.training.plans import LabelOverlay
from hwloop.training.readouts import LinearReadout, ReadoutBuilder, normalised_activity, seen

NEVER_SEEN = -1e3  # log-odds of a class without a training row


def fit_softmax(activity: Tensor, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Weights (features, classes) and biases of a softmax (scikit-learn's ``LogisticRegression``)."""
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

    def __init__(self, overlay: LabelOverlay) -> None:
        self._overlay = overlay

    def rows_a_sample(self) -> int:
        """The neutral row."""
        return 1

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Nothing to keep: the neutral rows are measured at the end."""

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """Measure the neutral rows and fit."""
        activity = seen(network, inputs, normalised_activity, self._overlay, n_classes, "train")
        weight, bias = fit_softmax(activity, labels, n_classes)
        return LinearReadout(weight, bias, normalised_activity, copy.copy(self._overlay))


class PositiveSoftmaxBuilder(ReadoutBuilder):
    """A softmax on the stages' activity in the rows that training measured without any label: it costs none more.

    Parameters
    ----------
    rows_a_sample
        Planned rows of a sample; the first one is the sample as it is.
    """

    def __init__(self, rows_a_sample: int) -> None:
        self._step = rows_a_sample
        self._features: list[Tensor] = []

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Keep the features of the samples as they are."""
        self._features.append(features[:: self._step].clone())  # a view would hold all rows

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """Fit on what each trained map makes of them."""
        activity = [
            normalised_activity(stage, features, stage.map(features))
            for (_, stage, _), features in zip(network, self._features, strict=True)
        ]
        weight, bias = fit_softmax(torch.cat(activity, dim=1), labels, n_classes)
        return LinearReadout(weight, bias, normalised_activity)
