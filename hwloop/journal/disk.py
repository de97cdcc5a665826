"""Journals in a folder: append-only chunks that survive kill -9, a full disk and a flipped byte."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import JournalError
from hwloop.journal import frame
from hwloop.journal.appender import Appender
from hwloop.journal.catalogue import Catalogue
from hwloop.journal.chunk import ChunkReader, Damage, Located, chunk_path, whole_records
from hwloop.journal.durable_files import make_folder, refuse_links
from hwloop.journal.frame import note_header, rows_header
from hwloop.journal.index import Index
from hwloop.journal.lock import ProcessMutex, WriterLock
from hwloop.journal.record import Journal, Note, Record

CHUNK_BYTES = 256 << 20
INDEXED_AT_ONCE = 10_000


class FolderJournal(Journal):
    """A journal in a folder, as it is read: its records are found by a catalogue, under a lock of the process."""

    folder: Path
    damage: list[Damage]
    _catalogue: Catalogue
    _mutex: AbstractContextManager[None]

    @property
    def rows(self) -> int:
        return self._catalogue.rows

    def read_rows(self, numbers: NDArray[np.int64]) -> tuple[Float64Array, Float64Array]:
        with self._mutex:
            return self._catalogue.read_rows(numbers)

    def readable(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        with self._mutex:
            return self._catalogue.readable(numbers)

    def started_seconds(self, numbers: NDArray[np.int64]) -> Float64Array:
        with self._mutex:
            return self._catalogue.started_seconds(numbers)

    def duration_seconds(self, first: int, rows: int) -> float:
        with self._mutex:
            return self._catalogue.duration_seconds(first, rows)

    def records(self) -> Iterator[Record]:
        for entry in range(self._catalogue.records_of_rows):
            with self._mutex:
                record = self._catalogue.record_of_rows(entry)
            yield record

    def progress(self) -> dict[str, Any]:
        with self._mutex:
            return dict(self._catalogue.state.progress)

    def positions(self) -> dict[str, dict[str, Any]]:
        with self._mutex:
            return dict(self._catalogue.state.positions)

    def notes(self) -> Iterator[Note]:
        """Every note, oldest first, but those of progress and positions."""
        with self._mutex:
            return iter(list(self._catalogue.notes()))


class ReadOnlyJournal(FolderJournal):
    """What a journal's folder held when it was opened; takes no lock and changes nothing.

    Parameters
    ----------
    folder
        Of a :class:`hwloop.journal.DiskJournal`.

    Raises
    ------
    JournalError
        There is no such folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.damage = []
        self._mutex = contextlib.nullcontext()
        self._catalogue = Catalogue(self.folder)
        try:
            for found in ChunkReader(self.folder).read_on():
                if isinstance(found, Damage):
                    self.damage.append(found)
                else:
                    self._catalogue.enter(found)
        except OSError as error:
            raise JournalError(f"{self.folder} cannot be read ({error.strerror}); check the path") from error

    def append(self, record: Record) -> None:
        raise JournalError(f"{self.folder} was opened for reading; nothing is written to it")

    def note(self, note: Note) -> None:
        raise JournalError(f"{self.folder} was opened for reading; nothing is written to it")

    def close(self) -> None:
        """Close the files; safe to call twice."""
        self._catalogue.close()


