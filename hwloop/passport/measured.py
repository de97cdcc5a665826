"""What measured rows tell of a rig without it: how linear it is, whether it remembers, what repeats and drifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.passport.responses import effective_dimension
from hwloop.probing.statistics import Estimate
from hwloop.twin import Twin

MOST_ROWS = 4000
CLEAR_MEMORY = 0.02  # of what the twin leaves, explained by the row before
CLEAR_DRIFT = 0.05
CLEARLY_UNEXPLAINED = 0.05
ROUNDING = 1e-9  # of the responses' variance: what a twin leaves beyond that is not of the rig


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """Figures of stimuli and responses as they were given.

    Attributes
    ----------
    effective_dimension
        Of the responses.
    linear
        Share of the responses' variance, all outputs together, that a linear map of the stimuli gives, on rows
        that it was not fitted to.
    nonlinear
        What the best model gives beyond that, on the same rows.
    unexplained
        What no model gives: noise, memory, drift, or what the models cannot say.
    memory
        Share of what the model leaves that the stimuli of the row before explain, chance taken off.
    drift
        The same of a straight line in the number of the row.
    repeats
        Rows whose stimuli stand in the file more than once.
    noise
        Their standard deviation, of the responses' spread; NaN without repeats.
    """

    effective_dimension: Estimate
    linear: float
    nonlinear: float
    unexplained: float
    memory: float
    drift: float
    repeats: int
    noise: float

    @property
    def notes(self) -> list[str]:
        """What follows for the twin, in words."""
        found = []
        if self.unexplained > CLEARLY_UNEXPLAINED:
            found.append(
                f"the twin leaves {100 * self.unexplained:.1f} % of the responses' variance unexplained, and "
                "answers with as much noise: where that is not the rig's own, the rig does better than this says; "
                "more rows make a better twin"
            )
        left = self.unexplained > ROUNDING
        if left and self.memory > CLEAR_MEMORY:
            found.append(
                f"rows are remembered: the row before explains {100 * self.memory:.1f} % of what the twin leaves, "
                "and the twin knows each row alone; give rows more time, or measure them in random order"
            )
        if left and self.drift > CLEAR_DRIFT:
            found.append(
                f"the rig drifted: a straight line in time explains {100 * self.drift:.1f} % of what the twin "
                "leaves; the twin takes it for noise"
            )
        if self.linear > 0.99 * (self.linear + self.nonlinear):
            found.append("the responses are linear in the stimuli: a digital matrix does the same")
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "effective_dimension": self.effective_dimension.as_dict(),
            "linear_share": self.linear,
            "nonlinear_share": self.nonlinear,
            "unexplained_share": self.unexplained,
            "row_memory_share": self.memory,
            "drift_share": self.drift,
            "repeated_rows": self.repeats,
            "noise_of_spread": None if np.isnan(self.noise) else self.noise,
            "notes": self.notes,
        }


def measured_rows(stimuli: Float64Array, responses: Float64Array, twin: Twin) -> MeasuredRows:
    """Of rows in the order in which they were measured, (rows, channels) each, and the twin fitted to them."""
    scores = {each.name: each.r2_variance_weighted for each in twin.report.candidates}
    best = max(0.0, twin.report.score.r2_variance_weighted)
    linear = min(max(0.0, scores.get("linear", 0.0)), best) if best else 0.0
    rows = slice(None, MOST_ROWS)
    with twin.noiseless() as quiet:
        left = responses[rows] - quiet.measure(stimuli[rows])
    before = stimuli[rows][:-1]
    time = np.linspace(-1.0, 1.0, len(left))[:, np.newaxis]
    repeats, noise = _repeats(stimuli, responses)
    return MeasuredRows(
        effective_dimension=effective_dimension(responses[rows]),
        linear=linear,
        nonlinear=best - linear,
        unexplained=1 - best,
        memory=_explained(before, left[1:]),
        drift=_explained(time, left),
        repeats=repeats,
        noise=noise,
    )


def _explained(causes: Float64Array, effects: Float64Array) -> float:
    """Adjusted share of the effects' variance, all together, that a linear map of the causes gives."""
    x = causes - causes.mean(axis=0)
    y = effects - effects.mean(axis=0)
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    basis = left[:, values > 1e-9 * max(float(values.max(initial=0.0)), 1e-300)]
    total, freedom = float(np.square(y).sum()), len(x) - 1 - basis.shape[1]
    if total <= 0 or freedom < 1:
        return 0.0
    share = float(np.square(basis.T @ y).sum()) / total
    return float(max(0.0, 1 - (1 - share) * (len(x) - 1) / freedom))


def _repeats(stimuli: Float64Array, responses: Float64Array) -> tuple[int, float]:
    """Rows whose stimulus occurs several times, and their spread about the mean of their own."""
    _, group, counts = np.unique(stimuli, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    several = counts[group] > 1
    if not several.any():
        return 0, float("nan")
    sums = np.zeros((len(counts), responses.shape[1]))
    np.add.at(sums, group, responses)
    deviations = (responses - sums[group] / counts[group, None])[several]
    freedom = int(several.sum()) - int((counts > 1).sum())
    spread = responses.std(axis=0)
    live = spread > 0
    variance = np.square(deviations).sum(axis=0) / freedom
    return int(several.sum()), float(
        np.sqrt(np.mean(variance[live] / np.square(spread[live])))
    ) if live.any() else 0.0
