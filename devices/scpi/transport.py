"""Bytes to an instrument and back, each step bounded by a deadline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NoReturn

from hwloop.deadline import Deadline
from hwloop.errors import BadReading, DeviceDisconnected, DeviceTimeout

Bytes = bytes | bytearray | memoryview
LONGEST_LINE_BYTES = 1 << 24  # of a reply in text; more is no reply but noise


class Transport(ABC):
    """An open connection to one instrument. Not thread-safe: a :class:`ScpiLink` guards it.

    Every method raises :class:`DeviceTimeout` when the deadline passes and :class:`DeviceDisconnected` as soon as
    the connection is known to be lost. After either, what is under way is unknown.

    Attributes
    ----------
    ends_messages
        Whether the bus says where a message ends; else a terminator must.
    fresh
        Whether a connection that was just opened holds no reply of an earlier one. A serial port may: it is one
        wire, whoever opens it.
    lasting
        Whether it stays open through a doubtful exchange, to be cleared and brought into step.
    """

    ends_messages: ClassVar[bool] = False
    fresh: bool = True
    lasting: bool = False

    def __init__(self, resource: str) -> None:
        self.resource = resource

    @abstractmethod
    def send(self, parts: Sequence[Bytes], deadline: Deadline) -> None:
        """Send one message, given in parts so that a large block need not be copied."""

    @abstractmethod
    def receive_line(self, deadline: Deadline) -> bytes:
        """The reply up to its end, without its terminator."""

    @abstractmethod
    def receive_exactly(self, count: int, deadline: Deadline) -> bytearray:
        """So many bytes of the reply; :class:`BadReading` where the message ends before."""

    @abstractmethod
    def receive_behind_block(self, deadline: Deadline) -> bytes:
        """What stands between the last byte of a block and the end of the message, terminators taken off."""

    @abstractmethod
    def receive_rest(self, deadline: Deadline) -> bytes:
        """The message up to the end that the bus says; only where ``ends_messages``."""

    @abstractmethod
    def check_quiet(self) -> None:
        """Nothing waits that nobody asked for: a left-over reply means that an earlier one was not its question's.

        Raises
        ------
        BadReading
            Something does.
        DeviceDisconnected
            The peer has hung up.
        """

    @abstractmethod
    def check_nothing_follows(self, seconds: float = 0.0) -> None:
        """The reply just read was the last; raises :class:`BadReading` where more comes within so long."""

    @abstractmethod
    def clear(self, deadline: Deadline) -> None:
        """Throw away what has come, and end a message that was cut short in sending."""

    @abstractmethod
    def close(self) -> None:
        """Drop the connection, at once and whatever state it is in; safe to call twice."""

    def timed_out(self, what: str) -> NoReturn:
        """Raise :class:`DeviceTimeout`; ``what`` says what did not happen."""
        raise DeviceTimeout(
            f"{self.resource}: {what} within the time-out; check that the instrument is on and not busy, "
            "or allow more time with timeout_seconds"
        )

    def left_over(self, waiting: Bytes = b"") -> NoReturn:
        """Raise :class:`BadReading`."""
        shown = f" ({bytes(waiting[:30])!r})" if waiting else ""
        raise BadReading(
            f"{self.resource}: a reply waits that nobody asked for{shown}, so replies and questions do not match; "
            "measure the rows again on a fresh connection"
        )

    def dropped(self, why: str) -> NoReturn:
        """Raise :class:`DeviceDisconnected`."""
        raise DeviceDisconnected(f"{self.resource}: the connection was lost ({why}); check power and cable")
