"""What is known of where hardware stands: within a box, a channel a side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from hwloop.device.spec import Float64Array

ROUNDING = 1e-12  # of a difference: it must not make a step too large where it is just the largest


@dataclass(frozen=True, eq=False)
class PositionBounds:
    """Somewhere from ``low`` to ``high``, shape (n_inputs,) each."""

    low: Float64Array
    high: Float64Array

    @classmethod
    def at(cls, point: Float64Array) -> Self:
        """Known exactly."""
        return cls(point.copy(), point.copy())

    @classmethod
    def from_lists(cls, low: Sequence[float], high: Sequence[float], channels: int) -> Self:
        """From a journal.

        Raises
        ------
        ValueError, TypeError
            These are no limits of so many channels.
        """
        box = cls(np.array(low, dtype=np.float64), np.array(high, dtype=np.float64))
        if box.low.shape != (channels,) or box.high.shape != (channels,) or not (box.low <= box.high).all():
            raise ValueError(f"{low} to {high}")
        return box

    @property
    def is_exact(self) -> bool:
        """Whether it is one point."""
        return np.array_equal(self.low, self.high)

    @property
    def middle(self) -> Float64Array:
        """Nowhere within is farther from it than half the size."""
        return np.clip((self.low + self.high) / 2, self.low, self.high)

    def around(self, point: Float64Array) -> PositionBounds:
        """Enlarged to hold the point too."""
        return PositionBounds(np.minimum(self.low, point), np.maximum(self.high, point))

    def holds(self, other: PositionBounds) -> bool:
        """Whether all of the other lies within."""
        return bool((self.low <= other.low).all() and (other.high <= self.high).all())

    def is_within(self, size: Float64Array) -> bool:
        """Whether no side is longer than ``size``."""
        return bool((self.high - self.low <= size * (1 + ROUNDING)).all())

    def __str__(self) -> str:
        if self.is_exact:
            return _short(self.low)
        return f"between {_short(self.low)} and {_short(self.high)}"


def _short(values: Float64Array) -> str:
    text = ", ".join(f"{value:.6g}" for value in values[:8])
    return f"[{text}{', ...' if len(values) > 8 else ''}]"
