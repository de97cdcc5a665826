"""How old rows are, by clocks that can be trusted: a wall clock may be set back, by hand or by the network."""

from __future__ import annotations

import time
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.journal import Journal


def now_seconds() -> float:
    """Seconds since this computer was started, those counted in which it slept; never set back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def fresh(started: Float64Array, now: float, limit_seconds: float) -> NDArray[np.bool_]:
    """Which rows are no older than a limit, by the wall clock that recorded them in the order of measurement.

    A row after which the clock was set back has no known age, and is not fresh; corrections by less than a tenth
    of the limit are passed over.

    Parameters
    ----------
    started
        Unix times at which the rows were measured, shape (rows,).
    now
        The present Unix time.
    """
    earliest_after = np.minimum.accumulate(np.append(started, now)[::-1])[::-1][1:]
    return np.asarray((earliest_after >= started - limit_seconds / 10) & (now - started <= limit_seconds))


class RowAges:
    """Ages of the rows of a journal.

    Rows that this process measured are timed by a clock that is never set back; of those that it found recorded
    there are only the times that the wall clock showed.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._first_rows, self._moments = array("q"), array("d")
        self._recorded: tuple[NDArray[np.int64], Float64Array] | None = None  # rows, and the wall clock's times

    def note(self, first_row: int, moment: float) -> None:
        """Rows from ``first_row`` on were begun to be measured at a moment of :func:`now_seconds`."""
        self._first_rows.append(first_row)
        self._moments.append(moment)

    def fresh(self, numbers: NDArray[np.int64], limit_seconds: float) -> NDArray[np.bool_]:
        """Which rows are known to be no older than a limit."""
        places = np.searchsorted(np.array(self._first_rows, dtype=np.int64), numbers, side="right") - 1
        own = places >= 0
        found = np.empty(len(numbers), dtype=bool)
        found[own] = now_seconds() - np.array(self._moments)[places[own]] <= limit_seconds
        if not own.all():
            found[~own] = self._fresh_of_recorded(numbers[~own], limit_seconds)
        return found

    def _fresh_of_recorded(self, numbers: NDArray[np.int64], limit_seconds: float) -> NDArray[np.bool_]:
        if self._recorded is None or numbers.max() > self._recorded[0][-1]:
            rows = np.arange(self._journal.rows)
            rows = rows[self._journal.readable(rows)]
            self._recorded = rows, self._journal.started_seconds(rows)
        rows, started = self._recorded
        return fresh(started, time.time(), limit_seconds)[np.searchsorted(rows, numbers)]

    def __getstate__(self) -> dict[str, Any]:
        """A copy may be used on another computer, where this one's moments mean nothing."""
        return {"_journal": self._journal, "_first_rows": array("q"), "_moments": array("d"), "_recorded": None}
