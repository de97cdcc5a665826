"""The cells of a crossbar: what a write leaves, how it creeps, which cells are stuck and which wear out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hwloop.device.declared import SettingsGroup, real, whole
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream

DRIFT_RATIO = 1.02  # ages within so much of each other count as one: 0.1 % of a conductance at an exponent of 0.05


class Cells(SettingsGroup):
    """Memristors between two conductances.

    Parameters
    ----------
    low_siemens, high_siemens
        Least and greatest conductance.
    levels
        Conductances that can be asked for, evenly spaced; ``None`` for any.
    write_noise
        Standard deviation of what a pulse leaves, as a fraction of the range.
    verify_pulses
        Most pulses of a write: after each the cell is read, and one that is further off than ``verify_tolerance``
        (a fraction of the range) gets another. 1 writes without looking.
    verify_tolerance
        See above.
    stuck_share
        Fraction of the cells that never change: half of them at the least, half at the greatest conductance.
    endurance
        Pulses that half of the cells survive (lognormal, a factor 1.5 for one standard deviation); one that is
        worn out is stuck like those. ``None`` for no wear.
    drift_exponent
        Conductances fall as (1 + age / drift_rows)**-exponent since the last write, age in rows. Exponents differ
        from cell to cell with this mean and a third of it as standard deviation, at least 0.
    drift_rows
        See above.
    """

    low_siemens: float = real(1e-6, 1e-12, 1.0)
    high_siemens: float = real(1e-4, 1e-12, 1.0)
    levels: int | None = None
    write_noise: float = real(0.01, 0.0, 1.0)
    verify_pulses: int = whole(1, 1, 100)
    verify_tolerance: float = real(0.005, 0.0, 1.0)
    stuck_share: float = real(0.0, 0.0, 1.0)
    endurance: float | None = None
    drift_exponent: float = real(0.0, 0.0, 1.0, quiet=0.0)
    drift_rows: float = real(100.0, 1e-3, 1e12)


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number as another that looks random: a step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


class Chip:
    """The cells of one chip.

    What a write leaves in a cell is drawn from the seed, the cell and the value that is written: written again it
    leaves the same, so that a run that goes on meets the conductances that it had, and a cell of which nothing new
    is asked keeps its own.

    Parameters
    ----------
    settings
        Of the cells.
    shape
        Of the array.
    stream
        Gives the random numbers of a kind by its name.
    """

    def __init__(self, settings: Cells, shape: tuple[int, ...], stream: Callable[[str], NoiseStream]) -> None:
        self._set = settings
        key = stream("write").at_row(0).integers(0, 1 << 63, dtype=np.uint64)
        self._keys = _mixed(np.arange(math.prod(shape), dtype=np.uint64).reshape(shape) ^ key)
        self.range = settings.high_siemens - settings.low_siemens
        order = stream("stuck").at_row(0)
        self._weakness = order.random(shape)  # the weakest are stuck from the beginning
        self._stuck_at = np.where(order.random(shape) < 0.5, settings.low_siemens, settings.high_siemens)
        exponents = stream("drift").at_row(0).standard_normal(shape)
        self._exponents = settings.drift_exponent * np.maximum(1 + exponents / 3, 0.0)
        self._lives = np.full(shape, math.inf)
        if settings.endurance is not None:
            self._lives = settings.endurance * 1.5 ** stream("endurance").at_row(0).standard_normal(shape)

    def stuck(self, pulses: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which cells no longer change, after as many pulses each."""
        return np.asarray((self._weakness < self._set.stuck_share) | (pulses > self._lives))

    def written(self, target: Float64Array) -> tuple[Float64Array, NDArray[np.int64]]:
        """Conductances that a write leaves in sound cells, and the pulses that it took, for those asked for."""
        drawn = _mixed(target.astype("<f8").view("<u8") ^ self._keys)
        found, pulses = target.copy(), np.zeros(target.shape, dtype=np.int64)
        due = np.ones(target.shape, dtype=bool)
        for _ in range(self._set.verify_pulses):
            drawn = _mixed(drawn)
            noise = self._set.write_noise * self.range * ndtri(((drawn >> np.uint64(11)) + 0.5) / 2.0**53)
            pulsed = np.clip(target + noise, self._set.low_siemens, self._set.high_siemens)
            found[due] = pulsed[due]
            pulses += due
            due &= np.abs(found - target) > self._set.verify_tolerance * self.range
            if not due.any():
                break
        return found, pulses

    def with_stuck(self, conductances: Float64Array, pulses: NDArray[np.int64]) -> Float64Array:
        """The conductances, those of stuck cells in their places."""
        return np.where(self.stuck(pulses), self._stuck_at, conductances)

    def aged(self, conductances: Float64Array, age: float) -> Float64Array:
        """What is left of conductances so many rows after they were written."""
        if age <= 0 or not self._set.drift_exponent:
            return conductances
        return conductances * (1 + age / self._set.drift_rows) ** -self._exponents

    def epochs(self, ages: Float64Array) -> NDArray[np.int64]:
        """Ages within ``DRIFT_RATIO`` of each other have one number."""
        if not self._set.drift_exponent:
            return np.zeros(len(ages), dtype=np.int64)
        grown = np.log1p(ages / self._set.drift_rows) / math.log(DRIFT_RATIO)
        return np.asarray(np.floor(grown), dtype=np.int64)

    def age_of(self, epoch: int) -> float:
        """The age at which an epoch begins, in rows."""
        return float(self._set.drift_rows * math.expm1(epoch * math.log(DRIFT_RATIO)))
