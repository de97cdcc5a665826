"""Lines of text between host and board: ``<sequence> <word> <word> ...*<checksum>``, ended by a line feed.

The whole protocol, with every command, is written down in docs/devices/serial-board.md.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import BadReading

PROTOCOL = "hwloop-board/1"
SEQUENCE_MODULUS = 2**32
FULL_CODE = 65_535  # a code is 16 bits wide, whatever the converters are: 0 is the lower limit, this the upper
CHARACTERS_PER_CODE = 4
_LINE = re.compile(rb"(-|[0-9]{1,10}) ([!-)+-~]+(?: [!-)+-~]+)*)\*([0-9A-F]{4})\r?\n")
_BEGIN = re.compile(rb"[-0-9]")
_CODES = re.compile(r"[0-9a-fA-F]*")


@dataclass(frozen=True)
class ProtocolLine:
    """One sound line; ``sequence`` is ``None`` where the board could not read the number of the request."""

    sequence: int | None
    words: tuple[str, ...]


def checksum(payload: bytes) -> bytes:
    """CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) as 4 hexadecimal digits: 29B1 for ``123456789``."""
    return b"%04X" % binascii.crc_hqx(payload, 0xFFFF)


def encode_line(sequence: int, words: Iterable[str]) -> bytes:
    """The bytes of one request."""
    payload = " ".join([str(sequence), *words]).encode("ascii")
    return payload + b"*" + checksum(payload) + b"\n"


def decode_line(raw: bytes) -> ProtocolLine:
    """Read one line, its line feed included.

    Raises
    ------
    BadReading
        The line is cut short, is no line of this protocol, or its checksum is wrong.
    """
    match = _LINE.fullmatch(raw)
    if match is None:
        raise BadReading(f"{_shown(raw)} is no line of {PROTOCOL}; check the baud rate and what else writes there")
    payload = raw[: match.start(3) - 1]
    if checksum(payload) != match[3]:
        raise BadReading(f"{_shown(raw)} has a wrong checksum; check cable and baud rate")
    sequence = None if match[1] == b"-" else int(match[1])
    return ProtocolLine(sequence, tuple(match[2].decode("ascii").split(" ")))


def frame_within(raw: bytes) -> bytes | None:
    """The frame that ends a line, without what another part of the firmware wrote before it on the same line.

    Debug prints and zero bytes are no frame; that a piece is one, its checksum says. A line of a frame's form
    whose checksum is wrong was one, and is given back whole. ``None`` where nothing has that form.
    """
    line = raw.replace(b"\0", b"")
    for begin in (match.start() for match in _BEGIN.finditer(line)):
        match = _LINE.fullmatch(line, begin)
        if match is not None and checksum(line[begin : match.start(3) - 1]) == match[3]:
            return line[begin:]
    return line if _LINE.fullmatch(line) else None


def encode_codes(codes: NDArray[np.uint16]) -> str:
    """16-bit codes as hexadecimal text, 4 digits each, without separators."""
    return codes.astype(">u2").tobytes().hex()


def decode_codes(text: str, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """The codes of (rows, channels) from hexadecimal text.

    Raises
    ------
    BadReading
    """
    if len(text) != CHARACTERS_PER_CODE * shape[0] * shape[1] or not _CODES.fullmatch(text):
        raise BadReading(
            f"{_shown(text.encode())} does not hold {shape[0]} x {shape[1]} readings of 4 hexadecimal digits"
        )
    return np.frombuffer(bytes.fromhex(text), dtype=">u2").astype(np.uint16).reshape(shape)


def _shown(raw: bytes) -> str:
    return repr(raw if len(raw) <= 60 else raw[:50] + b"...")
