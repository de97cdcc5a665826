"""Serves an instrument: on a TCP socket, on a serial line (a pseudo-terminal), or over HiSLIP."""

from __future__ import annotations

import select
import socket

from hwloop.device.settings import one_of
from hwloop.simulators.bench.hislip_peer import HislipPeer
from hwloop.simulators.bench.misbehaviour import Behave, Misbehaviour
from hwloop.simulators.bench.pty_peer import PtyPeer
from hwloop.simulators.bench.scpi.instrument import ClientConnection, ClientGone, Instrument
from hwloop.simulators.bench.scpi.messages import EndlessMessage, MessageStream
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.tcp_peer import LOOPBACK, RECEIVE_BYTES, Answer, Listener


class InstrumentServer(Listener):
    """An instrument behind a listening socket, several clients at once.

    Parameters
    ----------
    instrument
        Executes what clients send; one client more than it allows is turned away.
    host, port
        Where to listen; port 0 for one that is free.

    Attributes
    ----------
    misbehaviour
        Faults that it makes.
    """

    def __init__(self, instrument: Instrument, host: str = LOOPBACK, port: int = 0) -> None:
        self.instrument = instrument
        self.misbehaviour: Misbehaviour = Behave()
        super().__init__(host, port)

    @property
    def resource_name(self) -> str:
        """The VISA resource name of the instrument, as this computer reaches it."""
        return f"TCPIP::{self.reached_at}::{self.port}::SOCKET"

    def admits(self) -> bool:
        """Whether the instrument takes one client more, and the wire is sound."""
        return len(self._clients) < self.instrument.MAX_CLIENTS and not self.misbehaviour.refuses()

    def converse(self, client: socket.socket) -> None:
        """Execute each message; replies leave at once."""
        session = ClientConnection(self.instrument, gone=lambda: self._closing or _peer_gone(client))
        stream = MessageStream()
        try:
            while data := client.recv(RECEIVE_BYTES):
                for message in stream.feed(data):
                    for reply in _replies(self, session, message):
                        client.sendall(reply[0])
        except EndlessMessage:
            self.instrument.report(ScpiError(-363))  # and hang up: where the next message begins is not known
        finally:
            self.instrument.session_closed(session)


def _peer_gone(client: socket.socket) -> bool:
    """Whether the client has hung up, also while bytes that it sent before wait to be read."""
    try:
        poll = select.poll()
        poll.register(client, select.POLLRDHUP)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


class SerialServer(PtyPeer):
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
        self._session = ClientConnection(instrument, gone=lambda: self._closing)
        super().__init__(self._answers)

    def close(self) -> None:
        """End the line; safe to call twice."""
        if not self._closing:
            super().close()
            self.instrument.session_closed(self._session)

    def _answers(self, message: bytes) -> list[list[bytes]]:
        try:
            return _replies(self, self._session, message)
        except ClientGone:
            return []


class HislipServer(HislipPeer):
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
        super().__init__(self._opened)

    def _opened(self) -> Answer:
        session = ClientConnection(self.instrument, gone=lambda: self._closing)
        return lambda message: _replies(self, session, message)


def _replies(
    server: InstrumentServer | SerialServer | HislipServer, session: ClientConnection, message: bytes
) -> list[list[bytes]]:
    server.instrument.clock.take_command()
    reply = server.misbehaviour.exchange(session, message)
    return [[reply]] if reply else []


Server = InstrumentServer | SerialServer | HislipServer
LINKS = {"tcp": InstrumentServer, "serial": SerialServer, "hislip": HislipServer}


def serve(instrument: Instrument, link: str = "tcp", host: str = LOOPBACK) -> Server:
    """Serve an instrument at once; use ``contextlib.closing`` to end it.

    Parameters
    ----------
    instrument
        Executes what clients send.
    link
        ``"tcp"``, ``"serial"`` or ``"hislip"``.
    host
        Address to listen on, of a TCP link.
    """
    if one_of("link", link, LINKS) == "tcp":
        return InstrumentServer(instrument, host)
    return SerialServer(instrument) if link == "serial" else HislipServer(instrument)
