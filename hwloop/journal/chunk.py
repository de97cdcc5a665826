"""Chunk files: records appended one after the other, found again after any kind of damage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.journal import frame
from hwloop.journal.frame import FrameError, TornFrameError


@dataclass(frozen=True)
class Located:
    """A whole record and where it lies; ``arrays`` is empty where only the header was asked for."""

    chunk: int
    offset: int
    length: int
    header: dict[str, Any]


@dataclass(frozen=True)
class Damage:
    """Bytes of a chunk that are no whole record. ``torn``: they end the file, as a killed writer leaves them."""

    chunk: int
    offset: int
    length: int
    reason: str
    torn: bool


def chunk_path(folder: Path, number: int) -> Path:
    """The file of a chunk."""
    return folder / f"{number:06d}.rows"


def chunk_numbers(folder: Path) -> list[int]:
    """The chunks that a folder holds, in order."""
    return sorted(int(p.stem) for p in folder.glob("*.rows") if p.stem.isdigit() and len(p.stem) == 6)


def read_at(file: int, offset: int) -> tuple[int, dict[str, Any], dict[str, NDArray[np.float64]]]:
    """Length, header and arrays of the record at an offset of an open file descriptor.

    Raises
    ------
    FrameError
        No whole, undamaged record begins there.
    """
    length, header, body_crc, body_start = _header_at(file, offset)
    body = os.pread(file, length - body_start, offset + body_start)
    if len(body) < length - body_start:
        raise TornFrameError("the file ends within the record's body")
    return length, header, frame.decode_body(header, body, body_crc)


def _header_at(file: int, offset: int) -> tuple[int, dict[str, Any], int, int]:
    prefix = os.pread(file, frame.PREFIX_BYTES, offset)
    header_bytes, body_bytes, body_crc, prefix_crc = frame.decode_prefix(prefix)
    text = os.pread(file, header_bytes, offset + frame.PREFIX_BYTES)
    if len(text) < header_bytes:
        raise TornFrameError("the file ends within the record's header")
    header = frame.decode_header(prefix, text, prefix_crc)
    body_start = frame.PREFIX_BYTES + header_bytes
    return body_start + body_bytes, header, body_crc, body_start


def scan(folder: Path, number: int, start: int = 0) -> Iterator[Located | Damage]:
    """Every whole record of a chunk from an offset on, and every stretch of damage between them, in order."""
    file = os.open(chunk_path(folder, number), os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        offset = start
        while offset < size:
            try:
                length, header, _ = read_at(file, offset)
            except FrameError as error:
                following = _next_record(file, offset + 1, size)
                yield Damage(number, offset, following - offset, str(error), torn=following == size)
                offset = following
            else:
                yield Located(number, offset, length, header)
                offset += length
    finally:
        os.close(file)


def _next_record(file: int, start: int, size: int) -> int:
    """Offset of the next whole record, or the file's size."""
    window = 1 << 20
    while start < size:
        data = os.pread(file, window + len(frame.MARKER) - 1, start)
        found = data.find(frame.MARKER)
        while found >= 0:
            try:
                read_at(file, start + found)
            except FrameError:
                found = data.find(frame.MARKER, found + 1)
            else:
                return start + found
        start += window
    return size


def whole_records(folder: Path) -> Iterator[Located]:
    """Every whole record of every chunk, oldest first."""
    for number in chunk_numbers(folder):
        for found in scan(folder, number):
            if isinstance(found, Located):
                yield found
