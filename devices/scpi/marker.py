"""A question whose answer cannot be mistaken: it tells where the replies to earlier questions end.

An instrument answers its questions one after another. So once the answer to a question with a number of its own
has come, nothing that was asked before can come any more, but for a second copy of a reply, which carries the
number of its own question.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable

from hwloop.deadline import Deadline
from hwloop.devices.scpi.line import RANDOM_MARKER, Line
from hwloop.devices.scpi.messages import compound, read_expected
from hwloop.devices.scpi.replies import INTEGER, NUMBER_PATTERN, Misfit
from hwloop.devices.scpi.transport import StreamTransport, Transport
from hwloop.errors import BadReading, ConformityError, DeviceTimeout

LARGEST_NUMBER = 255  # of an eight-bit register
LONGEST_NUMBER_BYTES = 24  # of its answer, with sign, exponent and blanks
MOST_ROUNDS = 8
RECENT = 8  # so many replies back, one may come again
SAYS_NOTHING = ""
_MASK = re.compile(r"\*ESE\s+(\d+)", re.IGNORECASE)


class LinkMarker:
    """Brings replies and questions into step.

    Parameters
    ----------
    line
        Its terminators, its markers (tried in their order), and whether it echoes.
    patience
        For how many seconds to wait for the answer to each, asked anew each time.

    Attributes
    ----------
    questions
        The markers to try; once one was answered, that one.
    name
        What a marker without a number was answered.
    last_line
        The reply in text that was read last: what may come once more.
    """

    def __init__(self, line: Line, patience: Callable[[], float]) -> None:
        self.questions = list(line.markers)
        self._patience = patience
        self.name = SAYS_NOTHING
        self.last_line = b""
        self._line = line
        self._sent = b""
        self._number = secrets.randbelow(LARGEST_NUMBER)
        self._mask = "0"  # the event mask of instruments when they are switched on

    @property
    def seconds(self) -> float:
        """To wait for one answer."""
        return self._patience()

    @property
    def has_number(self) -> bool:
        """Whether the marker that is asked first is answered with a number of its own."""
        return bool(self.questions) and "{n}" in self.questions[0]

    def note(self, message: str) -> None:
        """Remember the event mask that a message of the driver sets, to leave it so."""
        for mask in _MASK.findall(message):
            self._mask = mask

    def numbered(self, question: str) -> tuple[str, int]:
        """The marker and what comes behind it as one message, and the number that its reply begins with.

        No two of 255 such messages in a row have the same number.
        """
        marker, number = self._numbered()
        mask = [f"*ESE {self._mask}"] * (self.questions[0] == RANDOM_MARKER)
        return compound([marker, *mask, question]), number

    def read_number(self, transport: Transport, deadline: Deadline) -> bytes:
        """The beginning of a reply up to its first semicolon, or to its end where it has none.

        Byte by byte: what comes behind it may be a binary block.
        """
        start = bytearray()
        while not start.endswith((b";", b"\n", b"\r")) and len(start) < LONGEST_NUMBER_BYTES:
            start += transport.receive_exactly(1, deadline)
        return bytes(start)

    def resynchronise(self, transport: Transport) -> None:
        """Ask until the answer is this question's, throwing away what comes before it.

        Raises
        ------
        DeviceTimeout
            No such answer came to any of the questions.
        DeviceDisconnected
        """
        for question in list(self.questions):
            with contextlib.suppress(DeviceTimeout):
                if "{n}" in question:
                    self._by_number(transport, question)
                else:
                    self._by_name(transport, question)
                self._leave_as_it_was(transport, question)
                self.questions = [question]  # what was answered once is asked from now on
                return
        raise DeviceTimeout(
            f"{transport.resource}: after an exchange that was cut short, {' and '.join(self.questions)} got no "
            f"answer within {self.seconds:g} s, so a late reply could be taken for another; nothing was believed. "
            "Check that the instrument is on and not busy; name a question that it answers with Line(marker=...)"
        )

    def answers_compounds(self, transport: Transport) -> bool:
        """Whether two questions in one message get one reply; where not, the link is out of step after it.

        Raises
        ------
        DeviceDisconnected
        """
        deadline = Deadline.after(self.seconds)
        (one, first), (other, second) = self._numbered(), self._numbered()
        with contextlib.suppress(DeviceTimeout):
            self._send(transport, compound([one, other]), deadline)
            if [whole(part) for part in self._reply(transport, deadline).split(";")] == [first, second]:
                self._leave_as_it_was(transport, self.questions[0])
                return True
        return False

    def confirm(self, transport: Transport) -> None:
        """Raise :class:`BadReading` unless the next replies are the marker's; asks nothing where there is none.

        A number is asked twice: the reply that was to come may have been the first one by chance.

        Raises
        ------
        BadReading, DeviceTimeout, DeviceDisconnected
        """
        if not self.questions:
            return
        question, deadline = self.questions[0], Deadline.after(self.seconds)
        if "{n}" not in question:
            self._send(transport, question, deadline)
            reply = self._reply(transport, deadline)
            if not reply or NUMBER_PATTERN.fullmatch(reply) or reply != (self.name or reply):
                transport.left_over(reply.encode("latin-1"))
        else:
            for _ in range(2):
                number = self._ask(transport, question, deadline)
                if (reply := self._reply(transport, deadline)) != str(number):
                    transport.left_over(reply.encode("latin-1"))
        transport.check_nothing_follows()
        self._leave_as_it_was(transport, question)

    def _by_number(self, transport: Transport, question: str) -> None:
        """Two different numbers must come back, the second with nothing before it."""
        deadline = Deadline.after(self.seconds)
        for _ in range(MOST_ROUNDS):
            number = self._ask(transport, question, deadline)
            while self._reply(transport, deadline) != str(number):
                pass
            number = self._ask(transport, question, deadline)
            if self._reply(transport, deadline) == str(number) and self._is_quiet(transport):
                return
        transport.timed_out(f"{question} was answered out of step")

    def _ask(self, transport: Transport, question: str, deadline: Deadline) -> int:
        message, number = self._numbered(question)
        self._send(transport, message, deadline)
        return number

    def _numbered(self, question: str = "") -> tuple[str, int]:
        self._number = self._number % LARGEST_NUMBER + 1
        return (question or self.questions[0]).replace("{n}", str(self._number)), self._number

    def _by_name(self, transport: Transport, question: str) -> None:
        """The same words twice: the last that come before a long silence, then once more and nothing else."""
        deadline = Deadline.after(MOST_ROUNDS * self.seconds)
        for _ in range(MOST_ROUNDS):
            self._send(transport, question, deadline)
            name = SAYS_NOTHING
            with contextlib.suppress(DeviceTimeout):
                while not deadline.expired:
                    name = self._reply(transport, Deadline.after(self.seconds)) or name
            if not name or NUMBER_PATTERN.fullmatch(name):
                break  # it says nothing, or what may be the answer to something else
            self._send(transport, question, deadline)
            if self._reply(transport, Deadline.after(self.seconds)) == name and self._is_quiet(transport):
                self.name = name
                return
        transport.timed_out(f"{question} was answered out of step, or not at all")

    def _leave_as_it_was(self, transport: Transport, question: str) -> None:
        """The event mask, which the marker changed."""
        if question == RANDOM_MARKER:
            deadline = Deadline.after(self.seconds)
            self._send(transport, f"*ESE {self._mask}", deadline)
            if self._line.echo:
                transport.receive_line(deadline)

    def _send(self, transport: Transport, question: str, deadline: Deadline) -> None:
        self._sent = question.encode("ascii")
        transport.send([self._sent + self._line.write_termination.encode("ascii")], deadline)

    def _reply(self, transport: Transport, deadline: Deadline) -> str:
        """The next reply that is neither empty nor an echo, a whole number as its digits."""
        line = b""
        while line in (b"", self._sent):
            if deadline.expired:  # also while replies never stop coming
                transport.timed_out("no reply came")
            line = transport.receive_line(deadline).strip(b" \t\r\n\0")
            if line == self._sent and not self._line.echo:
                raise ConformityError(
                    f"{transport.resource}: the instrument sends back what it is sent; say so with "
                    "Line(echo=True), or switch its echo off"
                )
        number = whole(line.decode("latin-1"))
        return line.decode("latin-1") if number is None else str(number)

    def _is_quiet(self, transport: Transport) -> bool:
        try:
            transport.check_nothing_follows()
        except BadReading:
            transport.clear(Deadline.after(self.seconds))
            return False
        return True

    def read_endless(self, transport: Transport, deadline: Deadline, expected: int) -> bytes | bytearray:
        """The bytes of a ``#0`` block on a stream, which has no END.

        Where their number is expected, the marker is asked once they have come; else once there is a pause
        behind a newline. What stands before its answer is the block, however long it paused.

        Raises
        ------
        BadReading
            More bytes than were expected.
        ConformityError
            There is no marker with a number, and no number of bytes is expected.
        """
        assert isinstance(transport, StreamTransport)
        question = self.questions[0] if self.questions else ""
        if "{n}" not in question:
            return read_expected(transport, deadline, expected)
        if expected:
            data = transport.receive_exactly(expected, deadline)
            number = self._ask(transport, question, deadline)
            if (reply := self._reply(transport, deadline)) != str(number):
                transport.left_over(reply.encode("latin-1"))
            self._leave_as_it_was(transport, question)
            return data
        block = transport.receive_until_quiet(deadline)
        number = self._ask(transport, question, deadline)
        while True:
            block += transport.receive_until_quiet(deadline)
            body, _, answer = block.rstrip(b"\r\n").rpartition(b"\n")
            if whole(answer.decode("latin-1")) == number:
                self._leave_as_it_was(transport, question)
                body = body.removesuffix(b"\r") if block.endswith(b"\r\n") else body
                self._refuse_copies(body, transport)
                return body

    def _refuse_copies(self, body: bytes, transport: Transport) -> None:
        """No other reply is in a block without length: one begins with ``#0``, or its question's number."""
        recent = "|".join(str((self._number - back - 1) % LARGEST_NUMBER + 1) for back in range(RECENT))
        copy = re.search(rf"\n[ +]*0*(?:{recent})\s*;|\n#0".encode("ascii"), body)
        if copy or (self.last_line and body.rstrip(b"\r\n").endswith(b"\n" + self.last_line)):
            transport.left_over(body[copy.start() + 1 :] if copy else self.last_line)


