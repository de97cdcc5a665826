"""The rows between two stimuli, so that no step is too large, and how many of them may be sent at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.devices.position_bounds import ROUNDING, PositionBounds


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows to send in one call, shape (rows, n_inputs), which of their responses count, and where that leads."""

    rows: Float64Array
    counts: NDArray[np.bool_]
    possible: PositionBounds


@dataclass(frozen=True, eq=False)
class Ramp:
    """Steps of at most ``step`` a row within the limits, by channel, shape (n_inputs,) each.

    ``most_rows`` bounds a call.
    """

    step: Float64Array
    low: Float64Array
    high: Float64Array
    most_rows: int

    def within(self, point: Float64Array) -> Float64Array:
        """The nearest point within the limits."""
        return np.clip(point, self.low, self.high)

    def starts_from(self, stands: PositionBounds) -> bool:
        """Whether some stimulus is a step away at most, wherever the device stands."""
        return stands.is_within(2 * self.step)

    def pieces(self, stands: PositionBounds, stimuli: Float64Array) -> Iterator[Piece]:
        """All rows that lead from where the device stands to one stimulus after the other.

        No piece leads farther than two steps, so that there is a way on from wherever it may be interrupted.
        """
        rows: list[Float64Array] = []
        counts: list[bool] = []
        for row, counted in self._path(stands, stimuli):
            wider = stands.around(row)
            if rows and (len(rows) == self.most_rows or not self.starts_from(wider)):
                yield Piece(np.array(rows), np.array(counts), stands)
                wider = PositionBounds.at(rows[-1]).around(row)
                rows, counts = [], []
            rows.append(row)
            counts.append(counted)
            stands = wider
        if rows:
            yield Piece(np.array(rows), np.array(counts), stands)

    def rows_to(self, start: Float64Array, end: Float64Array) -> int:
        """Rows that the way takes, the last one included; at least 1."""
        return max(1, int(np.ceil((np.abs(end - start) / self.step).max() * (1 - ROUNDING))))

    def _path(self, stands: PositionBounds, stimuli: Float64Array) -> Iterator[tuple[Float64Array, bool]]:
        position = stands.middle
        if not stands.is_exact:
            yield position, False
        for stimulus in stimuli:
            yield from self._between(position, stimulus)
            position = stimulus

    def _between(self, start: Float64Array, end: Float64Array) -> Iterator[tuple[Float64Array, bool]]:
        """Rows after ``start``; only that of ``end``, the last, counts."""
        rows = self.rows_to(start, end)
        low, high = np.minimum(start, end), np.maximum(start, end)
        for row in range(1, rows):
            between = np.clip(start + (end - start) * (row / rows), low, high)
            yield self.within(between), False  # it may have stood a little beyond the limits
        yield end, True
