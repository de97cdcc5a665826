"""Does the same stimulus give the same response, within the noise, and another stimulus another?"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from hwloop.conformance.crossover import crossover
from hwloop.conformance.finding import Finding, Undecided, failed, note, passed
from hwloop.conformance.promise import Evidence, Promise
from hwloop.conformance.survey import HEARD, ROWS
from hwloop.probing.statistics import PAIRS
from hwloop.probing.stimuli import rest, strong

GLITCH_RATE = 0.05  # of rows; a device with fewer is sound
TEST = f"one-sided binomial test of a glitch rate above {100 * GLITCH_RATE:g} %"


class Repeatability(Promise):
    """Repeats agree better than different stimuli do, and few rows are lost."""

    name = "repeatability"
    question = "the same stimulus gives the same response, within noise"

    def _heard_in_pairs(self, evidence: Evidence) -> float:
        """Exact p-value of "rest and a strong stimulus are answered alike"."""
        examination = evidence.examination
        examination.require(2 * PAIRS)
        rng = examination.rng(self.name)
        quiet, loud = rest(examination.spec), strong(examination.spec, rng)
        return crossover(
            lambda: examination.measure(quiet), lambda: examination.measure(loud), evidence.survey, rng
        ).p_value

    def check(self, evidence: Evidence) -> Finding | Undecided:
        """From the survey."""
        survey = evidence.survey
        responses = survey.responses
        if np.ptp(responses, axis=0).max() == 0:
            return failed(
                "every output is constant, whatever the stimulus",
                "check power, trigger, range and cabling; nothing can be learnt from a constant",
                outputs=responses.shape[1],
            )
        p_value = survey.heard_p_value(evidence.examination.rng(self.name))
        if p_value > HEARD and survey.lags(evidence.examination.rng(self.name)):
            return note(
                "not checked: every response belongs to the row before", "mend the promise 'staleness' first"
            )
        if p_value > HEARD:
            # Drift may be larger than the response; rows that follow each other tell more.
            p_value = self._heard_in_pairs(evidence)
        if p_value > HEARD:
            return failed(
                "the response does not depend on the stimulus, as far as the noise lets see",
                "raise the signal or average (hwloop.Averaged), and check that the stimulus reaches the physics",
                noise_percent_of_span=100 * survey.noise_of_span,
                stimulus_matters_p_value=p_value,
            )
        numbers = {"noise_percent_of_span": 100 * survey.noise_of_span, "stimulus_matters_p_value": p_value}
        glitches = int(survey.glitches.sum())
        numbers |= {"glitches": glitches, "rows": ROWS}
        summary = f"noise is {100 * survey.noise_of_span:.2g} % of the span; {glitches} of {ROWS} rows lost"
        kept = passed(summary, **numbers)
        if glitches:
            kept = note(summary, "find out where lost rows come from, or keep their share in mind", **numbers)
        return Undecided(
            broken=failed(
                f"{glitches} of {ROWS} rows have nothing to do with the other responses to their stimulus",
                "check contacts, triggers and synchronisation: a reading must belong to its row",
                **numbers,
            ),
            kept=kept,
            test=TEST,
            p_value=float(binom.sf(glitches - 1, ROWS, GLITCH_RATE)) if glitches else 1.0,
            matters=True,
        )
