"""Reservoirs: a physical system that is driven step by step, by its own memory or by a digital recurrence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.blocks import ExactProduct
from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.errors import ConfigError
from hwloop.layers.encode import Encoder, SequenceEncoder, default_reference_slots, step_spec
from hwloop.session import Session

PROBE_AMPLITUDE = 0.1  # of half the range: near the rest, and far above the converters' steps

Measure = Callable[[Float64Array, str], Float64Array]  # stimuli (rows, n_inputs) and their purpose to answers


class Memory(nn.Module, ABC):
    """How a device is driven through a sequence, and what it remembers by: its fitted values are buffers.

    Attributes
    ----------
    encoder
        Of the features of a step or of all steps; made by :meth:`build`.
    nodes
        Numbers that the device answers at every step.
    """

    name: ClassVar[str]
    encoder: Encoder
    nodes: int

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides, beside the sequences, which rows are measured; as plain values."""

    @abstractmethod
    def build(self, spec: DeviceSpec, steps: int, features: int, scaling: str = "global") -> None:
        """Make what is fitted, for sequences of so many steps and features a step.

        Raises
        ------
        ConfigError
            The device has no room for them.
        """

    @classmethod
    @abstractmethod
    def features_held(cls, tensors: Mapping[str, Tensor], prefix: str) -> int:
        """Features a step for which such tensors, their names behind ``prefix``, were made."""

    @abstractmethod
    def rows_a_sequence(self, steps: int) -> int:
        """Device rows that the states of one sequence cost."""

    @abstractmethod
    def free_channels(self, spec: DeviceSpec, steps: int) -> int:
        """Channels of a device that the features of a step can take."""

    @property
    def rows_to_fit(self) -> int:
        """Device rows that :meth:`fit` costs."""
        return 0

    @abstractmethod
    def fit(self, sequences: Float64Array, measure: Measure) -> None:
        """Fit to training sequences (rows, steps, features)."""

    def finish(self) -> None:
        """A fit has ended well: the next one measures anew what is always measured."""

    @abstractmethod
    def states(self, sequences: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        """Measure the states (rows, steps, nodes) at the end of every step; every sequence begins from rest."""

    # -- driven on, a step at a time -----------------------------------------------------------------------

    @abstractmethod
    def steps_needed(self, steps: int) -> int:
        """How many of the last inputs :meth:`next_state` needs, after sequences of so many steps."""

    @abstractmethod
    def last_state(self, sequences: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        """Measure the state (rows, nodes) at the end of sequences (rows, steps, features)."""

    @abstractmethod
    def rows_to_last_state(self, steps: int) -> int:
        """Device rows that :meth:`last_state` costs a sequence, at most."""

    @abstractmethod
    def next_state(self, state: Float64Array, past: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        """Measure the state after one more step: one row a sequence.

        Parameters
        ----------
        state
            After the step before, (rows, nodes).
        past
            Inputs up to the new one, which is the last, (rows, :meth:`steps_needed`, features).
        """

    @property
    def is_elsewhere(self) -> bool:
        """Whether the device may stand elsewhere by now than at the end of what it was driven through last."""
        return False

    @abstractmethod
    def excursions(self, inputs: Float64Array) -> Float64Array:
        """How far inputs (rows, features) lie from mid-range, each row at its farthest; beyond 1 it is clipped."""

    @property
    @abstractmethod
    def multiply_adds_a_step(self) -> int:
        """Digital multiply-adds that drive the device through one step."""


class DeviceMemory(Memory):
    """A device that remembers within a row and answers with its nodes after every step: one row a window.

    Parameters
    ----------
    window
        Steps of a row; ``None`` for those of the sequences that it is fitted to, each of which is one row then.
        Longer sequences are cut into windows, each of which begins at rest, the last at the sequence's end.
    overlap
        Steps at the start of a window whose states are taken from the window before; less than the window.
    """

    name = "physical"
    encoder: SequenceEncoder

    def __init__(self, window: int | None = None, overlap: int = 0) -> None:
        if window is not None and not 0 <= overlap < window:
            raise ConfigError(f"a window of {window} steps cannot overlap the one before by {overlap}")
        super().__init__()
        self._window = window
        self._overlap = overlap

    def settings(self) -> dict[str, Any]:
        return {} if self._window is None else {"window": self._window, "overlap": self._overlap}

    def build(self, spec: DeviceSpec, steps: int, features: int, scaling: str = "global") -> None:
        """A device whose outputs are a whole number a step."""
        steps = self._window or steps
        if spec.n_outputs % steps:
            raise ConfigError(
                f"the device answers {spec.n_outputs} numbers a row, no whole number for each of {steps} steps; "
                "have it read its nodes after every step"
            )
        self.nodes = spec.n_outputs // steps
        self.encoder = SequenceEncoder(spec, steps * features, steps, scaling_name=scaling)

    @classmethod
    def features_held(cls, tensors: Mapping[str, Tensor], prefix: str) -> int:
        return len(tensors[f"{prefix}encoder.projection"]) or len(tensors[f"{prefix}encoder.mean"])

    def rows_a_sequence(self, steps: int) -> int:
        return len(self._starts(steps))

    def free_channels(self, spec: DeviceSpec, steps: int) -> int:
        return step_spec(spec, self._window or steps).n_drives

    def fit(self, sequences: Float64Array, measure: Measure) -> None:
        """Fit the encoder alone."""
        windows = self._windows(sequences) if self._window else sequences
        self.encoder.fit(torch.from_numpy(windows.reshape(len(windows), -1)))

    def states(self, sequences: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        if not self._window:
            return self._measured(sequences, purpose, measure)
        rows, steps, _ = sequences.shape
        starts = self._starts(steps)
        measured = self._measured(self._windows(sequences), purpose, measure).reshape(
            rows, len(starts), self._window, -1
        )
        states = np.empty((rows, steps, measured.shape[3]))
        for number, start in enumerate(starts):
            known = 0 if number == 0 else starts[number - 1] + self._window - start
            states[:, start + known : start + self._window] = measured[:, number, known:]
        return states

    def _measured(self, windows: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        rows, steps, _ = windows.shape
        stimuli = self.encoder(torch.from_numpy(windows.reshape(rows, -1)))
        return measure(stimuli, purpose).reshape(rows, steps, -1)

    def _starts(self, steps: int) -> list[int]:
        """Where the windows of a sequence begin."""
        if self._window is None:
            return [0]
        if steps < self._window:
            raise ConfigError(f"a sequence of {steps} steps is shorter than the window of {self._window}")
        stride = self._window - self._overlap
        return [*range(0, steps - self._window, stride), steps - self._window]

    def _windows(self, sequences: Float64Array) -> Float64Array:
        """All windows of all sequences (windows, window, features), those of a sequence side by side."""
        assert self._window
        starts = self._starts(sequences.shape[1])
        return np.concatenate([row[None, at : at + self._window] for row in sequences for at in starts])

    def steps_needed(self, steps: int) -> int:
        """A whole row: the device cannot be stopped within one."""
        return self._window or steps

    def last_state(self, sequences: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        """From the last window alone."""
        return self._measured(sequences[:, -self.encoder.steps :], purpose, measure)[:, -1]

    def rows_to_last_state(self, steps: int) -> int:
        return 1

    def next_state(self, state: Float64Array, past: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        """The whole window is driven again from rest, and all but its last state forgotten."""
        return self._measured(past, purpose, measure)[:, -1]

    def excursions(self, inputs: Float64Array) -> Float64Array:
        found = Encoder.excursions(self.encoder, torch.from_numpy(inputs))
        return np.asarray(found.amax(dim=1).numpy())

    @property
    def multiply_adds_a_step(self) -> int:
        """Scaling, and a projection where the features do not fit the channels."""
        encoder = self.encoder
        return encoder.n_data + (0 if encoder.is_direct else encoder.n_features * encoder.n_data)


class StreamMemory(Memory):
    """A device whose state goes on from row to row (``DeviceSpec.streams``): one row a step.

    The first step of a sequence resets the device. It stands in one state at a time, so sequences are driven one
    after the other, and another one in between ends the first.
    """

    name = "stream"
    encoder: Encoder

    def settings(self) -> dict[str, Any]:
        return {}

    def build(self, spec: DeviceSpec, steps: int, features: int, scaling: str = "global") -> None:
        """A device that streams."""
        if not spec.streams:
            raise ConfigError(
                "the device's state does not go on from row to row; give it streams = true, or take the memory "
                "'physical' or 'digital'"
            )
        self.nodes = spec.n_outputs
        self._ends = spec.low[-1], spec.high[-1]
        self.encoder = Encoder(spec, features, scaling_name=scaling)

    @classmethod
    def features_held(cls, tensors: Mapping[str, Tensor], prefix: str) -> int:
        return len(tensors[f"{prefix}encoder.projection"]) or len(tensors[f"{prefix}encoder.mean"])

    def rows_a_sequence(self, steps: int) -> int:
        return steps

    def free_channels(self, spec: DeviceSpec, steps: int) -> int:
        return max(1, spec.n_drives - default_reference_slots(spec))

    def fit(self, sequences: Float64Array, measure: Measure) -> None:
        """Fit the encoder alone."""
        self.encoder.fit(torch.from_numpy(sequences.reshape(-1, sequences.shape[2])))

    def states(self, sequences: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        rows, steps, features = sequences.shape
        stimuli = self._stimuli(sequences.reshape(-1, features))
        stimuli[::steps, -1] = self._ends[1]
        return measure(stimuli, purpose).reshape(rows, steps, -1)

    def _stimuli(self, inputs: Float64Array) -> Float64Array:
        """Rows that go on from those before."""
        stimuli: Float64Array = self.encoder(torch.from_numpy(inputs))
        stimuli[:, -1] = self._ends[0]
        return stimuli

    def steps_needed(self, steps: int) -> int:
        """All, for the device may stand elsewhere by now."""
        return steps

    @property
    def is_elsewhere(self) -> bool:
        """Whoever else measured has driven it on."""
        return True

    def last_state(self, sequences: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        return self.states(sequences, purpose, measure)[:, -1]

    def rows_to_last_state(self, steps: int) -> int:
        return steps

    def next_state(self, state: Float64Array, past: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        """One row on from where the device stands, at the end of the one sequence that ``past`` goes on."""
        if len(past) != 1:
            raise ConfigError(
                f"a device that streams stands at the end of one sequence, not of {len(past)}; forecast one at a "
                "time"
            )
        return measure(self._stimuli(past[:, -1]), purpose)

    def excursions(self, inputs: Float64Array) -> Float64Array:
        found = self.encoder.excursions(torch.from_numpy(inputs))
        return np.asarray(found.amax(dim=1).numpy())

    @property
    def multiply_adds_a_step(self) -> int:
        """Scaling, and a projection where the features do not fit the channels."""
        encoder = self.encoder
        return encoder.n_data + (0 if encoder.is_direct else encoder.n_features * encoder.n_data)


class FeedbackMemory(Memory):
    """A device without memory, whose answer is fed back digitally: see :class:`DigitalRecurrence`."""

    name = "digital"
    encoder: Encoder
    matrix_buffer: Tensor
    rest: Tensor
    feature_mean: Tensor

    def __init__(
        self,
        *,
        feedback_channels: int,
        spectral_radius: float = 0.9,
        input_gain: float = 0.05,
        probe_pairs: int | None = None,
        seed: int = 0,
        reference_slots: int | None = None,
    ) -> None:
        if not 0 < spectral_radius < np.inf or not 0 < input_gain <= 1:
            raise ConfigError("spectral_radius must be positive and finite, and input_gain within (0, 1]")
        super().__init__()
        self.spectral_radius = spectral_radius
        self._feedback = feedback_channels
        self._input_gain = input_gain
        self._pairs = 2 * feedback_channels if probe_pairs is None else probe_pairs
        self._seed = seed
        self._slots = reference_slots
        self._probed: tuple[Float64Array, Float64Array] | None = None

    def settings(self) -> dict[str, Any]:
        return {
            "feedback_channels": self._feedback,
            "spectral_radius": self.spectral_radius,
            "input_gain": self._input_gain,
            "probe_pairs": self._pairs,
            "seed": self._seed,
            "reference_slots": self._slots,
        }

    def attach(self, spec: DeviceSpec) -> None:
        """Lay out a device's channels.

        Raises
        ------
        ConfigError
            They do not hold the feedback and one feature.
        """
        self._slots = default_reference_slots(spec) if self._slots is None else self._slots
        most = spec.n_drives - self._slots - 1
        if not 1 <= self._feedback <= most:
            raise ConfigError(f"feedback_channels must be 1 to {most}, not {self._feedback}")
        self._spec = spec
        self._middle, self._half = (spec.low + spec.high) / 2, (spec.high - spec.low) / 2
        end = spec.n_drives - self._slots
        self._data, self._fed = slice(0, end - self._feedback), slice(end - self._feedback, end)
        self.nodes = spec.n_outputs
        self._set("matrix_buffer", np.zeros((spec.n_outputs, self._feedback)))
        self._set("rest", np.zeros(spec.n_outputs))

    def _set(self, name: str, values: Float64Array) -> None:
        self.register_buffer(name, torch.from_numpy(np.array(values, dtype=np.float64)))

    @property
    def matrix(self) -> Float64Array:
        """The feedback P, shape (nodes, feedback_channels)."""
        return self.matrix_buffer.numpy()

    def build(self, spec: DeviceSpec, steps: int, features: int, scaling: str = "global") -> None:
        """A device with room for the feedback and for a feature."""
        self.attach(spec)
        self._copies = max(1, self._data.stop // features)
        # Controls take the place of the feedback, so that the features get all other channels.
        rest, n_features = tuple(self._middle[self._fed]), features * self._copies
        self.encoder = Encoder(
            spec,
            n_features,
            reference_slots=self._slots,
            controls=rest,
            scaling_name=scaling,
            seed=self._seed,
        )
        self._set("feature_mean", np.zeros(features))

    @classmethod
    def features_held(cls, tensors: Mapping[str, Tensor], prefix: str) -> int:
        return len(tensors[f"{prefix}feature_mean"])

    def rows_a_sequence(self, steps: int) -> int:
        return steps

    def free_channels(self, spec: DeviceSpec, steps: int) -> int:
        slots = default_reference_slots(spec) if self._slots is None else self._slots
        return max(1, spec.n_drives - slots - self._feedback)

    @property
    def rows_to_fit(self) -> int:
        return 2 * self._pairs + 1

    def fit(self, sequences: Float64Array, measure: Measure) -> None:
        """Fit the encoder, and measure the slopes at rest: features at their mean, feedback at mid-range."""
        repeated = self._repeated(sequences.reshape(-1, sequences.shape[2]))
        self.encoder.fit(repeated)
        self._set("feature_mean", repeated.mean(dim=0).numpy()[:: self._copies])
        rng = np.random.default_rng(self._seed)
        rest, slopes = self._measured_slopes(rng, measure)
        matrix = rng.standard_normal(self.matrix.shape) / np.sqrt(len(self.matrix))
        radius = float(np.abs(np.linalg.eigvals(slopes @ matrix)).max())
        if not radius > 0:
            raise ConfigError("the device does not answer to its feedback channels; no loop can be closed there")
        self._set("matrix_buffer", matrix * (self.spectral_radius / radius))
        self._set("rest", rest)

    def finish(self) -> None:
        self._probed = None

    def _repeated(self, features: Float64Array) -> Tensor:
        return torch.from_numpy(np.repeat(features, self._copies, axis=1))

    def _measured_slopes(self, rng: np.random.Generator, measure: Measure) -> tuple[Float64Array, Float64Array]:
        """The answer at rest, and its slopes with respect to the feedback, shape (feedback, n_outputs)."""
        drive = rng.choice([-PROBE_AMPLITUDE, PROBE_AMPLITUDE], (self._pairs, self._feedback))
        every = np.concatenate([np.zeros((1, self._feedback)), drive, -drive])
        encoded = self.encoder(self._repeated(np.tile(self.feature_mean.numpy(), (len(every), 1))))
        answers = self._probe_answers(self._stimuli(encoded, every), measure)
        # The odd part alone: what is even in the drive, such as a detector's square, has no slope at rest.
        odd = (answers[1 : self._pairs + 1] - answers[self._pairs + 1 :]) / 2
        return answers[0], np.linalg.lstsq(drive, odd)[0]

    def _probe_answers(self, stimuli: Float64Array, measure: Measure) -> Float64Array:
        """Measured, or known from a fit that failed after it had measured them."""
        if self._probed is None or not np.array_equal(self._probed[0], stimuli):
            self._probed = (stimuli, measure(stimuli, "calibrate"))
        return self._probed[1]

    def _stimuli(self, encoded: Float64Array, drive: Float64Array) -> Float64Array:
        """Encoded features with the feedback on the last channels; ``drive`` in half ranges."""
        encoded = encoded.copy()
        data, fed = self._data, self._fed
        encoded[:, data] = self._middle[data] + self._input_gain * (encoded[:, data] - self._middle[data])
        encoded[:, fed] = self._middle[fed] + self._half[fed] * np.clip(drive, -1.0, 1.0)
        return encoded

    def states(self, sequences: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        """One row a step of a sequence; all sequences take a step together."""
        rows, steps, _ = sequences.shape
        feed_back, states = ExactProduct(self.matrix), []
        answer = np.tile(self.rest.numpy(), (rows, 1))
        for step in range(steps):
            answer = self._answer(answer, sequences[:, step], feed_back, purpose, measure)
            states.append(answer)
        return np.stack(states, axis=1)

    def _answer(
        self, before: Float64Array, inputs: Float64Array, feed_back: ExactProduct, purpose: str, measure: Measure
    ) -> Float64Array:
        """To inputs (rows, features), after the answers of the step before (rows, nodes)."""
        drive = np.asarray(feed_back(before - self.rest.numpy()))
        return measure(self._stimuli(self.encoder(self._repeated(inputs)), drive), purpose)

    def steps_needed(self, steps: int) -> int:
        """The state holds everything before the new input."""
        return 1

    def last_state(self, sequences: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        return self.states(sequences, purpose, measure)[:, -1]

    def rows_to_last_state(self, steps: int) -> int:
        return steps

    def next_state(self, state: Float64Array, past: Float64Array, purpose: str, measure: Measure) -> Float64Array:
        return self._answer(state, past[:, -1], ExactProduct(self.matrix), purpose, measure)

    def excursions(self, inputs: Float64Array) -> Float64Array:
        found = self.encoder.excursions(self._repeated(inputs))
        return np.asarray(found.amax(dim=1).numpy())

    @property
    def multiply_adds_a_step(self) -> int:
        """Scaling and the product with the feedback matrix."""
        return self.encoder.n_data + self.matrix_buffer.numel()


MEMORIES: dict[str, type[Memory]] = {kind.name: kind for kind in (DeviceMemory, StreamMemory, FeedbackMemory)}


class Reservoir:
    """Turns sequences (rows, steps, features) into states (rows, steps, nodes).

    Parameters
    ----------
    session
        Of the device that is driven.
    memory
        How it is driven.
    scaling
        Of the features, see :mod:`hwloop.layers.standardise`.
    """

    def __init__(self, session: Session, memory: Memory, scaling: str = "global") -> None:
        self.session = session
        self.memory = memory
        self.scaling = scaling

    def settings(self) -> dict[str, Any]:
        """What decides, beside the sequences, which rows are measured; as plain values."""
        scaled = {} if self.scaling == "global" else {"scaling": self.scaling}
        return {"reservoir": type(self).__name__, **self.memory.settings(), **scaled}

    def fit(self, sequences: Float64Array) -> None:
        """Fit the encoder, and what else the reservoir needs, on training sequences."""
        self.memory.build(self.session.device.spec, sequences.shape[1], sequences.shape[2], self.scaling)
        self.memory.fit(sequences, self.session.measure)

    def finish(self) -> None:
        """A fit has ended well: the next one measures anew what is always measured."""
        self.memory.finish()

    def states(self, sequences: Float64Array, purpose: str) -> Float64Array:
        """Measure the states at the end of every step; every sequence begins from rest."""
        return self.memory.states(sequences, purpose, self.session.measure)


class PhysicalMemory(Reservoir):
    """A device that remembers within a row and answers with its nodes after every step: one row a sequence.

    For a delay loop: ``sequence_length`` the steps of a sequence, ``readout="all"``.

    Parameters
    ----------
    session
        Of a device whose inputs and outputs are ordered by step.
    window, overlap
        As of a :class:`DeviceMemory`.
    """

    def __init__(self, session: Session, window: int | None = None, overlap: int = 0) -> None:
        super().__init__(session, DeviceMemory(window, overlap))


class PhysicalStream(Reservoir):
    """A device whose state goes on from row to row: one row a step, and one a step of a forecast.

    Parameters
    ----------
    session
        Of a device that streams, such as a delay loop with ``streams=True``.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session, StreamMemory())


class DigitalRecurrence(Reservoir):
    """A device without memory, whose answer to a step is fed back digitally into the next: one row a step.

    In step t the encoded features, each on as many channels as there is room for, stand beside the feedback and
    the reference that a quadratic detector needs (without it such a detector has no slope at rest):
    middle + half range * clip(P (y(t-1) - y_rest)), y the device's answer and P a fixed Gaussian matrix. P is
    scaled so that the loop, linearised where it rests, has the given spectral radius: the largest eigenvalue
    magnitude of P J, J the device's slopes, measured with 2 ``probe_pairs`` + 1 rows (purpose ``calibrate``).
    Below 1 a small disturbance at rest dies out, as an echo state needs it (Jaeger, GMD report 148, 2001); a
    driven nonlinear loop may forget faster or slower, so keep ``input_gain`` small where a long memory is needed.

    Parameters
    ----------
    session
        Of a device whose answer to a row depends on that row alone.
    feedback_channels
        Channels of the feedback; the others take the features and the reference.
    spectral_radius
        Of the linearised loop, positive.
    input_gain
        Of the features, in half ranges: 1 lets them fill the range.
    probe_pairs
        Opposite disturbances of the rest that measure the slopes; ``None`` for two a feedback channel.
    seed
        Of P and the probes.
    reference_slots
        Channels held constant, the last; ``None`` for what the device needs.
    """

    memory: FeedbackMemory

    def __init__(
        self,
        session: Session,
        *,
        feedback_channels: int,
        spectral_radius: float = 0.9,
        input_gain: float = 0.05,
        probe_pairs: int | None = None,
        seed: int = 0,
        reference_slots: int | None = None,
    ) -> None:
        memory = FeedbackMemory(
            feedback_channels=feedback_channels,
            spectral_radius=spectral_radius,
            input_gain=input_gain,
            probe_pairs=probe_pairs,
            seed=seed,
            reference_slots=reference_slots,
        )
        memory.attach(session.device.spec)
        super().__init__(session, memory)

    @property
    def spectral_radius(self) -> float:
        """Of the linearised loop, as it was asked for."""
        return self.memory.spectral_radius

    @property
    def matrix(self) -> Float64Array:
        """The feedback P, shape (n_outputs, feedback_channels); zeros before a fit."""
        return self.memory.matrix
