"""The one thread that owns a device."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from queue import SimpleQueue
from typing import Any, TypeVar

from hwloop.device import Device
from hwloop.errors import DeviceError, HwloopError
from hwloop.jobs import Job, fulfil, run_jobs
from hwloop.open_devices import OPEN_DEVICES, Abort
from hwloop.session.recorder import Recorder

T = TypeVar("T")
LAST_WORD_SECONDS = 0.25


class DeviceOwner:
    """Opens a device, runs jobs on it in the order in which they come, and closes it: all on one thread.

    That thread is a daemon: a driver that never returns cannot keep the process from ending. Until the device is
    closed it stands in :data:`hwloop.open_devices.OPEN_DEVICES`, which closes it when the interpreter exits.

    Parameters
    ----------
    device
        The device.
    recorder
        Measures on it; told when no answer counts any more.
    """

    def __init__(self, device: Device, recorder: Recorder) -> None:
        self.device = device
        self._recorder = recorder
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._closed: Future[None] = Future()
        self._closing = False
        self._thread = threading.Thread(target=run_jobs, args=(self._jobs,), name="hwloop-device", daemon=True)

    def open(self) -> str:
        """Open the device and say who it is; a device that cannot be opened is brought to its safe state.

        Raises
        ------
        DeviceError
        """
        OPEN_DEVICES.add(self)
        self._thread.start()
        try:
            return self.call(self._open_device)
        except BaseException as error:
            try:
                self.close()
            except DeviceError as second:
                error.add_note(str(second))
            raise

    def submit(self, job: Callable[..., None], *arguments: Any) -> None:
        """Run a job after those that were submitted before it; it must not raise."""
        self._jobs.put(lambda: job(*arguments))

    def begin(self, step: Callable[[], T]) -> Future[T]:
        """Run a step after the jobs that were submitted before it, and return at once."""
        future: Future[T] = Future()
        self._jobs.put(lambda: fulfil(future, step))
        return future

    def call(self, step: Callable[[], T]) -> T:
        """Run a step, and wait for its result."""
        return self.begin(step).result()

    def close(self) -> None:
        """Close the device after the jobs that were submitted, and end the thread; safe to call twice.

        Raises
        ------
        DeviceError
        """
        self.close_later()
        if threading.current_thread() is self._thread:
            raise DeviceError("a session cannot be closed on its device's own thread, by a listener for one")
        self._closed.result()

    def close_later(self) -> None:
        """Have the device closed after the jobs that were submitted, and do not wait for it."""
        if not self._closing:
            self._closing = True
            self._jobs.put(self._close_and_tell)
            self._jobs.put(None)

    def begin_abort(self) -> Abort:
        """Close the device from other threads, although its own may still be measuring.

        What it answers from now on is not recorded, and the journal is closed. When its own thread comes back,
        that closes the device once more: the call in flight may have opened it again.
        """
        self._recorder.halt()
        self.close_later()
        at_rest = threading.Event()

        def close_device() -> None:
            try:
                self._close_device()
            finally:
                at_rest.set()

        def close_journal() -> None:
            at_rest.wait(LAST_WORD_SECONDS)  # the device may leave word of where it stands
            self._recorder.journal.close()

        steps = (close_device, close_journal)
        return Abort(type(self.device).__name__, steps, self._thread, self._abort_ended)

    def _abort_ended(self, problem: str) -> None:
        """Let go whoever waits for the device to be closed."""
        OPEN_DEVICES.discard(self)
        with contextlib.suppress(InvalidStateError):  # its own thread was quicker
            if problem:
                self._closed.set_exception(DeviceError(f"{problem}; check by hand that it is in its safe state"))
            else:
                self._closed.set_result(None)

    def _close_and_tell(self) -> None:
        outcome: Future[None] = Future()
        fulfil(outcome, self._close_device)
        OPEN_DEVICES.discard(self)
        failure = outcome.exception()
        with contextlib.suppress(InvalidStateError):  # an abort was quicker
            if failure is None:
                self._closed.set_result(None)
            else:
                self._closed.set_exception(failure)

    def _open_device(self) -> str:
        name = type(self.device).__name__
        try:
            self.device.open()
            identity = self.device.identify()
        except HwloopError:
            raise
        except Exception as error:
            raise DeviceError(
                f"{name} could not be opened ({type(error).__name__}: {error}); check power, cable and address"
            ) from error
        if not isinstance(identity, str):
            raise DeviceError(
                f"{name}.identify() gave {type(identity).__name__} ({str(identity)[:60]!r}), not text; decode "
                "what the instrument answers in the driver, such as reply.decode('latin-1').strip()"
            )
        if any("\ud800" <= character <= "\udfff" for character in identity):
            raise DeviceError(
                f"{name}.identify() gave {identity[:60]!r}, which no file can hold; decode what the instrument "
                "answers as 'latin-1', not with 'surrogateescape'"
            )
        return identity

    def _close_device(self) -> None:
        name = type(self.device).__name__
        try:
            self.device.close()
        except HwloopError:
            raise
        except Exception as error:
            raise DeviceError(
                f"{name} could not be closed ({type(error).__name__}: {error}) and may not be in its safe state; "
                "check it by hand"
            ) from error
