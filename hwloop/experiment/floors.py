"""Floors of a run: what its network is compared with, from guessing to digital networks.

To add one, write a :class:`Floor` and append it to :data:`FLOORS`: runs score it; table, report, ``--json`` and
arena show it. What is heavy is imported where it is needed: a report is written without torch.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hwloop.device import Device
from hwloop.errors import HwloopWarning
from hwloop.experiment.columns import Trial, require_different
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.floor import Floor
from hwloop.experiment.series_floors import DigitalEchoState, PolynomialMemory, ShiftRegister
from hwloop.tasks import LearningTask

if TYPE_CHECKING:
    from hwloop.experiment.partition import Partition
    from hwloop.layers import PhysicalNetwork
    from hwloop.session import Session


class LinearFloor(Floor):
    """What a linear model makes of the raw inputs, with no device at all."""

    key, method, standing = "linear", "floor: {linear}, raw inputs", "{linear} on the inputs"
    regime = "digital"

    def suits(self, task: LearningTask) -> bool:
        return bool(task.linear_models())

    def score(self, config: ExperimentConfig, sessions: list[Session], data: Partition) -> Trial:
        """Multiply-adds: the matrix, and a scaling a feature."""
        from hwloop.experiment.digital import linear_model

        predicted = linear_model(data).predict(data.test.inputs)
        cost = data.n_features * data.task.n_outputs + data.n_features
        return Trial(data.task, data.test.targets, predicted, cost)


@dataclass(frozen=True)
class NullPhysics(Floor):
    """The same network and trainer, with something that is no physics in place of every device.

    ``multiply_adds`` is what the replacement costs a row when it is computed.
    """

    key: str
    method: str
    standing: str
    replace: Callable[[Device, int], Device]
    multiply_adds: Callable[[Device], int]
    linear_null: bool = True
    regime: str | None = None

    null: ClassVar[bool] = True  # type: ignore[misc]
    turn: ClassVar[int] = 1  # type: ignore[misc]

    def score(self, config: ExperimentConfig, sessions: list[Session], data: Partition) -> Trial:
        from hwloop.experiment.rigs import build_stages, build_trainer
        from hwloop.layers import PhysicalNetwork
        from hwloop.session import Session

        trainer = build_trainer(config, data.seed)
        nulls = {session: Session(self.replace(session.device, data.seed)) for session in dict.fromkeys(sessions)}
        network = PhysicalNetwork(
            [nulls[session] for session in sessions], build_stages(config, trainer, data.task), seed=data.seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HwloopWarning)  # that zeros never vary is what they are for
            trainer.fit(network, data.train.inputs, data.train.targets, **data.fit_options)
        passes = trainer.predict_cost(1, data.task.n_outputs, 1, **data.task.cost_options())
        computed = passes * sum(self.multiply_adds(session.device) for session in sessions)
        return network_trial(network, data, network.multiply_adds + computed)


class ZerosFloor(NullPhysics):
    """The network without any response of its devices: it knows the targets' frequencies, or their mean, alone.

    So nothing is trained, unless the network sees its inputs beside the devices (``network.bypass``).
    """

    def meant_for(self, kind: type[LearningTask]) -> bool:
        """Any task."""
        return True

    def score(self, config: ExperimentConfig, sessions: list[Session], data: Partition) -> Trial:
        if config.network.bypass:
            return super().score(config, sessions, data)
        predicted = data.task.constant(data.train.targets, len(data.test))
        return Trial(data.task, data.test.targets, predicted, 0)


class SimilarityFloor(Floor):
    """A model that compares a row with the training rows: what a task takes with no physics and no features.

    Settings are chosen by cross-validation on training rows. Of many training rows some are used, and it is said.
    """

    regime = "digital"
    digital = True

    @abstractmethod
    def models(self, task: LearningTask, n_rows: int, n_features: int) -> Sequence[Any]:
        """What to choose from, for so many training rows at least; empty where the task has none."""

    def suits(self, task: LearningTask) -> bool:
        return bool(self.models(task, 1, 1))

    def note(self, config: ExperimentConfig, data: Partition) -> str:
        from hwloop.experiment.digital import FITTED_ON

        if len(data.train) <= FITTED_ON:
            return ""
        return f"{self.standing}: fitted to {FITTED_ON:,} of {len(data.train):,} training rows, drawn at random"

    def score(self, config: ExperimentConfig, sessions: list[Session], data: Partition) -> Trial:
        """Multiply-adds: a distance to every row that is kept, and its weights; exponentials are not counted."""
        from hwloop.experiment.digital import TUNED_ON, similarity_cost, similarity_model
        from hwloop.input_scaling import decided

        network = config.network
        scaling = decided(network.input_scaling, data.train.inputs, network.sequence_steps).name
        models = self.models(data.task, min(len(data.train), TUNED_ON) // 2, data.n_features)
        fitted = similarity_model(models, data, scaling)
        return Trial(data.task, data.test.targets, fitted.predict(data.test.inputs), similarity_cost(fitted))


class NearestNeighbours(SimilarityFloor):
    """The nearest training rows, the nearer the stronger (scikit-learn)."""

    key, method, standing = "nearest_neighbours", "digital: nearest neighbours", "nearest neighbours"

    def models(self, task: LearningTask, n_rows: int, n_features: int) -> Sequence[Any]:
        return task.nearest_neighbours(n_rows)


class KernelMachine(SimilarityFloor):
    """A support vector machine with a Gaussian kernel (scikit-learn)."""

    key, method, standing = "kernel_machine", "digital: RBF kernel machine", "RBF kernel machine"

    def models(self, task: LearningTask, n_rows: int, n_features: int) -> Sequence[Any]:
        return task.kernel_machines(n_features)


class RidgeReadoutFloor(Floor):
    """One physical stage with a ridge readout (an extreme learning machine), on the network's own first session.

    It is what the trainer ``readout``, which trains no map, gives of one stage.

    Encoder, seeds and order of the rows are those of the network's first stage. So where the network measured
    plain samples its rows are recalled, and nothing is measured twice.
    """

    key, method = "one_stage_readout", "floor: one stage, readout alone"
    standing = "one physical stage, readout alone"
    regime = "linear interface"
    turn = 0

    def score(self, config: ExperimentConfig, sessions: list[Session], data: Partition) -> Trial:
        """The ridge readout sees the measured features; nobody needs the stage's own random map."""
        from hwloop.experiment.rigs import build_stages
        from hwloop.layers import PhysicalNetwork
        from hwloop.training import trainer as make_trainer

        seed = config.trainer.settings.get("seed", data.seed)
        trainer = make_trainer("readout", seed=seed)
        network = PhysicalNetwork(sessions[0], build_stages(config, trainer, data.task, 1), seed=data.seed)
        rows = trainer.cost(len(data.train), data.task.n_outputs, 1)
        with sessions[0].counting_on_memory(0 if self._measures(config, data) else rows):
            trainer.fit(network, data.train.inputs, data.train.targets, **data.fit_options)
            predicted = network.predict(data.test.inputs)
        stage = next(stage for _, stage, _ in network)
        return Trial(
            data.task,
            data.test.targets,
            predicted,
            network.multiply_adds - stage.n_features * stage.width,
            rows / len(data.train),
            trainer.predict_cost(1, data.task.n_outputs, 1),
        )

    def rows(self, config: ExperimentConfig, data: Partition) -> int:
        from hwloop.experiment.rigs import network_rows
        from hwloop.training import trainer as make_trainer

        return network_rows(make_trainer("readout"), data, 1) if self._measures(config, data) else 0

    def _measures(self, config: ExperimentConfig, data: Partition) -> bool:
        """Unless the network's first stage measures each sample once, as it is: then memory answers."""
        from hwloop.experiment.rigs import build_trainer
        from hwloop.training import trainer as make_trainer

        ours, plain = build_trainer(config, data.seed), make_trainer("readout")
        size = (len(data.train), data.task.n_outputs, 1)
        return ours.cost(*size) != plain.cost(*size)


