"""Keep back a reply that the driver is about to read, and deliver it before the answer to the next question."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

SETTLE_SECONDS = 0.03  # in which the rest of a reply comes
CHUNK_BYTES = 1 << 20


class HeldReply:
    """Stands before the reads and writes of PySerial, sockets, terminals and PyVISA while it is installed.

    On one thread, within :meth:`during`, the chosen read finds nothing: what has come is taken away, and the
    driver's own time-out runs out. The reply is then read first by whoever reads that connection after a question
    was written to it, as on a wire, where replies keep their order. A connection that was made anew has lost it; a
    serial port has not. Message-based VISA sessions are told of a time-out and keep the reply themselves.

    Attributes
    ----------
    reads
        Reads of the last call that brought data.
    fired
        Whether a reply was kept back in it.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.fired = False
        self._at: int | None = None
        self._thread: int | None = None
        self._inside = threading.local()
        self._held: dict[Any, bytes] = {}
        self._due: set[Any] = set()

    # -- for the check ---------------------------------------------------------------------------------

    def arm(self, at: int | None) -> None:
        """In the next call keep back what read number ``at``, from 0, would bring; ``None`` only counts."""
        self.reads, self.fired, self._at = 0, False, at
        self._held.clear()
        self._due.clear()

    @contextlib.contextmanager
    def during(self) -> Iterator[None]:
        """While the driver works."""
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread, self._at = None, None

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """In place of the transports that are loaded, until the end."""
        with contextlib.ExitStack() as stack:
            for owner, name, replacement in self._replacements():
                stack.callback(_put_back, owner, name, vars(owner).get(name))
                setattr(owner, name, replacement)
            yield

    # -- reads and writes ------------------------------------------------------------------------------

    def _read(self, key: Any, size: int, waits: Callable[[], bool], original: Callable[[int], bytes]) -> bytes:
        """One read at a connection; ``waits`` says whether data come before its time-out."""
        if self._passes or size <= 0:
            return original(size)
        with self._outermost():
            if key in self._due:
                late, rest = self._held[key][:size], self._held[key][size:]
                self._held[key] = rest
                if not rest:
                    self._drop(key)
                return late
            if self._chosen and waits():
                time.sleep(SETTLE_SECONDS)
                self._hold(key, original(CHUNK_BYTES))
                if isinstance(key, socket.socket) and key.gettimeout():
                    raise TimeoutError("timed out")  # at once; it may be minutes
            data = original(size)
            self.reads += bool(data) and self._ours
            return data

    @property
    def _passes(self) -> bool:
        """Whether a read is none of ours: another one's own below it, or another thread's while nothing is due."""
        return getattr(self._inside, "depth", 0) > 0 or not (self._ours or self._due)

    @property
    def _ours(self) -> bool:
        return self._thread == threading.get_ident()

    @property
    def _chosen(self) -> bool:
        return self._ours and not self.fired and self._at == self.reads

    def _hold(self, key: Any, data: bytes) -> None:
        self.fired = True
        self._held[key] = data

    def _drop(self, key: Any) -> None:
        self._held.pop(key, None)
        self._due.discard(key)

    @contextlib.contextmanager
    def _outermost(self) -> Iterator[None]:
        """What a transport reads of another one below it is not counted again."""
        self._inside.depth = getattr(self._inside, "depth", 0) + 1
        try:
            yield
        finally:
            self._inside.depth -= 1

    # -- the transports --------------------------------------------------------------------------------

    def _replacements(self) -> Iterator[tuple[Any, str, Any]]:
        yield from self._sockets()
        yield from self._selections()
        yield from self._terminals()
        if "serial" in sys.modules:
            for kind in _kinds(sys.modules["serial"].SerialBase, "read"):
                yield kind, "read", self._serial_read(kind.read)
                yield kind, "write", self._noted(kind.write, lambda port, *_: _port(port.port))
        if "pyvisa" in sys.modules:
            for kind in _kinds(sys.modules["pyvisa"].highlevel.VisaLibraryBase, "read"):
                yield kind, "read", self._visa_read(kind.read)
                yield (
                    kind,
                    "write",
                    self._noted(kind.write, lambda library, session, *_: _visa_key(library, session)),
                )

    def _sockets(self) -> Iterator[tuple[Any, str, Any]]:
        def read(connection: Any, size: int, flags: int, original: Callable[[int], bytes]) -> bytes:
            if flags or connection.type != socket.SOCK_STREAM:
                return original(size)

            def waits() -> bool:
                timeout = connection.gettimeout()
                return timeout is not None and _readable(connection.fileno(), timeout)

            return self._read(connection, size, waits, original)

        plain, into = socket.socket.recv, socket.socket.recv_into

        def recv(connection: Any, bufsize: int, flags: int = 0) -> bytes:
            return read(connection, bufsize, flags, lambda size: plain(connection, size, flags))

        def recv_into(connection: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
            room = memoryview(buffer).cast("B")
            if flags or connection.type != socket.SOCK_STREAM or self._passes:
                return into(connection, buffer, nbytes, flags)
            data = read(connection, nbytes or len(room), 0, lambda size: plain(connection, size))
            room[: len(data)] = data
            return len(data)

        yield socket.socket, "recv", recv
        yield socket.socket, "recv_into", recv_into
        for name in ("send", "sendall", "sendmsg"):
            yield socket.socket, name, self._noted(getattr(socket.socket, name), lambda connection, *_: connection)

    def _selections(self) -> Iterator[tuple[Any, str, Any]]:
        """For sockets that block: whoever looks first, with a time-out, does not come to read."""
        plain = select.select

        def look(readers: Any, writers: Any, others: Any, timeout: float | None = None) -> Any:
            sockets = [reader for reader in readers if isinstance(reader, socket.socket)]
            if self._passes or not sockets:
                return plain(readers, writers, others, timeout)
            due = [one for one in sockets if one in self._due]
            if due:
                return due, [], []
            if self._chosen and timeout is not None:
                for one in plain(sockets, [], [], timeout)[0]:
                    if one.gettimeout() is None:  # else the read is stopped
                        time.sleep(SETTLE_SECONDS)
                        with self._outermost():
                            self._hold(one, one.recv(CHUNK_BYTES, socket.MSG_DONTWAIT))
            return plain(readers, writers, others, timeout)

        yield select, "select", look

    def _terminals(self) -> Iterator[tuple[Any, str, Any]]:
        plain = os.read

        def read(file: int, length: int, /) -> bytes:
            key = None if self._passes else _terminal(file)
            if key is None or os.get_blocking(file):
                return plain(file, length)
            return self._read(key, length, lambda: _readable(file, 0), lambda size: plain(file, size))

        yield os, "read", read
        for name in ("write", "writev"):
            yield os, name, self._noted(getattr(os, name), lambda file, *_: _terminal(file))

    def _noted(self, original: Callable[..., Any], key_of: Callable[..., Any]) -> Callable[..., Any]:
        """A write, after which a reply that is kept back for its connection is due."""

        def write(*arguments: Any) -> Any:
            if self._held and (key := key_of(*arguments)) in self._held:
                self._due.add(key)
            return original(*arguments)

        return write

    def _serial_read(self, original: Callable[..., bytes]) -> Callable[..., bytes]:
        def read(port: Any, size: int = 1) -> bytes:
            def now(count: int) -> bytes:
                return original(port, count if count <= size else max(1, port.in_waiting))

            def waits() -> bool:
                timeout = port.timeout
                return timeout is not None and _readable(port.fileno(), timeout)

            key = _port(port.port)
            was_due = key in self._due
            data = self._read(key, size, waits, now)
            short = was_due and 0 < len(data) < size  # what follows a late reply is read with it
            return data + read(port, min(size - len(data), port.in_waiting)) if short else data

        return read

    def _visa_read(self, original: Callable[..., Any]) -> Callable[..., Any]:
        from pyvisa.constants import VI_TMO_INFINITE, ResourceAttribute, StatusCode

        def read(library: Any, session: Any, count: int) -> Any:
            if self._passes:
                return original(library, session, count)
            key = _visa_key(library, session)
            with self._outermost():
                if key in self._due:
                    data = self._held[key]
                    self._drop(key)
                    return data, library.handle_return_value(
                        session, StatusCode.success_termination_character_read
                    )
                timeout = library.get_attribute(session, ResourceAttribute.timeout_value)[0]
                if self._chosen and timeout != VI_TMO_INFINITE:
                    if key is None:  # the instrument keeps it
                        time.sleep(SETTLE_SECONDS)
                        self.fired = True
                    else:
                        self._hold(key, bytes(original(library, session, count)[0]))
                    return b"", library.handle_return_value(session, StatusCode.error_timeout)
                data, status = original(library, session, count)
                self.reads += bool(data) and self._ours
                return data, status

        return read


def _put_back(owner: Any, name: str, before: Any) -> None:
    if before is None:
        delattr(owner, name)
    else:
        setattr(owner, name, before)


def _kinds(base: type, method: str) -> list[Any]:
    """Classes below ``base`` that have a method of their own."""
    kinds, waiting = [], [base]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind is not base and method in vars(kind) and kind not in kinds:
            kinds.append(kind)
    return kinds


def _readable(file: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(1e3 * seconds))


def _terminal(file: int) -> str | None:
    try:
        return os.path.realpath(os.ttyname(file))
    except OSError:
        return None


def _port(name: str | None) -> str | None:
    return None if name is None else os.path.realpath(name)


def _visa_key(library: Any, session: Any) -> Any:
    """What a byte stream is known by, also when it is opened again; ``None`` where messages have ends."""
    from pyvisa.constants import ResourceAttribute

    name = str(library.get_attribute(session, ResourceAttribute.resource_name)[0])
    if name.startswith("ASRL"):
        return name
    return (name, session) if name.endswith("::SOCKET") else None
