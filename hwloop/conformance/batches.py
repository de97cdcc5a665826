"""Does a response depend on the rows that share its call?"""

from __future__ import annotations

from hwloop.conformance.crossover import ROUNDING, crossover
from hwloop.conformance.examination import Examination
from hwloop.conformance.finding import FAMILY_ALPHA, Finding, Undecided, note
from hwloop.conformance.promise import Evidence, Promise
from hwloop.probing.statistics import PAIRS
from hwloop.probing.stimuli import moderate

TOGETHER = 3


class Batches(Promise):
    """The same rows in the same order give the same responses in one call and in a call each."""

    name = "batches"
    question = "a row is answered alike alone and among others"

    def rows(self, examination: Examination) -> int:
        """A few rows, two ways."""
        return 2 * PAIRS * min(TOGETHER, examination.rows_a_call) if examination.rows_a_call > 1 else 0

    def check(self, evidence: Evidence) -> Finding | Undecided:
        """The order is the same both ways, so that memory between rows does not pass for it."""
        examination = evidence.examination
        together = min(TOGETHER, examination.rows_a_call)
        if together < 2:
            return note("a call carries one row on this device, so there are no batches")
        examination.require(self.rows(examination))
        rng = examination.rng(self.name)
        probes = moderate(examination.spec, together, rng)
        found = crossover(
            lambda: examination.measure_singly(probes), lambda: examination.measure(probes), evidence.survey, rng
        )
        evidence.calls_mix_rows = found.p_value < FAMILY_ALPHA and found.effect_of_span > ROUNDING
        return found.outcome(
            f"{together} rows are answered otherwise in one call than in a call each",
            f"{together} rows are answered alike in one call and in a call each",
            "look for statistics taken over the rows of a call, for rows that come back in another order, and "
            "for a transient at the start of each call; until then set max_rows=1",
            rows_in_one_call=together,
        )
