"""Journals in a folder: append-only chunks that survive kill -9, a full disk and a flipped byte."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from array import array
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import JournalError
from hwloop.journal import frame
from hwloop.journal.appender import Appender
from hwloop.journal.chunk import (
    Arrays,
    ChunkReader,
    Damage,
    Located,
    Numbers,
    StoredRecords,
    chunk_path,
    gather,
    whole_records,
)
from hwloop.journal.durable_files import make_folder, refuse_links
from hwloop.journal.frame import ROWS, note_header, rows_header
from hwloop.journal.index import MOST_WAITING, Index
from hwloop.journal.lock import WriterLock
from hwloop.journal.record import STATES, Journal, KeptState, Note, Record

CHUNK_BYTES = 256 << 20
INDEXED_AT_ONCE = 10_000


class Catalogue:
    """Finds recorded rows by number, in a few bytes a record.

    Rows are numbered in the order of the records. A number that a damaged record held is missing: reading it
    is an error, so that nobody takes a neighbour for it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state: KeptState | None = KeptState()
        self._first_rows, self._counts = array("q"), array("q")
        self._chunks, self._offsets = array("i"), array("q")
        self._started, self._durations = array("d"), array("d")
        self._devices, self._device_names = array("i"), dict[str, int]()
        self._writes, self._write_seconds = array("q"), array("d")
        self._note_chunks, self._note_offsets, self._note_shown = array("i"), array("q"), array("b")
        self._stored = StoredRecords(folder)

    @property
    def records(self) -> int:
        """How many records of any kind there are."""
        return len(self._first_rows) + len(self._note_offsets)

    @property
    def rows(self) -> int:
        """The number behind the last row."""
        return self._first_rows[-1] + self._counts[-1] if self._first_rows else 0

    def enter(self, located: Located) -> None:
        """Take note of a record of any kind; if it raises, :meth:`forget_from` makes it undone."""
        header = located.header
        if header["kind"] != ROWS:
            self._note_chunks.append(located.chunk)
            self._note_offsets.append(located.offset)
            self._note_shown.append(header["kind"] not in STATES)
            self._enter_state(header)
            return
        self._first_rows.append(header["first_row"])
        self._counts.append(header["rows"])
        self._chunks.append(located.chunk)
        self._offsets.append(located.offset)
        self._started.append(header["started_seconds"])
        self._durations.append(header["duration_seconds"])
        self._writes.append(header.get("writes", 0))
        self._write_seconds.append(header.get("write_seconds", 0.0))
        self._devices.append(self._device_names.setdefault(header["device"], len(self._device_names)))
        self._enter_state(header)

    def forget_from(self, chunk: int, offset: int) -> None:
        """Forget every record that begins there or behind, also one of which only a part was noted."""
        notes: tuple[array[int], ...] = (self._note_chunks, self._note_offsets, self._note_shown)
        rows: tuple[array[Any], ...] = (self._chunks, self._offsets, self._first_rows, self._counts)
        rows += (self._started, self._durations, self._devices, self._writes, self._write_seconds)
        for columns in (notes, rows):
            length = min(map(len, columns))
            while length and (columns[0][length - 1], columns[1][length - 1]) >= (chunk, offset):
                length -= 1
            if any(len(column) > length for column in columns):
                self._state = None  # it may hold what the record said
            for column in columns:
                del column[length:]

    @property
    def state(self) -> KeptState:
        """What all records together say of the state of the device."""
        if self._state is None:
            places = [*zip(self._chunks, self._offsets, strict=True)]
            places += zip(self._note_chunks, self._note_offsets, strict=True)
            self._state = KeptState()
            for place in sorted(places):
                self._enter_state(self._stored.read(*place)[0])
        return self._state

    def _enter_state(self, header: Mapping[str, Any]) -> None:
        if self._state is None:
            return
        if header["kind"] == ROWS:
            if "progress" in header:
                self._state.enter_rows(header["progress"])
        else:
            self._state.enter_note(header["kind"], header["details"])

    def readable(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Which rows a whole record holds."""
        return self._located(numbers)[1]

    def read_rows(self, numbers: Numbers) -> tuple[Float64Array, Float64Array]:
        """Stimuli and responses of rows by number, shapes (numbers, n_inputs) and (numbers, n_outputs).

        Raises
        ------
        JournalError
            A row that is not recorded, or whose record is damaged.
        """
        return gather(numbers, self._entries(numbers), self._first_rows.__getitem__, self._arrays)

    def _arrays(self, entry: int) -> Arrays:
        return self._stored.arrays(self._chunks[entry], self._offsets[entry])

    def started_seconds(self, numbers: Numbers) -> Float64Array:
        """When the calls began that measured the rows, Unix time."""
        return np.array(self._started)[self._entries(numbers)]

    def duration_seconds(self, first: int, rows: int) -> float:
        """Device time of consecutive rows, each taken as its share of its call."""
        entries = self._entries(np.arange(first, first + rows))
        shares = np.array(self._durations)[entries] / np.array(self._counts)[entries]
        return float(shares.sum())

    def tuning(self, number: int) -> Float64Array | None:
        """What a row was measured under."""
        entry = int(self._entries(np.array([number]))[0])
        return self._stored.tuning(self._chunks[entry], self._offsets[entry])

    def measured_under(self, numbers: Numbers, tuning: Float64Array | None) -> NDArray[np.bool_]:
        """Which rows were measured under a tuning."""
        entries, which = np.unique(self._entries(numbers), return_inverse=True)
        found = (self._stored.tuning(self._chunks[entry], self._offsets[entry]) for entry in entries)
        same = [own is tuning if own is None or tuning is None else np.array_equal(own, tuning) for own in found]
        return np.array(same, dtype=bool)[which]

    def writes(self, first: int, rows: int) -> tuple[int, float]:
        """Writes of tunables before records that begin with one of consecutive rows, and their seconds."""
        entries = np.unique(self._entries(np.arange(first, first + rows)))
        begun = [int(entry) for entry in entries if self._first_rows[entry] >= first]
        return sum(self._writes[entry] for entry in begun), sum(self._write_seconds[entry] for entry in begun)

    def devices(self, first: int, rows: int) -> set[str]:
        """Fingerprints of the devices that answered consecutive rows."""
        names = list(self._device_names)
        entries = np.unique(self._entries(np.arange(first, first + rows)))
        return {names[self._devices[entry]] for entry in entries}

    def record_of_rows(self, entry: int) -> Record:
        """The record of rows at a place, counted from 0."""
        header, arrays = self._stored.read(self._chunks[entry], self._offsets[entry])
        return Record(
            purpose=header["purpose"],
            step=header["step"],
            device=header["device"],
            first_row=header["first_row"],
            started_seconds=header["started_seconds"],
            duration_seconds=header["duration_seconds"],
            stimuli=arrays["stimuli"],
            responses=arrays["responses"],
            progress=header.get("progress", {}),
            tuning=frame.tuning_in(arrays),
            writes=header.get("writes", 0),
            write_seconds=header.get("write_seconds", 0.0),
        )

    @property
    def records_of_rows(self) -> int:
        """How many records of rows there are."""
        return len(self._first_rows)

    def notes(self) -> Iterator[Note]:
        """Every note, oldest first, but those of states."""
        columns = (tuple(self._note_chunks), tuple(self._note_offsets), tuple(self._note_shown))
        for chunk, offset, shown in zip(*columns, strict=True):
            if not shown:
                continue
            header, _ = self._stored.read(chunk, offset)
            yield Note(header["kind"], header["details"], header["started_seconds"])

    def close(self) -> None:
        """Close the files; reading opens them again."""
        self._stored.close()

    def _located(self, numbers: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
        """Which record may hold each row, and whether it does."""
        if not self._first_rows:
            return np.zeros(len(numbers), dtype=np.int64), np.zeros(len(numbers), dtype=bool)
        firsts, counts = np.frombuffer(self._first_rows, "q"), np.frombuffer(self._counts, "q")
        entries = np.searchsorted(firsts, numbers, side="right") - 1
        held = (entries >= 0) & (numbers < firsts[entries] + counts[entries])
        return entries, np.asarray(held)

    def _entries(self, numbers: Numbers) -> Numbers:
        entries, held = self._located(numbers)
        if not held.all():
            number = int(numbers[~held][0])
            raise JournalError(f"{self.folder}: row {number} is not in the journal; hwloop verify shows what is")
        return entries


class ProcessMutex:
    """A reentrant lock. A forked process has not the thread that may hold it, and would wait for ever.

    Parameters
    ----------
    what
        It protects, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._process = os.getpid()
        self.lock = threading.RLock()

    @property
    def is_parents(self) -> bool:
        """Whether this is a forked copy."""
        return self._process != os.getpid()

    def require_own(self) -> None:
        """Refuse a forked copy.

        Raises
        ------
        JournalError
        """
        if self.is_parents:
            raise JournalError(
                f"{self._what} is open in process {self._process}, and this is process {os.getpid()}, forked from "
                "it: close it before forking, or open a journal of its own here"
            )

    def __enter__(self) -> None:
        self.require_own()
        self.lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lock.release()


class FolderJournal(Journal):
    """A journal in a folder, as it is read: its records are found by a catalogue, under a lock of the process."""

    folder: Path
    damage: list[Damage]
    _catalogue: Catalogue
    _mutex: AbstractContextManager[None]

    @property
    def rows(self) -> int:
        return self._catalogue.rows

    def read_rows(self, numbers: Numbers) -> tuple[Float64Array, Float64Array]:
        with self._mutex:
            return self._catalogue.read_rows(numbers)

    def readable(self, numbers: Numbers) -> NDArray[np.bool_]:
        with self._mutex:
            return self._catalogue.readable(numbers)

    def started_seconds(self, numbers: Numbers) -> Float64Array:
        with self._mutex:
            return self._catalogue.started_seconds(numbers)

    def duration_seconds(self, first: int, rows: int) -> float:
        with self._mutex:
            return self._catalogue.duration_seconds(first, rows)

    def tuning(self, number: int) -> Float64Array | None:
        with self._mutex:
            return self._catalogue.tuning(number)

    def measured_under(self, numbers: Numbers, tuning: Float64Array | None) -> NDArray[np.bool_]:
        with self._mutex:
            return self._catalogue.measured_under(numbers, tuning)

    def writes(self, first: int, rows: int) -> tuple[int, float]:
        with self._mutex:
            return self._catalogue.writes(first, rows)

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
            if end != end_known or known > self._catalogue.records:
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
        self._index.waiting.append((number, found))
        if len(self._index.waiting) >= INDEXED_AT_ONCE:
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
        self._write(header, frame.encode(header, frame.rows_arrays(record)))

    def note(self, note: Note) -> None:
        header = note_header(note)
        self._write(header, frame.encode(header, {}))

    def _write(self, header: dict[str, Any], buffers: list[bytes | memoryview]) -> None:
        length = sum(map(len, buffers))
        self._mutex.require_own()
        with self._mutex.lock:
            if self._closed:
                raise JournalError(f"{self.folder} is closed; open the journal again to write to it")
            appender = self._appender
            self._catalogue.forget_from(appender.chunk, appender.end)
            if appender.end + length > CHUNK_BYTES or not appender.is_whole:
                appender.make_room(length, CHUNK_BYTES)
            number, located = self._catalogue.records, Located(appender.chunk, appender.end, length, header)
            try:
                self._catalogue.enter(located)
                appender.write(buffers, length)
            except BaseException:
                # Whatever came in between, a record is there whole and counted, or not at all.
                if appender.end == located.offset:
                    self._catalogue.forget_from(located.chunk, located.offset)
                    appender.undo()
                raise
            if len(self._index.waiting) < MOST_WAITING:
                with contextlib.suppress(Exception):  # the index is a copy: its failure is none of the record's
                    self._index.waiting.append((number, located))
            appender.wrote()

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
