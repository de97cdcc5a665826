"""The trainer of reservoirs: a device is driven step after step, and a ridge readout sees its states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.events import StageFinished
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.encode import projection_note
from hwloop.layers.interface import new_interface, weight_precision
from hwloop.layers.network import Readout
from hwloop.layers.standardise import Standardiser
from hwloop.registry import nearest
from hwloop.session import Session
from hwloop.tasks import LearningTask, kind_of
from hwloop.tasks.sequence import SequenceTask
from hwloop.training.echo_state import StateReadout
from hwloop.training.history import insensitive_features, require_finite
from hwloop.training.plans import PlainRows
from hwloop.training.readouts import ReadoutBuilder
from hwloop.training.reservoir import MEMORIES, DeviceMemory, FeedbackMemory, Memory
from hwloop.training.schedules import Fit, Schedule
from hwloop.training.trainer import Trainer
from hwloop.training.trainers import declared

# What a stage of an experiment may be told that a driven one has no place for.
FOREIGN = {"activation": None, "bypass": False, "reference_slots": None, "weights": "float"}


class DrivenStage(Stage):
    """A device that is driven through sequences; it answers with a state at every step, and has no map.

    Parameters
    ----------
    steps
        Of a sequence.
    memory
        ``"physical"`` or ``"stream"``, the device's own, or ``"digital"``: see
        :data:`hwloop.training.reservoir.MEMORIES`.
    options
        Of the memory.
    scaling
        See :class:`hwloop.layers.Encoder`.
    """

    kind: ClassVar[str] = "driven"

    def __init__(
        self,
        steps: int,
        memory: str = DeviceMemory.name,
        options: Mapping[str, Any] | None = None,
        scaling: str = "global",
    ) -> None:
        super().__init__(1, scaling=scaling, steps=steps)
        if memory not in MEMORIES:
            raise ConfigError(f"unknown memory {memory!r}: {nearest(memory, MEMORIES)}")
        self.options = dict(options or {})
        self.memory: Memory = MEMORIES[memory](**self.options)

    def settings(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "width": self.width,
            "steps": self.steps,
            "memory": self.memory.name,
            "options": self.options,
            "scaling": self._scaling,
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        return cls(settings["steps"], settings["memory"], settings["options"], settings["scaling"])

    @classmethod
    def features_held(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], prefix: str) -> int:
        held = MEMORIES[settings["memory"]].features_held(tensors, f"{prefix}memory.")
        return held * int(settings["steps"])

    def build(self, spec: DeviceSpec, n_features: int, seed: int) -> None:
        """Lay out the device's channels for sequences of ``n_features`` in all."""
        if n_features % self.steps:
            raise ConfigError(f"{n_features} features a row are no {self.steps} steps of equal size")
        self.spec = spec
        self.tuning = None
        self.memory.build(spec, self.steps, n_features // self.steps, self._scaling)
        self.standardiser = Standardiser(0)
        self.bypass_standardiser = Standardiser(0)
        self.n_features = self.memory.nodes
        # Files know a stage by its map; this one has none, and keeps its place with a single zero.
        self.linear = new_interface(1, self.width, weight_precision("float"))
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.zero_()

    @property
    def encoder(self) -> Any:  # type: ignore[override]
        """That of its memory."""
        return self.memory.encoder

    def features(self, inputs: Tensor, responses: Float64Array) -> Tensor:
        """Refused: who trains maps has no use for a stage without one.

        Raises
        ------
        ConfigError
        """
        raise ConfigError("a driven stage has no map to train; only the trainer reservoir uses it")

    def fit_standardisers(self, inputs: Tensor, responses: Tensor) -> None:
        """Refused likewise."""
        self.features(inputs, np.empty(0))

    def sequences(self, inputs: Tensor) -> Float64Array:
        """Rows (rows, steps * features) as sequences (rows, steps, features)."""
        return inputs.numpy().reshape(len(inputs), self.steps, -1)

    def every_step(self, inputs: Tensor) -> Tensor:
        """Rows as the encoder of its memory takes them: whole, or a row a step."""
        return (
            inputs if isinstance(self.memory, DeviceMemory) else inputs.reshape(-1, inputs.shape[1] // self.steps)
        )

    def projection_note(self, spec: DeviceSpec, n_features: int) -> str:
        return projection_note(n_features // self.steps, self.memory.free_channels(spec, self.steps))

    def clipped_share(self, inputs: Tensor) -> float:
        return super().clipped_share(self.every_step(inputs))

    def states(self, session: Session, inputs: Tensor, purpose: str) -> Float64Array:
        """What the device answers at every step, (rows, steps, nodes), under the stage's tuning."""
        tuning = self.tuning

        def measure(stimuli: Float64Array, purpose: str) -> Float64Array:
            return session.measure(stimuli, purpose, tuning=tuning)

        return self.memory.states(self.sequences(inputs), purpose, measure)

    @property
    def multiply_adds(self) -> int:
        """Of one device row."""
        return self.memory.multiply_adds_a_step * self.steps // self.memory.rows_a_sequence(self.steps)


class StepReadout(Readout):
    """A ridge readout of the state at every step."""

    kind = "steps"
    mean: Tensor
    gain: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, fitted: StateReadout, task: LearningTask, passes: int) -> None:
        super().__init__()
        for name in ("mean", "gain", "weight", "bias"):
            self.register_buffer(name, torch.from_numpy(np.array(getattr(fitted, name), dtype=np.float64)))
        self.task = task
        self.passes = passes

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """Values of every step (rows, steps * values)."""
        _, stage, session = next(iter(network))
        states = cast(DrivenStage, stage).states(session, inputs, "evaluate")
        read = StateReadout(self.mean.numpy(), self.gain.numpy(), self.weight.numpy(), self.bias.numpy())
        return torch.from_numpy(read(states.reshape(-1, states.shape[2])).reshape(len(states), -1))

    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind, "shape": list(self.weight.shape), "passes": self.passes, **self.task.sizes()}

    @classmethod
    def from_settings(cls, network: PhysicalNetwork, settings: Mapping[str, Any]) -> Self:
        nodes, values = settings["shape"]
        empty = StateReadout(np.zeros(nodes), np.zeros(nodes), np.zeros((nodes, values)), np.zeros(values))
        made = cls(empty, kind_of(settings).of_sizes(settings), settings["passes"])
        _, stage, _ = next(iter(network))
        if made.passes != cast(DrivenStage, stage).memory.rows_a_sequence(stage.steps):
            raise ValueError(f"its {made.passes} rows a sequence are not those of its stage")
        return made

    @property
    def multiply_adds(self) -> int:
        """Standardising and the ridge weights, at every step."""
        return self.task.steps * (self.weight.numel() + len(self.gain))


class StepBuilder(ReadoutBuilder):
    """Fits the ridge readout to the states that the schedule leaves."""

    needs_classes = ""

    def __init__(self) -> None:
        self._states: Tensor | None = None

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """States of the training rows, (rows, steps, nodes)."""
        self._states = features

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, task: LearningTask) -> Readout:
        """By leave-one-out over the steps that count."""
        assert self._states is not None
        assert isinstance(task, SequenceTask)
        states = self._states.numpy()
        kept = task.after_washout(states.reshape(len(states), -1))
        fitted = StateReadout.fitted(kept, task.after_washout(task.encode(labels.numpy())))
        _, stage, _ = next(iter(network))
        return StepReadout(fitted, task, cast(DrivenStage, stage).memory.rows_a_sequence(task.steps))


