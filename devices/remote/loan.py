"""The device in the hands of one client: made and opened for it, in its safe state when it lets go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hwloop.deadline import Deadline
from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.devices.remote.channel import Channel
from hwloop.devices.remote.crossing import Description
from hwloop.errors import DeviceDisconnected, DeviceError, HwloopError
from hwloop.events import Event
from hwloop.open_devices import OPEN_DEVICES, Abort

T = TypeVar("T")
MakeDevice = Callable[[], Device]


@dataclass(frozen=True)
class Client:
    """Who asks: a number that nobody else knows, and a name for people."""

    token: str
    name: str


class Loan:
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
        self, make_device: MakeDevice, client: Client, channel: Channel, ended: Callable[[Loan, str], None]
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
            That failed; the loan must be closed all the same.
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

    def take_events(self) -> list[Event]:
        """What the device told since it was asked the last time."""
        told, self.events[:] = list(self.events), []
        return told

    def close(self) -> None:
        """Bring the device to its safe state and end the loan; safe to call twice.

        Raises
        ------
        HwloopError
            The device may not be in its safe state; the loan is over all the same.
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
