"""How a device is driven with values in [-1, 1]: rows alone, steps within a row, or its answers fed back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec, DeviceWrapper
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers.encode import default_reference_slots, step_spec
from hwloop.probing.stimuli import half_range, middle

WASHOUT = 50  # steps that a memory is given to forget how a sequence began, where a sequence has as many
ROW_STEPS = 250  # of a sequence whose steps are rows

Measure = Callable[[Float64Array], Float64Array]  # stimuli (rows, n_inputs) to responses


class Drive(ABC):
    """Turns sequences (sequences, steps, channels) of values in [-1, 1] into states of their last steps.

    Attributes
    ----------
    channels, nodes
        Values that go in and come out at a step.
    steps
        Of a sequence.
    washout
        Steps of a sequence whose states are not used.
    rows_a_sequence
        What a sequence costs.
    """

    name: ClassVar[str]
    channels: int
    nodes: int
    steps: int = 1
    washout: int = 0
    rows_a_sequence: int = 1

    @property
    def samples_a_sequence(self) -> int:
        """States of a sequence that are used."""
        return self.steps - self.washout

    @property
    def remembers(self) -> bool:
        """Whether there is a past that the states may hold."""
        return self.steps > 1

    @property
    def rows_to_begin(self) -> int:
        """Rows that :meth:`begin` costs."""
        return 0

    def begin(self, sequences: Float64Array, measure: Measure) -> None:
        """Measure what the drive itself needs, before the first sequence."""

    @abstractmethod
    def states(self, sequences: Float64Array, measure: Measure) -> Float64Array:
        """States (sequences, :attr:`samples_a_sequence`, nodes)."""

    @abstractmethod
    def described(self) -> str:
        """In words."""


class RowsAlone(Drive):
    """Every row by itself, all channels at once; those that an encoder holds constant are held here too.

    Parameters
    ----------
    spec
        Of the device.
    reference_slots
        Channels held at their upper limit, the last; ``None`` for as many as an experiment would hold.
    """

    name = "rows"

    def __init__(self, spec: DeviceSpec, reference_slots: int | None = None) -> None:
        slots = default_reference_slots(spec) if reference_slots is None else reference_slots
        if not 0 <= slots < spec.n_drives:
            raise ConfigError(f"reference_slots must be 0 to {spec.n_drives - 1}, not {slots}")
        self._spec, self._slots = spec, slots
        self.channels, self.nodes = spec.n_drives - slots, spec.n_outputs

    def states(self, sequences: Float64Array, measure: Measure) -> Float64Array:
        return measure(self._stimuli(sequences[:, 0]))[:, np.newaxis]

    def _stimuli(self, values: Float64Array) -> Float64Array:
        """Of values (rows, channels); what stands behind the drives is 0."""
        drives = self._spec.n_drives
        stimuli = np.tile(middle(self._spec), (len(values), 1))
        stimuli[:, : self.channels] += half_range(self._spec)[: self.channels] * values
        stimuli[:, self.channels : drives] = self._spec.high[self.channels : drives]
        stimuli[:, drives:] = 0.0
        return np.asarray(np.clip(stimuli, self._spec.low, self._spec.high))

    def described(self) -> str:
        return f"every row by itself, {self._held}"

    @property
    def _held(self) -> str:
        held = f", {self._slots} held at their upper limit" if self._slots else ""
        return f"{self.channels} channels{held}"


class RowAfterRow(RowsAlone):
    """A device whose state goes on from row to row: a row a step, the first of a sequence resets it."""

    name = "stream"

    def __init__(self, spec: DeviceSpec, reference_slots: int | None = None) -> None:
        super().__init__(spec, reference_slots)
        self.steps, self.washout, self.rows_a_sequence = ROW_STEPS, WASHOUT, ROW_STEPS

    def states(self, sequences: Float64Array, measure: Measure) -> Float64Array:
        stimuli = self._stimuli(sequences.reshape(-1, self.channels))
        stimuli[:, -1] = self._spec.low[-1]
        stimuli[:: self.steps, -1] = self._spec.high[-1]
        return measure(stimuli).reshape(len(sequences), self.steps, -1)[:, self.washout :]

    def described(self) -> str:
        return f"a row a step of {self.steps} a sequence, each begun by a reset, {self._held}"


class WithinRow(Drive):
    """A row is a sequence; the device answers after every step, or after the last alone.

    Parameters
    ----------
    spec
        Of the device.
    steps
        Of a row.
    every_step
        Whether the outputs are those of every step, in their order.
    """

    name = "sequence"

    def __init__(self, spec: DeviceSpec, steps: int, every_step: bool) -> None:
        self._spec, self._each = spec, step_spec(spec, steps)
        if every_step and spec.n_outputs % steps:
            raise ConfigError(
                f"the device's {spec.n_outputs} outputs are no whole number for each of {steps} steps"
            )
        self.steps, self.channels = steps, self._each.n_inputs
        self.nodes = spec.n_outputs // (steps if every_step else 1)
        self._every = every_step
        self.washout = min(WASHOUT, steps // 2) if every_step else steps - 1

    def states(self, sequences: Float64Array, measure: Measure) -> Float64Array:
        rows = len(sequences)
        stimuli = middle(self._each) + half_range(self._each) * sequences
        answers = measure(np.clip(stimuli.reshape(rows, -1), self._spec.low, self._spec.high))
        return answers.reshape(rows, -1, self.nodes)[:, self.washout if self._every else 0 :]

    def described(self) -> str:
        read = "every step" if self._every else "the last step alone"
        return f"a row is {self.steps:,} steps of {self.channels} channels, read after {read}"


class FedBack(Drive):
    """A device without memory, its answers fed back digitally: one row a step (docs/sequences.md).

    Parameters
    ----------
    spec
        Of the device.
    feedback_channels, options
        As of :class:`hwloop.training.reservoir.FeedbackMemory`.
    """

    name = "fed back"
    channels = 1

    def __init__(self, spec: DeviceSpec, feedback_channels: int, **options: Any) -> None:
        from hwloop.training.reservoir import FeedbackMemory

        self._memory = FeedbackMemory(feedback_channels=feedback_channels, **options)
        self._memory.attach(spec)
        self._feedback = feedback_channels
        self.nodes = spec.n_outputs
        self.steps, self.washout, self.rows_a_sequence = ROW_STEPS, WASHOUT, ROW_STEPS
        self._spec = spec

    @property
    def rows_to_begin(self) -> int:
        return self._memory.rows_to_fit

    def begin(self, sequences: Float64Array, measure: Measure) -> None:
        self._memory.build(self._spec, self.steps, self.channels)
        self._memory.fit(sequences, lambda stimuli, purpose: measure(stimuli))

    def states(self, sequences: Float64Array, measure: Measure) -> Float64Array:
        found = self._memory.states(sequences, "calibrate", lambda stimuli, purpose: measure(stimuli))
        return found[:, self.washout :]

    def described(self) -> str:
        return f"its answers are fed back on {self._feedback} channels, a row a step of {self.steps} a sequence"


def drive_of(
    device: Device, steps: int | None = None, feedback: int | None = None, reference_slots: int | None = None
) -> Drive:
    """How a device is driven: as asked, or as it says of itself.

    Parameters
    ----------
    steps
        Steps of a row; ``None`` for the setting ``sequence_length`` of the device inside all wrappers, or 1.
    feedback
        Channels that its answers are fed back on; ``None`` for no feedback.
    reference_slots
        See :class:`RowsAlone`.

    Raises
    ------
    ConfigError
        It cannot be driven so.
    """
    if device.spec.streams:
        if steps is not None or feedback is not None:
            raise ConfigError("the device goes on from row to row: a step is a row, and nothing is fed back to it")
        return RowAfterRow(device.spec, reference_slots)
    if feedback is not None:
        if steps is not None:
            raise ConfigError("steps are those of a row, and feedback makes a step a row: give one of the two")
        return FedBack(device.spec, feedback, reference_slots=reference_slots)
    innermost = device
    while isinstance(innermost, DeviceWrapper):
        innermost = innermost.device
    own = getattr(innermost, "sequence_length", 1)
    steps = steps or (own if isinstance(own, int) else 1)
    if steps == 1:
        return RowsAlone(device.spec, reference_slots)
    if reference_slots is not None:
        raise ConfigError("reference_slots are those of rows by themselves; a sequence holds no channel constant")
    readout = getattr(innermost, "readout", None)
    every = readout != "last" if isinstance(readout, str) else device.spec.n_outputs % steps == 0
    return WithinRow(device.spec, steps, every)
