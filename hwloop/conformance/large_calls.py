"""Are all rows of a full call answered, each with its own response?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwloop.conformance.crossover import ROUNDING
from hwloop.conformance.examination import Examination, Unanswered
from hwloop.conformance.finding import Finding, failed, note, passed
from hwloop.conformance.promise import Evidence, Promise
from hwloop.conformance.survey import Survey
from hwloop.device.spec import Float64Array
from hwloop.probing.stimuli import moderate

KINDS = 6
LARGEST = 128
CALLS = 4  # a row is wrong only if it is wrong in so many calls: a glitch does not hit the same row each time
FAR = 2.0  # times the largest distance that noise and drift have shown


class FullCalls(Promise):
    """A call with as many rows as the session will ever send answers like calls of one row, row by row."""

    name = "full-calls"
    question = "a call may carry as many rows as the spec says"

    def rows(self, examination: Examination) -> int:
        """Two full calls among references; twice that where the first two look wrong."""
        return 2 * self._full(examination) + 3 * KINDS

    def check(self, evidence: Evidence) -> Finding:
        """References before and after each full call show what noise and drift do meanwhile."""
        examination = evidence.examination
        full = self._full(examination)
        if full < 2:
            return note("a call carries one row on this device")
        if evidence.calls_mix_rows:
            return note("not checked: the rows of a call depend on each other", "mend the promise 'batches' first")
        examination.require(self.rows(examination))
        rng = examination.rng(self.name)
        kinds = moderate(examination.spec, KINDS, rng)
        order = rng.integers(KINDS, size=full)
        references = [examination.measure_singly(kinds)]
        calls: list[Float64Array] = []
        wrong = np.ones(full, dtype=bool)
        while len(calls) < CALLS and (len(calls) < 2 or wrong.any()):
            if len(calls) == 2:
                examination.require(self.rows(examination))
            try:
                calls.append(examination.measure(kinds[order]))
            except Unanswered as error:
                return failed(
                    f"a call of {full} rows fails: {error}",
                    "set max_rows to what the hardware can take in one call",
                    rows_in_call=full,
                )
            references.append(examination.measure_singly(kinds))
            wrong = _wrong_rows(np.array(calls), np.array(references), order, evidence.survey)
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
        return passed(
            f"{full} rows in one call are answered as in a call each", rows_in_call=full, calls=len(calls)
        )

    def _full(self, examination: Examination) -> int:
        limit = LARGEST if examination.spec.max_rows else LARGEST // 2
        return min(limit, examination.rows_a_call)


def _wrong_rows(
    calls: Float64Array, references: Float64Array, order: NDArray[np.int64], survey: Survey
) -> NDArray[np.bool_]:
    """Rows that are far from every reference of their stimulus in every call."""
    moved = survey.distance(references[1:], references[:-1])
    rounding = float(survey.distance(ROUNDING * survey.span, np.zeros_like(survey.span)))
    allowed = max(FAR * max(survey.farthest_repeats, float(np.median(moved.max(axis=0)))), rounding)
    near = references[:, order]  # (references, rows, n_outputs)
    distance = survey.distance(calls[:, None], near)  # (calls, references, rows)
    return np.asarray((distance.min(axis=1) > allowed).all(axis=0))
