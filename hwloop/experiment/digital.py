"""Digital methods that need no device: linear models, models that compare rows, a network of the same widths."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from hwloop.device.spec import Float64Array
from hwloop.experiment.partition import Partition, Samples
from hwloop.input_scaling import ONE_SCALE
from hwloop.tasks import LearningTask
from hwloop.torch_state import own_torch_state
from hwloop.training.optimiser import AdamSettings, ResponseNoise, one_cycle_adamw, shuffled_batches

FOLDS = 4
# Of methods whose time grows with the square of the rows: settings are chosen on so many, and the final model has
# so many.
TUNED_ON, FITTED_ON = 1_000, 10_000


def linear_model(data: Partition) -> Pipeline:
    """A linear model of inputs standardised on the training rows, fitted by scikit-learn.

    Its penalty is chosen on the validation rows, or without any by cross-validation within the training rows;
    test rows are never seen.
    """
    return _best_of([make_pipeline(StandardScaler(), model) for model in data.task.linear_models()], data, data)


class OneScale(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Columns about their means, all divided by one number, so that the mean variance is 1."""

    def fit(self, X: Float64Array, y: Any = None) -> OneScale:
        """Mean and scale of rows (rows, columns)."""
        self.mean_ = X.mean(axis=0)
        largest = float(np.abs(X - self.mean_).max())  # first, so that no square overflows
        self.scale_ = largest * float(np.sqrt(np.square((X - self.mean_) / (largest or 1.0)).mean())) or 1.0
        return self

    def transform(self, X: Float64Array) -> Float64Array:
        """The same rows, scaled."""
        return np.asarray((X - self.mean_) / self.scale_)


def similarity_model(models: Sequence[Any], data: Partition, scaling: str) -> Pipeline:
    """The best of models that compare rows, on inputs scaled as the network's are; chosen as a linear model is.

    At most ``TUNED_ON`` and ``FITTED_ON`` training rows are used, drawn at random with the seed of the split.
    """
    scaler = OneScale if scaling == ONE_SCALE else StandardScaler
    candidates = [make_pipeline(scaler(), model) for model in models]
    return _best_of(candidates, _fewer(data, TUNED_ON), _fewer(data, FITTED_ON))


def similarity_cost(fitted: Pipeline) -> int:
    """Multiply-adds of one prediction: a distance to each kept row, and its weight in each output."""
    _, model = fitted.steps[-1]
    model = getattr(model, "regressor_", model)
    n_features = int(model.n_features_in_)
    return n_features + sum(_kept(each) * n_features + _weights(each) for each in _parts(model))


def _parts(model: Any) -> Sequence[Any]:
    return getattr(model, "estimators_", None) or [model]


def _kept(model: Any) -> int:
    support = getattr(model, "support_vectors_", None)
    return int(model.n_samples_fit_) if support is None else len(support)


def _weights(model: Any) -> int:
    found = getattr(model, "dual_coef_", None)
    return int(model.n_neighbors) if found is None else int(np.size(found))


def _fewer(data: Partition, most: int) -> Partition:
    """With at most so many training rows."""
    count = len(data.train)
    if count <= most:
        return data
    rows = np.sort(np.random.default_rng(data.seed).permutation(count)[:most])
    return replace(data, train=data.train.taken(rows))


def _best_of(candidates: Sequence[Pipeline], tuned_on: Partition, fitted_on: Partition) -> Pipeline:
    with warnings.catch_warnings():
        # A penalty so weak that the solver stops at its limit is a candidate like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        best = candidates[int(np.argmax(_validation_scores(candidates, tuned_on)))]
        return best.fit(fitted_on.train.inputs, fitted_on.train.targets)


def _validation_scores(candidates: Sequence[Pipeline], data: Partition) -> list[float]:
    train, task = data.train, data.task
    if data.validation is not None:
        held_out = data.validation
        return [
            task.merit(held_out.targets, model.fit(train.inputs, train.targets).predict(held_out.inputs))
            for model in candidates
        ]
    parts = _folds(train, task, FOLDS, data.seed)
    if parts is None:  # too few rows to hold any out: the strongest penalty is the safe choice
        return [-float(number) for number in range(len(candidates))]
    return [float(cross_val_score(model, train.inputs, train.targets, cv=parts).mean()) for model in candidates]


def _folds(train: Samples, task: LearningTask, most: int, seed: int) -> Any:
    """At most so many parts to choose on, as the task has them; groups, where there are any, stay in one part.

    Rows of a group are alike: settings that only learn them by heart would seem good on its other rows.
    """
    if train.groups is None:
        return task.folds(train.targets, most, seed)
    kinds = np.unique(task.strata(train.targets), return_inverse=True)[1]
    groups = np.unique(train.groups, return_inverse=True)[1]
    count = min(most, int(groups.max()) + 1, int(np.bincount(kinds).max()))
    if count < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rare class is in few parts
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32)
        parts = list(splitter.split(kinds, kinds, groups))
    sound = [
        (rest, held_out)
        for rest, held_out in parts
        if len(held_out)
        and not task.reason_not_to_train(train.targets[rest])
        and not task.reason_not_to_score(train.targets[held_out])
    ]
    return sound or None


