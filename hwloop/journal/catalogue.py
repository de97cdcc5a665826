"""Find recorded rows by number: where each record lies, and what it holds."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import JournalError
from hwloop.journal.chunk import ChunkFile, Located, chunk_path
from hwloop.journal.frame import ROWS, RecordError
from hwloop.journal.record import STATES, KeptState, Note, Record

CACHE_BYTES = 16 << 20
MAX_OPEN_FILES = 8


class Catalogue:
    """Finds recorded rows by number in a few bytes a record, and caches those read last.

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
        self._note_chunks, self._note_offsets, self._note_shown = array("i"), array("q"), array("b")
        self._files: dict[int, ChunkFile] = {}
        self._cache: OrderedDict[int, tuple[Float64Array, Float64Array]] = OrderedDict()
        self._cached_bytes = 0

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
        self._devices.append(self._device_names.setdefault(header["device"], len(self._device_names)))
        self._enter_state(header)

    def forget_from(self, chunk: int, offset: int) -> None:
        """Forget every record that begins there or behind, also one of which only a part was noted."""
        notes: tuple[array[int], ...] = (self._note_chunks, self._note_offsets, self._note_shown)
        rows: tuple[array[Any], ...] = (self._chunks, self._offsets, self._first_rows, self._counts)
        rows += (self._started, self._durations, self._devices)
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
                self._enter_state(self._read(*place)[0])
        return self._state

    def _enter_state(self, header: Mapping[str, Any]) -> None:
        if self._state is None:
            return
        if header["kind"] == ROWS:
            self._state.enter_rows(header.get("progress", {}))
        else:
            self._state.enter_note(header["kind"], header["details"])

    def readable(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows a whole record holds."""
        return self._located(numbers)[1]

    def read_rows(self, numbers: NDArray[np.int64]) -> tuple[Float64Array, Float64Array]:
        """Stimuli and responses of rows by number, shapes (numbers, n_inputs) and (numbers, n_outputs).

        Raises
        ------
        JournalError
            A row that is not recorded, or whose record is damaged.
        """
        return gather(numbers, self._entries(numbers), self._first_rows.__getitem__, self._arrays)

    def started_seconds(self, numbers: NDArray[np.int64]) -> Float64Array:
        """When the calls began that measured the rows, Unix time."""
        return np.array(self._started)[self._entries(numbers)]

    def duration_seconds(self, first: int, rows: int) -> float:
        """Device time of consecutive rows, each taken as its share of its call."""
        entries = self._entries(np.arange(first, first + rows))
        shares = np.array(self._durations)[entries] / np.array(self._counts)[entries]
        return float(shares.sum())

    def devices(self, first: int, rows: int) -> set[str]:
        """Fingerprints of the devices that answered consecutive rows."""
        names = list(self._device_names)
        entries = np.unique(self._entries(np.arange(first, first + rows)))
        return {names[self._devices[entry]] for entry in entries}

    def record_of_rows(self, entry: int) -> Record:
        """The record of rows at a place, counted from 0."""
        header, arrays = self._read(self._chunks[entry], self._offsets[entry])
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
            header, _ = self._read(chunk, offset)
            yield Note(header["kind"], header["details"], header["started_seconds"])

    def close(self) -> None:
        """Close the files; reading opens them again."""
        while self._files:
            self._files.popitem()[1].close()

    def _located(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Which record may hold each row, and whether it does."""
        if not self._first_rows:
            return np.zeros(len(numbers), dtype=np.int64), np.zeros(len(numbers), dtype=bool)
        firsts, counts = np.frombuffer(self._first_rows, "q"), np.frombuffer(self._counts, "q")
        entries = np.searchsorted(firsts, numbers, side="right") - 1
        held = (entries >= 0) & (numbers < firsts[entries] + counts[entries])
        return entries, np.asarray(held)

    def _entries(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        entries, held = self._located(numbers)
        if not held.all():
            number = int(numbers[~held][0])
            raise JournalError(f"{self.folder}: row {number} is not in the journal; hwloop verify shows what is")
        return entries

    def _arrays(self, entry: int) -> tuple[Float64Array, Float64Array]:
        if entry in self._cache:
            self._cache.move_to_end(entry)
            return self._cache[entry]
        _, read = self._read(self._chunks[entry], self._offsets[entry])
        arrays = (read["stimuli"], read["responses"])
        self._cache[entry] = arrays
        self._cached_bytes += _bytes(arrays)
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= _bytes(self._cache.popitem(last=False)[1])
        return arrays

    def _read(self, chunk: int, offset: int) -> tuple[dict[str, Any], dict[str, Float64Array]]:
        try:
            if chunk not in self._files:
                if len(self._files) >= MAX_OPEN_FILES:
                    self.close()
                self._files[chunk] = ChunkFile(self.folder, chunk)
            return self._files[chunk].read(offset)
        except (RecordError, OSError) as error:
            raise JournalError(
                f"{chunk_path(self.folder, chunk)}, byte {offset}: the record was damaged after it was written "
                f"({error}); hwloop verify shows what is whole"
            ) from error


def _bytes(arrays: tuple[Float64Array, Float64Array]) -> int:
    return arrays[0].nbytes + arrays[1].nbytes


Numbers = NDArray[np.int64]


def gather(
    numbers: Numbers,
    entries: Numbers,
    first_row: Callable[[int], int],
    arrays: Callable[[int], tuple[Float64Array, Float64Array]],
) -> tuple[Float64Array, Float64Array]:
    """Stimuli and responses of rows, in the order of ``numbers``; each record is asked for once.

    Parameters
    ----------
    numbers, entries
        Row numbers, shape (rows,), and which record holds each.
    first_row, arrays
        First row, and stimuli and responses, of a record.

    Raises
    ------
    JournalError
        The rows belong to devices of different shapes.
    """
    if len(numbers) == 0:
        return np.empty((0, 0)), np.empty((0, 0))
    order = np.argsort(entries, kind="stable")
    starts = np.flatnonzero(np.diff(entries[order])) + 1
    collected: tuple[Float64Array, Float64Array] | None = None
    for group in np.split(order, starts):
        entry = int(entries[group[0]])
        parts = arrays(entry)
        within = numbers[group] - first_row(entry)
        if collected is None:
            widths = [part.shape[1] for part in parts]
            collected = (np.empty((len(numbers), widths[0])), np.empty((len(numbers), widths[1])))
        for whole, part in zip(collected, parts, strict=True):
            if part.shape[1] != whole.shape[1]:
                raise JournalError(
                    f"rows {numbers.min()} to {numbers.max()} were measured by devices of {part.shape[1]} and "
                    f"{whole.shape[1]} channels; read the rows of one device"
                )
            whole[group] = part[within]
    assert collected is not None
    return collected
