"""Bytes to an instrument and back, each step bounded by a deadline: any transport, and streams of bytes."""

from __future__ import annotations

import time
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


QUIET_SECONDS = 0.05  # what belongs to a message comes without so long a pause
BLANK = b"\r\n"
END_A_CUT_LINE = b" !"  # makes an error of a command that was cut short: half of it may be another command
LARGEST_FIRST_BYTES = 1 << 24  # a longer reply is made room for as it comes


class StreamTransport(Transport):
    """Replies out of a stream of bytes.

    Parameters
    ----------
    resource
        The VISA name, for messages.
    read_termination, write_termination
        What ends a line, and a message that was cut short.

    Attributes
    ----------
    following_seconds
        How long the next byte of one that sends on would take.
    """

    following_seconds: float = 0.0

    def __init__(self, resource: str, read_termination: bytes = b"\n", write_termination: bytes = b"\n") -> None:
        super().__init__(resource)
        self._end = read_termination
        self._write_end = write_termination
        self._buffer = bytearray()
        self._cut = False  # whether a message was sent in part

    # -- what a kind of stream must do -----------------------------------------------------------------

    @abstractmethod
    def _write(self, waiting: list[memoryview], deadline: Deadline) -> int:
        """Send some of it, at least a byte; how much."""

    @abstractmethod
    def _read(self, wanted: int, deadline: Deadline, what: str) -> bytes:
        """At least a byte, as many as there are; ``what`` is for the time-out's message."""

    @abstractmethod
    def _waiting(self, seconds: float) -> bool:
        """Whether a byte is there, or comes within so long; a peer that hung up counts."""

    @abstractmethod
    def _read_now(self) -> bytes:
        """What is there, perhaps nothing."""

    # -- what follows from it --------------------------------------------------------------------------

    def send(self, parts: Sequence[Bytes], deadline: Deadline) -> None:
        """In one system call where the parts fit, so that one message is one packet."""
        waiting = [memoryview(part).cast("B") for part in parts if len(part)]
        self._cut = True
        while waiting:
            sent = self._write(waiting, deadline)
            while waiting and sent >= len(waiting[0]):
                sent -= len(waiting.pop(0))
            if sent:
                waiting[0] = waiting[0][sent:]
        self._cut = False

    def receive_line(self, deadline: Deadline) -> bytes:
        """Up to the terminator. What has come behind it was not asked for."""
        searched = 0
        while (end := self._buffer.find(self._end, searched)) < 0:
            searched = max(0, len(self._buffer) - len(self._end) + 1)
            if searched > LONGEST_LINE_BYTES:
                self.dropped(f"more than {LONGEST_LINE_BYTES} bytes without a terminator")
            self._buffer += self._read(1, deadline, "no reply came" if not self._buffer else self._unfinished())
        line = bytes(self._buffer[:end])
        del self._buffer[: end + len(self._end)]
        return line

    def _unfinished(self) -> str:
        return f"no terminator came behind {bytes(self._buffer[:30])!r}"

    def receive_exactly(self, count: int, deadline: Deadline) -> bytearray:
        """Through as many reads as it takes."""
        reply = bytearray(min(count, LARGEST_FIRST_BYTES))
        have = min(count, len(self._buffer))
        reply[:have] = self._buffer[:have]
        del self._buffer[:have]
        while have < count:
            data = self._read(count - have, deadline, f"only {have} of {count} bytes came")
            taken = data[: count - have]
            self._buffer += data[len(taken) :]
            if have + len(taken) > len(reply):
                reply.extend(bytes(min(count, 2 * (have + len(taken))) - len(reply)))
            reply[have : have + len(taken)] = taken
            have += len(taken)
        return reply

    def receive_behind_block(self, deadline: Deadline) -> bytes:
        """A terminator, one or two newlines, or nothing for a while; all else is returned."""
        ended = False
        while True:
            ended = self._strip_blank() or ended
            if self._buffer:
                rest = bytes(self._buffer)
                self._buffer.clear()
                return rest
            if not self._waiting(0.0 if ended else min(QUIET_SECONDS, deadline.remaining_seconds)):
                return b""
            self._buffer += self._read(1, deadline, "nothing came")

    def receive_rest(self, deadline: Deadline) -> NoReturn:
        """A stream has no end of message: see :func:`hwloop.devices.scpi.messages.read_blocks`."""
        raise NotImplementedError

    def receive_until_quiet(self, deadline: Deadline) -> bytes:
        """What comes until there is a pause behind a terminator, which is not its end for sure."""
        while not (self._buffer.endswith(self._end) and self._is_quiet()):
            self._buffer += self._read(1, deadline, self._unfinished())
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def check_quiet(self) -> None:
        """One look, about a microsecond. A terminator that came twice means nothing."""
        if self._waiting(0.0):
            self._buffer += self._read(1, Deadline.after(1.0), "nothing came")
        self._strip_blank()
        if self._buffer:
            self.left_over(self._buffer)

    def check_nothing_follows(self, seconds: float = 0.0) -> None:
        """What one who sends twice would have sent by now; a peer that hung up after its reply has replied."""
        if not self._buffer and self._waiting(max(seconds, self.following_seconds)):
            self._buffer += self._read_now()
        self._strip_blank()
        if self._buffer:
            self.left_over(self._buffer)

    def clear(self, deadline: Deadline) -> None:
        """Throw away what is there, and make an error of what was sent in part."""
        self._buffer.clear()
        if self._cut:
            self.send([END_A_CUT_LINE + self._write_end], deadline)
        while self._read_now():
            if deadline.expired:
                self.timed_out("it never stopped sending")

    def discard_for(self, seconds: float) -> None:
        """Throw away all that comes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._waiting(left) and not self._read_now():
                time.sleep(min(left, 1e-3))
        self._buffer.clear()

    def _strip_blank(self) -> bool:
        """Take terminators off the front of what has come; whether there was one."""
        kept = self._buffer.lstrip(BLANK + self._end)
        found = len(kept) < len(self._buffer)
        self._buffer = kept
        return found

    def _is_quiet(self) -> bool:
        """No byte for a while, and the processor was ours meanwhile."""
        began = time.monotonic()
        return not self._waiting(QUIET_SECONDS) and time.monotonic() - began >= QUIET_SECONDS / 2