class Driven(Schedule):
    """Drives the one device of a network through the training sequences, once."""

    @property
    def needs_classes(self) -> str:
        return ""

    def measurements(self, stage: int, n_stages: int) -> int:
        return 1

    def check(self, network: PhysicalNetwork, task: LearningTask) -> None:
        stages = [stage for _, stage, _ in network]
        if len(stages) != 1 or not isinstance(stages[0], DrivenStage) or stages[0].steps != task.steps:
            raise ConfigError(
                "the trainer reservoir drives one device: give the network one hwloop.training.trainers.sequence."
                f"DrivenStage of {task.steps} steps (network.stages = 1 in an experiment)"
            )

    def run(self, fit: Fit) -> None:
        _, stage, session = next(iter(fit.network))
        assert isinstance(stage, DrivenStage)
        fit.stage_begins(0)
        stage.memory.fit(stage.sequences(fit.inputs), session.measure)
        states = stage.states(session, fit.inputs, "train")
        stage.memory.finish()
        require_finite("the states", [torch.from_numpy(states)])
        for note in [*insensitive_features(stage.every_step(fit.inputs), stage.encoder), *still_nodes(states)]:
            fit.notice(0, note)
        fit.readout.add_stage(nn.Identity(), torch.from_numpy(states))
        fit.emit(StageFinished(0, 1))


