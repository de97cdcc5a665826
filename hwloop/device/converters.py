"""Digital-to-analogue and analogue-to-digital converters: clip to a range, round to a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array


@dataclass(frozen=True, eq=False)
class Converter:
    """An ideal converter over [low, high]: values are clipped, and rounded to the nearest level.

    Both ends of the range are levels. A range that is symmetric about zero has 2**bits - 1 levels, so that
    zero is one of them, as a two's-complement converter that leaves out its most negative code (with one bit:
    the two ends); any other range has 2**bits. The step is (high - low) / (levels - 1).

    Parameters
    ----------
    bits
        1 to 24.
    low, high
        Ends of the range, one number or an array of shape (channels,), in the unit of the values.
    """

    bits: int
    low: float | Float64Array
    high: float | Float64Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", whole_number("bits", self.bits, low=1, high=24))
        if not (np.all(np.isfinite(self.low)) and np.all(np.isfinite(self.high))):
            raise ValueError(f"a converter's range must be finite, not [{self.low!r}, {self.high!r}]")
        if not np.all(np.asarray(self.low) < np.asarray(self.high)):
            raise ValueError(f"a converter's range must rise from low to high, not [{self.low!r}, {self.high!r}]")

    @cached_property
    def _centred(self) -> NDArray[np.bool_]:
        return np.asarray((np.asarray(self.low) == -np.asarray(self.high)) & (self.bits > 1))

    @cached_property
    def step(self) -> Float64Array:
        """Distance between two levels, shape () or (channels,)."""
        levels = np.where(self._centred, 2.0**self.bits - 1, 2.0**self.bits)
        return np.asarray((np.asarray(self.high, dtype=np.float64) - self.low) / (levels - 1))

    @cached_property
    def _origin(self) -> Float64Array:
        # Levels are counted from here: counted from zero, the level at zero is exactly zero.
        return np.where(self._centred, 0.0, self.low)

    def convert(self, values: NDArray[np.floating]) -> Float64Array:
        """Values of shape (..., channels) on the converter's grid, never outside its range."""
        converted = np.asarray(values - self._origin, dtype=np.float64)
        converted /= self.step
        np.rint(converted, out=converted)
        converted *= self.step
        converted += self._origin
        return np.clip(converted, self.low, self.high, out=converted)
