"""The link between a program and an instrument, with what makes it treacherous: replies wait in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceDisconnected, DeviceError, DeviceTimeout

Instrument = Callable[[Float64Array], Float64Array]


class SimulatedLink:
    """Questions go out, replies come back in order; one that nobody read is what the next reader gets.

    Only closing the link and opening it again empties it, and mends it once it is broken.

    Parameters
    ----------
    instrument
        Answers stimuli of shape (rows, n_inputs) with responses of shape (rows, n_outputs).

    Attributes
    ----------
    last_read
        The reply that was read last, ``None`` on a fresh link.
    silent_reads
        So many reads to come will time out, although replies are under way.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._unread: deque[Float64Array] = deque()
        self._broken: DeviceError | None = None
        self._closed = False
        self.last_read: Float64Array | None = None
        self.silent_reads = 0

    @property
    def broken(self) -> bool:
        """Whether every question fails."""
        return self._broken is not None

    def open(self) -> None:
        """Begin afresh if the link was closed; an open one is left as it is, broken or not."""
        if self._closed:
            self._closed, self._broken = False, None

    def close(self) -> None:
        """Drop what is under way; every question fails until the link is opened."""
        self._unread.clear()
        self.last_read = None
        self.silent_reads = 0
        self._closed = True
        self._broken = DeviceDisconnected("the simulated link is closed; open the device first")

    def break_with(self, error: DeviceError) -> DeviceError:
        """Every question fails with this error until the link is closed and opened again."""
        self._broken = error
        return error

    def require_whole(self) -> None:
        """Raise the error that broke the link, if it is broken."""
        if self._broken is not None:
            raise type(self._broken)(str(self._broken))

    def send(self, stimuli: Float64Array) -> None:
        """Ask; the reply waits in the link."""
        self.require_whole()
        self._unread.append(self._instrument(stimuli))

    def read(self) -> Float64Array:
        """The oldest reply that nobody has read, whatever was asked since."""
        if self.silent_reads:
            self.silent_reads -= 1
            raise DeviceTimeout("no reply in time (simulated); it may still be under way")
        self.last_read = self._unread.popleft()
        return self.last_read

    def ask(self, stimuli: Float64Array) -> Float64Array:
        """Send and read, as every driver does that trusts its link."""
        self.send(stimuli)
        return self.read()
