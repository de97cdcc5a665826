"""Reservoirs: a physical system that is driven step by step, by its own memory or by a digital recurrence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwloop.blocks import ExactProduct
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers.encode import Encoder, SequenceEncoder, default_reference_slots
from hwloop.session import Session

PROBE_AMPLITUDE = 0.1  # of half the range: near the rest, and far above the converters' steps


class Reservoir(ABC):
    """Turns sequences (rows, steps, features) into states (rows, steps, nodes).

    Parameters
    ----------
    session
        Of the device that is driven.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    def settings(self) -> dict[str, Any]:
        """What decides, beside the sequences, which rows are measured; as plain values."""
        return {"reservoir": type(self).__name__}

    @abstractmethod
    def fit(self, sequences: Float64Array) -> None:
        """Fit the encoder, and what else the reservoir needs, on training sequences."""

    def finish(self) -> None:
        """A fit has ended well: the next one measures anew what is always measured."""

    @abstractmethod
    def states(self, sequences: Float64Array, purpose: str) -> Float64Array:
        """Measure the states at the end of every step; every sequence begins from rest."""


class PhysicalMemory(Reservoir):
    """A device that remembers within a row and answers with its nodes after every step: one row a sequence.

    For a delay loop: ``sequence_length`` the steps of a sequence, ``readout="all"``.

    Parameters
    ----------
    session
        Of a device whose inputs and outputs are ordered by step.
    """

    _encoder: SequenceEncoder

    def fit(self, sequences: Float64Array) -> None:
        rows, steps, features = sequences.shape
        spec = self.session.device.spec
        if spec.n_outputs % steps:
            raise ConfigError(
                f"the device answers {spec.n_outputs} numbers a row, no whole number for each of {steps} steps; "
                "have it read its nodes after every step"
            )
        self._encoder = SequenceEncoder(spec, steps * features, steps)
        self._encoder.fit(torch.from_numpy(sequences.reshape(rows, -1)))

    def states(self, sequences: Float64Array, purpose: str) -> Float64Array:
        rows, steps, _ = sequences.shape
        stimuli = self._encoder(torch.from_numpy(sequences.reshape(rows, -1)))
        return self.session.measure(stimuli, purpose).reshape(rows, steps, -1)


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
        spec = session.device.spec
        self._slots = default_reference_slots(spec) if reference_slots is None else reference_slots
        most = spec.n_drives - self._slots - 1
        if not 1 <= feedback_channels <= most:
            raise ConfigError(f"feedback_channels must be 1 to {most}, not {feedback_channels}")
        if not 0 < spectral_radius < np.inf or not 0 < input_gain <= 1:
            raise ConfigError("spectral_radius must be positive and finite, and input_gain within (0, 1]")
        super().__init__(session)
        self.spectral_radius = spectral_radius
        self._feedback = feedback_channels
        self._input_gain = input_gain
        self._pairs = 2 * feedback_channels if probe_pairs is None else probe_pairs
        self._seed = seed
        self._middle, self._half = (spec.low + spec.high) / 2, (spec.high - spec.low) / 2
        end = spec.n_drives - self._slots
        self._data, self._fed = slice(0, end - feedback_channels), slice(end - feedback_channels, end)
        self.matrix: Float64Array = np.zeros((spec.n_outputs, feedback_channels))
        self._probed: tuple[Float64Array, Float64Array] | None = None

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "feedback_channels": self._feedback,
            "spectral_radius": self.spectral_radius,
            "input_gain": self._input_gain,
            "probe_pairs": self._pairs,
            "seed": self._seed,
            "reference_slots": self._slots,
        }

    def finish(self) -> None:
        self._probed = None

    def fit(self, sequences: Float64Array) -> None:
        """Fit the encoder, and measure the slopes at rest: features at their mean, feedback at mid-range."""
        spec, features = self.session.device.spec, sequences.shape[2]
        self._copies = max(1, self._data.stop // features)
        # Controls take the place of the feedback, so that the features get all other channels.
        rest = tuple(self._middle[self._fed])
        n_features = features * self._copies
        self._encoder = Encoder(spec, n_features, reference_slots=self._slots, controls=rest, seed=self._seed)
        repeated = self._repeated(sequences.reshape(-1, features))
        self._encoder.fit(repeated)
        self._mean = repeated.mean(dim=0).numpy()
        rng = np.random.default_rng(self._seed)
        self._rest, slopes = self._measured_slopes(rng)
        self.matrix = rng.standard_normal(self.matrix.shape) / np.sqrt(len(self.matrix))
        radius = float(np.abs(np.linalg.eigvals(slopes @ self.matrix)).max())
        if not radius > 0:
            raise ConfigError("the device does not answer to its feedback channels; no loop can be closed there")
        self.matrix *= self.spectral_radius / radius

    def _repeated(self, features: Float64Array) -> Tensor:
        return torch.from_numpy(np.repeat(features, self._copies, axis=1))

    def _measured_slopes(self, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
        """The answer at rest, and its slopes with respect to the feedback, shape (feedback, n_outputs)."""
        drive = rng.choice([-PROBE_AMPLITUDE, PROBE_AMPLITUDE], (self._pairs, self._feedback))
        every = np.concatenate([np.zeros((1, self._feedback)), drive, -drive])
        encoded = self._encoder(torch.from_numpy(np.tile(self._mean, (len(every), 1))))
        answers = self._probe_answers(self._stimuli(encoded, every))
        # The odd part alone: what is even in the drive, such as a detector's square, has no slope at rest.
        odd = (answers[1 : self._pairs + 1] - answers[self._pairs + 1 :]) / 2
        return answers[0], np.linalg.lstsq(drive, odd)[0]

    def _probe_answers(self, stimuli: Float64Array) -> Float64Array:
        """Measured, or known from a fit that failed after it had measured them."""
        if self._probed is None or not np.array_equal(self._probed[0], stimuli):
            self._probed = (stimuli, self.session.measure(stimuli, "calibrate"))
        return self._probed[1]

    def _stimuli(self, encoded: Float64Array, drive: Float64Array) -> Float64Array:
        """Encoded features with the feedback on the last channels; ``drive`` in half ranges."""
        encoded = encoded.copy()
        data, fed = self._data, self._fed
        encoded[:, data] = self._middle[data] + self._input_gain * (encoded[:, data] - self._middle[data])
        encoded[:, fed] = self._middle[fed] + self._half[fed] * np.clip(drive, -1.0, 1.0)
        return encoded

    def states(self, sequences: Float64Array, purpose: str) -> Float64Array:
        """One row a step of a sequence; all sequences take a step together."""
        rows, steps, _ = sequences.shape
        feed_back, drive, states = ExactProduct(self.matrix), np.zeros((rows, self._feedback)), []
        for step in range(steps):
            encoded = self._encoder(self._repeated(sequences[:, step]))
            answer = self.session.measure(self._stimuli(encoded, drive), purpose)
            drive = feed_back(answer - self._rest)
            states.append(answer)
        return np.stack(states, axis=1)
