"""Faults of gains that several readings share: what a loudspeaker's amplifier or a room's temperature does.

Readings are the real and then the imaginary parts of complex amplitudes; ``groups`` and ``loadings`` speak of the
complex ones, and both parts get the same gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream
from hwloop.simulators.imperfections import Imperfection


@dataclass(frozen=True)
class GroupJitter(Imperfection):
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
    random: ClassVar[bool] = True

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return bool(np.any(self.std > 0))

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """One factor a row and group."""
        draws = self.stream.normals(first_row, len(signal), len(self.std)).astype(np.float64)
        return times_gains(signal, (1.0 + self.std * draws)[:, self.groups])


@dataclass(frozen=True)
class WanderingGain(Imperfection):
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
    random: ClassVar[bool] = True

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return bool(np.any(self.loadings != 0))

    def latents(self, first_row: int, count: int) -> Float64Array:
        """Shape (count, latents)."""
        age = np.arange(first_row, first_row + count) / self.rows
        knot = np.floor(age).astype(np.int64)
        first = int(knot[0])
        normals = self.stream.normals(first, int(knot[-1]) - first + 2, len(self.loadings)).astype(np.float64)
        angle = (age - knot)[:, np.newaxis] * np.pi / 2
        return np.asarray(np.cos(angle) * normals[knot - first] + np.sin(angle) * normals[knot - first + 1])

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """The gains of each row's age."""
        gains = np.ones((len(signal), self.loadings.shape[1]))
        for latent, loading in zip(self.latents(first_row, len(signal)).T, self.loadings, strict=True):
            gains += latent[:, np.newaxis] * loading  # not as a product of matrices: a row is by itself
        return times_gains(signal, gains)


@dataclass(frozen=True)
class GainGlitches(Imperfection):
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
    random: ClassVar[bool] = True

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return self.rate > 0

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """Sound rows unchanged."""
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
    random: ClassVar[bool] = False

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """Real parts to real parts, imaginary to imaginary ones."""
        return np.asarray(signal + np.concatenate([self.amplitudes.real, self.amplitudes.imag]))


@dataclass(frozen=True)
class Floor(Imperfection):
    """White noise of each quadrature, with a standard deviation of its own for each amplitude, (amplitudes,)."""

    std: Float64Array
    stream: NoiseStream
    random: ClassVar[bool] = True

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """Drawn for every quadrature of every row."""
        draws = self.stream.normals(first_row, *signal.shape).astype(np.float64)
        return signal + np.concatenate([self.std, self.std]) * draws


def times_gains(signal: Float64Array, gains: Float64Array) -> Float64Array:
    """Both parts of each amplitude, (rows, 2 amplitudes), times its gain, (rows, amplitudes)."""
    return np.asarray(signal * np.concatenate([gains, gains], axis=1))
