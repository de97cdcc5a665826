"""Check a device, promise by promise."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from hwloop.conformance import survey
from hwloop.conformance.answers import determinism, readings, repeatability, staleness
from hwloop.conformance.calls import arrays, batches, full_calls, latency, memory, pace
from hwloop.conformance.examination import Examination, JournalOf, Promise, Unanswered, in_memory
from hwloop.conformance.interruptions import late_replies, recovery, two_at_once
from hwloop.conformance.lifecycle import closing, identity, reopening
from hwloop.conformance.limits import limits, saturation, sign
from hwloop.conformance.nudges import nudges
from hwloop.conformance.report import Finding, Report, Result, Status, Undecided, decide, failed, note
from hwloop.conformance.stream import stream
from hwloop.conformance.tunables import tunables
from hwloop.device import Device
from hwloop.errors import BudgetExceeded, ConfigError, HwloopError, LimitError
from hwloop.registry import nearest
from hwloop.session import Forecast

# In the order in which they are measured: the dangerous first, the disturbing last.
MEASURED = (
    limits,
    identity,
    repeatability,
    staleness,
    saturation,
    sign,
    batches,
    memory,
    nudges,
    stream,
    tunables,
    full_calls,
    reopening,
    two_at_once,
    recovery,
    closing,
    late_replies,
)
# These judge what the others have seen.
JUDGED = (readings, determinism, arrays, pace, latency)
PROMISES = {promise.name: promise for promise in (*MEASURED, *JUDGED)}

DEFAULT_ROWS = 1000
DEFAULT_TIMEOUT_SECONDS = 60.0


def check_device(
    make_device: Callable[[], Device],
    *,
    rows: int = DEFAULT_ROWS,
    seed: int = 0,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    only: Collection[str] = (),
    is_safe: Callable[[Device], bool | None] | None = None,
    journal_of: JournalOf = in_memory,
    on_forecast: Callable[[Forecast], None] = lambda forecast: None,
    on_promise: Callable[[str, int, int], None] = lambda question, number, count: None,
) -> Report:
    """Check what a driver promises; nothing beyond the device's limits is ever sent to it.

    Parameters
    ----------
    make_device
        Makes the device. It is called twice: two objects of a driver must not get in each other's way.
    rows
        Budget. A check that it does not cover is reported as a note.
    seed
        Draws the stimuli, and the lots that decide in which order they are measured.
    timeout_seconds
        After which a call of the device counts as hung.
    only
        Names of the promises to check; all of :data:`PROMISES` if empty.
    is_safe
        Tells from outside (a second meter, the bench) whether the closed device is in its safe state, ``None``
        if it cannot tell.
    journal_of
        Gives an empty journal by name: ``"check"``, and ``"second-object"`` where two are compared. In memory by
        default.
    on_forecast, on_promise
        Told what the check will take at most; told before each promise its question, its number from 1, and
        how many there are.

    Raises
    ------
    ConfigError
        Unknown promise, or a budget that is no number of rows.
    DeviceError
        The device cannot be opened at all.
    """
    chosen = _chosen(only)
    begin = time.perf_counter()
    with Examination(make_device, rows, seed, timeout_seconds, is_safe, journal_of) as examination:
        if not only:
            chosen = [promise for promise in chosen if promise.applies_to(examination.spec)]
        examination.open()
        on_forecast(examination.session.forecast(_forecast_rows(chosen, examination)))
        outcomes: list[Finding | Undecided] = []
        for number, promise in enumerate(chosen, start=1):
            on_promise(promise.question, number, len(chosen))
            outcomes.append(_outcome(promise, examination, outcomes))
        name = str(examination.session.identity)
    results = tuple(
        Result(promise.name, promise.question, finding)
        for promise, finding in zip(chosen, decide(outcomes), strict=True)
    )
    seconds = time.perf_counter() - begin
    return Report(name, examination.spec.as_dict(), results, examination.rows, seconds, seed)


def _chosen(only: Collection[str]) -> list[Promise]:
    for name in only:
        if name not in PROMISES:
            raise ConfigError(f"unknown promise {name!r}: {nearest(name, PROMISES)}")
    return [promise for promise in PROMISES.values() if not only or promise.name in only]


def _forecast_rows(chosen: Sequence[Promise], examination: Examination) -> int:
    planned = survey.ROWS + sum(promise.rows(examination) for promise in chosen)
    return min(planned, examination.budget)


def _outcome(
    promise: Promise, examination: Examination, before: Sequence[Finding | Undecided]
) -> Finding | Undecided:
    """What a check finds; one that cannot be made is a note, unless the device alone is to blame."""
    try:
        if promise in JUDGED and not examination.rows:
            _ = examination.survey  # nothing else was asked for, and something must be measured
        return promise.check(examination)
    except BudgetExceeded as error:
        return note(f"not checked: {error}", "give more rows: --rows")
    except Unanswered:
        if promise is readings or (promise is reopening and examination.open_failure):
            return promise.check(examination)
        return note("not checked: the device does not answer", "mend the promise 'readings' first")
    except LimitError as error:
        if any(isinstance(outcome, Finding) and outcome.status is Status.FAIL for outcome in before):
            return note(f"not checked: {error}", "mend the limits first")
        return failed(str(error), "mend the limits")
    except HwloopError as error:
        if examination.open_failure and promise is not reopening:
            return note(f"not checked: {error}", "mend the promise 'reopening' first")
        return failed(f"the check ended in an error: {error}", "mend the driver where the message points")
