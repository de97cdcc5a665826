"""Floors and ceiling of a run: what the network must beat, and what digital training reaches."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.devices.null import LinearProjection, Zeros
from hwloop.errors import HwloopWarning
from hwloop.experiment import results
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.partition import Labelled, Partition
from hwloop.experiment.results import Score
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.session import Session
from hwloop.torch_state import own_torch_state
from hwloop.training import Trainer
from hwloop.training import trainer as make_trainer
from hwloop.training.optimiser import AdamSettings, ResponseNoise, one_cycle_adamw, shuffled_batches

# Inverse strengths of the L2 penalty to choose from.
INVERSE_STRENGTHS = (0.003, 0.03, 0.3, 3.0)
FOLDS = 4


def linear_softmax(train: Labelled, validation: Labelled | None, seed: int) -> Pipeline:
    """A softmax regression on inputs standardised on the training rows, fitted by scikit-learn.

    The L2 penalty is chosen on the validation rows, or without any by cross-validation within the training
    rows; test rows are never seen.
    """
    with warnings.catch_warnings():
        # A penalty so weak that the solver stops at its limit is a candidate like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = [_score(_model(c), train, validation, seed) for c in INVERSE_STRENGTHS]
        best = INVERSE_STRENGTHS[int(np.argmax(scores))]
        return _model(best).fit(train.inputs, train.labels)


def linear_multiply_adds(n_features: int, n_classes: int) -> int:
    """Multiply-adds of one prediction: the matrix, and a scaling a feature."""
    return n_features * n_classes + n_features


def _model(inverse_strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=inverse_strength, max_iter=300))


def _score(model: Pipeline, train: Labelled, validation: Labelled | None, seed: int) -> float:
    if validation is not None:
        fitted = model.fit(train.inputs, train.labels)
        return float(np.mean(fitted.predict(validation.inputs) == validation.labels))
    folds = min(FOLDS, _smallest_class(train.labels))
    if folds < 2:  # too few rows to hold any out: the strongest penalty is the safe choice
        return -float(model[-1].C)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)
    return float(cross_val_score(model, train.inputs, train.labels, cv=parts).mean())


def _smallest_class(labels: NDArray[np.int64]) -> int:
    return int(np.unique(labels, return_counts=True)[1].min())


# AdamW, one-cycle schedule, label smoothing and noise (here on the standardised inputs) as the local trainer has
# them, strongly and weakly regularised: which is better depends on the task, so held-out training rows choose.
STRONG = AdamSettings(epochs=100, min_steps=1000, batch_samples=128, lr=0.01, weight_decay=1.0, response_noise=0.4)
CANDIDATES = (STRONG, replace(STRONG, weight_decay=0.1, response_noise=0.2))
LABEL_SMOOTHING = 0.1
HELD_OUT = 0.2


@own_torch_state()
def backpropagated(
    train: Labelled, validation: Labelled | None, widths: Sequence[int], n_classes: int, seed: int
) -> DigitalNetwork:
    """A digital network trained to convergence on all training rows.

    Its regularisation is chosen on the validation rows, or without any on a fifth of the training rows.
    """

    def trained(settings: AdamSettings, rows: Labelled) -> DigitalNetwork:
        network = DigitalNetwork(train.inputs.shape[1], widths, n_classes, seed)
        network.fit(rows, settings)
        return network

    fitted_on, judged_on = (train, validation) if validation is not None else _held_out(train, seed)
    scores = [
        np.mean(trained(settings, fitted_on).predict(judged_on.inputs) == judged_on.labels)
        for settings in CANDIDATES
    ]
    return trained(CANDIDATES[int(np.argmax(scores))], train)


def _held_out(train: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    order = np.random.default_rng(seed).permutation(len(train))
    count = max(1, round(HELD_OUT * len(train)))
    fitted_on, judged_on = (
        Labelled(train.inputs[part], train.labels[part]) for part in (order[count:], order[:count])
    )
    return fitted_on, judged_on


class DigitalNetwork:
    """A multilayer perceptron with ReLU on inputs standardised on the training rows."""

    def __init__(self, n_features: int, widths: Sequence[int], n_classes: int, seed: int) -> None:
        self._rng = torch.Generator().manual_seed(seed)
        sizes = [n_features, *widths, n_classes]
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

    def fit(self, train: Labelled, settings: AdamSettings) -> None:
        """Train to convergence: the learning rate ends at zero."""
        raw, labels = torch.from_numpy(train.inputs), torch.from_numpy(np.array(train.labels))
        std = raw.std(dim=0, correction=0)
        self._mean, self._scale = raw.mean(dim=0), torch.where(std > 0, 1 / std.clamp_min(1e-300), 0.0)
        inputs = self._standardised(train.inputs)
        batch, steps = min(settings.batch_samples, len(labels)), settings.steps(len(labels))
        optimiser, schedule = one_cycle_adamw(list(self.model.parameters()), settings, steps)
        noise = ResponseNoise(settings.response_noise, batch * inputs.shape[1], self._rng)
        batches = shuffled_batches(len(labels), batch, self._rng)
        for part in itertools.islice(batches, steps):
            logits = self.model(noise.added_to(inputs[part]))
            loss = functional.cross_entropy(logits, labels[part], label_smoothing=LABEL_SMOOTHING)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()

    @own_torch_state()
    def predict(self, inputs: Float64Array) -> NDArray[np.int64]:
        """The most probable class of each row, shape (rows,)."""
        with torch.no_grad():
            predicted: NDArray[np.int64] = self.model(self._standardised(inputs)).argmax(dim=1).numpy()
        return predicted

    def _standardised(self, inputs: Float64Array) -> Tensor:
        return ((torch.from_numpy(inputs) - self._mean) * self._scale).to(torch.float32)


def build_stages(config: ExperimentConfig, count: int | None = None) -> list[Stage]:
    """The first ``count`` stages of an experiment's network, by default all."""
    network = config.network
    return [
        Stage(
            network.width,
            None if network.activation == "none" else network.activation,
            bypass=network.bypass,
            reference_slots=network.reference_slots,
            scaling=network.input_scaling if number == 0 else "global",
            weights=network.weights,
            steps=network.sequence_steps if number == 0 else 1,
        )
        for number in range(network.stages if count is None else count)
    ]


