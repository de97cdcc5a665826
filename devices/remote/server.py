"""Serves a device over TCP: on this computer alone, or with TLS and a key to others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

from hwloop.devices.remote.address import Address, is_loopback, resolve
from hwloop.devices.remote.channel import Channel, prepare
from hwloop.devices.remote.conversation import GREETING_SECONDS, Conversation
from hwloop.devices.remote.exclusive_access import ExclusiveAccess, MakeDevice, Tell
from hwloop.devices.remote.security import ServerSecurity
from hwloop.devices.remote.wire_format import Description
from hwloop.errors import ConfigError, DeviceError, HwloopError

MOST_CONNECTIONS = 32
FINISH_SECONDS = 2.0  # for the rows in flight, when the server ends
BACKLOG = 64


class DeviceServer:
    """Lends a device to one client at a time.

    A client that sends what is no frame, more than a frame may hold, or too slowly, loses its connection, and
    nobody else notices. The device reaches its safe state when its client closes it, breaks off or is lost, and
    when the server ends. Where there are too many connections, the oldest that does not hold the device ends.

    Parameters
    ----------
    make_device
        Makes the device, closed; called once to see that it works, and then for every client.
    listen
        Address; port 0 for one that is free.
    security
        Key and certificate. ``None`` listens to this computer alone, where everybody is welcome.
    tell
        Told, a line at a time, who took the device and gave it back, and who had a wrong key.

    Raises
    ------
    ConfigError
        The address is not on this computer alone and there is no ``security``.
    """

    def __init__(
        self,
        make_device: MakeDevice,
        listen: Address,
        security: ServerSecurity | None = None,
        tell: Tell = lambda line: None,
    ) -> None:
        self._places = resolve(listen, passive=True)
        if security is None and not all(is_loopback(host) for _, host in self._places):
            raise ConfigError(
                f"others reach this computer at {listen}, so a server there needs TLS and a key: give --key-file, "
                "--certificate and --certificate-key, or listen on 127.0.0.1"
            )
        self._make_device = make_device
        self._listen = listen
        self._security = security
        self._tell = tell
        self._listener: socket.socket | None = None
        self._access: ExclusiveAccess | None = None
        self._connections: dict[Channel, threading.Thread] = {}  # the oldest first
        self._lock = threading.Lock()

    @property
    def address(self) -> Address:
        """Where it listens, with the port that it has."""
        if self._listener is None:
            return self._listen
        return Address(self._listen.host, int(self._listener.getsockname()[1]))

    def open(self) -> Description:
        """See that the device works, bring it to its safe state, and listen; says what the device is.

        Safe to call twice.

        Raises
        ------
        HwloopError
            The device cannot be opened.
        OSError
            The address cannot be listened on.
        """
        if self._access is not None and self._listener is not None:
            return self._access.description
        family, host = self._places[0]
        listener = socket.create_server((host, self._listen.port), family=family, backlog=BACKLOG)
        try:
            description = self._seen()
        except BaseException:
            listener.close()
            raise
        self._access = ExclusiveAccess(self._make_device, description, self._tell)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="hwloop-serve", daemon=True).start()
        return description

    def close(self) -> None:
        """Listen no more, end all conversations after their requests in flight; safe to call twice.

        Raises
        ------
        DeviceError
            The device may not be in its safe state.
        """
        listener, self._listener = self._listener, None
        if listener is None or self._access is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with self._lock:
            connections = dict(self._connections)
        for channel in connections:
            channel.stop_receiving()
        problem = self._access.close(FINISH_SECONDS)
        for channel, thread in connections.items():
            channel.hang_up()
            thread.join(FINISH_SECONDS)
        if problem:
            raise DeviceError(f"{problem}; check by hand that the device is in its safe state")

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _seen(self) -> Description:
        try:
            with self._make_device() as device:
                return Description.of(device)
        except HwloopError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise DeviceError(f"the device cannot be opened ({what}); check power, cable and address") from error

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                stream, place = listener.accept()
            except OSError:
                if self._listener is None:
                    return
                time.sleep(0.1)  # too many files are open, say; others will be closed
                continue
            thread = threading.Thread(
                target=self._converse, args=(stream, str(place[0])), name="hwloop-conversation", daemon=True
            )
            thread.start()

    def _converse(self, stream: socket.socket, place: str) -> None:
        channel = Channel(stream)
        self._enter(channel)
        assert self._access is not None
        try:
            prepare(stream)
            if self._security is not None:
                channel.secure(self._security.context, GREETING_SECONDS, server=True)
            Conversation(channel, self._access, self._security).run()
        except OSError:
            pass  # no TLS to be had with it
        except ConfigError as error:
            self._tell(f"a client at {place} was refused: {error}")
        except HwloopError as error:
            self._tell(f"{error}")
        finally:
            channel.close()
            with self._lock:
                self._connections.pop(channel, None)

    def _enter(self, channel: Channel) -> None:
        with self._lock:
            self._connections[channel] = threading.current_thread()
            if len(self._connections) <= MOST_CONNECTIONS or self._access is None:
                return
            oldest = next(other for other in self._connections if not self._access.holds(other))
        oldest.hang_up()
