"""A serial instrument's end of the line: a pseudo-terminal that answers messages."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty

from hwloop.simulators.bench.scpi.messages import EndlessMessage, MessageStream
from hwloop.simulators.bench.tcp_peer import Answer

_POLL_MILLISECONDS = 100


class PtyPeer:
    """Serves one line, which stays as it is while programs open and close its other end.

    Parameters
    ----------
    answer
        Called with each message, without its terminator, one after another.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name=f"bench-{self.path}", daemon=True)
        self._thread.start()

    @property
    def resource_name(self) -> str:
        """The VISA resource name of the port."""
        return f"ASRL{self.path}::INSTR"

    def close(self) -> None:
        """End the line; safe to call twice."""
        if self._closing:
            return
        self._closing = True
        self._thread.join(timeout=5)
        for file in (self._master, self._slave):
            os.close(file)

    def disconnect_all(self) -> None:
        """Nothing: nobody hangs up on a serial line."""

    def say(self, data: bytes) -> None:
        """Send what nobody asked for."""
        waiting = memoryview(data)
        while waiting and not self._closing:
            if self._ready(select.POLLOUT):
                with contextlib.suppress(BlockingIOError):
                    waiting = waiting[os.write(self._master, waiting) :]

    def _serve(self) -> None:
        stream = MessageStream()
        while not self._closing:
            if not self._ready(select.POLLIN):
                continue
            try:
                data = os.read(self._master, 1 << 16)
            except BlockingIOError:
                continue
            except OSError:
                return
            try:
                messages = stream.feed(data)
            except EndlessMessage:
                continue  # it is dropped, as an instrument drops what overruns its buffer
            for message in messages:
                for reply in self.answer(message):
                    for piece in reply:
                        self.say(piece)

    def _ready(self, event: int) -> bool:
        poll = select.poll()
        poll.register(self._master, event)
        return bool(poll.poll(_POLL_MILLISECONDS))
