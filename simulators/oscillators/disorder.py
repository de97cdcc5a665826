"""A ring of oscillators as it was made: how stiff each one is, and the springs between them."""

from __future__ import annotations

import numpy as np

from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream

SOFTEST = 0.1  # no disorder makes an oscillator softer than this, or a spring weaker than 0


class Disorder:
    """Stiffness s_i = 1 + spread g_i of the oscillators, and springs strength (1 + spread h), g and h normal.

    Parameters
    ----------
    count
        Oscillators.
    spread
        Relative standard deviation.
    strength, reach
        Of a spring, and to how many oscillators on each side there is one.
    drift_per_row
        Rate at which g goes over into an independent draw.
    stiffness_stream, springs_stream
        Draw g and h.

    Attributes
    ----------
    springs
        ``springs[d - 1, i]`` ties oscillator i to i + d on the ring, shape (reach, count).
    extent
        What drift can add to a stiffness at most, both draws together, shape (count,).
    """

    def __init__(
        self,
        count: int,
        *,
        spread: float,
        strength: float,
        reach: int,
        drift_per_row: float,
        stiffness_stream: NoiseStream,
        springs_stream: NoiseStream,
    ) -> None:
        spread = real_number("disorder", spread, 0.0, 1.0)
        strength = real_number("coupling", strength, 0.0, 100.0)
        reach = whole_number("neighbours", reach, 0, max(0, (count - 1) // 2))
        self._drift_per_row = real_number("drift_per_row", drift_per_row, 0.0, 1.0)
        self._draws = spread * np.stack([stiffness_stream.at_row(k).standard_normal(count) for k in (0, 1)])
        springs = 1 + spread * springs_stream.at_row(0).standard_normal((reach, count))
        self.springs: Float64Array = strength * np.maximum(springs, 0.0)
        self.extent: Float64Array = np.abs(self._draws).sum(axis=0)

    def stiffness(self, first_row: int, rows: int) -> Float64Array:
        """Squares of the frequencies, shape (count, rows), or (count, 1) without drift."""
        before, after = self._draws[:, :, np.newaxis]
        if self._drift_per_row:
            kept = np.exp(-self._drift_per_row * np.arange(first_row, first_row + rows, dtype=np.float64))
            before = np.sqrt(kept) * before + np.sqrt(1.0 - kept) * after
        return np.asarray(np.maximum(1.0 + before, SOFTEST), dtype=np.float64)
