"""Promises about calls: a row is answered alike alone, among others and after others, at the stated pace."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.conformance.crossover import ROUNDING, Crossover, crossover
from hwloop.conformance.examination import Examination, Unanswered, promise
from hwloop.conformance.report import FAMILY_ALPHA, Finding, Undecided, failed, note, passed
from hwloop.conformance.survey import ResponseSurvey
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import PAIRS
from hwloop.probing.stimuli import moderate, rest, strong
from hwloop.probing.timing import by_size

TOGETHER = 3  # rows of a batch
KINDS = 6  # different stimuli in a full call
LARGEST = 128
CALLS = 4  # a row is wrong only if it is wrong in so many calls: a glitch does not hit the same row each time
FAR = 2.0  # times the largest distance that noise and drift have shown
SLOWER, FASTER = 3.0, 10.0
JITTER_SECONDS = 1e-3  # a loaded computer adds as much to a call
SIMULATED = "simulated"


def _batch_rows(examination: Examination) -> int:
    """A few rows, two ways."""
    return 2 * PAIRS * min(TOGETHER, examination.rows_a_call) if examination.rows_a_call > 1 else 0


@promise("batches", "a row is answered alike alone and among others", rows=_batch_rows)
def batches(examination: Examination) -> Finding | Undecided:
    """The same rows in the same order give the same responses in one call and in a call each.

    The order is the same both ways, so that memory between rows does not pass for it.
    """
    together = min(TOGETHER, examination.rows_a_call)
    if together < 2:
        return note("a call carries one row on this device, so there are no batches")
    batches.require_rows(examination)
    rng = examination.rng("batches")
    probes = moderate(examination.spec, together, rng)
    found = crossover(
        lambda: examination.measure_singly(probes), lambda: examination.measure(probes), examination.survey, rng
    )
    examination.calls_mix_rows = found.p_value < FAMILY_ALPHA and found.effect_of_span > ROUNDING
    return found.outcome(
        f"{together} rows are answered otherwise in one call than in a call each",
        f"{together} rows are answered alike in one call and in a call each",
        "look for statistics taken over the rows of a call, for rows that come back in another order, and "
        "for a transient at the start of each call; until then set max_rows=1",
        rows_in_one_call=together,
    )


def _memory_rows(examination: Examination) -> int:
    """A conditioning row and a probe, two ways, in one call and in two."""
    return 4 * PAIRS * (2 if examination.rows_a_call > 1 else 1)


@promise("memory", "a row leaves no trace in the next", rows=_memory_rows)
def memory(examination: Examination) -> Undecided:
    """A row's response does not depend on the row before it, in the same call or in the call before.

    The row before is at rest in one way, and strong in the other.
    """
    memory.require_rows(examination)
    rng = examination.rng("memory")
    probe = moderate(examination.spec, 1, rng)
    quiet, loud = rest(examination.spec), strong(examination.spec, rng)

    def in_one_call(before: Float64Array) -> Float64Array:
        return examination.measure(np.concatenate([before, probe]))[1:]

    def in_two_calls(before: Float64Array) -> Float64Array:
        examination.measure(before)
        return examination.measure(probe)

    ways = {"in the call before": in_two_calls}
    if examination.rows_a_call > 1 and not examination.calls_mix_rows:
        ways["in the same call"] = in_one_call
    found = {
        where: crossover(partial(way, quiet), partial(way, loud), examination.survey, rng)
        for where, way in ways.items()
    }
    where, worst = min(found.items(), key=lambda item: (item[1].p_value, -item[1].effect_of_span))
    both = Crossover(min(1.0, len(found) * worst.p_value), worst.effect_of_span, worst.effect_in_noise)
    return both.outcome(
        f"the response depends on the row before, {where}",
        "a row's response does not depend on the row before",
        "wait longer after each row (settling), clear buffers between rows, and return the reading of this "
        "row, not of the last; hwloop.Averaged does not help, for every repeat carries the leak",
        worst_where=where,
    )


def _full(examination: Examination) -> int:
    return min(LARGEST if examination.spec.max_rows else LARGEST // 2, examination.rows_a_call)


def _full_call_rows(examination: Examination) -> int:
    """Two full calls among references; twice that where the first two look wrong."""
    return 2 * _full(examination) + 3 * KINDS


@promise("full-calls", "a call may carry as many rows as the spec says", rows=_full_call_rows)
def full_calls(examination: Examination) -> Finding:
    """A call with as many rows as the session will ever send answers like calls of one row, row by row.

    References before and after each full call show what noise and drift do meanwhile.
    """
    full = _full(examination)
    if full < 2:
        return note("a call carries one row on this device")
    if examination.calls_mix_rows:
        return note("not checked: the rows of a call depend on each other", "mend the promise 'batches' first")
    full_calls.require_rows(examination)
    rng = examination.rng("full-calls")
    kinds = moderate(examination.spec, KINDS, rng)
    order = rng.integers(KINDS, size=full)
    references = [examination.measure_singly(kinds)]
    calls: list[Float64Array] = []
    wrong = np.ones(full, dtype=bool)
    while len(calls) < CALLS and (len(calls) < 2 or wrong.any()):
        if len(calls) == 2:
            full_calls.require_rows(examination)
        try:
            calls.append(examination.measure(kinds[order]))
        except Unanswered as error:
            return failed(
                f"a call of {full} rows fails: {error}",
                "set max_rows to what the hardware can take in one call",
                rows_in_call=full,
            )
        references.append(examination.measure_singly(kinds))
        wrong = _wrong_rows(np.array(calls), np.array(references), order, examination.survey)
    if wrong.any():
        rows = np.flatnonzero(wrong)
        return failed(
            f"{len(rows)} of {full} rows in a full call are answered wrongly, row {rows[0]} first",
            f"set max_rows to what the hardware can take in one call, {max(1, int(rows[0]))} at most, or mend "
            "how the driver splits a call",
            rows_in_call=full,
            wrong_rows=len(rows),
            first_wrong_row=int(rows[0]),
            calls=len(calls),
        )
    return passed(f"{full} rows in one call are answered as in a call each", rows_in_call=full, calls=len(calls))


def _wrong_rows(
    calls: Float64Array, references: Float64Array, order: NDArray[np.int64], survey: ResponseSurvey
) -> NDArray[np.bool_]:
    """Rows that are far from every reference of their stimulus in every call."""
    moved = survey.distance(references[1:], references[:-1])
    rounding = float(survey.distance(ROUNDING * survey.span, np.zeros_like(survey.span)))
    allowed = max(FAR * max(survey.farthest_repeats, float(np.median(moved.max(axis=0)))), rounding)
    near = references[:, order]  # (references, rows, n_outputs)
    distance = survey.distance(calls[:, None], near)  # (calls, references, rows)
    return np.asarray((distance.min(axis=1) > allowed).all(axis=0))


@promise("arrays", "stimuli are not altered, replies are not reused")
def arrays(examination: Examination) -> Finding:
    """The driver does not alter the array that it is handed, and returns a new one from each call.

    ``measure`` copies both, so that neither harms a run; whoever calls ``_measure`` itself, the driver's own
    retry for one, gets wrong numbers without an error. Judges all calls of the other checks.
    """
    guards = [guard for guard in examination.guards if guard.installed]
    if not guards:
        return note("the class has __slots__, so its calls cannot be watched")
    for guard in guards:
        name = type(guard.device).__name__
        calls = guard.entered
        share = f"in {max(guard.inputs_changed, guard.replies_changed)} of {calls} calls"
        if guard.inputs_changed:
            return failed(
                f"_measure of {name} alters the stimuli that it is handed {share}",
                "work on a copy: inputs = inputs.copy()",
                calls_altering_inputs=guard.inputs_changed,
                calls=calls,
            )
        if guard.replies_changed:
            return failed(
                f"_measure of {name} alters replies that it has returned {share}",
                "return a new array from each call, or a copy of the buffer",
                replies_altered=guard.replies_changed,
                calls=calls,
            )
    return passed(f"{guards[0].entered} calls watched", calls=guards[0].entered)


@promise("pace", "spec.row_seconds is true")
def pace(examination: Examination) -> Finding:
    """``row_seconds`` is the honest time of a row: forecasts, deadlines and blocks rest on it.

    Judges the fastest calls where it may be too slow, the usual ones where it may be too fast.
    """
    calls, stated = examination.guard.calls, examination.spec.row_seconds
    if not calls:
        return note("no call was timed")
    times = np.array([call.seconds / call.rows for call in calls])
    fastest, usual = float(times.min()), float(np.median(times))
    numbers: dict[str, Any] = {
        "stated_row_seconds": stated,
        "fastest_row_seconds": fastest,
        "usual_row_seconds": usual,
    }
    if stated is None:
        advice = f"set row_seconds={fastest:.2g}, so that forecasts know" if fastest > JITTER_SECONDS else ""
        return note(f"row_seconds is not stated; a row takes {usual:.2g} s", advice, **numbers)
    if fastest > SLOWER * stated + JITTER_SECONDS:
        summary = f"a row takes {fastest:.3g} s at best, not row_seconds={stated:g}"
        return failed(summary, f"set row_seconds={usual:.2g}", **numbers)
    if usual < stated / FASTER and stated > JITTER_SECONDS:
        summary = f"a row takes {usual:.3g} s, far less than row_seconds={stated:g}"
        if str(examination.session.identity).startswith(SIMULATED):
            return note(f"{summary}: a simulation that states the pace of the hardware", **numbers)
        return failed(
            summary, f"set row_seconds={usual:.2g}: blocks are too short now, forecasts wrong", **numbers
        )
    return passed(f"a row takes {usual:.3g} s, row_seconds={stated:g}", **numbers)


@promise("latency", "rows in one call do not slow each other down")
def latency(examination: Examination) -> Finding:
    """More rows in a call do not make a row slower.

    Judges the fastest call of each size, for load on the computer only ever adds time.
    """
    fastest = {rows: float(seconds.min()) for rows, seconds in by_size(examination.guard.calls).items()}
    if len(fastest) < 2:
        return note("calls of one size only were made")
    smallest, largest = min(fastest), max(fastest)
    alone, together = fastest[smallest] / smallest, fastest[largest] / largest
    numbers = {f"ms_a_call_of_{rows}": 1e3 * seconds for rows, seconds in fastest.items()}
    if together > 5 * alone and fastest[largest] > 5 * largest * alone + JITTER_SECONDS:
        return failed(
            f"a row in a call of {largest} takes {1e3 * together:.3g} ms, in a call of {smallest} "
            f"{1e3 * alone:.3g} ms",
            "look for work that grows with the square of the rows, or set a smaller max_rows",
            **numbers,
        )
    gain = alone / together if together > 0 else 1.0
    return passed(f"{gain:.2g} times the rows a second in calls of {largest} as in calls of {smallest}", **numbers)
