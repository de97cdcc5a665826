"""What stands between a number and the physics, and between the physics and a number, on every set-up.

The chain that all substrates share: the DAC clips and rounds the stimulus; [the physics, with its drift];
then the detector's steps in the order in which the signal meets them. Each step is a small strategy; a random
one has a seeded stream of its own, entered by row, so that switching one off leaves the others' noise as it
was and no row's noise depends on how rows were batched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hwloop.device.converters import Converter
from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream

# numpy's Poisson generator works in int64; a billion electrons is far above any well.
MAX_ELECTRONS = 1e9


class Imperfection(ABC):
    """One step of a detector. A subclass checks its settings when it is made.

    Attributes
    ----------
    random
        Whether it draws numbers.
    size
        Name of the setting that is 0 where the step leaves every signal as it is; empty if there is none.
    """

    random: ClassVar[bool] = False
    size: ClassVar[str] = ""

    @property
    def active(self) -> bool:
        """Whether it alters a signal."""
        return not self.size or bool(np.any(getattr(self, self.size)))

    @abstractmethod
    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """The signal after this step, shape (rows, channels); ``first_row`` is the first row's number."""


class RandomStep(Imperfection):
    """A step that draws numbers."""

    random: ClassVar[bool] = True


@dataclass(frozen=True)
class GainJitter(RandomStep):
    """Common-mode gain: every reading of a row times 1 + std * normal, at least 0 (source power)."""

    std: float
    stream: NoiseStream
    size: ClassVar[str] = "std"

    def __post_init__(self) -> None:
        real_number("gain_jitter", self.std, low=0.0, high=1.0)

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        factors = 1.0 + self.std * self.stream.normals(first_row, len(signal), 1).astype(np.float64)
        return np.asarray(signal * np.maximum(factors, 0.0))


@dataclass(frozen=True)
class ShotNoise(RandomStep):
    """Counting statistics: a signal of 1 is ``electrons`` Poisson counts on average.

    The variance of the counts equals their mean, so the relative noise at full scale is 1 / sqrt(electrons).
    """

    electrons: float
    stream: NoiseStream

    def __post_init__(self) -> None:
        real_number("full_well_electrons", self.electrons, low=1.0, high=MAX_ELECTRONS)

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """Poisson counts in place of the mean, in the signal's own unit; a negative mean counts nothing."""
        counts = signal * self.electrons
        np.clip(counts, 0.0, 1e15, out=counts)
        for means, rng in zip(counts, self.stream.generators(first_row, len(signal)), strict=True):
            means[:] = rng.poisson(means)
        counts /= self.electrons
        return counts


@dataclass(frozen=True)
class ReadNoise(RandomStep):
    """Additive white Gaussian noise of standard deviation ``std``, in the unit of the signal."""

    std: float
    stream: NoiseStream
    size: ClassVar[str] = "std"

    def __post_init__(self) -> None:
        real_number("read_noise", self.std, low=0.0)

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """Noise drawn for every channel of every row."""
        noise = self.stream.normals(first_row, *signal.shape).astype(np.float64)
        noise *= self.std
        noise += signal
        return noise


@dataclass(frozen=True)
class SaturatingDetector(Imperfection):
    """A detector that gives ``level`` at most, on both signs."""

    level: float = 1.0

    def __post_init__(self) -> None:
        real_number("saturation level", self.level, low=1e-9)

    @abstractmethod
    def slope(self, signal: Float64Array) -> Float64Array:
        """Derivative of the reading by the signal."""


class SoftSaturation(SaturatingDetector):
    """Gradual saturation, y = s / (1 + abs(s) / level): half the level at s = level."""

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        divisor = np.abs(signal)
        divisor /= self.level
        divisor += 1.0
        return np.asarray(np.divide(signal, divisor, out=divisor))

    def slope(self, signal: Float64Array) -> Float64Array:
        """dy/ds = 1 / (1 + abs(s) / level)**2."""
        return np.asarray((1.0 + np.abs(signal) / self.level) ** -2)


class HardSaturation(SaturatingDetector):
    """Abrupt saturation: linear up to ``level``, constant beyond, on both signs."""

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        return np.clip(signal, -self.level, self.level)

    def slope(self, signal: Float64Array) -> Float64Array:
        return (np.abs(signal) < self.level).astype(np.float64)


@dataclass(frozen=True)
class ADC(Imperfection):
    """The detector's converter; its quantisation SNR for a full-scale sine is 6.02 bits + 1.76 dB."""

    converter: Converter

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        """The signal clipped to the converter's range, on its grid."""
        return self.converter.convert(signal)


@dataclass(frozen=True)
class Glitches(RandomStep):
    """With probability ``rate`` a row is lost: every reading is replaced by a uniform one in [low, high]."""

    rate: float
    stream: NoiseStream
    low: float = 0.0
    high: float = 1.0
    size: ClassVar[str] = "rate"

    def __post_init__(self) -> None:
        real_number("glitch_rate", self.rate, low=0.0, high=1.0)

    def apply(self, signal: Float64Array, first_row: int) -> Float64Array:
        result = signal.copy()
        for row, rng in zip(result, self.stream.generators(first_row, len(signal)), strict=True):
            if rng.random() < self.rate:
                row[:] = rng.uniform(self.low, self.high, size=row.shape)
        return result


@dataclass(frozen=True)
class ImperfectionChain:
    """The steps around one substrate's physics.

    Parameters
    ----------
    dac
        The converter that drives the physics, ``None`` for an ideal one.
    detector
        The steps after the physics, first to last.
    """

    dac: Converter | None
    detector: tuple[Imperfection, ...]

    def drive(self, stimuli: Float64Array) -> Float64Array:
        """What really reaches the physics when these stimuli are sent, shape (rows, n_inputs)."""
        return stimuli if self.dac is None else self.dac.convert(stimuli)

    def detect(self, signal: Float64Array, first_row: int) -> Float64Array:
        """What the detector reports of a signal of shape (rows, n_outputs)."""
        for step in self.detector:
            if step.active:
                signal = step.apply(signal, first_row)
        return signal

    def noiseless(self) -> ImperfectionChain:
        """The chain without its random steps; converters and saturation stay."""
        return replace(self, detector=tuple(step for step in self.detector if not step.random))

    @property
    def deterministic(self) -> bool:
        """Whether the same signal is always reported as the same numbers."""
        return not any(step.random and step.active for step in self.detector)
