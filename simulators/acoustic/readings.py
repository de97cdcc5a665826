"""From complex amplitudes to readings: gains that several of them share, and what is made of a line.

Gains are faults of a loudspeaker's amplifier or of a room's temperature.

Readings are the real and then the imaginary parts of complex amplitudes; ``groups`` and ``loadings`` speak of the
complex ones, and both parts get the same gain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.blocks import ExactProduct
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream
from hwloop.simulators.imperfections import Imperfection, RandomStep


@dataclass(frozen=True)
class GroupJitter(RandomStep):
    """White gain noise: times 1 + std * normal, one draw a row for all readings of a group.

    Parameters
    ----------
    std
        Of each group, shape (groups,).
    groups
        The group of each amplitude, shape (amplitudes,).
    """

    std: Float64Array
    groups: NDArray[np.int64]
    stream: NoiseStream
    size: ClassVar[str] = "std"

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        draws = self.stream.normals(first_row, len(signal), len(self.std)).astype(np.float64)
        return times_gains(signal, (1.0 + self.std * draws)[:, self.groups])


@dataclass(frozen=True)
class WanderingGain(RandomStep):
    """Slow drift: gain 1 + latent(k) @ loadings before row k, latents of mean 0 and variance 1.

    A latent runs smoothly through normal numbers n_j that lie ``rows`` rows apart, as cos(a) n_j + sin(a) n_(j+1)
    with a from 0 to pi / 2: its variance is 1 at every row, and it is forgotten after 2 ``rows``.

    Parameters
    ----------
    loadings
        What a latent of 1 does to each amplitude's gain, shape (latents, amplitudes).
    rows
        Time of the drift, in rows.
    """

    loadings: Float64Array
    rows: int
    stream: NoiseStream
    size: ClassVar[str] = "loadings"

    def latents(self, first_row: int, count: int) -> Float64Array:
        """Shape (count, latents)."""
        age = np.arange(first_row, first_row + count) / self.rows
        knot = np.floor(age).astype(np.int64)
        first = int(knot[0])
        normals = self.stream.normals(first, int(knot[-1]) - first + 2, len(self.loadings)).astype(np.float64)
        angle = (age - knot)[:, np.newaxis] * np.pi / 2
        return np.asarray(np.cos(angle) * normals[knot - first] + np.sin(angle) * normals[knot - first + 1])

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        gains = np.ones((len(signal), self.loadings.shape[1]))
        for latent, loading in zip(self.latents(first_row, len(signal)).T, self.loadings, strict=True):
            gains += latent[:, np.newaxis] * loading  # not as a product of matrices: a row is by itself
        return times_gains(signal, gains)


@dataclass(frozen=True)
class GainGlitches(RandomStep):
    """With probability ``rate`` a row has other gains, all groups at once.

    Parameters
    ----------
    rate
        Fraction of rows, 0 to 1.
    gains
        What the groups' gains may be in such a row, shape (choices, groups): one choice is drawn.
    groups
        The group of each amplitude, shape (amplitudes,).
    """

    rate: float
    gains: Float64Array
    groups: NDArray[np.int64]
    stream: NoiseStream
    size: ClassVar[str] = "rate"

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        result = signal.copy()
        for place, rng in enumerate(self.stream.generators(first_row, len(signal))):
            if rng.random() < self.rate:
                drawn = self.gains[rng.integers(len(self.gains))]
                result[place : place + 1] = times_gains(signal[place : place + 1], drawn[np.newaxis, self.groups])
        return result


@dataclass(frozen=True)
class Background(Imperfection):
    """A wave that is always there: ``amplitudes``, complex, shape (amplitudes,), is added."""

    amplitudes: NDArray[np.complex128]

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """Real parts to real parts, imaginary to imaginary ones."""
        return np.asarray(signal + np.concatenate([self.amplitudes.real, self.amplitudes.imag]))


@dataclass(frozen=True)
class QuadratureNoise(RandomStep):
    """White noise of each quadrature, with a standard deviation of its own for each amplitude, (amplitudes,)."""

    std: Float64Array
    stream: NoiseStream

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """Drawn for every quadrature of every row."""
        draws = self.stream.normals(first_row, *signal.shape).astype(np.float64)
        return signal + np.concatenate([self.std, self.std]) * draws


def times_gains(signal: Float64Array, gains: Float64Array) -> Float64Array:
    """Both parts of each amplitude, (rows, 2 amplitudes), times its gain, (rows, amplitudes)."""
    return np.asarray(signal * np.concatenate([gains, gains], axis=1))


# -- what is made of the amplitudes -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LineReadout(ABC):
    """Amplitudes come as all real and then all imaginary parts, microphone by microphone, lines within.

    Parameters
    ----------
    lines
        The harmonics read.
    n_microphones
        How many microphones there are.
    n_samples
        Samples of a period, for the waveform.
    """

    lines: NDArray[np.int64]
    n_microphones: int
    n_samples: int

    @property
    def n_outputs(self) -> int:
        """Readings a row."""
        return len(self.lines) * self.n_microphones

    @abstractmethod
    def read(self, amplitudes: Float64Array) -> Float64Array:
        """Shape (rows, n_outputs)."""


class Magnitude(LineReadout):
    """abs(P)."""

    def read(self, amplitudes: Float64Array) -> Float64Array:
        return np.asarray(np.hypot(*np.split(amplitudes, 2, axis=1)))


class Power(LineReadout):
    """abs(P)^2."""

    def read(self, amplitudes: Float64Array) -> Float64Array:
        real, imaginary = np.split(amplitudes, 2, axis=1)
        return np.asarray(real * real + imaginary * imaginary)


class Quadratures(LineReadout):
    """All real parts, then all imaginary parts."""

    @property
    def n_outputs(self) -> int:
        return 2 * super().n_outputs

    def read(self, amplitudes: Float64Array) -> Float64Array:
        return amplitudes


class Waveform(LineReadout):
    """p(t) of the lines that are read, over one period of the fundamental, microphone by microphone."""

    @property
    def n_outputs(self) -> int:
        return self.n_samples * self.n_microphones

    @cached_property
    def _synthesis(self) -> ExactProduct:
        angles = 2 * np.pi * np.outer(self.lines, np.arange(self.n_samples)) / self.n_samples
        return ExactProduct(np.concatenate([np.cos(angles), -np.sin(angles)]))

    def read(self, amplitudes: Float64Array) -> Float64Array:
        """The sum of Re P exp(i m w t)."""
        rows = len(amplitudes)
        parts = amplitudes.reshape(rows, 2, self.n_microphones, len(self.lines)).swapaxes(1, 2)
        found = self._synthesis(parts.reshape(rows * self.n_microphones, -1))
        return found.reshape(rows, self.n_outputs)


READOUTS: dict[str, type[LineReadout]] = {
    "magnitude": Magnitude,
    "power": Power,
    "iq": Quadratures,
    "waveform": Waveform,
}
