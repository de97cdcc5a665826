"""One writer of a folder at a time, who is named; released by the kernel when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hwloop.errors import JournalError
from hwloop.process import ProcessName

# Whoever only asks who the writer is holds the lock for microseconds: a new writer outwaits that.
PATIENCE_SECONDS = 0.1
_PAUSE_SECONDS = 0.002


class WriterLock:
    """Held while a folder is written; the kernel releases it when the owner dies, however it dies.

    It belongs to one process: a copy that the owner forks lets go of it at once, and a helper that was forked
    beneath Python, and so keeps the file open, is not the process that the file names (docs/decisions/0040).

    Parameters
    ----------
    folder
        The folder to be written.

    Raises
    ------
    JournalError
        Another live process holds it; the message names that process.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self._file = -1
        try:
            self._take()
        except BlockingIOError as error:
            raise JournalError(
                f"{folder} is being written by {_owner_named(self.path)}; wait for it to end, or stop it, then "
                "try again"
            ) from error
        except OSError as error:
            raise JournalError(
                f"{folder} cannot be written ({error.strerror}); check the path and its rights"
            ) from error
        _HELD.add(self)

    @property
    def in_place(self) -> bool:
        """Whether the folder is still where it was when it was locked: somebody may have moved or removed it."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except OSError:
            return False

    def release(self) -> None:
        """Let others write; safe to call twice."""
        if self._file >= 0:
            # The file stays: removing it would let two writers lock two different files of one name.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
            self.let_go()
        _HELD.discard(self)

    def let_go(self) -> None:
        """Close the file; in a forked copy that takes nothing from the owner."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _take(self) -> None:
        """Raises ``BlockingIOError`` if another process holds it."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with _guarded(self.path):
                    self._file = _taken(self.path)
                return
            except BlockingIOError:
                if time.monotonic() >= limit:
                    raise
                time.sleep(_PAUSE_SECONDS)


def _taken(path: Path) -> int:
    """The lock's file, locked and signed; one that only a helper of a dead owner holds is left to it.

    Raises
    ------
    BlockingIOError
        It is held.
    OSError
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _owner_is_gone(file):
                path.unlink()  # the next attempt makes another
            raise
        owner = {**ProcessName.own().as_dict(), "since_seconds": time.time()}
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps({**owner, "crc": _checksum(owner)}).encode(), 0)
    except BaseException:
        os.close(file)
        raise
    return file


@contextlib.contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Nobody else takes the lock meanwhile: who holds it and who signed it are one process.

    A lock of the kind that is bound to a process and is never inherited; it does not tell threads apart.

    Raises
    ------
    BlockingIOError
        Somebody is taking it just now.
    """
    with _guard_of_threads:
        guard = os.open(path.with_name("lock.guard"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.lockf(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except PermissionError as error:  # what some systems say of a lock that is held
                raise BlockingIOError(*error.args) from error
            yield
        finally:
            os.close(guard)


def writer_of(folder: Path) -> str | None:
    """Who is writing the folder now, in words; ``None`` if nobody is."""
    try:
        file = os.open(folder / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return None if _owner_is_gone(file) else _described(file)
    else:
        return None
    finally:
        os.close(file)


def _owner_is_gone(file: int) -> bool:
    """Whether the process that signed the lock is known to be dead."""
    owner = _signed(file)
    return owner is not None and owner.is_gone()


def _checksum(owner: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(owner).encode())


def _signed(file: int) -> ProcessName | None:
    """Who signed; ``None`` where that is damaged: a digit that flipped must not declare an owner dead."""
    try:
        owner = json.loads(os.pread(file, 4096, 0))
        if owner.pop("crc") != _checksum(owner):
            return None
        return ProcessName.from_dict(owner)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _described(file: int) -> str:
    owner = _signed(file)
    return "another process" if owner is None else str(owner)


def _owner_named(path: Path) -> str:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return "another process"
    try:
        return _described(file)
    finally:
        os.close(file)


def _let_go_in_child() -> None:
    global _guard_of_threads
    _guard_of_threads = threading.Lock()  # a thread of the parent may have held it
    for lock in tuple(_HELD):
        lock.let_go()
    _HELD.clear()


_guard_of_threads = threading.Lock()
_HELD: weakref.WeakSet[WriterLock] = weakref.WeakSet()
os.register_at_fork(after_in_child=_let_go_in_child)
