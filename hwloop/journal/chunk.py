"""Chunk files, read: records one after the other, found again after any damage, or any of them by its place."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import JournalError
from hwloop.journal import frame
from hwloop.journal.frame import ROWS, Prefix, RecordError, TornRecordError, tuning_in

CACHE_BYTES = 16 << 20
MAX_OPEN_FILES = 8
_FIRST_READ = 2048  # the prefix and nearly every header
_WINDOW = 1 << 20
_LEAST_ROW_BYTES = 8  # one float32 of stimulus, one of response
_CANDIDATE_COST = 1024  # what looking at a marker that begins no record counts for, in bytes

Numbers = NDArray[np.int64]
Arrays = tuple[Float64Array, Float64Array]  # stimuli and responses of a record
Stored = tuple[Float64Array, Float64Array, Float64Array | None]  # and the tuning under which it was measured


@dataclass(frozen=True, slots=True)
class Located:
    """A whole record, by its header, and where it lies."""

    chunk: int
    offset: int
    length: int
    header: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a chunk that are no whole record. ``torn``: they end the file, as a killed writer leaves them."""

    chunk: int
    offset: int
    length: int
    reason: str
    torn: bool = False


def chunk_path(folder: Path, number: int) -> Path:
    """The file of a chunk."""
    return folder / f"{number:06d}.rows"


def chunk_numbers(folder: Path) -> list[int]:
    """The chunks that a folder holds, in order."""
    names = os.listdir(folder)
    return sorted(int(name[:6]) for name in names if re.fullmatch(r"[0-9]{6}\.rows", name))


class ChunkFile:
    """A chunk opened for reading, as long as it was when it was opened.

    What reading may cost is bounded by the file's size, whatever the file holds: nothing larger is allocated,
    and looking for records behind damage gives up after a few times that many bytes.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self._file = os.open(chunk_path(folder, number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.size = os.fstat(self._file).st_size
        self._patience = 4 * self.size + 16 * _WINDOW

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def read(self, offset: int) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """Header and arrays of the record at an offset.

        Raises
        ------
        RecordError
            No whole, undamaged record begins there.
        """
        self.size = max(self.size, os.fstat(self._file).st_size)  # it may have grown since
        prefix, header = self._header(offset)
        return header, frame.decode_body(header, self._body(prefix, offset))

    def scan(self, offset: int = 0) -> Iterator[Located | Damage]:
        """Every whole record from an offset on, and every stretch of damage between them, in order."""
        while offset < self.size:
            try:
                prefix, header = self._header(offset)
                self._body(prefix, offset)
            except RecordError as error:
                following = self._behind_damage(offset)
                torn = isinstance(error, TornRecordError) and following == self.size
                yield Damage(self.number, offset, following - offset, str(error), torn)
                offset = following
            else:
                yield Located(self.number, offset, prefix.record_bytes, header)
                offset += prefix.record_bytes

    def _header(self, offset: int) -> tuple[Prefix, dict[str, Any]]:
        data = os.pread(self._file, min(_FIRST_READ, self.size - offset), offset)
        prefix = frame.decode_prefix(data[: frame.PREFIX_BYTES])
        if offset + prefix.record_bytes > self.size:
            raise TornRecordError(f"the file ends within a record of {prefix.record_bytes} bytes")
        text = data[frame.PREFIX_BYTES : frame.PREFIX_BYTES + prefix.header_bytes]
        if len(text) < prefix.header_bytes:
            text = os.pread(self._file, prefix.header_bytes, offset + frame.PREFIX_BYTES)
        header = frame.decode_header(prefix, text)
        return prefix, header

    def _body(self, prefix: Prefix, offset: int) -> bytes:
        start = offset + frame.PREFIX_BYTES + prefix.header_bytes
        body = os.pread(self._file, prefix.body_bytes, start) if prefix.body_bytes else b""
        frame.check_body(prefix, body)
        return body

    def _behind_damage(self, offset: int) -> int:
        """Where reading goes on: behind a damaged body if a record follows it, else at the next whole record."""
        try:
            prefix, _ = self._header(offset)
        except RecordError:
            return self._next_record(offset + 1)
        end = offset + prefix.record_bytes
        self._patience -= prefix.record_bytes
        if end == self.size:
            return end
        try:
            self._header(end)
        except RecordError:
            return self._next_record(offset + 1)
        return end

    def _next_record(self, start: int) -> int:
        """Offset of the next whole record, or the file's size if there is none or patience ends."""
        while start < self.size:
            data = os.pread(self._file, _WINDOW + len(frame.MARKER) - 1, start)
            found = data.find(frame.MARKER)
            while found >= 0 and self._patience > 0:
                if self._begins_record(start + found):
                    return start + found
                found = data.find(frame.MARKER, found + 1)
            start += _WINDOW
        return self.size

    def _begins_record(self, offset: int) -> bool:
        cost = _CANDIDATE_COST
        try:
            data = os.pread(self._file, frame.PREFIX_BYTES, offset)
            prefix = frame.decode_prefix(data)
            if offset + prefix.record_bytes <= self.size:
                cost += prefix.header_bytes
            prefix, _ = self._header(offset)
            cost += prefix.body_bytes
            self._body(prefix, offset)
        except RecordError:
            self._patience -= cost
            return False
        return True


