"""What need not be measured: rows that this session has measured, and rows of earlier runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.journal import Journal
from hwloop.session.earlier import EarlierRows, earlier_rows
from hwloop.session.memory import RowMemory
from hwloop.session.same_device import DeviceAtHand

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Recalled:
    """Responses that were there already: ``rows`` are positions in the batch, in rising order."""

    rows: NDArray[np.int64]
    responses: Float64Array


class KnownRows:
    """Looks for a row in this session's memory first, then in earlier runs.

    Parameters
    ----------
    memory
        Of this session.
    earlier
        Journal of earlier runs, only read; ``None`` for none.
    """

    def __init__(self, memory: RowMemory, earlier: Journal | None) -> None:
        self.memory = memory
        self.earlier = earlier
        self._earlier_memory: RowMemory | None = None

    def find_earlier(self, device: DeviceAtHand, decided: tuple[str, ...] | None) -> EarlierRows | None:
        """Look up, once, what earlier runs hold of the device that is now open; ``None`` if there is nothing to.

        ``decided`` as :func:`hwloop.session.earlier.earlier_rows` takes it.
        """
        if self.earlier is None or self._earlier_memory is not None:
            return None
        found = earlier_rows(self.earlier, device, decided, self.memory.freshness)
        self._earlier_memory = found.memory
        return found

    def recall(self, stimuli: Float64Array, keys: Keys) -> tuple[Recalled, Recalled]:
        """What this session has measured, and what only earlier runs have."""
        unknown = np.arange(len(stimuli))
        own = _recalled(self.memory, stimuli, keys, unknown)
        if self._earlier_memory is None or len(own.rows) == len(stimuli):
            return own, Recalled(unknown[:0], own.responses[:0])
        unknown = np.setdiff1d(unknown, own.rows, assume_unique=True)
        return own, _recalled(self._earlier_memory, stimuli[unknown], keys[unknown], unknown)

    def forget(self) -> None:
        """Nothing that was measured so far stands for the device any more."""
        self.memory.forget()
        if self._earlier_memory is not None:
            self._earlier_memory.forget()


def _recalled(memory: RowMemory, stimuli: Float64Array, keys: Keys, rows: NDArray[np.int64]) -> Recalled:
    known, responses = memory.recall(stimuli, keys)
    if responses is None:
        return Recalled(rows[:0], np.empty((0, 0)))
    return Recalled(rows[known], responses)
