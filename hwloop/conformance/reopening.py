"""Is a device the same after it was closed and opened?"""

from __future__ import annotations

import time

import numpy as np

from hwloop.conformance.crossover import Crossover, compared, confirmed
from hwloop.conformance.examination import Examination
from hwloop.conformance.finding import Finding, Undecided, failed, note
from hwloop.conformance.promise import Evidence, Promise
from hwloop.conformance.survey import Survey
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import PAIRS, sign_flip_p_value
from hwloop.probing.stimuli import moderate

LONGEST_SECONDS = 120.0


class Reopening(Promise):
    """Closing and opening changes nothing: all settings are asserted again, no state is lost or kept."""

    name = "reopening"
    question = "the device is the same after close and open"

    def rows(self, examination: Examination) -> int:
        """Three probes a pair."""
        return 3 * PAIRS

    def check(self, evidence: Evidence) -> Finding | Undecided:
        """Three probes; by lot the device is reopened between the first two or between the last two.

        The difference of the two steps takes a steady drift out.
        """
        examination = evidence.examination
        if examination.open_failure:
            return failed(
                f"the device cannot be opened again: {examination.open_failure}",
                "make open() work after every close(), again and again",
            )
        examination.require(self.rows(examination))
        rng = examination.rng(self.name)
        probe = moderate(examination.spec, 1, rng)
        survey = evidence.survey
        examination.open()
        begin = time.perf_counter()
        examination.reopen()
        seconds = time.perf_counter() - begin
        if PAIRS * seconds > LONGEST_SECONDS:
            return note(
                f"opening takes {seconds:.1f} s, too long to compare {PAIRS} times", reopening_seconds=seconds
            )

        def compare() -> Crossover:
            steps = [self._steps(examination, probe, early) for early in rng.integers(2, size=PAIRS)]
            return _compared(np.array(steps), survey)

        return confirmed(compare).outcome(
            "the response to the same stimulus changes when the device is closed and opened",
            "the response is the same after closing and opening",
            "set up everything in open() that measuring needs (ranges, gains, triggers, averages), and wait until "
            "it has settled",
            reopening_seconds=seconds,
        )

    def _steps(self, examination: Examination, probe: Float64Array, early: int) -> list[Float64Array]:
        """How far the response moved where the device was reopened, and where it was not."""
        probes = []
        for gap in (None, 1, 0):
            if gap == early:
                examination.reopen()
            probes.append(examination.measure(probe))
        steps = [probes[1] - probes[0], probes[2] - probes[1]]
        return steps if early else steps[::-1]


def _compared(steps: Float64Array, survey: Survey) -> Crossover:
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
