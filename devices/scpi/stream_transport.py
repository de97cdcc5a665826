"""Bytes in a row, with no word of where a message ends: sockets and serial ports."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import NoReturn

from hwloop.deadline import Deadline
from hwloop.devices.scpi.transport import LONGEST_LINE_BYTES, Bytes, Transport

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
        """A stream has no end of message: see :func:`hwloop.devices.scpi.blocks.read_endless`."""
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
