"""Promises about opening and closing: the same device every time it is opened, and safe whenever it is closed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import numpy as np

from hwloop.conformance.crossover import Crossover, compared, confirmed
from hwloop.conformance.examination import Examination, Unanswered, promise
from hwloop.conformance.guard import within
from hwloop.conformance.report import Finding, Undecided, failed, note, passed
from hwloop.conformance.survey import ResponseSurvey
from hwloop.device import Device
from hwloop.device.hold import hold_of, working_for
from hwloop.device.spec import Float64Array
from hwloop.errors import BudgetExceeded, DeviceError, LimitError
from hwloop.probing.statistics import PAIRS, sign_flip_p_value
from hwloop.probing.stimuli import moderate

ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
OPENINGS = 3
LONGEST_SECONDS = 120.0  # for all openings of a comparison
PROMPT_SECONDS = 2.0  # for a close() that must not wait for the call in flight; 0.6 s are promised


@promise("identity", "the device says who it is, always the same")
def identity(examination: Examination) -> Finding:
    """``identify`` names the instrument, or the simulator with its settings; name and spec never change."""
    names = _names(examination)
    first = names[0]
    if not isinstance(first, str) or not first.strip():
        return failed(f"identify() returns {first!r}, no name", "return the *IDN? reply or a serial number")
    if len(set(names)) > 1:
        return failed(
            f"identify() changes: {names[0]!r}, then {next(n for n in names if n != first)!r}",
            "return what names the hardware and its settings, without times, counters or addresses; a run "
            "could not be resumed otherwise",
            identities=len(set(names)),
        )
    if ADDRESS.search(first):
        return failed(
            f"identify() holds a memory address, another one in every process: {first!r}",
            "return the *IDN? reply or a serial number",
        )
    if examination.device.spec != examination.spec:
        return failed("the spec changes when the device is opened", "set the spec before open(), once")
    if first == type(examination.device).__name__:
        return note(
            f"identify() gives only the name of the class, {first}",
            "return the *IDN? reply or a serial number: a run is resumed only on the device that it began on",
        )
    return passed(f"the same name in {len(names)} openings", openings=len(names))


def _names(examination: Examination) -> list[str]:
    names = []
    for _ in range(OPENINGS):
        examination.open()
        names.append(examination.bounded("identify()", examination.identity.ask))
        examination.close()
    examination.open()
    # Asked again while it is open, on the thread that owns the device nothing else runs meanwhile.
    names.append(examination.bounded("identify()", examination.identity.ask))
    return names


@promise("reopening", "the device is the same after close and open", rows=3 * PAIRS)
def reopening(examination: Examination) -> Finding | Undecided:
    """Closing and opening changes nothing: all settings are asserted again, no state is lost or kept.

    Three probes a pair; by lot the device is reopened between the first two or between the last two. The
    difference of the two steps takes a steady drift out.
    """
    if examination.open_failure:
        return failed(
            f"the device cannot be opened again: {examination.open_failure}",
            "make open() work after every close(), again and again",
        )
    reopening.require_rows(examination)
    rng = examination.rng("reopening")
    probe = moderate(examination.spec, 1, rng)
    survey = examination.survey
    examination.open()
    begin = time.perf_counter()
    examination.reopen()
    seconds = time.perf_counter() - begin
    if PAIRS * seconds > LONGEST_SECONDS:
        summary = f"opening takes {seconds:.1f} s, too long to compare {PAIRS} times"
        return note(summary, reopening_seconds=seconds)

    def compare() -> Crossover:
        steps = [_steps(examination, probe, early) for early in rng.integers(2, size=PAIRS)]
        return steps_compared(np.array(steps), survey)

    return confirmed(compare).outcome(
        "the response to the same stimulus changes when the device is closed and opened",
        "the response is the same after closing and opening",
        "set up everything in open() that measuring needs (ranges, gains, triggers, averages), and wait until "
        "it has settled",
        reopening_seconds=seconds,
    )


def _steps(examination: Examination, probe: Float64Array, early: int) -> list[Float64Array]:
    """How far the response moved where the device was reopened, and where it was not."""
    probes = []
    for gap in (None, 1, 0):
        if gap == early:
            examination.reopen()
        probes.append(examination.measure(probe))
    steps = [probes[1] - probes[0], probes[2] - probes[1]]
    return steps if early else steps[::-1]


def steps_compared(steps: Float64Array, survey: ResponseSurvey) -> Crossover:
    """Reopening may move the response always the same way, or each time another way: a test for each.

    Parameters
    ----------
    steps
        Shape (pairs, 2, 1, n_outputs): with reopening, without. By lot one or the other came first, so under the
        null hypothesis they may be exchanged: the sign of their difference, and of the logarithm of the ratio of
        their lengths, is then random. (Exchanging them keeps a steady drift in the response.)
    """
    one_way = compared(steps[:, 0] - steps[:, 1], survey)
    lengths = np.sqrt(np.mean((steps / survey.noise) ** 2, axis=(2, 3)))
    floor = 1e-6 * np.maximum(lengths.max(), 1.0)
    either_way = sign_flip_p_value(np.log((lengths[:, :1] + floor) / (lengths[:, 1:] + floor)))
    moved = float(np.median(np.abs(steps[:, 0] / survey.span).max(axis=(1, 2))))
    return Crossover(
        min(1.0, 2 * min(one_way.p_value, either_way)),
        one_way.effect_of_span if one_way.p_value <= either_way else moved,
        float(np.median(lengths[:, 0])),
    )


@promise("closing", "close() always works, and reaches every device inside", rows=20)
def closing(examination: Examination) -> Finding:
    """``close`` works after a measurement, twice, before open, after an exception, and from another thread.

    Also while a call is in flight: then it is the last resort, and must not wait for that call. After each the
    device must answer when it is opened again.
    """
    closing.require_rows(examination)
    probe = moderate(examination.spec, 1, examination.rng("closing"))
    situations: dict[str, Callable[[Examination, Float64Array], object]] = {
        "after a measurement": Examination.measure,
        "twice, and before open()": _twice,
        "after open() twice": _after_open_twice,
        "from another thread": _from_another_thread,
        "after Ctrl-C in mid-call": _after_an_interrupt,
        "from another thread in mid-call": _in_mid_call,
    }
    for when, situation in situations.items():
        broken = _broken(examination, probe, when, situation)
        if broken is not None:
            return broken
    kind = type(examination.device)
    if kind.open is not Device.open and kind.close is Device.close:
        return note(
            f"{kind.__name__} has its own open(), but no close(): nothing brings it to its safe state",
            "write close(): outputs off, then disconnect",
        )
    unseen = "; whether outputs are off cannot be seen from here" if examination.is_safe is None else ""
    return passed(
        f"close() works in {len(situations)} situations{unseen}",
        situations=len(situations),
        safe_state_seen=examination.is_safe is not None,
    )


def _broken(
    examination: Examination,
    probe: Float64Array,
    when: str,
    situation: Callable[[Examination, Float64Array], object],
) -> Finding | None:
    """Make the situation, close, and open again; what is wrong then, if anything is."""
    if examination.close_failures:
        return _close_fails("now and then", examination.close_failures[0])
    closes = [guard.closes for guard in examination.guards]
    try:
        situation(examination, probe)
        examination.close()
        if examination.close_failures:
            return _close_fails(when, examination.close_failures[0])
    except (BudgetExceeded, LimitError, Unanswered):
        raise
    except Exception as error:
        return _close_fails(when, f"{type(error).__name__}: {error}")
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
    except Unanswered:
        raise
    except DeviceError as error:
        return failed(
            f"the device cannot be used again after close() {when}: {error}",
            "make open() work after every close()",
            situation=when,
        )
    return None


def _close_fails(when: str, error: str) -> Finding:
    return failed(
        f"close() fails {when}: {error}",
        "let close() find out what there is to close, and do nothing where there is nothing",
        situation=when,
    )


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


def _after_an_interrupt(examination: Examination, probe: Float64Array) -> None:
    lines = examination.driver_lines(probe)
    if lines:
        examination.interrupt(probe, lines[-1])


def _in_mid_call(examination: Examination, probe: Float64Array) -> None:
    """What a second Ctrl-C does: the device is closed while its own thread is still in a call."""
    lines = examination.driver_lines(probe)
    problems: list[str] = []

    def close() -> None:
        try:
            within(PROMPT_SECONDS, "close()", lambda: _close_for_session(examination))
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")

    if lines:
        examination.interrupt(probe, lines[-1], close)
    if problems:
        raise DeviceError(problems[0])


def _close_for_session(examination: Examination) -> None:
    """As a session does that is aborted: a device that walks to its safe state may call those inside of it."""
    device = examination.device
    with working_for(hold_of(device).holder):
        device.close()