class DiskJournal(FolderJournal):
    """Every answered call and every event, on disk before anyone uses it.

    Opening an existing journal recovers it: a torn tail is cut off, records that the index has not seen are
    entered, damage in between is reported by :attr:`damage` and skipped. There is one writer at a time.

    Parameters
    ----------
    folder
        Made if it is not there.
    sync_seconds
        At most this long may pass between a record and its ``fdatasync``, which a thread of the journal does; 0
        for one before :meth:`append` returns. Only a loss of power can take what a sync has not reached; a killed
        process loses nothing.

    Raises
    ------
    JournalError
        The folder cannot be written, or another process is writing it (the message names it).
    """

    def __init__(self, folder: Path | str, sync_seconds: float = 1.0) -> None:
        self.folder = Path(folder)
        try:
            make_folder(self.folder)
        except OSError as error:
            raise JournalError(
                f"{self.folder} cannot be made ({error.strerror}); choose another folder"
            ) from error
        self.sync_seconds = sync_seconds
        self.damage = []
        self._lock = WriterLock(self.folder)
        self._mutex: ProcessMutex = ProcessMutex(str(self.folder))
        self._closed = False
        try:
            refuse_links(self.folder)
            self._catalogue = Catalogue(self.folder)
            self._index = Index(self.folder / "index.sqlite")
            self._appender = Appender(self.folder, self._recover(), sync_seconds, self._index.commit_if_due)
        except BaseException:
            self._lock.release()
            raise
        # A journal that nobody refers to any more is synced, and its thread ends.
        self._left_open = weakref.finalize(self, _close_quietly, self._appender, os.getpid())
        self._left_open.atexit = False

    # -- recovery --------------------------------------------------------------------------------------

    def _recover(self) -> int:
        """Read every chunk through, cut a torn tail off, bring the index up to date; the last chunk's number."""
        known, *end_known = self._index.end_of_last()
        end = [0, 0]
        reader = ChunkReader(self.folder)
        try:
            for found in reader.read_on():
                if isinstance(found, Damage):
                    self.damage.append(found)
                    if found.torn:
                        os.truncate(chunk_path(self.folder, found.chunk), found.offset)
                    continue
                if self._catalogue.records >= known:
                    self._enter_in_index(self._catalogue.records, found)
                self._catalogue.enter(found)
                if self._catalogue.records == known:
                    end = [found.chunk, found.offset + found.length]
            if end != end_known:
                self._rebuild_index()
        except OSError as error:
            raise JournalError(f"{self.folder} cannot be read ({error.strerror}); check the disk") from error
        self._index.commit()
        return max(reader.chunk, 0)

    def _rebuild_index(self) -> None:
        """The index knows records that the chunks have not: power was lost between the two."""
        self._index.forget()
        for number, found in enumerate(whole_records(self.folder)):
            self._enter_in_index(number, found)

    def _enter_in_index(self, number: int, found: Located) -> None:
        self._index.add(number, found.chunk, found.offset, found.length, found.header)
        if self._index.waiting >= INDEXED_AT_ONCE:
            self._index.commit()

    # -- writing ---------------------------------------------------------------------------------------

    def append(self, record: Record) -> None:
        """Write a record; when this returns it survives the death of this process.

        It survives a loss of power ``sync_seconds`` later, whatever this process does meanwhile. Where a disk is
        so slow that it would not, this waits for the disk.

        Raises
        ------
        JournalError
            It could not be written, and the journal is as it was before; or a sync has failed, and the journal
            takes nothing more.
        """
        if record.first_row != self.rows:
            raise JournalError(
                f"{self.folder} holds {self.rows} rows, so the next record cannot begin with row "
                f"{record.first_row}; let one session write one journal"
            )
        header = rows_header(record)
        self._write(header, frame.encode(header, {"stimuli": record.stimuli, "responses": record.responses}))

    def note(self, note: Note) -> None:
        header = note_header(note)
        self._write(header, frame.encode(header, {}))

    def _write(self, header: dict[str, Any], buffers: list[bytes | memoryview]) -> None:
        length = sum(len(buffer) for buffer in buffers)
        with self._mutex:
            if self._closed:
                raise JournalError(f"{self.folder} is closed; open the journal again to write to it")
            self._lock.require_held()
            self._catalogue.forget_from(self._appender.chunk, self._appender.end)
            self._appender.make_room(length, CHUNK_BYTES)
            located = Located(self._appender.chunk, self._appender.end, length, header)
            try:
                self._appender.write(buffers, length)
                self._catalogue.enter(located)
                self._appender.keep(length)
            except BaseException:
                # Whatever came in between, a record is there whole and counted, or not at all.
                if self._appender.end == located.offset:
                    self._catalogue.forget_from(located.chunk, located.offset)
                    self._appender.undo()
                raise
            self._enter_last_in_index(located)
            self._appender.wrote()

    def _enter_last_in_index(self, located: Located) -> None:
        """The index is a copy: its failure is none of the record's."""
        try:
            self._index.add(
                self._catalogue.records - 1, located.chunk, located.offset, located.length, located.header
            )
        except BaseException as error:
            self._index.miss()
            if not isinstance(error, Exception):
                raise

    def begin_sync(self) -> None:
        """Begin to make everything written so far survive a loss of power, and return at once."""
        self._mutex.require_own()
        if not self._closed:
            self._appender.begin_sync()

    def sync(self) -> None:
        """Make everything written so far survive a loss of power, and visible in the index."""
        self._mutex.require_own()
        if not self._closed:
            self._appender.sync()
            self._index.commit()

    def close(self) -> None:
        """Sync and let others write; safe to call twice. A forked copy closes nothing of its parent's."""
        if self._mutex.is_parents:
            return
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            self._left_open.detach()
            try:
                self._appender.close()
            finally:
                self._index.close()
                self._catalogue.close()
                self._lock.release()


def _close_quietly(appender: Appender, process: int) -> None:
    if process != os.getpid():
        return  # a forked copy was lost; the parent goes on with its own
    with contextlib.suppress(JournalError):
        appender.close()
