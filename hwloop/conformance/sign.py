"""Does a device tell a stimulus from its mirror image?"""

from __future__ import annotations

import numpy as np

from hwloop.conformance.finding import Finding, note, passed
from hwloop.conformance.promise import Evidence, Promise
from hwloop.conformance.survey import REPEATS, STIMULI, Survey
from hwloop.probing.statistics import label_p_value

SWAPS = 4000
SEEN = 1e-3
WEAK = 0.01  # share of the response's power
ADVICE = (
    "give the stages a reference slot, a constant beside the data that interferes with them (hwloop does so by "
    "default where the limits have both signs; network.reference_slots sets it)"
)


class Sign(Promise):
    """D(x) differs from D(-x), or the user is told: a quadratic detector needs the reference slot.

    x is taken about the middle of the range, where the limits do not have both signs.
    """

    name = "sign"
    question = "a stimulus and its mirror image are told apart"

    def check(self, evidence: Evidence) -> Finding:
        """From the survey, in which each stimulus has its mirror image."""
        survey = evidence.survey
        odd, p_value = _odd_share(survey, evidence.examination.rng(self.name))
        spec = evidence.examination.spec
        symmetric = bool(np.allclose(spec.low, -spec.high))
        mirror = "-x" if symmetric else "its mirror image about the middle of the range"
        numbers = {"odd_share_of_power_percent": 100 * odd, "mirrored_about_zero": symmetric}
        test = "permutation test: x and its mirror image swapped at random"
        if p_value > SEEN:
            finding = note(f"blind to the sign: x and {mirror} are not told apart", ADVICE, **numbers)
        elif odd < WEAK:
            finding = note(
                f"nearly blind to the sign: {100 * odd:.2g} % of the response is odd", ADVICE, **numbers
            )
        else:
            finding = passed(f"{100 * odd:.0f} % of the response's power is odd in x", **numbers)
        return Finding(finding.status, finding.summary, numbers, test, p_value, finding.next_step)


def _odd_share(survey: Survey, rng: np.random.Generator) -> tuple[float, float]:
    """Share of the power about the mean that is odd in x, noise taken out, and the test of "none is"."""
    scaled = survey.cube / survey.span
    differences = 0.5 * (scaled[:STIMULI] - scaled[STIMULI:])  # (STIMULI, REPEATS, n_outputs)
    gram = np.einsum("irj,isj->irs", differences, differences)
    gram = gram * ~np.eye(REPEATS, dtype=bool)  # different repeats only: their noise is independent
    signs = rng.choice([-1.0, 1.0], (SWAPS, STIMULI, REPEATS))
    pairs = STIMULI * REPEATS * (REPEATS - 1)
    odd = float(gram.sum()) / pairs
    swapped = np.einsum("irs,kir,kis->k", gram, signs, signs) / pairs
    centred = scaled - scaled.mean(axis=(0, 1))
    power = np.einsum("irj,isj->irs", centred, centred)
    everything = float(power[:, ~np.eye(REPEATS, dtype=bool)].mean())
    share = odd / everything if everything > 0 else 0.0
    smallest = 1e-20 * scaled.shape[-1]  # rounding
    return float(np.clip(share, 0.0, 1.0)), 1.0 if odd <= smallest else label_p_value(odd, swapped)
