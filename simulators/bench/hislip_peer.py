"""An instrument's end of HiSLIP: messages with their END, over two sockets.

IVI-6.1, version 1.0, in synchronised mode.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

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

Answer = Callable[[bytes], Iterable[Sequence[bytes]]]


class Unended(list[bytes]):
    """Pieces of a message whose END never comes."""


class _Message(NamedTuple):
    kind: int
    control: int
    parameter: int
    payload: bytes


class HislipPeer:
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
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=f"bench-{self.port}", daemon=True).start()

    @property
    def resource_name(self) -> str:
        """The VISA resource name of the instrument."""
        return f"TCPIP::127.0.0.1::hislip0,{self.port}::INSTR"

    def close(self) -> None:
        """Hang up on every client and stop listening; safe to call twice."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.disconnect_all()

    def disconnect_all(self) -> None:
        """Hang up on every client, as a pulled cable does."""
        with self._lock:
            clients = list(self._open)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), name=f"bench-{self.port}", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
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
        except (EOFError, OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(client)
            client.close()

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
