"""Bring every open device to its safe state, however the process ends."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from hwloop.deadline import Deadline

# After an abort a device's thread may still come back from a call, and close what that call had opened again.
LINGER_SECONDS = 0.2


class OpenDevice(Protocol):
    """An open device, as its owner knows it."""

    def close(self) -> None:
        """Close it after the rows in flight."""

    def begin_abort(self) -> Abort:
        """Begin to close it at once, whatever its thread is doing."""


class Abort:
    """A device on its way to its safe state, closed by threads other than its own.

    Parameters
    ----------
    name
        The device, for messages.
    steps
        Each runs on a thread of its own, so that none waits for another that hangs; the first closes the device.
    worker
        The device's own thread.
    ended
        Called once with what went wrong, empty if nothing did.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Callable[[], None]],
        worker: threading.Thread,
        ended: Callable[[str], None],
    ) -> None:
        self._name = name
        self._worker = worker
        self._ended = ended
        self._problems: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(step,), daemon=True) for step in steps]
        for thread in self._threads:
            thread.start()

    def wait(self, deadline: Deadline) -> str:
        """What went wrong by the deadline, empty if the device is in its safe state."""
        for thread in self._threads:
            thread.join(deadline.remaining_seconds)
        if self._threads[0].is_alive():
            self._problems.append(f"{self._name} did not close in time")
        elif self._worker is not threading.current_thread():
            self._worker.join(min(LINGER_SECONDS, deadline.remaining_seconds))
        problem = "; ".join(self._problems)
        self._ended(problem)
        return problem

    def _run(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._problems.append(f"{type(error).__name__}: {error}")


class OpenDevices:
    """The devices that are open in this process."""

    def __init__(self) -> None:
        self._open: set[OpenDevice] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, device: OpenDevice) -> None:
        """Enter a device that is about to be opened."""
        self._open.add(device)

    def discard(self, device: OpenDevice) -> None:
        """Forget a device that is closed."""
        self._open.discard(device)

    def leave_to_parent(self) -> None:
        """In a forked process, which has none of the threads: what is open is its parent's."""
        self._open.clear()

    def abort(self, deadline: Deadline) -> list[str]:
        """Bring every device to its safe state by the deadline; returns what went wrong."""
        return abort(list(self._open), deadline)

    def close_at_exit(self) -> None:
        """Close what a script or a notebook left open; Ctrl-C meanwhile closes it at once."""
        for device in list(self._open):
            try:
                device.close()
            except KeyboardInterrupt:
                self.abort(Deadline.after(1.0))
                raise


def abort(devices: Iterable[OpenDevice], deadline: Deadline) -> list[str]:
    """Close devices from outside their threads, all at the same time; returns what went wrong by the deadline."""
    under_way = [device.begin_abort() for device in devices]
    return [problem for each in under_way if (problem := each.wait(deadline))]


OPEN_DEVICES = OpenDevices()
os.register_at_fork(after_in_child=OPEN_DEVICES.leave_to_parent)
atexit.register(OPEN_DEVICES.close_at_exit)
