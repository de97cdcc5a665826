"""A serial port's session of pyvisa-py, its bytes moved here, and the port kept from everybody else.

PyVISA names and opens the port through pySerial. Its bytes are moved on the port's own file, because pyvisa-py
reads them one by one and ends a read at 0x0A, also inside a binary block.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
from typing import Any

from hwloop.deadline import Deadline
from hwloop.devices.scpi.line import BITS_A_BYTE, Line
from hwloop.devices.scpi.stream_transport import StreamTransport
from hwloop.errors import DeviceDisconnected, DeviceError

CHUNK_BYTES = 1 << 16
FOLLOWING_BYTES = 2  # so many bytes' time of silence end a reply
LONGEST_FOLLOWING_SECONDS = 0.02


class SerialTransport(StreamTransport):
    """Moves bytes on an open serial port.

    Parameters
    ----------
    resource
        The VISA name, for messages.
    port
        The open ``serial.Serial``.
    session
        What owns it, closed with it.
    line
        Its settings.
    terminations
        As :class:`StreamTransport` takes them.

    Raises
    ------
    DeviceError
        Another program holds the port, or it cannot be set so.
    """

    fresh = False
    lasting = True

    def __init__(self, resource: str, port: Any, session: Any, line: Line, **terminations: bytes) -> None:
        super().__init__(resource, **terminations)
        self._port = port
        self._session = session
        self._closed = False
        self.following_seconds = min(FOLLOWING_BYTES * BITS_A_BYTE / line.baud_rate, LONGEST_FOLLOWING_SECONDS)
        try:
            self._take()
            self._set(line)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the port back."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError, termios.error):
            fcntl.ioctl(self._port.fd, termios.TIOCNXCL)
        import pyvisa

        with contextlib.suppress(pyvisa.Error, OSError, termios.error):  # a port that was pulled out
            self._session.close()

    def _take(self) -> None:
        """Keep others out: those who ask (a lock), and those who do not (the terminal's exclusive mode)."""
        try:
            fcntl.flock(self._port.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise in_use(self.resource) from error
        with contextlib.suppress(OSError):  # a terminal of another kind has no such mode
            fcntl.ioctl(self._port.fd, termios.TIOCEXCL)

    def _set(self, line: Line) -> None:
        import serial

        parity = {"none": "N", "even": "E", "odd": "O", "mark": "M", "space": "S"}[line.parity]
        wanted = {
            "baudrate": line.baud_rate,
            "bytesize": line.data_bits,
            "parity": parity,
            "stopbits": int(line.stop_bits) if line.stop_bits != 1.5 else 1.5,
            "xonxoff": line.flow_control == "xon-xoff",
            "rtscts": line.flow_control == "rts-cts",
            "dsrdtr": line.flow_control == "dtr-dsr",
        }
        try:
            for name, value in wanted.items():
                if getattr(self._port, name) != value:
                    setattr(self._port, name, value)
            if parity != "N":
                self._check_parity()
        except (OSError, ValueError, termios.error, serial.SerialException) as error:
            raise DeviceError(f"{self.resource}: the port cannot be set to {line} ({error})") from error

    def _check_parity(self) -> None:
        """A byte of wrong parity is read as a NUL, which no reply holds; pySerial lets it pass as it came."""
        attributes = termios.tcgetattr(self._port.fd)
        attributes[0] = (attributes[0] | termios.INPCK) & ~(termios.IGNPAR | termios.PARMRK)
        termios.tcsetattr(self._port.fd, termios.TCSANOW, attributes)

    def _write(self, waiting: list[memoryview], deadline: Deadline) -> int:
        while True:
            try:
                return os.writev(self._port.fd, waiting)
            except BlockingIOError:
                self._wait(deadline, "it took no more data", select.POLLOUT)
            except OSError as error:
                self.dropped(error.strerror or str(error))

    def _read(self, wanted: int, deadline: Deadline, what: str) -> bytes:
        while not (data := self._read_now()):
            self._wait(deadline, what, select.POLLIN)
        return data

    def _read_now(self) -> bytes:
        try:
            return os.read(self._port.fd, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            self.dropped(error.strerror or str(error))

    def _waiting(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._port.fd, select.POLLIN)
        return bool(poll.poll(seconds * 1e3))

    def _wait(self, deadline: Deadline, what: str, event: int) -> None:
        if deadline.expired:
            self.timed_out(what)
        remaining = deadline.remaining_seconds
        poll = select.poll()
        poll.register(self._port.fd, event)
        ready = poll.poll(None if remaining == float("inf") else max(1.0, remaining * 1e3))
        if not ready:
            self.timed_out(what)
        if ready[0][1] & (select.POLLHUP | select.POLLERR | select.POLLNVAL) and not self._port_holds_bytes():
            self.dropped("the port was closed or pulled out")

    def _port_holds_bytes(self) -> bool:
        try:
            return any(fcntl.ioctl(self._port.fd, termios.FIONREAD, bytes(4)))
        except OSError:
            return False


def refuse_if_in_use(resource: str, path: str) -> None:
    """Look before opening: opening a port throws away what has come for whoever holds it.

    Raises
    ------
    DeviceError
        Another program holds it.
    DeviceDisconnected
        It is not there.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise in_use(resource) from error
        raise DeviceDisconnected(
            f"{resource}: cannot be opened ({error.strerror}); check cable, name and the right to use {path}"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise in_use(resource) from error
    finally:
        os.close(file)


def in_use(resource: str) -> DeviceError:
    """The error where another program holds a port."""
    return DeviceError(f"{resource} is in use by another program; close that one first")