# AdamW, one-cycle schedule, label smoothing and noise (here on the standardised inputs) as the local trainer has
# them, strongly and weakly regularised: which is better depends on the task, so held-out training rows choose.
STRONG = AdamSettings(epochs=100, min_steps=1000, batch_samples=128, lr=0.01, weight_decay=1.0, response_noise=0.4)
CANDIDATES = (STRONG, replace(STRONG, weight_decay=0.1, response_noise=0.2))
LABEL_SMOOTHING = 0.1
HELD_OUT = 0.2


@own_torch_state()
def backpropagated(
    train: Samples, validation: Samples | None, widths: Sequence[int], task: LearningTask, seed: int
) -> DigitalNetwork:
    """A digital network trained to convergence on all training rows.

    Its regularisation is chosen on the validation rows, or without any on a fifth of the training rows.
    """

    def trained(settings: AdamSettings, rows: Samples) -> DigitalNetwork:
        network = DigitalNetwork(train.inputs.shape[1], widths, task, seed)
        network.fit(rows, settings)
        return network

    fitted_on, judged_on = (train, validation) if validation is not None else _held_out(train, task, seed)
    scores = [
        task.merit(judged_on.targets, trained(settings, fitted_on).predict(judged_on.inputs))
        for settings in CANDIDATES
    ]
    return trained(CANDIDATES[int(np.argmax(scores))], train)


def _held_out(train: Samples, task: LearningTask, seed: int) -> tuple[Samples, Samples]:
    """The rest, and a fifth of the rows: whole groups, where there are any."""
    if train.groups is not None and (parts := _folds(train, task, round(1 / HELD_OUT), seed)):
        rest, held_out = parts[0]
        return train.taken(rest), train.taken(held_out)
    order = np.random.default_rng(seed).permutation(len(train))
    count = max(1, round(HELD_OUT * len(train)))
    return train.taken(order[count:]), train.taken(order[:count])


class DigitalNetwork:
    """A multilayer perceptron with ReLU on inputs standardised on the training rows."""

    def __init__(self, n_features: int, widths: Sequence[int], task: LearningTask, seed: int) -> None:
        self.task = task
        self._rng = torch.Generator().manual_seed(seed)
        sizes = [n_features, *widths, task.n_outputs]
        layers: list[nn.Module] = []
        for n_from, n_to in itertools.pairwise(sizes):
            linear = nn.Linear(n_from, n_to, dtype=torch.float32)
            with torch.no_grad():
                linear.weight.normal_(0.0, (2.0 / n_from) ** 0.5, generator=self._rng)  # He et al. 2015
                linear.bias.zero_()
            layers += [linear, nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.multiply_adds = n_features + sum(a * b for a, b in itertools.pairwise(sizes))
        self._mean, self._scale = (
            torch.zeros(n_features, dtype=torch.float32),
            torch.ones(n_features, dtype=torch.float32),
        )

    def fit(self, train: Samples, settings: AdamSettings) -> None:
        """Train to convergence: the learning rate ends at zero."""
        raw, targets = torch.from_numpy(train.inputs), torch.from_numpy(np.array(self.task.numbers(train.targets)))
        std = raw.std(dim=0, correction=0)
        self._mean, self._scale = raw.mean(dim=0), torch.where(std > 0, 1 / std.clamp_min(1e-300), 0.0)
        inputs = self._standardised(train.inputs)
        batch, steps = min(settings.batch_samples, len(targets)), settings.steps(len(targets))
        optimiser, schedule = one_cycle_adamw(list(self.model.parameters()), settings, steps)
        noise = ResponseNoise(settings.response_noise, batch * inputs.shape[1], self._rng)
        batches = shuffled_batches(len(targets), batch, self._rng)
        for part in itertools.islice(batches, steps):
            outputs = self.model(noise.added_to(inputs[part]))
            loss = self.task.loss(outputs, targets[part], LABEL_SMOOTHING)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()

    @own_torch_state()
    def predict(self, inputs: Float64Array) -> NDArray[Any]:
        """The predicted target of each row, shape (rows,)."""
        with torch.no_grad():
            return self.task.predicted(self.model(self._standardised(inputs)))

    def _standardised(self, inputs: Float64Array) -> Tensor:
        return ((torch.from_numpy(inputs) - self._mean) * self._scale).to(torch.float32)
