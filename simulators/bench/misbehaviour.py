"""Faults on the wire that the bench can be told to make: what a driver must survive."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwloop.simulators.bench.scpi.instrument import ClientConnection, ClientGone


class BenchFault(ABC):
    """One way in which an exchange goes wrong."""

    @abstractmethod
    def exchange(self, session: ClientConnection, message: bytes) -> bytes:
        """What is sent to the client in place of the reply to ``message``; raises :class:`ClientGone`."""


@dataclass(frozen=True)
class Drop(BenchFault):
    """The connection is lost: before the message is executed, or after it, in place of the reply.

    Parameters
    ----------
    executed
        Whether the instrument still executes the message.
    """

    executed: bool = False

    def exchange(self, session: ClientConnection, message: bytes) -> bytes:
        if self.executed:
            session.exchange(message)
        raise ClientGone


@dataclass(frozen=True)
class Delay(BenchFault):
    """The reply comes late."""

    seconds: float = 1.0

    def exchange(self, session: ClientConnection, message: bytes) -> bytes:
        reply = session.exchange(message)
        _wait(session, self.seconds)
        return reply


@dataclass(frozen=True)
class Garble(BenchFault):
    """Bytes of the reply arrive wrong, among them the first: no reply has such bytes there.

    Parameters
    ----------
    n_bytes
        How many.
    """

    n_bytes: int = 4

    def exchange(self, session: ClientConnection, message: bytes) -> bytes:
        """The reply with its first bytes replaced by some above 127."""
        reply = bytearray(session.exchange(message))
        body = max(0, len(reply) - 1)
        for at in range(min(self.n_bytes, body)):
            reply[at] = 0x80 | reply[at] ^ 0x55
        return bytes(reply)


@dataclass(frozen=True)
class Truncate(BenchFault):
    """The reply stops in the middle, without its terminator."""

    fraction: float = 0.5

    def exchange(self, session: ClientConnection, message: bytes) -> bytes:
        reply = session.exchange(message)
        return reply[: int(len(reply) * self.fraction)]


@dataclass(frozen=True)
class StaleReply(BenchFault):
    """The reply is held back and comes in front of the next: from here on the client is one reply behind."""

    def exchange(self, session: ClientConnection, message: bytes) -> bytes:
        session.held_back += session.exchange(message)
        return b""


Stale = StaleReply  # as tests of others may name it


@dataclass(frozen=True)
class StopReading(BenchFault):
    """The instrument reads and answers nothing further on this connection, and keeps it open."""

    seconds: float = float("inf")

    def exchange(self, session: ClientConnection, message: bytes) -> bytes:
        _wait(session, self.seconds)
        return b""


@dataclass(frozen=True)
class Silent(BenchFault):
    """The message is executed, and its reply is lost."""

    def exchange(self, session: ClientConnection, message: bytes) -> bytes:
        session.exchange(message)
        return b""


def _wait(session: ClientConnection, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if session.gone():
            raise ClientGone
        time.sleep(min(left, 0.02))


class Misbehaviour(ABC):
    """Decides which exchange goes wrong, and how."""

    @abstractmethod
    def fault(self) -> BenchFault | None:
        """The fault of the exchange that comes next, or ``None``."""

    def refuses(self) -> bool:
        """Whether a new connection is turned away."""
        return False

    def exchange(self, session: ClientConnection, message: bytes) -> bytes:
        """What is sent to the client for a message."""
        fault = self.fault()
        before, session.held_back = session.held_back, b""
        reply = session.exchange(message) if fault is None else fault.exchange(session, message)
        return before + reply


class Behave(Misbehaviour):
    """No fault."""

    def fault(self) -> None:
        return


@dataclass
class AtExchanges(Misbehaviour):
    """Faults at given exchanges, counted from 0 over all clients from when it was handed to the bench.

    Parameters
    ----------
    faults
        By the number of the exchange.
    """

    faults: Mapping[int, BenchFault]
    count: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def fault(self) -> BenchFault | None:
        """The fault that was planned for this exchange."""
        with self._lock:
            fault = self.faults.get(self.count)
            self.count += 1
        return fault


@dataclass
class AtTimes(Misbehaviour):
    """Each fault befalls the first exchange after its time.

    Parameters
    ----------
    faults
        By seconds from now.
    """

    faults: Mapping[float, BenchFault]
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        start = time.monotonic()
        self._pending = sorted(((start + seconds, fault) for seconds, fault in self.faults.items()), key=_when)

    def fault(self) -> BenchFault | None:
        with self._lock:
            if self._pending and time.monotonic() >= self._pending[0][0]:
                return self._pending.pop(0)[1]
        return None


def _when(planned: tuple[float, BenchFault]) -> float:
    return planned[0]


@dataclass
class AtRandom(Misbehaviour):
    """Each exchange goes wrong with a probability, in one of some ways.

    Parameters
    ----------
    rate
        Probability, 0 to 1.
    faults
        One of these, all alike.
    seed
        Of the choice.
    """

    rate: float
    faults: Sequence[BenchFault] = (Drop(), Garble(), StaleReply(), Silent())
    seed: int = 0
    count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate must be a probability from 0 to 1, not {self.rate!r}")
        self._rng = np.random.default_rng(self.seed)
        self._lock = threading.Lock()

    def fault(self) -> BenchFault | None:
        with self._lock:
            wrong, which = self._rng.random(), int(self._rng.integers(len(self.faults)))
            if not wrong < self.rate:
                return None
            self.count += 1
        return self.faults[which]


@dataclass
class Refuse(Misbehaviour):
    """New connections are turned away, for ever or so many times; those that there are stay.

    Parameters
    ----------
    connections
        How many.
    """

    connections: float = float("inf")

    def fault(self) -> None:
        """Nothing goes wrong on connections that there are."""
        return

    def refuses(self) -> bool:
        """Whether there are connections left to refuse."""
        self.connections -= 1
        return self.connections >= 0
