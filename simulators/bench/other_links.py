"""An instrument of the bench behind a serial line or HiSLIP instead of a TCP socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hwloop.simulators.bench.hislip_peer import HislipPeer
from hwloop.simulators.bench.misbehaviour import Behave, Misbehaviour
from hwloop.simulators.bench.pty_peer import PtyPeer
from hwloop.simulators.bench.scpi.instrument import Instrument
from hwloop.simulators.bench.scpi.session import ClientGone, Session


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
        self._session = Session(instrument, gone=lambda: self._closing)
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
        session = Session(self.instrument, gone=lambda: self._closing)

        def answer(message: bytes) -> Iterable[Sequence[bytes]]:
            try:
                return _replies(self, session, message)
            except ClientGone as gone:
                raise EOFError from gone

        return answer


def _replies(server: SerialServer | HislipServer, session: Session, message: bytes) -> list[list[bytes]]:
    server.instrument.clock.take_command()
    reply = server.misbehaviour.exchange(session, message)
    return [[reply]] if reply else []
