"""Which rows have been measured, found by their stimuli in a few bytes a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array

UNKNOWN = -1
_MIX = np.uint64(0x9E3779B97F4A7C15)


def row_keys(stimuli: Float64Array) -> NDArray[np.uint64]:
    """A 64-bit key a row; equal rows share one (-0.0 counts as 0.0), and whoever finds one compares the rows."""
    words = (np.ascontiguousarray(stimuli) + 0.0).view(np.uint64)
    factors = (np.arange(1, words.shape[1] + 1, dtype=np.uint64) * _MIX) | np.uint64(1)
    # Round numbers have nothing but zeros in their low bits, and a product carries upwards only: so the high
    # bits come down before each product.
    mixed = (words ^ (words >> np.uint64(32))) * _MIX
    mixed ^= mixed >> np.uint64(29)
    sums = (mixed * factors).sum(axis=1, dtype=np.uint64)
    sums ^= sums >> np.uint64(31)
    return np.asarray(sums * _MIX, dtype=np.uint64)


class RowIndex:
    """Row numbers by key, 16 bytes a row.

    Sorted arrays of growing size, each new batch merged with those that are not larger (a log-structured
    merge tree): adding and finding cost little at every size, and nothing is kept as Python objects.
    """

    def __init__(self) -> None:
        self._levels: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._levels)

    def add(self, keys: NDArray[np.uint64], numbers: NDArray[np.int64]) -> None:
        """Enter rows; a later number takes the place of an earlier one under the same key."""
        level = _newest_of_each(keys, numbers)
        while self._levels and len(self._levels[-1][0]) <= 2 * len(level[0]):
            older = self._levels.pop()
            level = _newest_of_each(*(np.concatenate(pair) for pair in zip(older, level, strict=True)))
        self._levels.append(level)

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The newest row number under each key, or ``UNKNOWN``."""
        found = np.full(len(keys), UNKNOWN, dtype=np.int64)
        for known, numbers in self._levels:  # oldest first, so that newer ones overwrite
            places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            hit = known[places] == keys
            found[hit] = numbers[places[hit]]
        return found

    def clear(self) -> None:
        """Forget all."""
        self._levels.clear()


def _newest_of_each(
    keys: NDArray[np.uint64], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    order = np.argsort(keys, kind="stable")
    keys, numbers = keys[order], numbers[order]
    last = np.append(keys[1:] != keys[:-1], True) if len(keys) else np.empty(0, dtype=bool)
    return keys[last], numbers[last]
