"""The journal's index: what was recorded, where it lies, and what happened, for fast questions in SQL.

Everything in it also stands in the chunks; an index that is lost or behind is made again from them, and nothing
that happens to it alone may keep a record from being written.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from hwloop.journal.chunk import Located

SCHEMA_VERSION = 1
CHECK_SECONDS = 60.0  # a hostile file must not keep SQLite busy for ever
COMMIT_SECONDS = 1.0
RETRY_SECONDS = 5.0
MOST_WAITING = 100_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY, chunk INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    kind TEXT NOT NULL, purpose TEXT, step TEXT, device TEXT, first_row INTEGER, rows INTEGER,
    started_seconds REAL NOT NULL, duration_seconds REAL, details TEXT
);
CREATE INDEX IF NOT EXISTS records_by_kind ON records (kind);
"""
_INSERT = f"INSERT OR REPLACE INTO records VALUES ({','.join('?' * 13)})"


class Index:
    """An SQLite file in WAL mode, so that others may read while it is written.

    It is a copy, and what goes wrong with it alone harms no record: it is then behind, and made up for with one of
    the next commits or when the journal is opened again. It knows the records from the first to some last one,
    without a gap.

    Attributes
    ----------
    waiting
        Records with their numbers that no reader sees before :meth:`commit`. Whoever writes the journal appends to
        it, without a lock and without a call: a record never waits for SQLite.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        self.waiting: list[tuple[int, Located]] = []
        self._next_commit = 0.0
        self._db = _opened_or_anew(path)
        self._next: int | None = self.end_of_last()[0]  # number of the next entry; None where there can be none

    def end_of_last(self) -> tuple[int, int, int]:
        """Records so far, and the chunk and offset behind the last; (0, 0, 0) if there are none."""
        query = "SELECT number, chunk, start + length FROM records ORDER BY number DESC LIMIT 1"
        rows = self.select(query)
        return (rows[0][0] + 1, rows[0][1], rows[0][2]) if rows else (0, 0, 0)

    def forget(self) -> None:
        """Remove every entry, before the index is made again."""
        with self._lock:
            self.waiting.clear()
            is_empty = self._db is None or self._tried("DELETE FROM records", ((),))
            self._next = 0 if is_empty else None

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query; none where the index cannot be read."""
        with self._lock:
            try:
                return [] if self._db is None else self._db.execute(query).fetchall()
            except sqlite3.Error:
                return []

    def commit_if_due(self) -> None:
        """Show readers what waits, at most once a second."""
        if time.monotonic() >= self._next_commit:
            self.commit()

    def commit(self) -> bool:
        """Show readers what waits; whether they see it. What fails is tried again with the next commit."""
        with self._lock:
            waiting = tuple(self.waiting)  # more may come meanwhile
            entries = [
                each for at, each in enumerate(waiting) if self._next is not None and each[0] == self._next + at
            ]
            done = self._db is not None and self._tried(_INSERT, tuple(_values(*each) for each in entries))
            if done:
                if self._next is not None:
                    self._next += len(entries)
                del self.waiting[: len(waiting)]  # what follows a gap waits until the journal is opened again
            self._next_commit = time.monotonic() + (COMMIT_SECONDS if done else RETRY_SECONDS)
        return done

    def close(self) -> None:
        """Commit and close."""
        try:
            self.commit()
        finally:
            with self._lock:
                if self._db is not None:
                    with contextlib.suppress(sqlite3.Error):
                        self._db.close()

    def _tried(self, statement: str, entries: tuple[tuple[Any, ...], ...]) -> bool:
        """Execute for all entries and commit, or leave everything as it was."""
        assert self._db is not None
        try:
            self._db.executemany(statement, entries)
            self._db.commit()
        except Exception:
            with contextlib.suppress(Exception):
                self._db.rollback()
            return False
        return True


def _values(number: int, found: Located) -> tuple[Any, ...]:
    """The row of a record."""
    header = found.header
    details = header.get("details")
    return (
        *(number, found.chunk, found.offset, found.length),
        *(header["kind"], header.get("purpose"), header.get("step"), header.get("device")),
        *(header.get("first_row"), header.get("rows")),
        *(header["started_seconds"], header.get("duration_seconds")),
        None if details is None else json.dumps(details),
    )


def _opened_or_anew(path: Path) -> sqlite3.Connection | None:
    """The database; one that is damaged is set aside and begun anew. ``None`` if none can be written."""
    with contextlib.suppress(sqlite3.Error, ValueError, MemoryError):  # a ValueError is text that is no Unicode
        return _opened(path)
    with contextlib.suppress(sqlite3.Error, OSError, MemoryError):
        for old in path.parent.glob(path.name + "*"):
            old.rename(old.with_name(f"damaged-{time.time_ns()}-{old.name}"))
        return _opened(path)  # the journal fills it from the chunks
    return None


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"index of version {version}")
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        _require_sound(db)
        db.commit()
    except BaseException:
        db.close()
        raise
    return db


def _require_sound(db: sqlite3.Connection) -> None:
    """Refuse an index with a damaged page, or with anything in it that this module has not put there.

    Raises
    ------
    sqlite3.DatabaseError
    """
    deadline = time.monotonic() + CHECK_SECONDS
    db.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    holds = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    expected = [part.replace("IF NOT EXISTS ", "").strip() for part in _SCHEMA.split(";") if part.strip()]
    if [sql for (sql,) in holds] != expected:
        raise sqlite3.DatabaseError("not the index of a journal")
    if db.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
        raise sqlite3.DatabaseError("the index is damaged")
    db.set_progress_handler(None, 0)
