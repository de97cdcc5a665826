"""Where each record of rows lies, and the rows themselves on demand."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import JournalError
from hwloop.journal.chunk import Located, chunk_path, read_at
from hwloop.journal.frame import FrameError
from hwloop.journal.record import Record

CACHE_BYTES = 16 << 20


class Catalogue:
    """Finds recorded rows by number in a few bytes a record, and caches those read last.

    Rows are numbered in the order of the records. A number that a damaged record held is missing: reading it
    is an error, so that nobody takes a neighbour for it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = 0
        self.rows = 0
        self._first_rows, self._counts = array("q"), array("q")
        self._chunks, self._offsets = array("i"), array("q")
        self._started, self._durations = array("d"), array("d")
        self._files: dict[int, int] = {}
        self._cache: OrderedDict[int, dict[str, Float64Array]] = OrderedDict()
        self._cached_bytes = 0

    def enter(self, located: Located) -> None:
        """Take note of a record of any kind."""
        self.records += 1
        header = located.header
        if header["kind"] != "rows":
            return
        self._first_rows.append(header["first_row"])
        self._counts.append(header["rows"])
        self._chunks.append(located.chunk)
        self._offsets.append(located.offset)
        self._started.append(header["started_seconds"])
        self._durations.append(header["duration_seconds"])
        self.rows = header["first_row"] + header["rows"]

    def readable(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows a whole record holds."""
        if not self._first_rows:
            return np.zeros(len(numbers), dtype=bool)
        firsts, counts = np.asarray(self._first_rows), np.asarray(self._counts)
        entries = np.searchsorted(firsts, numbers, side="right") - 1
        inside = entries >= 0
        return np.asarray(inside & (numbers < firsts[entries] + counts[entries]))

    def read_rows(self, numbers: NDArray[np.int64]) -> tuple[Float64Array, Float64Array]:
        """Stimuli and responses of rows by number, shapes (numbers, n_inputs) and (numbers, n_outputs).

        Raises
        ------
        JournalError
            A row that is not recorded, or whose record is damaged.
        """
        order = np.argsort(numbers, kind="stable")
        pieces, position = [], 0
        while position < len(order):
            entry = self._entry_of(int(numbers[order[position]]))
            first = self._first_rows[entry]
            end = int(np.searchsorted(numbers[order], first + self._counts[entry]))
            arrays, within = self._arrays(entry), numbers[order[position:end]] - first
            pieces.append((arrays["stimuli"][within], arrays["responses"][within]))
            position = end
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        stimuli, responses = (np.concatenate(part)[back] for part in zip(*pieces, strict=True))
        return stimuli, responses

    def started_seconds(self, numbers: NDArray[np.int64]) -> Float64Array:
        """When the calls began that measured the rows, Unix time."""
        return np.array([self._started[self._entry_of(int(n))] for n in numbers])

    def duration_seconds(self, first: int, rows: int) -> float:
        """Device time of consecutive rows, each taken as its share of its call."""
        total, number = 0.0, first
        while number < first + rows:
            entry = self._entry_of(number)
            end = min(self._first_rows[entry] + self._counts[entry], first + rows)
            total += self._durations[entry] * (end - number) / self._counts[entry]
            number = end
        return total

    def records_of_rows(self) -> Iterator[Record]:
        """Every record of rows, oldest first."""
        for entry in range(len(self._first_rows)):
            header, arrays = self._read(entry)
            yield Record(
                purpose=header["purpose"],
                step=header.get("step", ""),
                device=header["device"],
                first_row=header["first_row"],
                started_seconds=header["started_seconds"],
                duration_seconds=header["duration_seconds"],
                stimuli=arrays["stimuli"],
                responses=arrays["responses"],
            )

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _entry_of(self, number: int) -> int:
        entry = bisect_right(self._first_rows, number) - 1
        if entry < 0 or number >= self._first_rows[entry] + self._counts[entry]:
            raise JournalError(f"{self.folder}: row {number} is not in the journal; hwloop verify shows what is")
        return entry

    def _arrays(self, entry: int) -> dict[str, Float64Array]:
        if entry in self._cache:
            self._cache.move_to_end(entry)
            return self._cache[entry]
        _, arrays = self._read(entry)
        self._cache[entry] = arrays
        self._cached_bytes += _bytes(arrays)
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= _bytes(dropped)
        return arrays

    def _read(self, entry: int) -> tuple[dict[str, object], dict[str, Float64Array]]:
        chunk, offset = self._chunks[entry], self._offsets[entry]
        if chunk not in self._files:
            self._files[chunk] = os.open(chunk_path(self.folder, chunk), os.O_RDONLY)
        try:
            _, header, arrays = read_at(self._files[chunk], offset)
        except (FrameError, OSError) as error:
            raise JournalError(
                f"{chunk_path(self.folder, chunk)}, byte {offset}: the record was damaged after it was written "
                f"({error}); hwloop verify shows what is whole"
            ) from error
        return header, arrays


def _bytes(arrays: dict[str, Float64Array]) -> int:
    return sum(array.nbytes for array in arrays.values())