def still_nodes(states: Float64Array) -> list[str]:
    """A note if nodes answer the same at every step of every training row."""
    still = int(np.count_nonzero(np.ptp(states.reshape(-1, states.shape[2]), axis=0) == 0))
    return (
        [f"{still:,} of {states.shape[2]:,} nodes answer the same at every step and carry nothing"]
        if still
        else []
    )


class ReservoirTrainer(Trainer):
    """The composition; what it costs depends on the steps of a row where the memory is digital."""

    def __init__(self, memory: str, options: Mapping[str, Any]) -> None:
        self._memory_name, self._options = memory, dict(options)
        self._memory = DrivenStage(2, memory, self._options).memory  # refuses what cannot be
        super().__init__(PlainRows(), Driven(), StepBuilder)

    def reason_against(self, task: LearningTask | type[LearningTask]) -> str:
        """Whatever has no target at every step."""
        return "" if task.steps > 1 else "it reads a target at every step of a sequence, and this has one a row"

    @property
    def reason_against_weights(self) -> str:
        """Its readout is fitted to steps, all of which count the same."""
        return "every step of a sequence counts the same to its readout"

    def new_stage(self, settings: Mapping[str, Any], number: int, task: LearningTask) -> Stage:
        """One driven stage.

        Raises
        ------
        ConfigError
            More than one, or a setting of which it has none.
        """
        self.require_serves(task)
        if number > 0:
            raise ConfigError("the trainer reservoir drives one device, in one stage; set network.stages = 1")
        for name, nothing in FOREIGN.items():
            if settings[name] != nothing:
                raise ConfigError(f"the trainer reservoir has no use for {name}; leave it out of [network]")
        if settings["steps"] not in (1, task.steps):
            raise ConfigError(
                f"network.sequence_steps is {settings['steps']}, but the dataset's sequences have {task.steps} "
                "steps; leave it out"
            )
        return DrivenStage(task.steps, self._memory_name, self._options, settings["scaling"])

    def stage_cost(self, n_rows: int, n_classes: int, stage: int, n_layers: int, steps: int = 1) -> int:
        return n_rows * self._memory.rows_a_sequence(steps) + self._memory.rows_to_fit

    def predict_cost(self, n_rows: int, n_classes: int, n_layers: int, steps: int = 1) -> int:
        return n_rows * self._memory.rows_a_sequence(steps)


@declared(
    learns="nothing: a ridge readout of the device's state at every step ([sequences](sequences.md))",
    rows="1, or 1 a step",
    predict="1, or 1 a step",
)
def reservoir(
    *,
    memory: str = DeviceMemory.name,
    feedback_channels: int | None = None,
    spectral_radius: float | None = None,
    input_gain: float | None = None,
) -> Trainer:
    """Reservoir computing: drive the device step after step, ridge readout of its states; for sequences.

    The washout of the task is neither trained on nor scored; the ridge strength is chosen by leave-one-out on the
    training steps.

    Needs a device with memory, or one without any for the digital recurrence.

    Source: Jaeger, "The echo state approach", GMD report 148 (2001).

    Parameters
    ----------
    memory
        ``"physical"``: the device remembers within a row and answers with its nodes after every step, so a
        sequence is one row; ``"stream"``: its state goes on from row to row, one row a step; ``"digital"``: its
        answer to a step is fed back into the next through a fixed random matrix, one row a step.
    feedback_channels
        Inputs of the device that take its last answer; the digital memory must be told.
    spectral_radius
        Of the digital memory's matrix; ``None`` for 0.9.
    input_gain
        Of the digital memory's inputs; ``None`` for 0.05.
    """
    options = {
        "feedback_channels": feedback_channels,
        "spectral_radius": spectral_radius,
        "input_gain": input_gain,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if memory == FeedbackMemory.name and feedback_channels is None:
        raise ConfigError("the digital memory needs feedback_channels: inputs of the device that take its answer")
    if memory != FeedbackMemory.name and given:
        raise ConfigError(f"{', '.join(given)} belong to memory = 'digital', not to the device's own")
    return ReservoirTrainer(memory, given)
