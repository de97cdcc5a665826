"""Two ways of measuring the same rows, compared in pairs whose order is drawn by lot."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import trim_mean

from hwloop.conformance.report import Undecided, failed, passed
from hwloop.conformance.survey import ResponseSurvey
from hwloop.device.spec import Float64Array
from hwloop.errors import BudgetExceeded
from hwloop.probing.statistics import PAIRS, sign_flip_p_value

ROUNDING = 1e-5  # of the span: a difference below it matters to nobody (float32 arithmetic in another order)
SUSPICION = 0.01
TEST = f"exact sign-flip randomisation test, {PAIRS} pairs in random order, twice where p < {SUSPICION:g}"


@dataclass(frozen=True)
class Crossover:
    """What came of comparing two ways.

    Attributes
    ----------
    p_value
        Exact, of "both ways give the same".
    effect_of_span, effect_in_noise
        The mean difference on the output where it is largest, over the output's span, and over its noise.
    """

    p_value: float
    effect_of_span: float
    effect_in_noise: float

    @property
    def evidence(self) -> dict[str, float]:
        """As numbers for a report."""
        return {
            "difference_percent_of_span": 100 * self.effect_of_span,
            "difference_over_noise_sd": self.effect_in_noise,
        }

    def outcome(self, broken: str, kept: str, next_step: str, **evidence: object) -> Undecided:
        """Broken if the difference is significant and larger than rounding."""
        numbers = {**evidence, **self.evidence}
        size = f"by {100 * self.effect_of_span:.2g} % of the output's span"
        return Undecided(
            broken=failed(f"{broken} ({size})", next_step, **numbers),
            kept=passed(kept, **numbers),
            test=TEST,
            p_value=self.p_value,
            matters=self.effect_of_span > ROUNDING,
        )


def crossover(
    one: Callable[[], Float64Array],
    other: Callable[[], Float64Array],
    survey: ResponseSurvey,
    rng: np.random.Generator,
) -> Crossover:
    """Measure both ways :data:`PAIRS` times, in an order drawn by lot each time; again where that looks odd.

    Parameters
    ----------
    one, other
        Measure the same rows, each in its way; return shape (rows, n_outputs).
    """
    return confirmed(lambda: _once(one, other, survey, rng))


def confirmed(compare: Callable[[], Crossover]) -> Crossover:
    """A comparison, made twice if the first p-value is below :data:`SUSPICION`.

    The two p-values are combined by their product x: under the null hypothesis P(product <= x) is at most
    x (1 - ln x). (R. A. Fisher, Statistical Methods for Research Workers, 1932.) A comparison that is not
    repeated has a p-value above every threshold in use, so stopping early rejects nothing.
    """
    first = compare()
    if first.p_value >= SUSPICION:
        return first
    try:
        second = compare()
    except BudgetExceeded:
        return first
    product = first.p_value * second.p_value
    return replace(second, p_value=product * (1.0 - math.log(product)))


def _once(
    one: Callable[[], Float64Array],
    other: Callable[[], Float64Array],
    survey: ResponseSurvey,
    rng: np.random.Generator,
) -> Crossover:
    differences = []
    for other_first in rng.integers(2, size=PAIRS):
        if other_first:
            second, first = other(), one()
        else:
            first, second = one(), other()
        differences.append(second - first)
    return compared(np.array(differences), survey)


def compared(differences: Float64Array, survey: ResponseSurvey) -> Crossover:
    """The test on differences of shape (pairs, rows, n_outputs), whose signs were drawn by lot."""
    p_value = sign_flip_p_value((differences / survey.noise).reshape(len(differences), -1))
    # A glitch in one pair must not pass for the size of the effect; a median would hide one below an ADC's step.
    mean = np.abs(trim_mean(differences, 0.1, axis=0))
    return Crossover(p_value, float((mean / survey.span).max()), float((mean / survey.noise).max()))
