"""One instrument's link: one lock, one deadline an exchange, and no reply ever taken for another's."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hwloop.deadline import Deadline
from hwloop.device.settings import real_number
from hwloop.devices.scpi.connection import LinkConnection
from hwloop.devices.scpi.line import Line
from hwloop.devices.scpi.messages import as_array, block_message, compound, encoded, read_blocks
from hwloop.devices.scpi.opening import open_transport
from hwloop.devices.scpi.replies import (
    COMPLETE,
    ERROR,
    IDENTITY,
    MEASURE_AGAIN,
    NO_RETRY,
    Conformity,
    Form,
    Misfit,
)
from hwloop.devices.scpi.transport import Bytes, Transport
from hwloop.errors import BadReading, ConformityError, DeviceDisconnected, DeviceError, DeviceTimeout

T = TypeVar("T")

SLOWEST_BYTES_A_SECOND = 1e6  # of a link that is not broken; a serial port has its baud rate
LONGEST_QUEUE = 64  # errors read at once; an instrument's queue holds 20 to 30
NO_ERROR = 0


class _State(enum.Enum):
    CLOSED = "closed by its owner"
    READY = "every reply that was asked for has been read"
    DOUBTFUL = "an exchange was cut short: to be brought into step before the next"


class ScpiLink:
    """Questions and answers with one instrument, from any number of threads.

    An exchange that does not end well (a time-out, a reply of the wrong form, Ctrl-C) leaves the link doubtful:
    its reply may still come. Nothing is asked on a doubtful link; the next use opens it anew, or clears it where
    it is one wire whoever opens it (a serial port), or empties the instrument's buffers (USB, GPIB, VXI-11). On
    the last two a question whose answer cannot be mistaken must be answered before anything is believed. Then
    ``on_open`` asserts the instrument's settings again. No question is repeated here: what it was part of has to
    be done again as a whole, by :class:`hwloop.devices.retrying.Retrying`. Each question goes with a marker, so
    that a second copy of a reply, however late, is never taken for the answer to the next.

    Parameters
    ----------
    resource
        VISA name of the instrument.
    timeout_seconds
        For one exchange, unless it is given another.
    open_timeout_seconds
        For the connection to stand.
    visa_library
        ``None`` for the vendor's where one is installed, else ``"@py"``.
    on_open
        Called with this link each time that it was opened or brought into step: asserts identity and settings.
    line
        Baud rate, terminators, echo and the like: :class:`hwloop.devices.scpi.Line`; ``None`` for their defaults.
    """

    def __init__(
        self,
        resource: str,
        *,
        timeout_seconds: float = 2.0,
        open_timeout_seconds: float = 0.9,
        visa_library: str | None = None,
        on_open: Callable[[ScpiLink], None] | None = None,
        line: Line | None = None,
    ) -> None:
        self.resource = resource
        self.timeout_seconds = real_number("timeout_seconds", timeout_seconds, low=1e-3)
        self.open_timeout_seconds = real_number("open_timeout_seconds", open_timeout_seconds, low=1e-3)
        self.visa_library = visa_library
        self.on_open = on_open
        self.line = Line() if line is None else line
        self._lock = threading.RLock()
        self._state = _State.CLOSED
        self._connection = LinkConnection(self._open_transport, self.line, lambda: self.timeout_seconds)
        self._conformity = Conformity()

    # -- opening and closing ---------------------------------------------------------------------------

    def open(self) -> None:
        """Connect and assert the settings; does nothing on a link that is open and sound.

        Raises
        ------
        DeviceDisconnected
            Nothing answers at that address.
        ConfigError
            The name cannot be read.
        DeviceError
            Another program holds the port, or whatever ``on_open`` finds wrong.
        """
        with self._locked(Deadline.after(self.timeout_seconds + self.open_timeout_seconds)):
            if self._state is not _State.READY:
                self._make_ready()

    def close(self) -> None:
        """Disconnect at once; a use after it is an error. Waits for an exchange under way in another thread."""
        with self._lock:
            self._connection.drop()
            self._state = _State.CLOSED

    def clear(self) -> None:
        """Begin afresh: drop whatever is under way, open anew or bring into step, clear status and errors.

        This is VISA's device clear for links that have none, and where the link is opened anew it never waits for
        the peer.
        """
        with self._lock:
            if self._state is _State.CLOSED:
                raise DeviceDisconnected(f"{self.resource} is closed; open it first")
            self._connection.drop_unless_lasting()
            self._state = _State.DOUBTFUL
            self.write("*CLS")

    @property
    def is_open(self) -> bool:
        """Whether the link was opened and not closed since; it may still be doubtful."""
        return self._state is not _State.CLOSED

    # -- exchanges -------------------------------------------------------------------------------------

    def write(self, *commands: str, timeout_seconds: float | None = None) -> None:
        """Send commands as one message.

        Raises
        ------
        ConfigError
            They are no ASCII text on one line; nothing was sent.
        """
        message = self._encoded(compound(commands))
        with self._exchange(timeout_seconds) as (transport, deadline):
            self._send(transport, [message], deadline)

    def execute(self, *commands: str) -> None:
        """Send commands and ask for errors, all in one message.

        Raises
        ------
        DeviceError
            With the instrument's own words.
        """
        with self._locked(Deadline.after(self.timeout_seconds)):
            if not self.line.error_query:
                self.write(*commands)
                return
            question = compound([*commands, self.line.error_query])
            self._report(self.query(question, ERROR))

    def query(self, question: str, form: Form[T], *, timeout_seconds: float | None = None) -> T:
        """Ask, and read the reply, which must have the form.

        Raises
        ------
        BadReading
            The reply has another form, or says that there is no reading.
        ConformityError
            It has another form each time, so that no retry mends it.
        ConfigError
            The question is no ASCII text on one line; nothing was sent.
        DeviceTimeout, DeviceDisconnected
        """
        self._encoded(question)
        with self._exchange(timeout_seconds) as (transport, deadline):
            self._send(transport, [self._encoded(self._connection.check.message(question))], deadline)
            return self._answer(transport, question, form, deadline)

    def write_block(self, command: str, data: Bytes | NDArray[Any]) -> None:
        """Send ``command`` and data as a binary block; an array goes out in its own byte order.

        The deadline allows for the time that the bytes take, beyond the time-out.
        """
        parts = block_message(command, data, self.line, self.resource)
        with self._exchange(self._seconds_for(len(parts[2]))) as (transport, deadline):
            self._send(transport, [*parts, self._encoded("")], deadline)

    def execute_block(self, command: str, data: Bytes | NDArray[Any]) -> None:
        """The same, and ask for errors in the same message; raises as :meth:`execute` does."""
        if not self.line.error_query:
            self.write_block(command, data)
            return
        parts = block_message(command, data, self.line, self.resource)
        question = self.line.error_query
        with self._locked(Deadline.after(self.timeout_seconds)):
            with self._exchange(self._seconds_for(len(parts[2]))) as (transport, deadline):
                ahead = self._connection.check.message(command)
                parts = block_message(ahead, data, self.line, self.resource)
                self._send(transport, [*parts, self._encoded(f";:{question}")], deadline)
                first = self._answer(transport, question, ERROR, deadline)
            self._report(first)

    def query_block(
        self, question: str, dtype: DTypeLike = np.uint8, *, expected_points: int = 0, header: str = ""
    ) -> NDArray[Any]:
        """Ask, and read a binary block of either kind as numbers, shape (points,).

        Parameters
        ----------
        question, dtype
            What to ask, and what a point is.
        expected_points
            How many must come; 0 for any number. The deadline allows for the time that they take.
        header
            Regular expression of text that comes before the ``#``.

        Raises
        ------
        BadReading
            No block, another number of points, or bytes behind it.
        """
        return self.query_blocks(question, dtype, expected_points=(expected_points,), header=header)[0]

    def query_blocks(
        self, question: str, dtype: DTypeLike = np.uint8, *, expected_points: Sequence[int], header: str = ""
    ) -> list[NDArray[Any]]:
        """As many blocks, joined by commas, as ``expected_points`` has numbers; else as :meth:`query_block`."""
        size = np.dtype(dtype).itemsize
        expected = [points * size for points in expected_points]
        self._encoded(question)
        with self._exchange(self._seconds_for(sum(expected))) as (transport, deadline):
            self._send(transport, [self._encoded(self._connection.check.message(question))], deadline)
            self._connection.check.before(transport, question, deadline)
            blocks = read_blocks(transport, deadline, expected, header, self._connection.marker.read_endless)
            self._check_last(transport, question, blocks)
            return [as_array(block, dtype, self.resource) for block in blocks]

    # -- common commands of IEEE 488.2 -----------------------------------------------------------------

    def identify(self) -> str:
        """``*IDN?``."""
        return self.query("*IDN?", IDENTITY)

    def wait_until_complete(self, timeout_seconds: float | None = None) -> None:
        """``*OPC?``: returns once everything that was sent has been done."""
        self.query("*OPC?", COMPLETE, timeout_seconds=timeout_seconds)

    def check_errors(self) -> None:
        """Read the error queue until it is empty.

        Raises
        ------
        DeviceError
            With the instrument's own words.
        """
        if not self.line.error_query:
            return
        with self._locked(Deadline.after(self.timeout_seconds)):
            self._report(self.query(self.line.error_query, ERROR))

    def check_quiet(self) -> None:
        """Raise :class:`BadReading` if a reply waits that nobody asked for; see :meth:`Transport.check_quiet`."""
        with self._exchange(None):
            pass

    def confirm(self) -> None:
        """Ask the marker: raises :class:`BadReading` unless replies and questions match.

        Questions are checked so one by one; this is for what was only written.
        """
        with self._exchange(None) as (transport, _):
            self._connection.marker.confirm(transport)

    def _answer(self, transport: Transport, question: str, form: Form[T], deadline: Deadline) -> T:
        self._connection.check.before(transport, question, deadline)
        reply = transport.receive_line(deadline)
        try:
            value = form.value(reply)
        except Misfit as misfit:
            refusal = form.refusal(misfit, question, self.resource)
            if self._conformity.lasting(question, misfit):
                raise ConformityError(refusal + NO_RETRY) from misfit
            raise BadReading(refusal + self._hint(question, reply) + MEASURE_AGAIN) from misfit
        self._check_last(transport, question, reply)
        self._conformity.answered(question)
        self._connection.marker.last_line = reply
        return value

    def _check_last(self, transport: Transport, question: str, reply: object) -> None:
        """Nothing follows the reply, and it is this question's."""
        transport.check_nothing_follows()
        self._connection.check.after(transport, question, reply)
        self._connection.asked = True

    def _hint(self, question: str, reply: bytes) -> str:
        echoed = reply.strip() == question.encode("ascii").strip() and not self.line.echo
        return "the instrument echoes: say so with Line(echo=True), or " if echoed else ""

    def _report(self, error: tuple[int, str]) -> None:
        """Raise :class:`DeviceError` if this, which was just read from the queue, is one; with all that follow."""
        errors: list[str] = []
        while error[0] != NO_ERROR and len(errors) < LONGEST_QUEUE:
            errors.append(f"{error[0]:+d} {error[1]}".strip())
            error = self.query(self.line.error_query, ERROR)
        if errors:
            raise DeviceError(
                f"{self.resource} reports {'; '.join(errors)}. The settings are not what was asked for: "
                "mend the command or the value, then open the device again"
            )

    def _seconds_for(self, n_bytes: int) -> float:
        serial = self.resource.upper().startswith(("ASRL", "COM"))
        rate = min(SLOWEST_BYTES_A_SECOND, self.line.bytes_a_second) if serial else SLOWEST_BYTES_A_SECOND
        return self.timeout_seconds + n_bytes / rate

    # -- inside ----------------------------------------------------------------------------------------

    def _encoded(self, text: str) -> bytes:
        message = encoded(text, self.line, self.resource)
        self._connection.marker.note(text)
        return message

    def _send(self, transport: Transport, parts: Sequence[Bytes], deadline: Deadline) -> None:
        """A message, whose echo is read where there is one."""
        transport.send(parts, deadline)
        if self.line.echo:
            sent, echo = b"".join(parts).strip(), transport.receive_line(deadline).strip()
            if echo != sent:
                raise BadReading(
                    f"{self.resource}: {sent!r} was echoed as {echo[:60]!r}, so replies and questions "
                    f"do not match; {MEASURE_AGAIN}"
                )

    @contextmanager
    def _locked(self, deadline: Deadline) -> Iterator[None]:
        remaining = deadline.remaining_seconds
        if not self._lock.acquire(timeout=min(remaining, threading.TIMEOUT_MAX)):
            raise DeviceTimeout(f"{self.resource}: another thread held the link for {remaining:g} s")
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _exchange(self, timeout_seconds: float | None) -> Iterator[tuple[Transport, Deadline]]:
        """The transport, for one exchange. Whatever ends it early, an interrupt too, leaves the link doubtful."""
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_seconds
        with self._locked(Deadline.after(seconds)):
            if self._state is _State.CLOSED:
                raise DeviceDisconnected(f"{self.resource} is closed; open it first")
            if self._state is _State.DOUBTFUL:
                self._make_ready()
            self._state = _State.DOUBTFUL
            transport = self._connection.for_exchange()
            transport.check_quiet()
            yield transport, Deadline.after(seconds)
            self._state = _State.READY

    def _make_ready(self) -> None:
        """From closed or doubtful to an open link whose next reply is its question's."""
        self._state = _State.DOUBTFUL
        try:
            self._connection.resynchronise()
            self._state = _State.READY
            if self.on_open is not None:
                self.on_open(self)
        except BaseException:
            self._connection.drop()
            self._state = _State.DOUBTFUL
            raise

    def _open_transport(self) -> Transport:
        deadline = Deadline.after(self.open_timeout_seconds)
        return open_transport(self.resource, deadline, self.visa_library, self.line)

    @property
    def _transport(self) -> Transport | None:
        """The open connection."""
        return self._connection.transport