class ChunkReader:
    """Reads chunks in order, checks that rows are numbered without gaps, and remembers where it stopped.

    A gap in the numbers is believed only where damaged bytes, or a missing chunk, could have held the rows.

    Attributes
    ----------
    chunk, offset
        Where it stopped: behind the last whole record, or damage, of the last chunk; -1 before the first chunk.
    rows
        The number behind the last row.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chunk = -1
        self.offset = 0
        self.rows = 0
        self._lost_bytes = 0.0

    def read_on(self) -> Iterator[Located | Damage]:
        """Whole records and damage that have come since the last time; a torn tail comes again each time."""
        numbers = [number for number in chunk_numbers(self.folder) if number >= self.chunk]
        for number in numbers:
            yield from self._missing_chunks(number)
            if number > self.chunk:
                self.chunk, self.offset = number, 0
            with ChunkFile(self.folder, number) as file:
                for found in file.scan(self.offset):
                    checked = self._in_sequence(found) if isinstance(found, Located) else found
                    # A chunk that others follow is written no more; in the last one the tail may be in flight.
                    if isinstance(checked, Damage) and checked.torn and number == numbers[-1]:
                        yield checked
                        return
                    self._pass(checked)
                    yield checked

    def _missing_chunks(self, number: int) -> Iterator[Damage]:
        for missing in range(self.chunk + 1, number) if number - self.chunk < 1000 else (self.chunk + 1,):
            self._lost_bytes = float("inf")
            yield Damage(missing, 0, 0, "the chunk's file is missing")

    def _in_sequence(self, found: Located) -> Located | Damage:
        if found.header["kind"] != ROWS:
            return found
        gap = found.header["first_row"] - self.rows
        if 0 <= gap <= self._lost_bytes / _LEAST_ROW_BYTES:
            return found
        reason = f"its rows begin with number {found.header['first_row']}, where {self.rows} is the next"
        return Damage(found.chunk, found.offset, found.length, reason)

    def _pass(self, found: Located | Damage) -> None:
        self.offset = found.offset + found.length
        if isinstance(found, Damage):
            self._lost_bytes += found.length
        elif found.header["kind"] == ROWS:
            self.rows = found.header["first_row"] + found.header["rows"]
            self._lost_bytes = 0.0


def whole_records(folder: Path) -> Iterator[Located]:
    """Every whole record of every chunk, oldest first."""
    return (found for found in ChunkReader(folder).read_on() if isinstance(found, Located))


class StoredRecords:
    """Reads the records of a folder wherever they lie; keeps a few files open, and the arrays read last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[int, ChunkFile] = {}
        self._cache: OrderedDict[tuple[int, int], Stored] = OrderedDict()
        self._cached_bytes = 0

    def read(self, chunk: int, offset: int) -> tuple[dict[str, Any], dict[str, Float64Array]]:
        """Header and arrays of the record at a place.

        Raises
        ------
        JournalError
            No whole record begins there any more.
        """
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

    def arrays(self, chunk: int, offset: int) -> Arrays:
        """Stimuli and responses of the record of rows at a place; raises as :meth:`read`."""
        return self._stored(chunk, offset)[:2]

    def tuning(self, chunk: int, offset: int) -> Float64Array | None:
        """The tuning of the record of rows at a place, shape (n_tunables,); raises as :meth:`read`."""
        return self._stored(chunk, offset)[2]

    def _stored(self, chunk: int, offset: int) -> Stored:
        place = (chunk, offset)
        if place in self._cache:
            self._cache.move_to_end(place)
            return self._cache[place]
        _, read = self.read(chunk, offset)
        arrays = (read["stimuli"], read["responses"], tuning_in(read))
        self._cache[place] = arrays
        self._cached_bytes += _bytes(arrays)
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= _bytes(self._cache.popitem(last=False)[1])
        return arrays

    def close(self) -> None:
        """Close the files; reading opens them again."""
        while self._files:
            self._files.popitem()[1].close()


def _bytes(arrays: Stored) -> int:
    return sum(array.nbytes for array in arrays if array is not None)


def gather(
    numbers: Numbers,
    entries: Numbers,
    first_row: Callable[[int], int],
    arrays: Callable[[int], Arrays],
) -> Arrays:
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
    collected: Arrays | None = None
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
