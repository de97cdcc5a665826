"""Check a device, promise by promise."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from hwloop.conformance import survey
from hwloop.conformance.arrays import OwnArrays
from hwloop.conformance.batches import Batches
from hwloop.conformance.closing import Closing
from hwloop.conformance.determinism import Determinism
from hwloop.conformance.examination import Examination, JournalOf, Unanswered, in_memory
from hwloop.conformance.finding import Finding, Status, Undecided, decide, failed, note
from hwloop.conformance.identity import Identity
from hwloop.conformance.large_calls import FullCalls
from hwloop.conformance.late_replies import LateReplies
from hwloop.conformance.limits import Limits
from hwloop.conformance.memory import Memory
from hwloop.conformance.nudges import Nudges
from hwloop.conformance.pace import Latency, Pace
from hwloop.conformance.promise import Evidence, Promise
from hwloop.conformance.readings import Readings
from hwloop.conformance.recovery import Recovery
from hwloop.conformance.reopening import Reopening
from hwloop.conformance.repeatability import Repeatability
from hwloop.conformance.report import Report, Result
from hwloop.conformance.saturation import Saturation
from hwloop.conformance.sign import Sign
from hwloop.conformance.staleness import Staleness
from hwloop.conformance.two_at_once import TwoAtOnce
from hwloop.device import Device
from hwloop.errors import BudgetExceeded, ConfigError, HwloopError, LimitError
from hwloop.registry import nearest
from hwloop.session import Forecast

# In the order in which they are measured: the dangerous first, the disturbing last.
MEASURED: tuple[Promise, ...] = (
    Limits(),
    Identity(),
    Repeatability(),
    Staleness(),
    Saturation(),
    Sign(),
    Batches(),
    Memory(),
    Nudges(),
    FullCalls(),
    Reopening(),
    TwoAtOnce(),
    Recovery(),
    Closing(),
    LateReplies(),
)
# These judge what the others have seen.
JUDGED: tuple[Promise, ...] = (Readings(), Determinism(), OwnArrays(), Pace(), Latency())
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
        evidence = Evidence(examination)
        for number, promise in enumerate(chosen, start=1):
            on_promise(promise.question, number, len(chosen))
            outcomes.append(_outcome(promise, evidence, outcomes))
        identity = str(examination.session.identity)
    results = tuple(
        Result(promise.name, promise.question, finding)
        for promise, finding in zip(chosen, decide(outcomes), strict=True)
    )
    seconds = time.perf_counter() - begin
    return Report(identity, examination.spec.as_dict(), results, examination.rows, seconds, seed)


def _chosen(only: Collection[str]) -> list[Promise]:
    for name in only:
        if name not in PROMISES:
            raise ConfigError(f"unknown promise {name!r}: {nearest(name, PROMISES)}")
    return [promise for promise in PROMISES.values() if not only or promise.name in only]


def _forecast_rows(chosen: Sequence[Promise], examination: Examination) -> int:
    planned = survey.ROWS + sum(promise.rows(examination) for promise in chosen)
    return min(planned, examination.budget)


def _outcome(promise: Promise, evidence: Evidence, before: Sequence[Finding | Undecided]) -> Finding | Undecided:
    """What a check finds; one that cannot be made is a note, unless the device alone is to blame."""
    try:
        if promise in JUDGED and not evidence.examination.rows:
            _ = evidence.survey  # nothing else was asked for, and something must be measured
        return promise.check(evidence)
    except BudgetExceeded as error:
        return note(f"not checked: {error}", "give more rows: --rows")
    except Unanswered:
        if isinstance(promise, Reopening) and evidence.examination.open_failure:
            return promise.check(evidence)
        if isinstance(promise, Readings):
            return Readings().check(evidence)
        return note("not checked: the device does not answer", "mend the promise 'readings' first")
    except LimitError as error:
        if any(isinstance(outcome, Finding) and outcome.status is Status.FAIL for outcome in before):
            return note(f"not checked: {error}", "mend the limits first")
        return failed(str(error), "mend the limits")
    except HwloopError as error:
        if evidence.examination.open_failure and not isinstance(promise, Reopening):
            return note(f"not checked: {error}", "mend the promise 'reopening' first")
        return failed(f"the check ended in an error: {error}", "mend the driver where the message points")
