"""Read a journal's index without changing a byte beside it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwloop.journal.lock import writer_of
from hwloop.runs.files import UnreadableError, require_file

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
