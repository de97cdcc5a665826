"""Does a journal's index agree with its chunks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwloop.runs.files import UnreadableError
from hwloop.runs.index_entries import index_entries

_OFFSET_BITS = 42
_MOST_CHUNKS = 1_000_000


@dataclass(frozen=True)
class IndexCheck:
    """The index against the whole records of the chunks; a resumed run mends it from them.

    Attributes
    ----------
    problem
        Why it cannot be read; empty if it can.
    entries
        Records that it knows.
    missing
        Whole records before its last entry that it does not know.
    behind
        Whole records after its last entry: normal while a run is written, and after it was killed.
    extra, extra_rows
        Entries, and rows in them, of which no whole record is left.
    first_extra
        Chunk and offset of the first of these.
    """

    problem: str = ""
    entries: int = 0
    missing: int = 0
    behind: int = 0
    extra: int = 0
    extra_rows: int = 0
    first_extra: tuple[int, int] | None = None

    @property
    def is_consistent(self) -> bool:
        """Whether it knows every record up to its last entry, and none that is not there."""
        return not (self.problem or self.missing or self.extra)


@dataclass(frozen=True)
class IndexRead:
    """Entries as :func:`hwloop.runs.index_entries.index_entries` gives them, or why there are none."""

    entries: NDArray[np.int64]
    problem: str = ""

    def knows_record_in(self, chunk: int, start: int, end: int) -> bool:
        """Whether a record began there when the index was written."""
        chunks, offsets = self.entries[:, 0], self.entries[:, 1]
        return bool(np.any((chunks == chunk) & (offsets >= start) & (offsets < end)))


def read_index(folder: Path) -> IndexRead:
    """The index of a journal's folder, readable or not."""
    nothing = np.zeros((0, 4), dtype=np.int64)
    try:
        entries = index_entries(folder)
    except UnreadableError as error:
        return IndexRead(nothing, str(error))
    highest = (_MOST_CHUNKS, 1 << _OFFSET_BITS)
    if len(entries) and not (entries.min() >= 0 and np.all(entries[:, :2].max(axis=0) < highest)):
        return IndexRead(nothing, "holds places that no chunk has")
    return IndexRead(entries)


def check_index(read: IndexRead, records: NDArray[np.int64]) -> IndexCheck:
    """Compare with the whole records found: chunk, offset and length of each, shape (records, 3)."""
    if read.problem:
        return IndexCheck(read.problem)
    entries = read.entries
    known, found = _places(entries), _places(records)
    unknown = found[~np.isin(found, known)]
    last = known.max() if len(known) else -1
    is_extra = ~np.isin(known, found)
    is_extra |= _lengths_differ(entries, known, records, found)
    extra = entries[is_extra]
    return IndexCheck(
        entries=len(entries),
        missing=int(np.sum(unknown < last)),
        behind=int(np.sum(unknown > last)),
        extra=len(extra),
        extra_rows=int(extra[:, 3].sum()),
        first_extra=(int(extra[0, 0]), int(extra[0, 1])) if len(extra) else None,
    )


def _places(records: NDArray[np.int64]) -> NDArray[np.int64]:
    """One sortable number for chunk and offset."""
    return np.asarray((records[:, 0] << _OFFSET_BITS) | records[:, 1])


def _lengths_differ(
    entries: NDArray[np.int64], known: NDArray[np.int64], records: NDArray[np.int64], found: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Entries whose record is there, but longer or shorter than the index says."""
    if not len(found):
        return np.zeros(len(known), dtype=bool)
    order = np.argsort(found)
    nearest = order[np.minimum(np.searchsorted(found[order], known), len(found) - 1)]
    return np.asarray((found[nearest] == known) & (records[nearest, 2] != entries[:, 2]))
