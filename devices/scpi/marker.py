"""A question whose answer cannot be mistaken: it tells where the replies to earlier questions end.

An instrument answers its questions one after another. So once the answer to a question with a random number has
come, nothing that was asked before can come any more.
"""

from __future__ import annotations

import contextlib
import secrets

from hwloop.deadline import Deadline
from hwloop.devices.scpi.blocks import read_expected
from hwloop.devices.scpi.line import RANDOM_MARKER, Line
from hwloop.devices.scpi.misfits import Misfit
from hwloop.devices.scpi.replies import INTEGER, NUMBER_PATTERN
from hwloop.devices.scpi.stream_transport import StreamTransport
from hwloop.devices.scpi.transport import Transport
from hwloop.errors import BadReading, ConformityError, DeviceTimeout

LARGEST_NUMBER = 255  # of an eight-bit register
MOST_ROUNDS = 8
SAYS_NOTHING = ""


class Marker:
    """Brings replies and questions into step.

    Parameters
    ----------
    line
        Its terminators, its markers (tried in their order), and whether it echoes.
    seconds
        To wait for the answer to each.
    """

    def __init__(self, line: Line, seconds: float) -> None:
        self.questions = list(line.markers)
        self.seconds = seconds
        self._line = line
        self._sent = b""

    def bring_into_step(self, transport: Transport) -> None:
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
                self.questions.remove(question)
                self.questions.insert(0, question)  # what was answered once is asked first from now on
                return
        raise DeviceTimeout(
            f"{transport.resource}: after an exchange that was cut short, {' and '.join(self.questions)} got no "
            f"answer within {self.seconds:g} s, so a late reply could be taken for another; nothing was believed. "
            "Check that the instrument is on and not busy; name a question that it answers with Line(marker=...)"
        )

    def confirm(self, transport: Transport) -> None:
        """Raise :class:`BadReading` unless the next reply is the answer to this; asks nothing where no marker is.

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
            right = bool(reply) and not NUMBER_PATTERN.fullmatch(reply)
        else:
            number = self._ask(transport, question, deadline, unlike=0)
            reply = self._reply(transport, deadline)
            right = reply == str(number)
        if not right:
            transport.left_over(reply.encode())
        transport.check_nothing_follows()
        self._leave_as_it_was(transport, question)

    def _by_number(self, transport: Transport, question: str) -> None:
        """Two different numbers must come back, the second with nothing before it."""
        deadline = Deadline.after(self.seconds)
        number = 0
        for _ in range(MOST_ROUNDS):
            number = self._ask(transport, question, deadline, unlike=number)
            while self._reply(transport, deadline) != str(number):
                pass
            number = self._ask(transport, question, deadline, unlike=number)
            if self._reply(transport, deadline) == str(number) and self._is_quiet(transport):
                return
        transport.timed_out(f"{question} was answered out of step")

    def _ask(self, transport: Transport, question: str, deadline: Deadline, unlike: int) -> int:
        number = unlike
        while number == unlike:
            number = 1 + secrets.randbelow(LARGEST_NUMBER)
        self._send(transport, question.replace("{n}", str(number)), deadline)
        return number

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
                return
        transport.timed_out(f"{question} was answered out of step, or not at all")

    def _leave_as_it_was(self, transport: Transport, question: str) -> None:
        """The event mask as instruments have it when they are switched on."""
        if question == RANDOM_MARKER:
            deadline = Deadline.after(self.seconds)
            self._send(transport, "*ESE 0", deadline)
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
        with contextlib.suppress(Misfit):
            return str(INTEGER.value(line))
        return line.decode("latin-1")

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
            number = self._ask(transport, question, deadline, unlike=0)
            if (reply := self._reply(transport, deadline)) != str(number):
                transport.left_over(reply.encode("latin-1"))
            self._leave_as_it_was(transport, question)
            return data
        block = transport.receive_until_quiet(deadline)
        number = self._ask(transport, question, deadline, unlike=0)
        while True:
            block += transport.receive_until_quiet(deadline)
            body, _, answer = block.rstrip(b"\r\n").rpartition(b"\n")
            with contextlib.suppress(Misfit):
                if INTEGER.value(answer) == number:
                    self._leave_as_it_was(transport, question)
                    body = body.removesuffix(b"\r") if block.endswith(b"\r\n") else body
                    _refuse_if_sent_twice(body, transport)
                    return body


def _refuse_if_sent_twice(body: bytes, transport: Transport) -> None:
    """The one thing that can be told of a block with no length: that it is the same block twice."""
    for joint in (b"\n#0", b"\r\n#0"):
        half = (len(body) - len(joint)) // 2
        if half > 0 and body == body[:half] + joint + body[:half]:
            transport.left_over(body[half:])
