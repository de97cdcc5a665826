"""The floors that need a network: null physics in the device's place, and one stage with a ridge readout."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hwloop.device import Device
from hwloop.devices.null import LinearProjection, Zeros
from hwloop.errors import HwloopWarning
from hwloop.experiment import results
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.partition import Partition
from hwloop.experiment.results import Score
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.session import Session
from hwloop.training import Trainer
from hwloop.training import trainer as make_trainer


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
