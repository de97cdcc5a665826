"""A TCP socket session of pyvisa-py, its bytes moved here.

PyVISA names and opens the session. Its bytes are moved on the session's own socket, because pyvisa-py 0.8.1 leaves
Nagle's algorithm on (44 ms a write and read), takes a dropped peer for a slow one, waits for ever in ``clear()``
and in a write to a peer that does not read, and reports a closed port as open.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Any

from hwloop.deadline import Deadline
from hwloop.devices.scpi.stream_transport import StreamTransport

CHUNK_BYTES = 1 << 18


class SocketTransport(StreamTransport):
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
        super().__init__(resource, **terminations)
        self._socket = connection
        self._session = session
        self._closed = False
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

    def _write(self, waiting: list[memoryview], deadline: Deadline) -> int:
        while True:
            try:
                return self._socket.sendmsg(waiting)
            except BlockingIOError:
                self._wait(deadline, "it took no more data", writing=True)
            except OSError as error:
                self.dropped(error.strerror or str(error))

    def _read(self, wanted: int, deadline: Deadline, what: str) -> bytes:
        while True:
            try:
                data = self._socket.recv(
                    max(wanted, CHUNK_BYTES) if wanted < 16 * CHUNK_BYTES else 16 * CHUNK_BYTES
                )
            except BlockingIOError:
                self._wait(deadline, what)
                continue
            except OSError as error:
                self.dropped(error.strerror or str(error))
            if not data:
                self.dropped(f"the instrument closed it; {what}")
            return data

    def _read_now(self) -> bytes:
        try:
            return self._socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            self.dropped(error.strerror or str(error))

    def _waiting(self, seconds: float) -> bool:
        poll = select.poll()  # unlike select, not limited to 1,024 open files
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1e3))

    def _wait(self, deadline: Deadline, what: str, writing: bool = False) -> None:
        """Until the socket can go on; a peer that hangs up wakes it too."""
        if deadline.expired:
            self.timed_out(what)
        remaining = deadline.remaining_seconds
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT if writing else select.POLLIN)
        if not poll.poll(None if remaining == float("inf") else max(1.0, remaining * 1e3)):
            self.timed_out(what)
