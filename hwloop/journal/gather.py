"""Rows by number, collected from the records that hold them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import JournalError

Numbers = NDArray[np.int64]


def gather(
    numbers: Numbers,
    entries: Numbers,
    first_row: Callable[[int], int],
    arrays: Callable[[int], tuple[Float64Array, Float64Array]],
) -> tuple[Float64Array, Float64Array]:
    """Stimuli and responses of rows, in the order of ``numbers``; each record is asked for once.

    Parameters
    ----------
    numbers, entries
        Row numbers, shape (rows,), and which record holds each.
    first_row, arrays
        First row, and stimuli and responses, of a record.

    Raises
    ------
    JournalError
        The rows belong to devices of different shapes.
    """
    if len(numbers) == 0:
        return np.empty((0, 0)), np.empty((0, 0))
    order = np.argsort(entries, kind="stable")
    starts = np.flatnonzero(np.diff(entries[order])) + 1
    collected: tuple[Float64Array, Float64Array] | None = None
    for group in np.split(order, starts):
        entry = int(entries[group[0]])
        parts = arrays(entry)
        within = numbers[group] - first_row(entry)
        if collected is None:
            widths = [part.shape[1] for part in parts]
            collected = (np.empty((len(numbers), widths[0])), np.empty((len(numbers), widths[1])))
        for whole, part in zip(collected, parts, strict=True):
            if part.shape[1] != whole.shape[1]:
                raise JournalError(
                    f"rows {numbers.min()} to {numbers.max()} were measured by devices of {part.shape[1]} and "
                    f"{whole.shape[1]} channels; read the rows of one device"
                )
            whole[group] = part[within]
    assert collected is not None
    return collected