def whole(text: str) -> int | None:
    """A whole number in any form of IEEE 488.2; else ``None``."""
    with contextlib.suppress(Misfit):
        return INTEGER.value(text.encode("latin-1"))
    return None


class ReplyCheck:
    """Shows that a reply is its question's. This one leaves it to the connection."""

    def message(self, question: str) -> str:
        """What is sent to ask."""
        return question

    def before(self, transport: Transport, question: str, deadline: Deadline) -> None:
        """Read what comes ahead of the reply; raises :class:`BadReading` where it is another question's."""

    def after(self, transport: Transport, question: str, reply: object) -> None:
        """Once the reply was read: raises :class:`BadReading` where it is another question's."""


class CheckInMessage(ReplyCheck):
    """The marker goes ahead of the question in the same message, its answer ahead of the reply: no round trip.

    Ahead, because a reply of any text, and a block without length, must be the last of its message.
    """

    def __init__(self, marker: LinkMarker) -> None:
        self._marker = marker
        self._number = 0

    def message(self, question: str) -> str:
        message, self._number = self._marker.numbered(question)
        return message

    def before(self, transport: Transport, question: str, deadline: Deadline) -> None:
        """The number of this question, and a semicolon."""
        start = self._marker.read_number(transport, deadline)
        if whole(start.rstrip(b"; \r\n").decode("latin-1")) != self._number:
            transport.left_over(start)
        if not start.endswith(b";"):
            transport.timed_out(f"{question} was not answered, though what was asked with it was; no reply came")


class CheckAfterwards(ReplyCheck):
    """The marker is asked once the reply has come, for an instrument that takes one question a message."""

    def __init__(self, marker: LinkMarker) -> None:
        self._marker = marker

    def after(self, transport: Transport, question: str, reply: object) -> None:
        """One round trip, or two where the marker has a number."""
        marker = self._marker
        known = marker.name if question == marker.questions[0] else SAYS_NOTHING
        if known and isinstance(reply, bytes) and reply.strip(b" \t\r\n\0").decode("latin-1") != known:
            transport.left_over(reply)
        marker.confirm(transport)
