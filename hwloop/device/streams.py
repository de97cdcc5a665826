"""Seeded noise that can be entered at any row: what makes a resumed run equal to an uninterrupted one.

The noise of the k-th row that a device measures depends on (seed, stream name, k) alone, never on how rows
were batched into calls. Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) is a
function of key and counter: seed and name make the key, the row is the counter's third word, and the two
words below it leave each row 2**128 steps of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import whole_number


class NoiseStream:
    """Random numbers of one named kind of noise, row by row.

    Parameters
    ----------
    seed
        Whole number of at least 0.
    name
        What the noise is, such as ``"read-noise"``: streams of different names are independent.
    """

    def __init__(self, seed: int, name: str) -> None:
        self.seed = whole_number("seed", seed, low=0)
        self.name = name
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        self._key = np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)

    def at_row(self, row: int) -> np.random.Generator:
        """A generator at the beginning of a row's numbers."""
        return next(self.generators(row, 1))

    def generators(self, first_row: int, rows: int) -> Iterator[np.random.Generator]:
        """The generators of consecutive rows, each valid until the next is taken."""
        # One generator of the caller's own, moved from row to row: several threads may draw at a time.
        philox = np.random.Philox(key=self._key)
        start, rng = philox.state, np.random.Generator(philox)
        for row in range(first_row, first_row + rows):
            start["state"]["counter"][2] = row
            philox.state = start
            yield rng

    def normals(self, first_row: int, rows: int, per_row: int) -> NDArray[np.float32]:
        """Standard normal numbers of shape (rows, per_row)."""
        numbers = np.empty((rows, per_row), dtype=np.float32)
        for line, rng in zip(numbers, self.generators(first_row, rows), strict=True):
            rng.standard_normal(out=line, dtype=np.float32)
        return numbers
