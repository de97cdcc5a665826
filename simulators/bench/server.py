"""Serves an instrument: on a TCP socket, on a serial line (a pseudo-terminal), or over HiSLIP."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterable, Sequence

from hwloop.simulators.bench.hislip_peer import HislipPeer
from hwloop.simulators.bench.misbehaviour import Behave, Misbehaviour
from hwloop.simulators.bench.pty_peer import PtyPeer
from hwloop.simulators.bench.scpi.instrument import ClientConnection, ClientGone, Instrument
from hwloop.simulators.bench.scpi.messages import EndlessMessage, MessageStream
from hwloop.simulators.bench.scpi.status import ScpiError

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = "0.0.0.0"
_RECEIVE_BYTES = 1 << 18


class InstrumentServer:
    """An instrument behind a listening socket.

    Parameters
    ----------
    instrument
        Executes what clients send; one client more than it allows is turned away.
    host
        Address to listen on.
    port
        0 for one that is free.
    """

    def __init__(self, instrument: Instrument, host: str = LOOPBACK, port: int = 0) -> None:
        self.instrument = instrument
        self.misbehaviour: Misbehaviour = Behave()
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._listener = socket.create_server((host, port), backlog=16)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name=f"bench-{self.port}", daemon=True)]
        self._threads[0].start()

    @property
    def resource_name(self) -> str:
        """The VISA resource name of the instrument, as this computer reaches it."""
        host = LOOPBACK if self.host == EVERY_ADDRESS else self.host
        return f"TCPIP::{host}::{self.port}::SOCKET"

    def close(self) -> None:
        """Hang up on every client and stop listening; safe to call twice."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.disconnect_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5)

    def disconnect_all(self) -> None:
        """Hang up on every client, as a pulled cable does."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            _hang_up(client)

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                full = len(self._clients) >= self.instrument.MAX_CLIENTS
                if full or self.misbehaviour.refuses():
                    client.close()
                    continue
                self._clients.add(client)
            thread = threading.Thread(target=self._serve, args=(client,), name=f"bench-{self.port}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = ClientConnection(self.instrument, gone=lambda: self._closing or _peer_gone(client))
        stream = MessageStream()
        try:
            while data := client.recv(_RECEIVE_BYTES):
                for message in stream.feed(data):
                    self._answer(client, session, message)
        except EndlessMessage:
            self.instrument.report(ScpiError(-363))  # and hang up: where the next message begins is not known
        except (ClientGone, OSError):
            pass
        finally:
            with self._lock:
                self._clients.discard(client)
            client.close()
            self.instrument.session_closed(session)

    def _answer(self, client: socket.socket, session: ClientConnection, message: bytes) -> None:
        self.instrument.clock.take_command()
        reply = self.misbehaviour.exchange(session, message)
        if reply:
            client.sendall(reply)


def _hang_up(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _peer_gone(client: socket.socket) -> bool:
    """Whether the client has hung up, also while bytes that it sent before wait to be read."""
    try:
        poll = select.poll()
        poll.register(client, select.POLLRDHUP)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


class SerialServer:
    """An instrument at the end of a serial line (a pseudo-terminal).

    Parameters
    ----------
    instrument
        Executes what comes.

    Attributes
    ----------
    misbehaviour
        Faults that it makes; to hang up is to say nothing.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.misbehaviour: Misbehaviour = Behave()
        self._closing = False
        self._session = ClientConnection(instrument, gone=lambda: self._closing)
        self._peer = PtyPeer(self._answer)

    @property
    def resource_name(self) -> str:
        """The VISA resource name of the port."""
        return self._peer.resource_name

    def close(self) -> None:
        """End the line; safe to call twice."""
        if not self._closing:
            self._closing = True
            self._peer.close()
            self.instrument.session_closed(self._session)

    def disconnect_all(self) -> None:
        """Nothing: nobody hangs up on a serial line."""

    def _answer(self, message: bytes) -> Iterable[Sequence[bytes]]:
        try:
            return _replies(self, self._session, message)
        except ClientGone:
            return []


class HislipServer:
    """An instrument behind HiSLIP.

    Parameters
    ----------
    instrument
        Executes what clients send.

    Attributes
    ----------
    misbehaviour
        Faults that it makes.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.misbehaviour: Misbehaviour = Behave()
        self._closing = False
        self._peer = HislipPeer(self._connected)

    @property
    def resource_name(self) -> str:
        """The VISA resource name of the instrument."""
        return self._peer.resource_name

    def close(self) -> None:
        """Hang up on every client and stop listening; safe to call twice."""
        self._closing = True
        self._peer.close()

    def disconnect_all(self) -> None:
        """Hang up on every client, as a pulled cable does."""
        self._peer.disconnect_all()

    def _connected(self) -> Callable[[bytes], Iterable[Sequence[bytes]]]:
        session = ClientConnection(self.instrument, gone=lambda: self._closing)

        def answer(message: bytes) -> Iterable[Sequence[bytes]]:
            try:
                return _replies(self, session, message)
            except ClientGone as gone:
                raise EOFError from gone

        return answer


def _replies(server: SerialServer | HislipServer, session: ClientConnection, message: bytes) -> list[list[bytes]]:
    server.instrument.clock.take_command()
    reply = server.misbehaviour.exchange(session, message)
    return [[reply]] if reply else []
