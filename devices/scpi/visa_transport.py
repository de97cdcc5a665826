"""Any session that PyVISA can open: USB, GPIB, VXI-11, HiSLIP, and streams of a vendor's VISA."""

from __future__ import annotations

import contextlib
import math
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from hwloop.deadline import Deadline
from hwloop.devices.scpi.transport import BLANK, Bytes, StreamTransport, Transport
from hwloop.errors import BadReading

CHUNK_BYTES = 1 << 16


class MessageTransport(Transport):
    """Messages whose end the bus signals (END): one message is one reply, whatever bytes it holds.

    Parameters
    ----------
    resource
        The VISA name, for messages.
    instrument
        An open ``pyvisa.resources.MessageBasedResource``.
    wire
        The socket on which replies come, where there is one to look at.
    fresh
        Whether the session is new to the instrument too, as with HiSLIP, so that no reply to an earlier one can
        come.
    """

    ends_messages = True

    def __init__(self, resource: str, instrument: Any, wire: Any = None, fresh: bool = False) -> None:
        super().__init__(resource)
        self.fresh = fresh
        self._instrument = instrument
        self._wire = wire
        self._message: bytearray | None = None  # what is left of the one that is being read
        self._closed = False

    def send(self, parts: Sequence[Bytes], deadline: Deadline) -> None:
        with bounded(self, self._instrument, deadline, "it took no more data"):
            self._instrument.write_raw(b"".join(parts))

    def receive_line(self, deadline: Deadline) -> bytes:
        """The message, or what is left of it."""
        message = self._current(deadline)
        self._message = None
        return bytes(message.rstrip(BLANK))

    def receive_exactly(self, count: int, deadline: Deadline) -> bytearray:
        """Out of the message that has come."""
        message = self._current(deadline)
        if len(message) < count:
            raise BadReading(
                f"{self.resource}: the message ended after {len(message)} of {count} bytes; measure again"
            )
        reply = message[:count]
        del message[:count]
        self._message = message
        return reply

    def receive_behind_block(self, deadline: Deadline) -> bytes:
        rest, self._message = self._message or b"", None
        return bytes(rest.strip(BLANK))

    def receive_rest(self, deadline: Deadline) -> bytes:
        """All that is left of the message, its newline too."""
        message = self._current(deadline)
        self._message = None
        return bytes(message)

    def check_quiet(self) -> None:
        """Sees what was not read of a message, and on a socket what waits; on a bus, what waits becomes an error
        of the instrument's (-410).
        """
        if self._message:
            self.left_over(self._message)
        if self._wire is not None and self._readable():
            self.left_over()

    def check_nothing_follows(self, seconds: float = 0.0) -> None:
        """As :meth:`check_quiet`: the message was taken whole."""
        if self._wire is not None and seconds:
            self._readable(seconds)
        self.check_quiet()

    def clear(self, deadline: Deadline) -> None:
        """VISA's device clear, which empties the instrument's buffers; a session that has none goes without."""
        self._message = None
        import pyvisa

        with bounded(self, self._instrument, deadline, "no device clear"):
            try:
                self._instrument.clear()
            except pyvisa.VisaIOError as error:
                if error.error_code != pyvisa.constants.StatusCode.error_nonsupported_operation:
                    raise

    def close(self) -> None:
        """Close the session; one that is lost already is closed as well."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):  # nothing is left that could be closed; backends raise what they like
            self._instrument.close()

    def _current(self, deadline: Deadline) -> bytearray:
        """The message that is being read, or the next."""
        if self._message is None:
            with bounded(self, self._instrument, deadline, "no reply came"):
                self._message = bytearray(self._instrument.read_raw(CHUNK_BYTES))
        return self._message

    def _readable(self, seconds: float = 0.0) -> bool:
        poll = select.poll()
        poll.register(self._wire, select.POLLIN)
        return any(event & select.POLLIN for _, event in poll.poll(seconds * 1e3))


class VisaStream(StreamTransport):
    """A serial port or a socket of a vendor's VISA.

    Parameters
    ----------
    resource
        The VISA name, for messages.
    instrument
        An open ``pyvisa.resources.SerialInstrument`` or ``TCPIPSocket`` that ends no read at a character.
    serial
        Whether it is a serial port, which can tell how many bytes wait.
    terminations
        As :class:`StreamTransport` takes them.
    """

    def __init__(self, resource: str, instrument: Any, serial: bool, **terminations: bytes) -> None:
        super().__init__(resource, **terminations)
        self.fresh, self.lasting = not serial, serial
        self._instrument = instrument
        self._serial = serial
        self._ahead = bytearray()  # read in looking whether something waits
        self._closed = False

    def close(self) -> None:
        """Close the session; one that is lost already is closed as well."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):
            self._instrument.close()

    def _write(self, waiting: list[memoryview], deadline: Deadline) -> int:
        message = b"".join(waiting)
        with bounded(self, self._instrument, deadline, "it took no more data"):
            self._instrument.write_raw(message)
        return len(message)

    def _read(self, wanted: int, deadline: Deadline, what: str) -> bytes:
        if self._ahead:
            return self._read_now()
        with bounded(self, self._instrument, deadline, what):
            some = self._instrument.read_bytes(max(1, min(wanted, CHUNK_BYTES)), break_on_termchar=False)
        return bytes(some)

    def _read_now(self) -> bytes:
        if not self._ahead:
            self._waiting(0.0)
        data = bytes(self._ahead)
        self._ahead.clear()
        return data

    def _waiting(self, seconds: float) -> bool:
        if self._ahead:
            return True
        deadline = Deadline.after(max(seconds, 1e-3))
        looking = bounded(self, self._instrument, deadline, "", timed_out=_nothing_came)
        with contextlib.suppress(_NothingCame), looking:
            count = self._instrument.bytes_in_buffer if self._serial else 1
            self._ahead += self._instrument.read_bytes(max(1, count), break_on_termchar=False)
        return bool(self._ahead)


class _NothingCame(Exception):
    """A look for bytes found none."""


def _nothing_came(what: str) -> NoReturn:
    raise _NothingCame(what)


@contextmanager
def bounded(
    transport: Transport, instrument: Any, deadline: Deadline, what: str, timed_out: Any = None
) -> Iterator[None]:
    """Calls of PyVISA within a deadline, with the transport's errors."""
    import pyvisa

    expire = timed_out or transport.timed_out
    if deadline.expired:
        expire(what)
    remaining = deadline.remaining_seconds
    try:
        instrument.timeout = None if math.isinf(remaining) else max(1, math.ceil(remaining * 1e3))
        yield
    except pyvisa.VisaIOError as error:
        if error.error_code == pyvisa.constants.StatusCode.error_timeout:
            expire(what)
        transport.dropped(str(error))
    except TimeoutError:
        expire(what)
    except (pyvisa.Error, OSError, RuntimeError, AssertionError, AttributeError, ValueError) as error:
        transport.dropped(f"{type(error).__name__}: {error}")  # pyvisa-py raises all of these for a lost peer
