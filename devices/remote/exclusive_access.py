"""Exclusive access to a device: one client at a time, and the next when the device is in its safe state again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hwloop.deadline import Deadline
from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.devices.remote.channel import Channel
from hwloop.devices.remote.wire_format import Description, DeviceHeld
from hwloop.errors import DeviceDisconnected, DeviceError, HwloopError
from hwloop.events import Event
from hwloop.shutdown import OPEN_DEVICES, Abort

WATCH_SECONDS = 0.05
LINGER_SECONDS = 0.1  # for a call to end whose client is gone; then the device is closed from another thread
ABORT_SECONDS = 5.0
RELEASE_SECONDS = 8.0  # until a client that comes back has the device again that its lost connection held

Tell = Callable[[str], None]
MakeDevice = Callable[[], Device]
T = TypeVar("T")


class ExclusiveAccess:
    """Lends one device.

    Parameters
    ----------
    make_device
        Makes it, closed, for every client anew.
    description
        What it is, until it is opened the next time.
    tell
        Told who took it and gave it back.
    """

    def __init__(self, make_device: MakeDevice, description: Description, tell: Tell) -> None:
        self.description = description
        self._make_device = make_device
        self._tell = tell
        self._lease: DeviceLease | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._watcher = threading.Thread(target=self._watch, name="hwloop-access", daemon=True)
        self._watcher.start()

    def take(self, client: Client, channel: Channel) -> DeviceLease:
        """Open the device for a client, on this thread.

        A client that lost its connection gets it back, when the device is in its safe state.

        Raises
        ------
        DeviceHeld
            Another has it.
        HwloopError
            The device cannot be opened.
        """
        deadline = Deadline.after(RELEASE_SECONDS)
        former = self.release(client, deadline)
        if former is not None and not self._ends(former, deadline):
            raise DeviceError("the device is in its safe state, but its driver has not come back from a call yet")
        with self._changed:
            if self._closed:
                raise DeviceError("the server is ending")
            if self._lease is not None:
                raise DeviceHeld(
                    f"the device is in use by {self._lease}; wait until it is free (wait_seconds), or ask them"
                )
            lease = self._lease = DeviceLease(self._make_device, client, channel, self._ended)
        try:
            self.description = lease.open()
        except BaseException:
            with contextlib.suppress(HwloopError):  # told by _ended; why it could not be opened matters more
                lease.close()
            raise
        self._tell(f"{client.name} opened the device")
        return lease

    def release(self, client: Client, deadline: Deadline) -> DeviceLease | None:
        """Take the device back from what this client left behind; nothing happens if it has left nothing.

        Returns
        -------
        The lease that was taken back: the device is in its safe state, although its driver may still be in a call.

        Raises
        ------
        DeviceError
            The device is not in its safe state by the deadline.
        """
        lease = self._lease
        if lease is None or lease.client.token != client.token:
            return None
        lease.channel.hang_up()
        if not self._ends(lease, deadline.earlier(Deadline.after(LINGER_SECONDS))):
            closes = lease.closing and self._ends(lease, deadline)
            problem = "" if closes else lease.abort(deadline)
            if problem:
                raise DeviceError(
                    f"the device has not reached its safe state ({problem}); "
                    "check it by hand, and restart its server"
                )
        return lease

    def close(self, finish_seconds: float) -> str:
        """Lend no more, and take the device back, after the rows in flight if they come in time.

        Returns
        -------
        What went wrong, empty if the device is in its safe state.
        """
        with self._changed:
            self._closed = True
            lease = self._lease
        problem = ""
        if lease is not None and not self._ends(lease, Deadline.after(finish_seconds)):
            closes = lease.closing and self._ends(lease, Deadline.after(ABORT_SECONDS))
            problem = "" if closes else lease.abort(Deadline.after(ABORT_SECONDS))
        self._watcher.join(ABORT_SECONDS)
        return problem

    def holds(self, channel: Channel) -> bool:
        """Whether the device is lent over this connection."""
        lease = self._lease
        return lease is not None and lease.channel is channel

    def _ends(self, lease: DeviceLease, deadline: Deadline) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._lease is not lease, deadline.remaining_seconds)

    def _ended(self, lease: DeviceLease, problem: str) -> None:
        with self._changed:
            if self._lease is lease:
                self._lease = None
            self._changed.notify_all()
        state = (
            f"but {problem}; check by hand that it is in its safe state" if problem else "it is in its safe state"
        )
        self._tell(f"{lease.client.name} gave the device back after {lease.rows:,} rows; {state}")

    def _watch(self) -> None:
        """Notice clients that are lost while the device is in a call, when nobody listens to them."""
        lost_since: float | None = None
        while not self._closed:
            time.sleep(WATCH_SECONDS)
            lease = self._lease
            if lease is None or lease.closing or not lease.in_call or not lease.channel.hung_up():
                lost_since = None
            elif lost_since is None:
                lost_since = time.monotonic()
            elif time.monotonic() - lost_since > LINGER_SECONDS:
                self._tell(f"{lease.client.name} is lost while the device is in a call; it is closed at once")
                problem = lease.abort(Deadline.after(ABORT_SECONDS))
                if problem:
                    self._tell(f"{problem}; check by hand that the device is in its safe state")
                self._ends(lease, Deadline.after(ABORT_SECONDS))
                lost_since = None


@dataclass(frozen=True)
class Client:
    """Who asks: a number that nobody else knows, and a name for people."""

    token: str
    name: str


class DeviceLease:
    """One client's time with the device, which is a new object for each.

    The thread that makes it is the device's: nobody else calls the device, but to close it when that thread
    does not come back from a call.

    Parameters
    ----------
    make_device
        Makes the device, closed.
    client
        Who holds it.
    channel
        The client's connection.
    ended
        Called with what went wrong, empty if nothing did, once the device is closed.

    Attributes
    ----------
    since, rows
        When it began, in seconds since 1970, and how many rows were measured.
    in_call, closing
        Whether the device is in a call of its driver, and whether that is its last.
    """

    def __init__(
        self, make_device: MakeDevice, client: Client, channel: Channel, ended: Callable[[DeviceLease, str], None]
    ) -> None:
        self.client = client
        self.channel = channel
        self.since = time.time()
        self.rows = 0
        self.events: list[Event] = []
        self.in_call = False
        self.closing = False
        self._make_device = make_device
        self._ended = ended
        self._device: Device | None = None
        self._aborted = False
        self._thread = threading.current_thread()
        self._once = threading.Lock()
        self._over = False

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        return f"{self.client.name}, since {since}, {self.rows:,} rows so far"

    def open(self) -> Description:
        """Make and open the device.

        Raises
        ------
        HwloopError
            That failed; the lease must be closed all the same.
        """
        OPEN_DEVICES.add(self)

        def opened() -> Description:
            self._device = device = self._make_device()
            device.listener = self.events.append
            device.open()
            return Description.of(device)

        return self._called("opened", opened)

    def continue_from(self, rows: int) -> None:
        """See :meth:`hwloop.Device.continue_from`."""
        device = self._present()
        self._called("told where its run goes on", lambda: device.continue_from(rows))

    def resume(self, progress: Mapping[str, Any]) -> None:
        """See :meth:`hwloop.Device.resume`."""
        device = self._present()
        self._called("told where its run goes on", lambda: device.resume(progress))

    def progress(self) -> dict[str, Any]:
        """See :meth:`hwloop.Device.progress`."""
        return self._called("asked how far it has come", self._present().progress)

    def measure(self, inputs: Float64Array) -> Float64Array:
        """Measure rows, through all the checks of :meth:`hwloop.Device.measure`."""
        device = self._present()
        responses = self._called("asked", lambda: device.measure(inputs))
        self.rows += len(responses)
        return responses

    def tune(self, values: Float64Array) -> None:
        """Set the tunables, through all the checks of :meth:`hwloop.Device.tune`."""
        device = self._present()
        self._called("tuned", lambda: device.tune(values))

    def take_events(self) -> list[Event]:
        """What the device told since it was asked the last time."""
        told, self.events[:] = list(self.events), []
        return told

    def close(self) -> None:
        """Bring the device to its safe state and end the lease; safe to call twice.

        Raises
        ------
        HwloopError
            The device may not be in its safe state; the lease is over all the same.
        """
        if self._over:
            return
        self.closing = True
        problem = ""
        try:
            self._called("closed", self._close_device)
        except HwloopError as error:
            problem = str(error)
            raise
        finally:
            self._end(problem)

    def begin_abort(self) -> Abort:
        """Close the device from other threads, although its own may still be in a call."""
        self._aborted = True
        self.channel.hang_up()
        return Abort("the device that is served", [self._close_device], self._thread, self._abort_ended)

    def abort(self, deadline: Deadline) -> str:
        """Close the device from this thread; what went wrong by the deadline, empty if it is in its safe state."""
        return self.begin_abort().wait(deadline)

    def _abort_ended(self, problem: str) -> None:
        # While its own thread is in the call, or in close(), nobody may have the device next.
        if not self._thread.is_alive():
            self._end(problem)

    def _end(self, problem: str) -> None:
        with self._once:
            if self._over:
                return
            self._over = True
        OPEN_DEVICES.discard(self)
        self._ended(self, problem)

    def _present(self) -> Device:
        if self._device is None:
            raise DeviceError("the device has not been opened")
        return self._device

    def _close_device(self) -> None:
        if self._device is not None:
            self._device.close()

    def _called(self, what: str, step: Callable[[], T]) -> T:
        """Run a step of the device; whatever its library raises becomes a :class:`DeviceError`."""
        self.in_call = True
        try:
            result = step()
        except HwloopError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise DeviceError(
                f"the device could not be {what} ({text}); check its power, cable and address at the server"
            ) from error
        finally:
            self.in_call = False
        if self._aborted and what != "closed":
            raise DeviceDisconnected("the device was closed at once, at its server")
        return result
