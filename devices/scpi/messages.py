"""Messages to an instrument, and binary blocks of IEEE 488.2, section 8.7.9 and 8.7.10.

A message is ASCII text on one line. A block is ``#`` digits, length, bytes; or ``#0``, bytes, END. The announced
length decides where a block ends: a terminator behind it may come or not. What else waits behind it was not
announced, so the block is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hwloop.deadline import Deadline
from hwloop.devices.scpi.line import Line
from hwloop.devices.scpi.transport import Bytes, Transport
from hwloop.errors import BadReading, ConfigError, ConformityError

LARGEST_BLOCK_BYTES = 1 << 31
LONGEST_HEADER_BYTES = 256  # of text before the #

ReadEndless = Callable[[Transport, Deadline, int], bytes | bytearray]


def block_header(n_bytes: int) -> bytes:
    """The header of a block of known length, such as ``#42000`` for 2,000 bytes.

    Raises
    ------
    ValueError
        Longer than the nine digits that a header has room for.
    """
    digits = str(n_bytes)
    if n_bytes < 0 or len(digits) > 9:
        raise ValueError(f"a binary block holds 0 to 999,999,999 bytes, not {n_bytes}")
    return f"#{len(digits)}{digits}".encode()


def read_expected(transport: Transport, deadline: Deadline, expected: int) -> bytearray:
    """So many bytes of a ``#0`` block, and nothing soon behind them.

    Raises
    ------
    ConformityError
        None are expected.
    BadReading
        More come.
    """
    if not expected:
        raise ConformityError(
            f"{transport.resource}: a block of unknown length (#0) has no end on this link; say how many points "
            "are expected, name a marker with {n} in it, or set the instrument to blocks of known length"
        )
    data = transport.receive_exactly(expected, deadline)
    if rest := transport.receive_behind_block(deadline):
        _refuse(transport, f"{len(rest)} bytes follow the {expected} that were expected ({bytes(rest[:20])!r})")
    return data


def read_blocks(
    transport: Transport,
    deadline: Deadline,
    expected_bytes: Sequence[int] = (0,),
    header: str = "",
    read_endless: ReadEndless = read_expected,
) -> list[bytes | bytearray]:
    """Blocks joined by commas, and nothing left behind the last.

    Parameters
    ----------
    transport, deadline
        Where from, and until when.
    expected_bytes
        How many bytes each of them must have; 0 for any.
    header
        Regular expression of the text before the first ``#``.
    read_endless
        Reads a ``#0`` block, of so many bytes if not 0, to its end where the transport has none.

    Raises
    ------
    BadReading
        No such blocks, another length than was expected, or bytes behind them.
    """
    _read_header(transport, deadline, header)
    blocks: list[bytes | bytearray] = []
    for number, expected in enumerate(expected_bytes):
        if number:
            _read_start(transport, deadline, b",#", "the next of several blocks begins with a comma and #")
        digits = _read_digit(transport, deadline)
        if digits == 0:
            if number + 1 < len(expected_bytes):
                _refuse(transport, "a block of unknown length (#0) cannot be followed by others")
            return [*blocks, _read_indefinite(transport, deadline, expected, read_endless)]
        blocks.append(_read_definite(transport, deadline, digits, expected))
    if rest := transport.receive_behind_block(deadline):
        lengths = ", ".join(str(len(block)) for block in blocks)
        _refuse(transport, f"{len(rest)} bytes follow a block of {lengths} bytes ({bytes(rest[:20])!r})")
    return blocks


def read_block(transport: Transport, deadline: Deadline, expected_bytes: int = 0) -> bytes | bytearray:
    """The bytes of one block; as :func:`read_blocks`."""
    return read_blocks(transport, deadline, (expected_bytes,))[0]


def as_array(data: bytes | bytearray, dtype: DTypeLike, resource: str) -> NDArray[Any]:
    """The bytes of a block as numbers, shape (points,), without a copy.

    Raises
    ------
    BadReading
        The bytes are no whole number of points.
    """
    kind = np.dtype(dtype)
    if len(data) % kind.itemsize:
        raise BadReading(f"{resource}: {len(data)} bytes are no whole number of points of {kind.itemsize} bytes")
    return np.frombuffer(data, dtype=kind)


def _read_header(transport: Transport, deadline: Deadline, header: str) -> None:
    """The text before the first block, and its #."""
    if not header:
        _read_start(transport, deadline, b"#", "a binary block begins with # and a digit")
        return
    text = bytearray()
    while not text.endswith(b"#"):
        if len(text) > LONGEST_HEADER_BYTES:
            _refuse(transport, f"no # came in {len(text)} bytes")
        text += transport.receive_exactly(1, deadline)
    if not re.fullmatch(header.encode("ascii"), bytes(text[:-1])):
        _refuse(transport, f"the text before the block is {bytes(text[:-1])!r}, not {header!r}")


