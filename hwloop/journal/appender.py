"""Write the last chunk: whole records or nothing, synced to the disk soon after by a thread."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hwloop.errors import JournalError
from hwloop.journal.chunk import chunk_path
from hwloop.journal.durable_files import sync_folder

TIDY_SECONDS = 1.0  # what else there is to do while nothing is synced is done at least so often
REST_SECONDS = 0.02  # between two syncs that nobody waits for: jobs of one row must not keep a disk busy
_REST_TIMES = 4  # and so many times as long as the last one took
_LOOK_SECONDS = 1.0  # how often one who waits looks whether the thread still lives


class Appender:
    """Appends records to the last chunk of a folder, and begins another when it is full.

    Only bytes before :attr:`end` count: what an interrupted write left behind it is cut off before the next one.

    Parameters
    ----------
    chunk
        The last one; made if it is not there.
    tidy
        See :class:`SyncThread`.

    Raises
    ------
    JournalError
        The chunk cannot be opened, or is a symbolic link.

    Attributes
    ----------
    chunk, end
        Where the next record begins.
    is_whole
        Whether nothing of a record that does not count lies behind it.
    """

    def __init__(self, folder: Path, chunk: int, sync_seconds: float, tidy: Callable[[], None]) -> None:
        self.folder = folder
        self.chunk = chunk
        self._file = self._opened(chunk)
        self.is_whole = True
        try:
            self.end = os.fstat(self._file).st_size
            os.fdatasync(self._file)  # rows of a killed process, about to be used by this one
        except OSError as error:
            os.close(self._file)
            raise self._unwritable(error) from error
        self._sync = SyncThread(self._bring_to_disk, tidy, sync_seconds, folder)

    def make_room(self, length: int, chunk_bytes: int) -> None:
        """Cut off what does not count, and begin another chunk where a record of so many bytes has no room.

        Raises
        ------
        JournalError
        """
        self._sync.require_sound()
        if not self.is_whole:
            self.undo()
            if not self.is_whole:
                raise JournalError(
                    f"{chunk_path(self.folder, self.chunk)} ends within a record that cannot be cut off; every "
                    "record before it is safe. Mend the disk, then resume the run"
                )
        if self.end and self.end + length > chunk_bytes:
            self._begin_chunk()

    def write(self, buffers: list[bytes | memoryview], length: int) -> None:
        """Write a record at the end, and count it; if that raises and :attr:`end` is where it was, :meth:`undo`.

        Raises
        ------
        JournalError
        """
        self._sync.require_sound()
        self.is_whole = False
        try:
            _write_all(self._file, buffers, length)
        except OSError as error:
            raise self._unwritable(error) from error
        self.end += length
        self.is_whole = True

    def undo(self) -> None:
        """Cut off what was written and does not count; on a full disk that always succeeds."""
        with contextlib.suppress(OSError):  # tried again before the next record; an opening cuts a torn tail off
            os.ftruncate(self._file, self.end)
            self.is_whole = True

    def wrote(self) -> None:
        """Have what counts synced in time; see :meth:`SyncThread.wrote`."""
        self._sync.wrote()

    def begin_sync(self) -> None:
        """Sync soon, and return at once."""
        self._sync.begin()

    def sync(self) -> None:
        """Return when everything that counts is synced.

        Raises
        ------
        JournalError
        """
        self._sync.finish()

    def close(self) -> None:
        """Sync and close; only once.

        Raises
        ------
        JournalError
            A sync has failed, and nobody was told yet.
        """
        try:
            self._sync.stop()
        finally:
            os.close(self._file)

    def _begin_chunk(self) -> None:
        self._sync.finish()
        following = self._opened(self.chunk + 1)
        os.close(self._file)
        self._file, self.chunk, self.end = following, self.chunk + 1, 0

    def _opened(self, chunk: int) -> int:
        """A chunk to append to, its name on the disk before any record in it counts."""
        path = chunk_path(self.folder, chunk)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                sync_folder(self.folder)
            except BaseException:
                os.close(file)
                raise
        except OSError as error:
            raise JournalError(
                f"{path} cannot be written ({error.strerror}); every record before it is safe. Free some space or "
                "mend the disk, then resume the run"
            ) from error
        return file

    def _unwritable(self, error: OSError) -> JournalError:
        return JournalError(
            f"{chunk_path(self.folder, self.chunk)} cannot be written ({error.strerror}); every record before "
            "it is safe. Free some space or mend the disk, then resume the run"
        )

    def _bring_to_disk(self) -> None:
        """On the thread that syncs."""
        try:
            os.fdatasync(self._file)
        except OSError:
            # The kernel may hold as clean what never reached the disk: whoever reads it next reads the disk.
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
            raise
        if os.fstat(self._file).st_nlink == 0:
            # Writing would go on into a file that nobody will ever open: stop before more is lost.
            raise JournalError(
                f"{chunk_path(self.folder, self.chunk)} was removed while it was being written, and what was "
                "measured with it; measure again into a folder that nobody clears"
            )


def _write_all(file: int, buffers: list[bytes | memoryview], length: int) -> None:
    """Write every byte; the kernel may take fewer than it was given."""
    written = os.writev(file, buffers)
    if written == length:
        return
    rest = memoryview(b"".join(buffers))[written:]
    while rest:
        rest = rest[os.write(file, rest) :]


class SyncThread:
    """Syncs at the latest when half of ``sync_seconds`` has passed since the oldest write that is not synced.

    Whoever writes waits only where a disk is so slow that the other half passes too: then a row that is in use
    would be older than ``sync_seconds`` and not synced. A sync that fails is never tried again, for the kernel
    may have given up what it could not write: the failure is everybody's from then on.

    Parameters
    ----------
    sync
        Brings to the disk what was written before it was called; runs on the thread, under no lock.
    tidy
        Called after every sync, and at least every second while something waits for one.
    where
        What is synced, for messages.
    """

    def __init__(
        self, sync: Callable[[], None], tidy: Callable[[], None], sync_seconds: float, where: object
    ) -> None:
        self._sync, self._tidy, self._where = sync, tidy, where
        self._sync_seconds = sync_seconds
        self._changed = threading.Condition()
        self._written = self._synced = 0  # numbers of writes
        self._oldest = self._in_flight = math.inf  # since when something waits to be synced, or is being synced
        self._wanted = math.inf  # when somebody wants a sync that is not due yet
        self._rest_until = 0.0
        self._failure: BaseException | None = None
        self._was_told = False
        self._stopping = False
        self._thread: threading.Thread | None = None  # started by the first write

    def require_sound(self) -> None:
        """Refuse to go on after a sync that failed.

        Raises
        ------
        JournalError
        """
        if self._failure is None and self._thread is not None and not self._thread.is_alive():
            self._failure = RuntimeError("the thread that syncs has ended")
        if isinstance(self._failure, JournalError):
            self._was_told = True
            raise JournalError(str(self._failure)) from self._failure
        if self._failure is not None:
            self._was_told = True
            reason = getattr(self._failure, "strerror", None) or self._failure
            raise JournalError(
                f"{self._where} cannot be synced ({reason}); what was written in the last moments may not be on "
                "the disk, so nothing more is recorded. Check the disk, then resume"
            ) from self._failure

    def wrote(self) -> None:
        """Take note of a write, and wait while the oldest one is overdue.

        Raises
        ------
        JournalError
            A sync has failed.
        """
        with self._changed:
            self._written += 1
            if self._oldest == math.inf:
                self._oldest = time.monotonic()
                if self._thread is None:
                    self._start()
                self._changed.notify_all()
            while min(self._oldest, self._in_flight) + self._sync_seconds <= time.monotonic():
                self.require_sound()
                self._changed.wait(_LOOK_SECONDS)
            self.require_sound()

    def begin(self) -> None:
        """Sync soon, and return at once."""
        with self._changed:
            if self._oldest < math.inf and self._wanted == math.inf:
                self._wanted = max(time.monotonic(), self._rest_until)
                self._changed.notify_all()

    def finish(self) -> None:
        """Return when everything that was written before is synced.

        Raises
        ------
        JournalError
        """
        with self._changed:
            target = self._written
            while self._synced < target:
                self.require_sound()
                self._wanted = 0.0
                self._changed.notify_all()
                self._changed.wait(_LOOK_SECONDS)
            self.require_sound()

    def stop(self) -> None:
        """Sync what is left and end the thread; safe to call twice.

        Raises
        ------
        JournalError
            A sync has failed, and nobody was told yet.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if self._failure is not None and not self._was_told:
            self.require_sound()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="hwloop-sync", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while self._wait():
                if self._begin_due():
                    begin = time.monotonic()
                    self._sync()
                    self._end_sync(begin)
                self._tidy()
        except BaseException as failure:
            with self._changed:
                self._failure = failure
                self._changed.notify_all()

    def _wait(self) -> bool:
        """Until there is something to do; ``False`` when everything is done."""
        with self._changed:
            if self._oldest == math.inf:
                self._changed.wait_for(lambda: self._oldest < math.inf or self._stopping)
            pause = min(self._due_seconds() - time.monotonic(), TIDY_SECONDS)
            if pause > 0:
                self._changed.wait(pause)
            return self._oldest < math.inf or not self._stopping

    def _due_seconds(self) -> float:
        return -math.inf if self._stopping else min(self._oldest + self._sync_seconds / 2, self._wanted)

    def _begin_due(self) -> bool:
        with self._changed:
            if self._oldest == math.inf or self._due_seconds() > time.monotonic():
                return False
            self._target, self._in_flight = self._written, self._oldest
            self._oldest = self._wanted = math.inf
            return True

    def _end_sync(self, begin: float) -> None:
        with self._changed:
            end = time.monotonic()
            self._synced, self._in_flight = self._target, math.inf
            self._rest_until = end + max(REST_SECONDS, _REST_TIMES * (end - begin))
            self._changed.notify_all()
