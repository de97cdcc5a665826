"""Random walks of phases, row by row: how a fibre in a warm room loses its phases."""

from __future__ import annotations

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream

CHUNK_ROWS = 4096


class PhaseWalk:
    """Independent walks that begin at 0: each row adds a normal number times ``step`` to every phase.

    The phases before the k-th row depend on the stream and k alone. Going on from row to row costs one draw a
    row; going back begins anew.

    Parameters
    ----------
    stream
        Of the steps.
    n_phases
        Walks.
    step
        Standard deviation of a row's step, in rad.
    """

    def __init__(self, stream: NoiseStream, n_phases: int, step: float) -> None:
        self._stream, self._n_phases, self._step = stream, n_phases, step
        self._row, self._phases = 0, np.zeros(n_phases)

    def at(self, first_row: int, rows: int) -> Float64Array:
        """Phases before each of ``rows`` rows, shape (rows, n_phases), in rad."""
        if first_row < self._row:
            self._row, self._phases = 0, np.zeros(self._n_phases)
        while self._row < first_row:
            self._walk(min(CHUNK_ROWS, first_row - self._row))
        return self._walk(rows)

    def _walk(self, rows: int) -> Float64Array:
        steps = self._step * self._stream.normals(self._row, rows, self._n_phases).astype(np.float64)
        # One after the other: a sum in this order is the same however the rows are cut into calls.
        path = np.cumsum(np.vstack([self._phases, steps]), axis=0)
        self._row, self._phases = self._row + rows, path[-1]
        return np.asarray(path[:-1])
