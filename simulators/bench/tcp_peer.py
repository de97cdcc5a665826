"""An instrument's end of a TCP connection: what listens, and a peer that answers messages."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from hwloop.simulators.bench.scpi.messages import EndlessMessage, MessageStream

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = "0.0.0.0"
RECEIVE_BYTES = 1 << 18

#: Replies to a message, each in the pieces in which it is sent.
Answer = Callable[[bytes], Iterable[Sequence[bytes]]]


class Listener(ABC):
    """Accepts clients, each in a thread of its own.

    Parameters
    ----------
    host
        Address to listen on.
    port
        0 for one that is free.
    """

    def __init__(self, host: str = LOOPBACK, port: int = 0) -> None:
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._listener = socket.create_server((host, port), backlog=16)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name=f"bench-{self.port}", daemon=True)]
        self._threads[0].start()

    @abstractmethod
    def converse(self, client: socket.socket) -> None:
        """Talk with a client until it hangs up."""

    def admits(self) -> bool:
        """Whether one client more may connect."""
        return True

    @property
    def reached_at(self) -> str:
        """The address at which this computer reaches it."""
        return LOOPBACK if self.host == EVERY_ADDRESS else self.host

    def close(self) -> None:
        """Hang up on every client and stop listening; safe to call twice."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.disconnect_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5)

    def disconnect_all(self) -> None:
        """Hang up on every client, as a pulled cable does."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                if not self.admits():
                    client.close()
                    continue
                self._clients.add(client)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(client,), name=f"bench-{self.port}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            self.converse(client)
        except (EOFError, OSError):
            pass
        finally:
            with self._lock:
                self._clients.discard(client)
            client.close()


class TcpPeer(Listener):
    """Serves messages that end at a newline.

    Parameters
    ----------
    connected
        Called for each client: what answers its messages. An :class:`EOFError` from that hangs up.
    """

    def __init__(self, connected: Callable[[], Answer]) -> None:
        self.connected = connected
        super().__init__()

    @property
    def resource_name(self) -> str:
        """The VISA resource name of the instrument."""
        return f"TCPIP::{self.reached_at}::{self.port}::SOCKET"

    def converse(self, client: socket.socket) -> None:
        answer, stream = self.connected(), MessageStream()
        with contextlib.suppress(EndlessMessage):  # and hang up: where the next message begins is not known
            while data := client.recv(RECEIVE_BYTES):
                for message in stream.feed(data):
                    for reply in answer(message):
                        for piece in reply:
                            client.sendall(piece)