class DigitalMLP(Floor):
    """A digital network of the same widths, trained by ordinary backpropagation, with no device.

    It is no ceiling: other digital methods may do better, and so may physics.
    """

    key, method, standing = "backprop", "digital: MLP, same widths", "digital MLP, same widths"
    regime = "digital, relu"
    digital = True
    json_group = "ceiling"  # its name in files from the first version on

    def score(self, config: ExperimentConfig, sessions: list[Session], data: Partition) -> Trial:
        from hwloop.experiment.digital import backpropagated
        from hwloop.experiment.rigs import build_trainer

        stages = config.network.stages
        widths = [config.network.width] * stages
        if build_trainer(config, data.seed).writes(len(data.train.inputs), stages):
            # Where the devices themselves are trained, their outputs are what is learned, and no map is.
            widths = [sessions[min(k, len(sessions) - 1)].device.spec.n_outputs for k in range(stages)]
        digital = backpropagated(data.train, data.validation, widths, data.task, data.seed)
        return Trial(data.task, data.test.targets, digital.predict(data.test.inputs), digital.multiply_adds)


def network_trial(network: PhysicalNetwork, data: Partition, multiply_adds: int, **rows: Any) -> Trial:
    """What a trained network makes of the test rows."""
    return Trial(data.task, data.test.targets, network.predict(data.test.inputs), multiply_adds, **rows)


def _zeros(device: Device, seed: int) -> Device:
    from hwloop.devices.null import Zeros

    return Zeros(device.spec)


def _linear_projection(device: Device, seed: int) -> Device:
    from hwloop.devices.null import LinearProjection

    return LinearProjection(device.spec, seed=seed)


def _random_features(device: Device, seed: int) -> Device:
    from hwloop.devices.null import RandomFeatures

    return RandomFeatures(device.spec, seed=seed)


def _projection_cost(device: Device) -> int:
    return device.spec.n_inputs * device.spec.n_outputs


FLOORS: list[Floor] = [
    LinearFloor(),
    ZerosFloor(
        "null_zeros",
        "floor: null physics, zeros",
        "null physics: zeros",
        _zeros,
        lambda device: 0,
    ),
    NullPhysics(
        "null_identity",
        "floor: null physics, linear map",
        "null physics: linear projection",
        _linear_projection,
        _projection_cost,
    ),
    NullPhysics(
        "random_features",
        "floor: random digital features",
        "null physics: random digital features",
        _random_features,
        _projection_cost,
        linear_null=False,
        regime="digital, random relu",
    ),
    RidgeReadoutFloor(),
    NearestNeighbours(),
    KernelMachine(),
    DigitalMLP(),
    ShiftRegister(),
    PolynomialMemory(),
    DigitalEchoState(),
]
"""In the order of the table."""


def in_running_order() -> list[Floor]:
    """What measures first, digital methods last; raises ConfigError where two have the same key."""
    require_different(["network", *(floor.key for floor in FLOORS)], "floors")
    return sorted(FLOORS, key=lambda floor: floor.turn)
