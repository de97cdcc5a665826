"""Promises about answers: every call is answered, repeatably, and by its own row's response."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.stats import binom, hypergeom

from hwloop.conformance.crossover import crossover
from hwloop.conformance.examination import Examination, promise
from hwloop.conformance.report import Finding, Undecided, failed, note, passed
from hwloop.conformance.survey import ROWS, SIGNAL_P_VALUE, STIMULI, ResponseSurvey
from hwloop.probing.statistics import PAIRS
from hwloop.probing.stimuli import moderate, rest, strong

GLITCH_RATE = 0.05  # of rows; a device with fewer is sound
GLITCH_TEST = f"one-sided binomial test of a glitch rate above {100 * GLITCH_RATE:g} %"
STALE_TEST = "Fisher's exact test, one-sided: identical neighbours against identical rows apart"


@promise("repeatability", "the same stimulus gives the same response, within noise")
def repeatability(examination: Examination) -> Finding | Undecided:
    """Repeats agree better than different stimuli do, and few rows are lost."""
    survey, rng = examination.survey, partial(examination.rng, "repeatability")
    noise = {"noise_percent_of_span": 100 * survey.noise_of_span}
    if np.ptp(survey.responses, axis=0).max() == 0:
        return failed(
            "every output is constant, whatever the stimulus",
            "check power, trigger, range and cabling; nothing can be learnt from a constant",
            outputs=survey.responses.shape[1],
        )
    p_value = survey.signal_p_value(rng())
    if p_value > SIGNAL_P_VALUE and survey.lags(rng()):
        return note("not checked: every response belongs to the row before", "mend the promise 'staleness' first")
    if p_value > SIGNAL_P_VALUE:
        # Drift may be larger than the response; rows that follow each other tell more.
        p_value = _signal_p_value_in_pairs(examination, rng())
    if p_value > SIGNAL_P_VALUE:
        return failed(
            "the response does not depend on the stimulus, as far as the noise lets see",
            "raise the signal or average (hwloop.Averaged), and check that the stimulus reaches the physics",
            **noise,
            stimulus_matters_p_value=p_value,
        )
    glitches = int(survey.glitches.sum())
    numbers = {**noise, "stimulus_matters_p_value": p_value, "glitches": glitches, "rows": ROWS}
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
        test=GLITCH_TEST,
        p_value=float(binom.sf(glitches - 1, ROWS, GLITCH_RATE)) if glitches else 1.0,
        matters=True,
    )


def _signal_p_value_in_pairs(examination: Examination, rng: np.random.Generator) -> float:
    """Exact p-value of "rest and a strong stimulus are answered alike"."""
    examination.require(2 * PAIRS)
    quiet, loud = rest(examination.spec), strong(examination.spec, rng)
    return crossover(
        lambda: examination.measure(quiet), lambda: examination.measure(loud), examination.survey, rng
    ).p_value


@promise("staleness", "no answer is the one before it again")
def staleness(examination: Examination) -> Finding | Undecided:
    """A response is never that of the row before: not always, and not now and then.

    Now and then: the same bits as the row before, more often than two rows are equal by chance. Judged from the
    survey, whose order was drawn by lot; stimuli that mirror each other may well be alike.
    """
    if examination.survey.lags(examination.rng("staleness")):
        return failed(
            "every response belongs to the row before: answers come one row late",
            "read one reply for each question, its own; drop what waits in the link when it is opened",
        )
    numbers = _identical(examination.survey)
    neighbours, same_neighbours = numbers["neighbours"], numbers["identical_neighbours"]
    pairs, same = neighbours + numbers["rows_apart"], same_neighbours + numbers["identical_apart"]
    p_value = float(hypergeom.sf(same_neighbours - 1, pairs, same, neighbours))
    return Undecided(
        broken=failed(
            f"{same_neighbours} of {neighbours} responses are those of the row before, to the last bit",
            "a stale reply is read: read the link empty before each question, wait for the trigger, and check "
            "that a new record has come; hwloop.Retrying recognises such answers",
            **numbers,
        ),
        kept=passed(f"{same_neighbours} of {neighbours} responses repeat the one before", **numbers),
        test=STALE_TEST,
        p_value=p_value if same_neighbours else 1.0,
        matters=same_neighbours > 1,
    )


def _identical(survey: ResponseSurvey) -> dict[str, int]:
    """Pairs of rows with different stimuli, neighbours or apart, and how many of them have identical responses."""
    _, bits = np.unique(survey.responses, axis=0, return_inverse=True)
    bits = np.ravel(bits)
    first, second = np.triu_indices(len(bits), 1)
    stimulus = survey.labels % STIMULI
    different = stimulus[first] != stimulus[second]
    first, second = first[different], second[different]
    same, adjacent = bits[first] == bits[second], second - first == 1
    return {
        "identical_neighbours": int((same & adjacent).sum()),
        "neighbours": int(adjacent.sum()),
        "identical_apart": int((same & ~adjacent).sum()),
        "rows_apart": int((~adjacent).sum()),
    }


@promise("readings", "every call is answered with real readings", rows=1)
def readings(examination: Examination) -> Finding:
    """Every call of the whole check was answered: shape (rows, n_outputs), no NaN, no SCPI 9.91E37, no error.

    Judges what the other checks have seen, so it comes after them.
    """
    if not examination.rows and not examination.incidents:
        examination.measure(moderate(examination.spec, 1, examination.rng("readings")))
    failures = len(examination.incidents)
    if not failures:
        return passed(f"{examination.rows} rows answered", rows=examination.rows)
    advice = "find out why it hangs" if examination.hung else "mend it, or wrap the device in hwloop.Retrying"
    return failed(
        f"{failures} call{'s' * (failures > 1)} failed, first: {examination.incidents[0]}",
        f"{advice}; a failed call ends a run",
        failed_calls=failures,
        rows=examination.rows,
    )


@promise("determinism", "spec.deterministic is true")
def determinism(examination: Examination) -> Finding:
    """``deterministic=True`` only where the same stimulus always gives the same bits.

    Judges every stimulus that any check has measured more than once.
    """
    spec, repeats = examination.spec, examination.repeats
    total = repeats.equal + repeats.different
    if not total:
        return note("no row was measured twice")
    numbers = {"equal_repeats": repeats.equal, "different_repeats": repeats.different}
    if spec.deterministic and repeats.different:
        return failed(
            f"deterministic=True, but {repeats.different} of {total} repeats "
            f"differ, by up to {repeats.largest_difference:.3g} {spec.output_unit}".rstrip(),
            "set deterministic=False, or make the result independent of the batch to the last bit",
            **numbers,
            largest_difference=repeats.largest_difference,
        )
    if spec.deterministic:
        return passed(f"deterministic=True, and {repeats.equal} repeats agree to the last bit", **numbers)
    if not repeats.different:
        return passed(f"deterministic=False, yet {repeats.equal} repeats agree to the last bit", **numbers)
    return passed("deterministic=False, and repeats differ", **numbers)
