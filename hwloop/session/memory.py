"""What has been measured already, so that it is not measured again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.journal import Journal
from hwloop.session.row_ages import RowAges
from hwloop.session.row_index import UNKNOWN, RowIndex

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Freshness:
    """How long a measured row may stand for the device: in seconds, and in rows measured since."""

    seconds: float = float("inf")
    rows: float = float("inf")

    def __post_init__(self) -> None:
        if not (self.seconds >= 0 and self.rows >= 0):
            raise ValueError("Freshness.seconds and Freshness.rows must not be negative")


class RowMemory:
    """Finds in a journal what a stimulus was answered, as long as that is fresh.

    Parameters
    ----------
    journal
        Holds the rows; a row that it can no longer read is not remembered.
    freshness
        Beyond this age a row is measured again: memory must not freeze a drifting device. So is one whose age is
        not known, for the clock was set back since.
    """

    def __init__(self, journal: Journal, freshness: Freshness | None = None) -> None:
        self.journal = journal
        self.freshness = freshness or Freshness()
        self._index = RowIndex()
        self._ages = RowAges(journal)

    def __len__(self) -> int:
        return len(self._index)

    def recall(self, stimuli: Float64Array, keys: Keys) -> tuple[NDArray[np.bool_], Float64Array | None]:
        """Which rows are known, and the responses to those, in order; ``None`` if none is.

        Parameters
        ----------
        stimuli
            Shape (rows, n_inputs).
        keys
            Their :func:`hwloop.session.row_index.row_keys`.
        """
        numbers = self._index.find(keys)
        known = numbers != UNKNOWN
        if not known.any():
            return known, None
        known &= self.journal.readable(numbers)
        if np.isfinite(self.freshness.rows):
            known &= self.journal.rows - 1 - numbers <= self.freshness.rows
        if np.isfinite(self.freshness.seconds) and known.any():
            known[known] = self._ages.fresh(numbers[known], self.freshness.seconds)
        if not known.any():
            return known, None
        recorded, responses = self.journal.read_rows(numbers[known])
        same = (recorded == stimuli[known]).all(axis=1)  # two rows may share a key, though hardly ever do
        known[known] = same
        return known, responses[same]

    def remember(self, keys: Keys, first_row: int, moment: float | None = None) -> None:
        """Take note of rows that the journal holds from ``first_row`` on.

        ``moment`` is when this process began to measure them, by :func:`hwloop.session.row_ages.now_seconds`;
        ``None`` if another one did.
        """
        if moment is not None:
            self._ages.note(first_row, moment)
        self._index.add(keys, np.arange(first_row, first_row + len(keys)))

    def forget(self) -> None:
        """Forget everything measured so far, after a change of settings or a measured drift."""
        self._index.clear()
