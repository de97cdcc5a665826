"""Lines of text between host and board, and what the board says of itself in them.

A line is ``<sequence> <word> <word> ...*<checksum>``, ended by a line feed.

The whole protocol, with every command, is written down in docs/devices/serial-board.md.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import BadReading

PROTOCOL = "hwloop-board/1"
SEQUENCE_MODULUS = 2**32
FULL_CODE = 65_535  # a code is 16 bits wide, whatever the converters are: 0 is the lower limit, this the upper
CHARACTERS_PER_CODE = 4
MAX_CHANNELS = 4096
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


@dataclass(frozen=True, eq=False)
class BoardDescription:
    """Channels, limits and pace of a board, from words such as ``n_inputs=4`` or ``low=0,0,-1.5``.

    Parameters
    ----------
    input_low, input_high
        What a DAC may be set to, shape (n_inputs,), in ``input_unit``: code 0 and code 65535.
    output_low, output_high
        The range of an ADC, shape (n_outputs,), in ``output_unit``: code 0 and code 65535.
    max_rows
        Rows that one line may carry.
    conversion_seconds
        Time of one reading of one ADC.
    watchdog_seconds
        Without a sound line for so long, the board mutes its outputs.
    """

    input_low: Float64Array
    input_high: Float64Array
    output_low: Float64Array
    output_high: Float64Array
    input_unit: str
    output_unit: str
    max_rows: int
    conversion_seconds: float
    watchdog_seconds: float

    @classmethod
    def from_words(cls, words: Sequence[str]) -> BoardDescription:
        """Read the board's answer to ``SPEC``; words that are not known are passed over.

        Raises
        ------
        BadReading
            A word is missing, or says what cannot be.
        """
        table = _Table(words)
        n_inputs = table.whole("n_inputs", MAX_CHANNELS)
        n_outputs = table.whole("n_outputs", MAX_CHANNELS)
        return cls(
            *table.range("low", "high", n_inputs),
            *table.range("output_low", "output_high", n_outputs),
            table.text("input_unit"),
            table.text("output_unit"),
            table.whole("max_rows", 65_536),
            table.whole("conversion_us", 10_000_000) / 1e6,
            table.whole("watchdog_ms", 60_000) / 1e3,
        )


class _Table:
    def __init__(self, words: Sequence[str]) -> None:
        self.entries = dict(word.split("=", 1) for word in words if "=" in word)

    def text(self, name: str) -> str:
        if name not in self.entries:
            raise BadReading(f"the board's answer to SPEC says nothing about {name}; check its firmware")
        return self.entries[name]

    def whole(self, name: str, high: int) -> int:
        text = self.text(name)
        if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= high):
            raise BadReading(
                f"the board says {name}={text}: not a whole number from 1 to {high}; check its firmware"
            )
        return int(text)

    def numbers(self, name: str, count: int) -> Float64Array:
        parts = self.text(name).split(",")
        try:
            values = [float(part) for part in parts]
        except ValueError:
            values = []
        if len(values) not in (1, count) or not all(math.isfinite(value) for value in values):
            raise BadReading(
                f"the board says {name}={self.text(name)}: not 1 or {count} finite numbers; check its firmware"
            )
        return np.array(np.broadcast_to(values, (count,)), dtype=np.float64)

    def range(self, low_name: str, high_name: str, count: int) -> tuple[Float64Array, Float64Array]:
        low, high = self.numbers(low_name, count), self.numbers(high_name, count)
        if not np.all(low < high):
            raise BadReading(f"the board says {low_name}={low}, {high_name}={high}: not below; check its firmware")
        return low, high
