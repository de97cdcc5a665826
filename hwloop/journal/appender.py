"""The chunk that is being written: whole records or nothing, and on the disk soon after."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from hwloop.errors import JournalError
from hwloop.journal.chunk import chunk_path
from hwloop.journal.folders import sync_folder
from hwloop.journal.sync_thread import SyncThread


class Appender:
    """Appends records to the last chunk of a folder, and begins another when it is full.

    Only bytes before :attr:`end` count: what an interrupted write left behind it is cut off before the next one.

    Parameters
    ----------
    chunk
        The last one; made if it is not there.
    tidy
        See :class:`hwloop.journal.sync_thread.SyncThread`.

    Raises
    ------
    JournalError
        The chunk cannot be opened, or is a symbolic link.

    Attributes
    ----------
    chunk, end
        Where the next record begins.
    """

    def __init__(self, folder: Path, chunk: int, sync_seconds: float, tidy: Callable[[], None]) -> None:
        self.folder = folder
        self.chunk = chunk
        self._file = self._opened(chunk)
        self._is_whole = True
        try:
            self.end = os.fstat(self._file).st_size
            os.fdatasync(self._file)  # rows of a killed process, about to be used by this one
        except OSError as error:
            os.close(self._file)
            raise self._unwritable(error) from error
        self._sync = SyncThread(self._bring_to_disk, tidy, sync_seconds, folder)

    def make_room(self, length: int, chunk_bytes: int) -> None:
        """Be ready for a record of so many bytes, in a chunk of at most so many; nothing of it is written yet.

        Raises
        ------
        JournalError
        """
        self._sync.require_sound()
        if not self._is_whole:
            self.undo()
            if not self._is_whole:
                raise JournalError(
                    f"{chunk_path(self.folder, self.chunk)} ends within a record that cannot be cut off; every "
                    "record before it is safe. Mend the disk, then resume the run"
                )
        if self.end and self.end + length > chunk_bytes:
            self._begin_chunk()

    def write(self, buffers: list[bytes | memoryview], length: int) -> None:
        """Write a record at the end; it counts when :meth:`keep` is called, and else :meth:`undo` must be.

        Raises
        ------
        JournalError
        """
        self._is_whole = False
        try:
            _write_all(self._file, buffers, length)
        except OSError as error:
            raise self._unwritable(error) from error

    def keep(self, length: int) -> None:
        """The record that was written counts."""
        self.end += length
        self._is_whole = True

    def undo(self) -> None:
        """Cut off what was written and does not count; on a full disk that always succeeds."""
        with contextlib.suppress(OSError):  # tried again before the next record; an opening cuts a torn tail off
            os.ftruncate(self._file, self.end)
            self._is_whole = True

    def wrote(self) -> None:
        """Have what counts synced in time; see :meth:`hwloop.journal.sync_thread.SyncThread.wrote`."""
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
