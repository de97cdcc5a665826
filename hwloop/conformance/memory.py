"""Does a row leak into the next one?"""

from __future__ import annotations

from functools import partial

import numpy as np

from hwloop.conformance.crossover import Crossover, crossover
from hwloop.conformance.examination import Examination
from hwloop.conformance.finding import Undecided
from hwloop.conformance.promise import Evidence, Promise
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import PAIRS
from hwloop.probing.stimuli import moderate, rest, strong


class Memory(Promise):
    """A row's response does not depend on the row before it, in the same call or in the call before."""

    name = "memory"
    question = "a row leaves no trace in the next"

    def rows(self, examination: Examination) -> int:
        """A conditioning row and a probe, two ways, in one call and in two."""
        return 4 * PAIRS * (2 if examination.rows_a_call > 1 else 1)

    def check(self, evidence: Evidence) -> Undecided:
        """Probe after rest, and after a strong stimulus."""
        examination = evidence.examination
        examination.require(self.rows(examination))
        rng = examination.rng(self.name)
        probe = moderate(examination.spec, 1, rng)
        quiet, loud = rest(examination.spec), strong(examination.spec, rng)

        def in_one_call(before: Float64Array) -> Float64Array:
            return examination.measure(np.concatenate([before, probe]))[1:]

        def in_two_calls(before: Float64Array) -> Float64Array:
            examination.measure(before)
            return examination.measure(probe)

        ways = {"in the call before": in_two_calls}
        if examination.rows_a_call > 1 and not evidence.calls_mix_rows:
            ways["in the same call"] = in_one_call
        found = {
            where: crossover(partial(way, quiet), partial(way, loud), evidence.survey, rng)
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
