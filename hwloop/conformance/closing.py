"""Does close() reach the safe state, whatever happened before?"""

from __future__ import annotations

from collections.abc import Callable

from hwloop.conformance.examination import Examination, Interruption, Unanswered
from hwloop.conformance.finding import Finding, failed, note, passed
from hwloop.conformance.promise import Evidence, Promise
from hwloop.conformance.recovery import driver_lines
from hwloop.conformance.within import within
from hwloop.device import Device
from hwloop.device.hold import hold_of, working_for
from hwloop.device.spec import Float64Array
from hwloop.errors import BudgetExceeded, DeviceError, LimitError
from hwloop.probing.stimuli import moderate

PROMPT_SECONDS = 2.0  # for a close() that must not wait for the call in flight; 0.6 s are promised


class Closing(Promise):
    """``close`` works after a measurement, twice, before open, after an exception, and from another thread.

    Also while a call is in flight: then it is the last resort, and must not wait for that call.
    """

    name = "closing"
    question = "close() always works, and reaches every device inside"

    def rows(self, examination: Examination) -> int:
        """One in each situation."""
        return 20

    def check(self, evidence: Evidence) -> Finding:
        """Make each situation, close, and see that the device answers when it is opened again."""
        examination = evidence.examination
        examination.require(self.rows(examination))
        probe = moderate(examination.spec, 1, examination.rng(self.name))
        situations: dict[str, Callable[[Examination, Float64Array], None]] = {
            "after a measurement": _after_a_measurement,
            "twice, and before open()": _twice,
            "after open() twice": _after_open_twice,
            "from another thread": _from_another_thread,
            "after Ctrl-C in mid-call": _after_an_exception,
            "from another thread in mid-call": _in_mid_call,
        }
        for when, situation in situations.items():
            if examination.close_failures:
                return _failed("now and then", examination.close_failures[0])
            closes = [guard.closes for guard in examination.guards]
            try:
                situation(examination, probe)
                examination.close()
                if examination.close_failures:
                    return _failed(when, examination.close_failures[0])
            except (BudgetExceeded, LimitError, Unanswered):
                raise
            except Exception as error:
                return _failed(when, f"{type(error).__name__}: {error}")
            for guard, before in zip(examination.guards, closes, strict=True):
                if guard.installed and guard.closes == before:
                    return failed(
                        f"{type(guard.device).__name__}, inside, is not closed {when}: it stays as it is",
                        "in the wrapper's close() call self.device.close()",
                        situation=when,
                    )
            safe = None if examination.is_safe is None else examination.is_safe(examination.device)
            if safe is not None and not safe:
                return failed(
                    f"the hardware is not in its safe state after close() {when}",
                    "switch outputs off in close(), before disconnecting",
                    situation=when,
                )
            try:
                examination.measure(probe)
            except DeviceError as error:
                if isinstance(error, Unanswered):
                    raise
                return failed(
                    f"the device cannot be used again after close() {when}: {error}",
                    "make open() work after every close()",
                    situation=when,
                )
        return self._kept(examination, len(situations))

    def _kept(self, examination: Examination, situations: int) -> Finding:
        summary = f"close() works in {situations} situations"
        kind = type(examination.device)
        if kind.open is not Device.open and kind.close is Device.close:
            return note(
                f"{kind.__name__} has its own open(), but no close(): nothing brings it to its safe state",
                "write close(): outputs off, then disconnect",
            )
        if examination.is_safe is None:
            summary += "; whether outputs are off cannot be seen from here"
        return passed(summary, situations=situations, safe_state_seen=examination.is_safe is not None)


def _failed(when: str, error: str) -> Finding:
    return failed(
        f"close() fails {when}: {error}",
        "let close() find out what there is to close, and do nothing where there is nothing",
        situation=when,
    )


def _after_a_measurement(examination: Examination, probe: Float64Array) -> None:
    examination.measure(probe)


def _twice(examination: Examination, probe: Float64Array) -> None:
    examination.close()
    for _ in range(2):
        examination.bounded("close()", examination.device.close)


def _after_open_twice(examination: Examination, probe: Float64Array) -> None:
    examination.open()
    examination.bounded("open() of an open device", examination.device.open)


def _from_another_thread(examination: Examination, probe: Float64Array) -> None:
    examination.measure(probe)
    examination.bounded("close() from another thread", lambda: _close_for_session(examination))


def _after_an_exception(examination: Examination, probe: Float64Array) -> None:
    lines = driver_lines(examination, probe)
    if lines:
        examination.hook.act_at(lines[-1], _interrupt)
        examination.interrupted(probe)


def _in_mid_call(examination: Examination, probe: Float64Array) -> None:
    """What a second Ctrl-C does: the device is closed while its own thread is still in a call."""
    lines = driver_lines(examination, probe)
    problems: list[str] = []

    def close() -> None:
        try:
            within(PROMPT_SECONDS, "close()", lambda: _close_for_session(examination))
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")

    if lines:
        examination.hook.act_at(lines[-1], close)
        examination.interrupted(probe)
    if problems:
        raise DeviceError(problems[0])


def _close_for_session(examination: Examination) -> None:
    """As a session does that is aborted: a device that walks to its safe state may call those inside of it."""
    device = examination.device
    with working_for(hold_of(device).holder):
        device.close()


def _interrupt() -> None:
    raise Interruption
