"""What is sent: commands as one message, in ASCII, on one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.devices.scpi.blocks import block_header
from hwloop.devices.scpi.line import Line
from hwloop.devices.scpi.transport import Bytes
from hwloop.errors import ConfigError

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
