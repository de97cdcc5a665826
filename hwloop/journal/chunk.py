"""Chunk files: records appended one after the other, found again after any kind of damage."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.journal import frame
from hwloop.journal.frame import FrameError, Prefix, TornFrameError
from hwloop.journal.header import check_read_header

_FIRST_READ = 2048  # the prefix and nearly every header
_WINDOW = 1 << 20
_CANDIDATE_COST = 1024  # what looking at a marker that begins no record counts for, in bytes


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
        FrameError
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
            except FrameError as error:
                following = self._behind_damage(offset)
                torn = isinstance(error, TornFrameError) and following == self.size
                yield Damage(self.number, offset, following - offset, str(error), torn)
                offset = following
            else:
                yield Located(self.number, offset, prefix.record_bytes, header)
                offset += prefix.record_bytes

    def _header(self, offset: int) -> tuple[Prefix, dict[str, Any]]:
        data = os.pread(self._file, min(_FIRST_READ, self.size - offset), offset)
        prefix = frame.decode_prefix(data[: frame.PREFIX_BYTES])
        if offset + prefix.record_bytes > self.size:
            raise TornFrameError(f"the file ends within a record of {prefix.record_bytes} bytes")
        text = data[frame.PREFIX_BYTES : frame.PREFIX_BYTES + prefix.header_bytes]
        if len(text) < prefix.header_bytes:
            text = os.pread(self._file, prefix.header_bytes, offset + frame.PREFIX_BYTES)
        header = frame.decode_header(prefix, text)
        check_read_header(header)
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
        except FrameError:
            return self._next_record(offset + 1)
        end = offset + prefix.record_bytes
        self._patience -= prefix.record_bytes
        if end == self.size:
            return end
        try:
            self._header(end)
        except FrameError:
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
        except FrameError:
            self._patience -= cost
            return False
        return True
