"""Compare a journal's index with its chunks, without changing a byte beside it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwloop.journal.lock import writer_of
from hwloop.runs.files import UnreadableError, require_file

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
    """Entries as :func:`hwloop.runs.index_check.index_entries` gives them, or why there are none."""

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


NAME = "index.sqlite"
DEADLINE_SECONDS = 60.0  # a damaged or hostile file must not keep SQLite busy for ever


def index_entries(folder: Path) -> NDArray[np.int64]:
    """Chunk, offset, length and rows (0 for a note) of every record that the index knows, shape (records, 4).

    They come in the order in which they lie in the chunks.

    Raises
    ------
    UnreadableError
    """
    values = array("q")
    with _opened(folder) as db:
        query = "SELECT chunk, start, length, CASE kind WHEN 'rows' THEN rows ELSE 0 END FROM records"
        for row in db.execute(f"{query} ORDER BY chunk, start"):
            values.extend(row)
    return np.frombuffer(values, dtype=np.int64).reshape(-1, 4) if values else np.zeros((0, 4), np.int64)


def index_summary(folder: Path) -> tuple[int, int, int]:
    """Rows in all, and the chunk and offset behind the last record; (0, 0, 0) if there is none.

    Raises
    ------
    UnreadableError
    """
    with _opened(folder) as db:
        (rows,) = db.execute("SELECT total(rows) FROM records WHERE kind = 'rows'").fetchone()
        last = db.execute("SELECT chunk, start + length FROM records ORDER BY chunk DESC, start DESC LIMIT 1")
        chunk, end = last.fetchone() or (0, 0)
        found = array("q", (int(rows), chunk, end))
    if min(found) < 0:
        raise UnreadableError("holds negative numbers")
    return found[0], found[1], found[2]


@contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """The index, guarded: whatever is wrong with it becomes an :class:`UnreadableError`."""
    require_file(folder / NAME)
    try:
        with _untouched(folder) as address, closing(sqlite3.connect(address, uri=True, timeout=5.0)) as db:
            deadline = time.monotonic() + DEADLINE_SECONDS
            db.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA query_only = ON")
            kinds = db.execute("SELECT type FROM sqlite_master WHERE name = 'records'").fetchall()
            if kinds != [("table",)]:
                raise UnreadableError("holds no table of records")
            yield db
    except (sqlite3.Error, OSError, TypeError, OverflowError, ValueError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"cannot be read ({error})") from error


@contextmanager
def _untouched(folder: Path) -> Iterator[str]:
    """An SQLite address that leaves no trace in the folder.

    Opening a database that has a write-ahead log creates files beside it, unless its writer lives and they are
    there already. What a killed writer left is read from a copy.
    """
    path = folder / NAME
    log = path.with_name(NAME + "-wal")
    for beside in (log, path.with_name(NAME + "-shm")):
        if beside.is_symlink():
            require_file(beside)
    address = path.resolve().as_uri()
    if writer_of(folder) is not None:
        yield f"{address}?mode=ro"
    elif not (log.is_file() and log.stat().st_size):
        yield f"{address}?mode=ro&immutable=1"
    else:
        with tempfile.TemporaryDirectory(prefix="hwloop-") as aside:
            copy = Path(aside) / NAME
            shutil.copyfile(path, copy)
            shutil.copyfile(log, copy.with_name(log.name))
            yield copy.as_uri()
