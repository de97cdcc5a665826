"""A device that fails now and then, made to answer: rows are measured again, calls are never repeated."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

from hwloop.deadline import MONOTONIC, Clock, Deadline
from hwloop.device import Device, DeviceWrapper, RowHandling
from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.devices.plausibility import DEFAULT_CHECKS, Exchange, plausibility_checks
from hwloop.devices.suspect_readings import SuspectReadings
from hwloop.errors import (
    BadReading,
    ConformityError,
    DeviceChanged,
    DeviceCrashed,
    DeviceDisconnected,
    DeviceError,
    DeviceTimeout,
    HwloopError,
)
from hwloop.events import DeviceFault

LONGEST_BACKOFF_SECONDS = 10.0
T = TypeVar("T")
KINDS = (DeviceTimeout, DeviceDisconnected, DeviceCrashed, ConformityError, BadReading)


class _Link(enum.Enum):
    """What is known of the connection to the device inside."""

    TRUSTED = "every reply that was asked for has been read"
    DOUBTFUL = "a reply may still wait in it: to be closed, and opened, before the next row"
    DROPPED = "closed: to be opened before the next row"
    CLOSED = "closed for good, until the owner opens it"


class Retrying(DeviceWrapper):
    """Measures rows again when the device inside fails, on a connection that is opened anew each time.

    After a time-out an instrument may still send its reply, and whoever asks next reads it as the answer to
    another question. So a failed call is never repeated on its connection. The device is closed, which brings
    it to its safe state; after a pause it is opened, which by the contract of :meth:`hwloop.Device.open` sets
    everything again that measuring needs; then all rows of the call are measured again. An answer is used
    whole or not at all. The same happens before the next row when Ctrl-C, or any other error, ended a call.

    Only a :class:`hwloop.DeviceError` is answered by measuring again: never a stimulus that was refused, a
    budget that is spent, or Ctrl-C; nor a :class:`hwloop.ConformityError`, which would come again, nor a
    :class:`hwloop.DeviceChanged`, after which another device answers. Every failed attempt is told once, as a
    :class:`DeviceFault`.

    Some wrong answers raise no error: ``plausible`` lists checks that recognise them. A check may be wrong, and
    then costs two more attempts (:class:`~hwloop.devices.suspect_readings.SuspectReadings`). That takes
    ``retries`` of at least 2. A device that may answer alike to everything (a null device) needs
    ``plausible=[]``. What no check can see: one wrong reading among right ones, or a stale reply from a device
    with few outputs.

    A noisy simulation draws its noise anew in each attempt; only of a noiseless one are the responses bit for
    bit those of a run without faults.

    Parameters
    ----------
    device
        The device inside.
    retries
        Further attempts for the rows of one call, at least 0.
    backoff_seconds
        Pause before the first of them; it doubles each time, up to 10 s.
    deadline_seconds
        For the rows of one call, all attempts together; ``None`` for no limit. It does not interrupt a call (a
        driver has time-outs for that), and an answer that comes after it is kept.
    stop_after
        Consecutive failed attempts, over all calls since the device was opened, at least 1. It stops at
        whatever comes first.
    plausible
        Checks of answers: ``"not-repeated"``, ``"not-constant"``, objects of
        :mod:`hwloop.devices.plausibility`, or tables such as
        ``{"name": "within-range", "low": 0.0, "high": 1.0}``.
    slow_seconds
        A call that takes longer is told as a fault too; its answer is kept. ``None`` to tell of none.
    clock
        Tells the time and waits.

    Raises
    ------
    DeviceError
        From ``measure``, of the kind of the last failure, when it has stopped. The device is then closed, and
        stays so until ``open``.
    """

    harmless_settings: ClassVar = {
        "retries": "how often a failed call is repeated; an answer is used whole or not at all",
        "backoff_seconds": "a pause between attempts",
        "deadline_seconds": "when it gives up",
        "stop_after": "when it gives up",
        "slow_seconds": "what is told as slow; the answer is kept",
        "clock": "tells the time and waits",
    }
    handling = RowHandling(adds_rows=True, reopens=True)

    def __init__(
        self,
        device: Device,
        retries: int = 3,
        backoff_seconds: float = 0.1,
        deadline_seconds: float | None = None,
        stop_after: int = 5,
        plausible: Sequence[Any] = DEFAULT_CHECKS,
        slow_seconds: float | None = None,
        clock: Clock = MONOTONIC,
    ) -> None:
        super().__init__(device)
        self.retries = whole_number("retries", retries, low=0)
        self.backoff_seconds = real_number("backoff_seconds", backoff_seconds, low=0.0)
        self.deadline_seconds = _seconds_or_never("deadline_seconds", deadline_seconds)
        self.stop_after = whole_number("stop_after", stop_after, low=1)
        self.slow_seconds = _seconds_or_never("slow_seconds", slow_seconds)
        self.clock = clock
        self._doubts = SuspectReadings(plausibility_checks(plausible))
        self._link = _Link.TRUSTED
        self._released = False  # by the owner, from whatever thread, until the owner opens it again
        self._failures = 0  # in a row
        self._faults = 0

    # -- opening and closing ---------------------------------------------------------------------------

    def open(self) -> None:
        """Open the device inside; a failure is raised at once, for nothing was measured yet."""
        self._released = False
        if self._link is not _Link.TRUSTED:
            self.device.close()  # once more: it may have failed before, and then opening would do nothing
        self.device.open()
        self._link = _Link.TRUSTED
        self._failures = 0

    def close(self) -> None:
        """Close the device inside to its safe state; it stays closed until :meth:`open`.

        Another thread may close it while rows are measured: they are not measured again.
        """
        self._released = True
        self._link = _Link.CLOSED
        self.device.close()

    # -- going on ------------------------------------------------------------------------------------

    def progress(self) -> dict[str, Any]:
        """What is doubted, and why, belongs to it."""
        own = super().progress()
        return own | {"doubts": self._doubts.progress(with_answer=_has_replies(own))}

    def resume(self, progress: Mapping[str, Any]) -> None:
        super().resume(progress)
        self._doubts.resume(progress.get("doubts", {}))

    # -- measuring -------------------------------------------------------------------------------------

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return self._until_answered(lambda: self._attempt(inputs), len(inputs))

    def _tune(self, values: Float64Array) -> None:
        """A write that fails is made again on a fresh connection, from rest and what was set before."""
        self._until_answered(lambda: self._attempt_to_tune(values), 0)

    def _until_answered(self, attempt_it: Callable[[], T], rows: int) -> T:
        if self._link is _Link.CLOSED or self._released:
            raise DeviceError(f"{self._name} is closed, by its owner or after too many failures; open it first")
        deadline = Deadline.after(self.deadline_seconds, self.clock)
        began = self.clock.now()
        attempt = 0
        while True:
            attempt += 1
            try:
                return attempt_it()
            except DeviceChanged:  # no attempt mends that, and the next may find a third
                self._drop_link()
                raise
            except DeviceError as error:
                self._failures += 1
                pause = min(self.backoff_seconds * 2.0 ** min(attempt - 1, 60), LONGEST_BACKOFF_SECONDS)
                closed = self._drop_link()
                reason = self._reason_to_stop(error, attempt, pause, deadline)
                if reason:
                    seconds = self.clock.now() - began
                    history = f"{_count(attempt, 'attempt')} in {seconds:.1f} s, and {reason}"
                    self._stop(error, rows, history, closed)
                action = f"measured again on a fresh connection in {pause:g} s (attempt {attempt + 1})"
                self._tell(error, rows, f"{closed}; {action}")
                self.clock.sleep(pause)

    def _attempt(self, inputs: Float64Array) -> Float64Array:
        self._refuse_if_released()
        self._open_if_needed()
        self._refuse_if_released()  # or what was just opened would stay open
        self._link = _Link.DOUBTFUL
        began = self.clock.now()
        responses = self.device.measure(inputs)
        seconds = self.clock.now() - began
        retired = len(self._doubts.retired)
        self._doubts.judge(Exchange(inputs, responses), self.device.measure)
        self._link = _Link.TRUSTED
        self._failures = 0
        if seconds > self.slow_seconds:
            slow = DeviceTimeout(f"the answer took {seconds:.3g} s, more than {self.slow_seconds:g} s")
            self._tell(slow, len(inputs), "answer kept")
        for check in self._doubts.retired[retired:]:
            kind = type(check).__name__
            wrong = BadReading(f"{kind} doubted answers that the device gave again and again")
            self._tell(wrong, len(inputs), f"answer kept; {kind} is not asked any more")
        return responses

    def _attempt_to_tune(self, values: Float64Array) -> None:
        self._refuse_if_released()
        self._open_if_needed()
        self._refuse_if_released()
        self._link = _Link.DOUBTFUL
        self.device.tune(values)
        self._link = _Link.TRUSTED
        self._failures = 0

    def _open_if_needed(self) -> None:
        if self._link is _Link.DOUBTFUL:
            # Without closing, opening might do nothing, and leave a reply in the link.
            self._managed("closed", self.device.close)
            self._link = _Link.DROPPED
        if self._link is _Link.DROPPED:
            self._link = _Link.DOUBTFUL
            self._managed("opened again", self.device.open)

    def _refuse_if_released(self) -> None:
        if self._released:
            raise DeviceDisconnected(f"{self._name} was closed by its owner while rows were to be measured")

    def _managed(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except HwloopError:
            raise
        except Exception as error:
            raise DeviceError(
                f"{self._name} could not be {what} ({type(error).__name__}: {error}); "
                "check power, cable and address"
            ) from error

    def _drop_link(self) -> str:
        """Close the device inside if that is possible; says how it went."""
        self._link = _Link.DOUBTFUL
        try:
            self.device.close()
        except Exception as error:
            return f"closing failed ({type(error).__name__}: {error}), so the device may not be in its safe state"
        self._link = _Link.DROPPED
        return "device closed to its safe state"

    # -- giving up -------------------------------------------------------------------------------------

    def _reason_to_stop(self, error: DeviceError, attempt: int, pause: float, deadline: Deadline) -> str:
        """Why there is no further attempt; empty if there is one."""
        if self._released:
            return "its owner closed it meanwhile"
        if isinstance(error, ConformityError):
            return "no further attempt can mend that"
        if self._failures >= self.stop_after:
            return f"stop_after={self.stop_after} failures in a row are reached"
        if attempt > self.retries:
            return f"retries={self.retries} are used up"
        if deadline.remaining_seconds <= pause:
            return f"the deadline of {self.deadline_seconds:g} s leaves no time for another attempt"
        return ""

    def _stop(self, error: DeviceError, rows: int, history: str, closed: str) -> NoReturn:
        self._link = _Link.CLOSED
        self._tell(error, rows, f"{closed}; gave up: {history}")
        kind = next((kind for kind in KINDS if isinstance(error, kind)), DeviceError)
        what = f"did not answer {_count(rows, 'row')}" if rows else "could not be tuned"
        raise kind(
            f"{self._name} {what}: {history}. The last failure: {error}. "
            f"Now: {closed}. Check power, cables and settings; then open it again and go on"
        ) from error

    def _tell(self, error: DeviceError, rows: int, action: str) -> None:
        self._faults += 1
        self.tell(DeviceFault(self._faults, f"{type(error).__name__}: {error}", rows, action))

    @property
    def _name(self) -> str:
        return f"Retrying({type(self.device).__name__})"


def _seconds_or_never(name: str, value: float | None) -> float:
    return math.inf if value is None else real_number(name, value, low=0.0)


def _has_replies(progress: Mapping[str, Any]) -> bool:
    """Whether something inside keeps replies that may come again (:class:`hwloop.devices.faulty.Faulty`)."""
    return "last_reply" in progress or any(map(_has_replies, progress.get("inside", ())))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
