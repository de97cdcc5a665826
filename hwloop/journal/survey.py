"""All chunks of a folder read through, from the first record to the last, and on when more have come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hwloop.journal.chunk import ChunkFile, Damage, Located, chunk_numbers
from hwloop.journal.header import ROWS

_LEAST_ROW_BYTES = 8  # one float32 of stimulus, one of response


class Survey:
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
    return (found for found in Survey(folder).read_on() if isinstance(found, Located))
