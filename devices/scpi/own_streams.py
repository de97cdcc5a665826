"""A TCP socket and a serial port of pyvisa-py, their bytes moved here.

PyVISA names and opens them. Their bytes are moved on the session's own file, because pyvisa-py 0.8.1 leaves
Nagle's algorithm on (44 ms a write and read), takes a dropped peer for a slow one, waits for ever in ``clear()``
and in a write to a peer that does not read, reports a closed port as open, reads a serial port byte by byte, and
ends a read at 0x0A, also inside a binary block.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import termios
from typing import Any

from hwloop.deadline import Deadline
from hwloop.devices.scpi.line import BITS_A_BYTE, Line
from hwloop.devices.scpi.transport import StreamTransport
from hwloop.errors import DeviceDisconnected, DeviceError

CHUNK_BYTES = 1 << 18
FOLLOWING_BYTES = 2  # so many bytes' time of silence end a reply of a serial port
LONGEST_FOLLOWING_SECONDS = 0.02


class FileTransport(StreamTransport):
    """Moves bytes on an open file that does not block.

    Parameters
    ----------
    resource
        The VISA name, for messages.
    file
        Its number.
    session
        What owns the file, closed with it; ``None`` where nothing does.
    terminations
        As :class:`StreamTransport` takes them.
    """

    def __init__(self, resource: str, file: int, session: Any, **terminations: bytes) -> None:
        super().__init__(resource, **terminations)
        self._file = file
        self._session = session
        self._closed = False

    def _write(self, waiting: list[memoryview], deadline: Deadline) -> int:
        while True:
            try:
                return os.writev(self._file, waiting)
            except BlockingIOError:
                self._wait(deadline, "it took no more data", select.POLLOUT)
            except OSError as error:
                self.dropped(error.strerror or str(error))

    def _read(self, wanted: int, deadline: Deadline, what: str) -> bytes:
        while not (data := self._take(wanted)):
            if data is not None:
                self._ended(what)
            self._wait(deadline, what, select.POLLIN)
        return data

    def _read_now(self) -> bytes:
        return self._take(0) or b""

    def _take(self, wanted: int) -> bytes | None:
        """What is there: ``None`` for nothing yet, no bytes at the end of the file."""
        try:
            return os.read(self._file, min(max(wanted, CHUNK_BYTES), 16 * CHUNK_BYTES))
        except BlockingIOError:
            return None
        except OSError as error:
            self.dropped(error.strerror or str(error))

    def _ended(self, what: str) -> None:
        """The file has ended; a terminal that gives no bytes has not."""

    def _waiting(self, seconds: float) -> bool:
        return bool(self._poll(select.POLLIN, seconds))

    def _wait(self, deadline: Deadline, what: str, event: int) -> int:
        """Until the file can go on; a peer that hangs up wakes it too. What happened, as ``poll`` says it."""
        if deadline.expired:
            self.timed_out(what)
        remaining = deadline.remaining_seconds
        if not (happened := self._poll(event, None if remaining == float("inf") else max(1e-3, remaining))):
            self.timed_out(what)
        return happened

    def _poll(self, event: int, seconds: float | None) -> int:
        poll = select.poll()  # unlike select, not limited to 1,024 open files
        poll.register(self._file, event)
        ready = poll.poll(None if seconds is None else seconds * 1e3)
        return ready[0][1] if ready else 0


class SocketTransport(FileTransport):
    """Moves bytes on a connected socket.

    Parameters
    ----------
    resource
        The VISA name, for messages.
    connection
        The socket of the session.
    session
        What owns the socket, closed with it; ``None`` where nothing does.
    terminations
        As :class:`StreamTransport` takes them.
    """

    def __init__(
        self, resource: str, connection: socket.socket, session: Any = None, **terminations: bytes
    ) -> None:
        super().__init__(resource, connection.fileno(), session, **terminations)
        self._socket = connection
        failure = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            self.close()
            self.dropped(os.strerror(failure))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)

    def check_quiet(self) -> None:
        """One look at the socket, about a microsecond."""
        if not self._buffer:
            try:
                if self._socket.recv(1, socket.MSG_PEEK):
                    super().check_quiet()
                else:
                    self.dropped("the instrument closed it")
            except BlockingIOError:
                return
            except OSError as error:
                self.dropped(error.strerror or str(error))
        else:
            super().check_quiet()

    def close(self) -> None:
        """Close without asking the peer; nothing here waits."""
        if self._closed:
            return
        self._closed = True
        if self._session is not None:
            self._session.close()
        self._socket.close()

    def _ended(self, what: str) -> None:
        self.dropped(f"the instrument closed it; {what}")


class SerialTransport(FileTransport):
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
        super().__init__(resource, port.fd, session, **terminations)
        self._port = port
        self.following_seconds = min(FOLLOWING_BYTES * BITS_A_BYTE / line.baud_rate, LONGEST_FOLLOWING_SECONDS)
        try:
            self._keep_others_out()
            self._set(line)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError, termios.error):
            fcntl.ioctl(self._port.fd, termios.TIOCNXCL)
        import pyvisa

        with contextlib.suppress(pyvisa.Error, OSError, termios.error):  # a port that was pulled out
            self._session.close()

    def _keep_others_out(self) -> None:
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

    def _wait(self, deadline: Deadline, what: str, event: int) -> int:
        happened = super()._wait(deadline, what, event)
        if happened & (select.POLLHUP | select.POLLERR | select.POLLNVAL) and not self._port_holds_bytes():
            self.dropped("the port was closed or pulled out")
        return happened

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
