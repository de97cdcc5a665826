"""An instrument's end of HiSLIP: messages with their END, over two sockets.

IVI-6.1, version 1.0, in synchronised mode.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hwloop.simulators.bench.tcp_peer import Answer, Listener

HEADER = struct.Struct("!2sBBIQ")  # prologue, type, control code, parameter, length of what follows
PROLOGUE = b"HS"
PROTOCOL = 0x0100
LARGEST_MESSAGE_BYTES = 1 << 20  # as it is told to the client, which sends longer ones in several
LARGEST_INPUT_BYTES = 64 << 20  # of a message in several

INITIALIZE, INITIALIZED = 0, 1
FATAL_ERROR, ERROR = 2, 3
LOCK, LOCKED = 4, 5
DATA, DATA_END = 6, 7
CLEAR_COMPLETE, CLEAR_ACKNOWLEDGED = 8, 9
REMOTE, REMOTE_DONE = 10, 11
TRIGGER = 12
MAX_SIZE, MAX_SIZE_IS = 15, 16
ASYNC_INITIALIZE, ASYNC_INITIALIZED = 17, 18
ASYNC_CLEAR, ASYNC_CLEAR_ACKNOWLEDGED = 19, 23
STATUS, STATUS_IS = 21, 22
LOCK_INFO, LOCK_INFO_IS = 24, 25


class Unended(list[bytes]):
    """Pieces of a message whose END never comes."""


class _Message(NamedTuple):
    kind: int
    control: int
    parameter: int
    payload: bytes


class HislipPeer(Listener):
    """Serves HiSLIP sessions on a free port of this computer.

    Parameters
    ----------
    connected
        Called for each session: what answers its messages. An :class:`EOFError` from that hangs up.
    """

    def __init__(self, connected: Callable[[], Answer]) -> None:
        self.connected = connected
        self.connections = 0
        self._numbers = itertools.count(1)
        super().__init__()

    @property
    def resource_name(self) -> str:
        """The VISA resource name of the instrument."""
        return f"TCPIP::{self.reached_at}::hislip0,{self.port}::INSTR"

    def converse(self, client: socket.socket) -> None:
        """One of a session's two channels, as its first message says."""
        with contextlib.suppress(ValueError):
            first = _receive(client)
            if first.kind == INITIALIZE:
                self.connections += 1
                session = next(self._numbers) & 0xFFFF
                _send(client, INITIALIZED, 0, PROTOCOL << 16 | session)
                self._converse(client, self.connected())
            elif first.kind == ASYNC_INITIALIZE:
                _send(client, ASYNC_INITIALIZED, 0, int.from_bytes(b"hwlp", "big"))
                self._administer(client)
            else:
                _send(client, FATAL_ERROR, 3)

    def _converse(self, client: socket.socket, answer: Answer) -> None:
        """The synchronous channel: a reply carries the number of the message that it answers."""
        message = bytearray()
        while True:
            received = _receive(client)
            if received.kind == CLEAR_COMPLETE:
                message.clear()
                _send(client, CLEAR_ACKNOWLEDGED)
            elif received.kind in (DATA, DATA_END):
                message += received.payload
                if len(message) > LARGEST_INPUT_BYTES:
                    raise ValueError("a message without end")
                if received.kind == DATA_END:
                    for reply in answer(bytes(message).rstrip(b"\r\n")):
                        _reply(client, reply, received.parameter)
                    message.clear()
            elif received.kind != TRIGGER:
                _send(client, ERROR, 1)

    def _administer(self, client: socket.socket) -> None:
        """The asynchronous channel."""
        while True:
            received = _receive(client)
            if received.kind == MAX_SIZE:
                _send(client, MAX_SIZE_IS, payload=LARGEST_MESSAGE_BYTES.to_bytes(8, "big"))
            elif received.kind == ASYNC_CLEAR:
                _send(client, ASYNC_CLEAR_ACKNOWLEDGED)
            elif received.kind == STATUS:
                _send(client, STATUS_IS)
            elif received.kind == LOCK:
                _send(client, LOCKED, 1)
            elif received.kind == LOCK_INFO:
                _send(client, LOCK_INFO_IS)
            elif received.kind == REMOTE:
                _send(client, REMOTE_DONE)
            else:
                _send(client, ERROR, 1)


def _reply(client: socket.socket, pieces: Sequence[bytes], number: int) -> None:
    """One message: END with its last piece."""
    last = len(pieces) - 1
    for position, piece in enumerate(pieces):
        ends = position == last and not isinstance(pieces, Unended)
        _send(client, DATA_END if ends else DATA, 0, number, piece)


def _send(client: socket.socket, kind: int, control: int = 0, parameter: int = 0, payload: bytes = b"") -> None:
    client.sendall(HEADER.pack(PROLOGUE, kind, control, parameter, len(payload)) + payload)


def _receive(client: socket.socket) -> _Message:
    prologue, kind, control, parameter, length = HEADER.unpack(_exactly(client, HEADER.size))
    if prologue != PROLOGUE or length > LARGEST_MESSAGE_BYTES:
        raise ValueError("no HiSLIP")
    return _Message(kind, control, parameter, _exactly(client, length))


def _exactly(client: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        some = client.recv(min(count - len(data), 1 << 18))
        if not some:
            raise EOFError
        data += some
    return bytes(data)