def _read_start(transport: Transport, deadline: Deadline, start: bytes, rule: str) -> None:
    for position in range(len(start)):
        byte = bytes(transport.receive_exactly(1, deadline))
        if byte != start[position : position + 1]:
            _refuse(transport, f"{rule}, not {start[:position] + byte!r}")


def _read_digit(transport: Transport, deadline: Deadline) -> int:
    digit = bytes(transport.receive_exactly(1, deadline))
    if not digit.isdigit():
        _refuse(transport, f"a binary block begins with # and a digit, not {b'#' + digit!r}")
    return int(digit)


def _read_definite(transport: Transport, deadline: Deadline, digits: int, expected: int) -> bytearray:
    length = bytes(transport.receive_exactly(digits, deadline))
    if not length.isdigit() or int(length) > LARGEST_BLOCK_BYTES:
        _refuse(transport, f"the length of a binary block reads {length!r}")
    if expected and int(length) != expected:
        _refuse(transport, f"a block of {int(length)} bytes was announced where {expected} were expected")
    return transport.receive_exactly(int(length), deadline)


def _read_indefinite(
    transport: Transport, deadline: Deadline, expected: int, read_endless: ReadEndless
) -> bytes | bytearray:
    """Up to END, less the newline that stands before it: both are the terminator (IEEE 488.2, 8.7.10).

    A stream has no END: there it is so many bytes as are expected, or what ``read_endless`` finds.
    """
    if transport.ends_messages:
        data: bytes | bytearray = transport.receive_rest(deadline)
        if data.endswith(b"\n") and len(data) != expected:
            data = data[:-2] if expected and data.endswith(b"\r\n") and len(data) == expected + 2 else data[:-1]
    else:
        data = read_endless(transport, deadline, expected)
    if expected and len(data) != expected:
        _refuse(transport, f"a block of {len(data)} bytes came where {expected} were expected")
    return data


def _refuse(transport: Transport, why: str) -> None:
    raise BadReading(f"{transport.resource}: {why}; check format and byte order, then measure again")


NOT_SENT = "\r\n\0"


def compound(commands: Sequence[str]) -> str:
    """Commands as one message, each from the root of the command tree (SCPI-99 vol. 1, 6.2.4)."""
    rest = (command if command.startswith(("*", ":")) else f":{command}" for command in commands[1:])
    return ";".join([*commands[:1], *rest])


def encoded(text: str, line: Line, resource: str) -> bytes:
    """A message with its terminator.

    Raises
    ------
    ConfigError
        It is no ASCII text on one line; nothing was sent.
    """
    odd = [letter for letter in text if not letter.isascii() or letter in NOT_SENT]
    if odd:
        raise ConfigError(
            f"{resource}: {text!r} holds {odd[0]!r}, which cannot be sent: a message is ASCII text on one line; "
            "nothing was sent"
        )
    return f"{text}{line.write_termination}".encode("ascii")


def block_message(
    command: str, data: Bytes | NDArray[Any], line: Line, resource: str
) -> tuple[bytes, bytes, Bytes]:
    """A command, the header of its binary block, and the bytes; an array in its own byte order.

    Raises
    ------
    ConfigError
        The command is no ASCII text, or the line echoes; nothing was sent.
    ValueError
        The block is too long.
    """
    if line.echo:
        raise ConfigError(f"{resource}: a binary block cannot be sent on a line that echoes; switch the echo off")
    head = encoded(command, line, resource).removesuffix(line.write_termination.encode("ascii"))
    block: Bytes = data if not isinstance(data, np.ndarray) else np.ascontiguousarray(data).view(np.uint8).data
    return head, block_header(len(block)), block