def build_trainer(config: ExperimentConfig, seed: int) -> Trainer:
    """The experiment's trainer, seeded unless its settings hold a seed."""
    return make_trainer(config.trainer.name, **{"seed": seed, **config.trainer.settings})


def accuracy(network: PhysicalNetwork, data: Partition) -> float:
    """Share of the test rows that a network classifies right."""
    return float(np.mean(network.predict(data.test.inputs) == data.test.labels))


def measures_plain_samples(config: ExperimentConfig, data: Partition) -> bool:
    """Whether the first stage measures each sample once, as it is, so that memory answers the one-stage floor."""
    ours, plain = build_trainer(config, data.seed), make_trainer("readout")
    return ours.cost(len(data.train), data.n_classes, 1) == plain.cost(len(data.train), data.n_classes, 1)


@dataclass(frozen=True)
class NullPhysics:
    """The same network and trainer, with something that is no physics in place of every device.

    ``multiply_adds`` is what the replacement costs a row when it is computed.
    """

    method: str
    replace: Callable[[Device, int], Device]
    multiply_adds: Callable[[Device], int]

    def score(self, config: ExperimentConfig, sessions: list[Session], data: Partition) -> Score:
        """Train and test it; nothing is measured on the device."""
        trainer = build_trainer(config, data.seed)
        nulls = {session: Session(self.replace(session.device, data.seed)) for session in dict.fromkeys(sessions)}
        network = PhysicalNetwork([nulls[session] for session in sessions], build_stages(config), seed=data.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HwloopWarning)  # that zeros never vary is what they are for
            trainer.fit(network, data.train.inputs, data.train.labels)
        passes = trainer.predict_cost(1, data.n_classes, 1)
        computed = passes * sum(self.multiply_adds(session.device) for session in sessions)
        return Score(accuracy(network, data), network.multiply_adds + computed)


NULLS = (
    NullPhysics(results.NULL_ZEROS, lambda device, seed: Zeros(device.spec), lambda device: 0),
    NullPhysics(
        results.NULL_IDENTITY,
        lambda device, seed: LinearProjection(device.spec, seed=seed),
        lambda device: device.spec.n_inputs * device.spec.n_outputs,
    ),
)


def one_stage_readout(config: ExperimentConfig, sessions: list[Session], data: Partition) -> Score:
    """One physical stage with a ridge readout (an extreme learning machine), on the network's own first session.

    Encoder, seeds and order of the rows are those of the network's first stage. So where the network measured
    plain samples its rows are recalled, and nothing is measured twice.
    """
    seed = config.trainer.settings.get("seed", data.seed)
    trainer = make_trainer("readout", seed=seed)
    network = PhysicalNetwork(sessions[0], build_stages(config, count=1), seed=data.seed)
    rows = trainer.cost(len(data.train), data.n_classes, 1)
    with sessions[0].counting_on_memory(rows if measures_plain_samples(config, data) else 0):
        trainer.fit(network, data.train.inputs, data.train.labels)
        found = accuracy(network, data)
    stage = next(stage for _, stage, _ in network)
    return Score(
        found,
        # The ridge readout sees the measured features; nobody needs the stage's own random map.
        network.multiply_adds - stage.n_features * stage.width,
        rows / len(data.train),
        trainer.predict_cost(1, data.n_classes, 1),
    )
