"""How long a device remembers a row: seen in steps between two stimuli, and in the fitted memory kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.calibration.plan import LEAST_DWELL, LONGEST_DWELL, Plan, singles
from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate
from hwloop.probing.stimuli import contrast, half_range, middle, steps_between
from hwloop.probing.timing import TimedSession

LEFT_OVER = 3e-5  # of a step, after as many rows as are fitted
CLEAR = 4.0  # standard errors
DOMINANCE = 3.0  # own response against all others together, for channel-to-channel instruments
GAUSS_NEWTON_STEPS = 30

KernelFit = tuple[Float64Array, Float64Array]  # weights from lag 1 on, and their covariance


@dataclass(frozen=True, eq=False)
class Steps:
    """Responses to two stimuli in turns, the low one first, each held for some rows.

    Parameters
    ----------
    responses
        Shape (steps, rows of a step, n_outputs).
    """

    responses: Float64Array

    @property
    def late(self) -> Float64Array:
        """The second half of every step, taken for settled."""
        return self.responses[:, self.responses.shape[1] // 2 :]

    @property
    def height(self) -> Float64Array:
        """High less low, settled, shape (n_outputs,)."""
        settled = self.late.mean(axis=1)
        return np.asarray(settled[1::2].mean(axis=0) - settled[::2].mean(axis=0))

    def remaining(self) -> Float64Array:
        """How far rows are from the settled value of their step, upwards for a step down; mean over the steps.

        The first step is left out: nobody knows what was before it. Shape (rows of a step, n_outputs).
        """
        direction = np.where(np.arange(1, len(self.responses)) % 2 == 1, -1.0, 1.0)[:, np.newaxis, np.newaxis]
        return np.asarray((direction * (self.responses - self.late.mean(axis=1, keepdims=True))[1:]).mean(axis=0))

    def along_height(self) -> Steps:
        """All outputs together, seen along the height of the step; shape (steps, rows of a step, 1)."""
        return Steps((self.responses @ self.height)[:, :, np.newaxis])

    def relative(self) -> tuple[Float64Array, Float64Array]:
        """What is left of a step after 0, 1, ... rows, and its standard error, shape (outputs, rows of a step).

        Outputs that do not tell the stimuli apart are left out.
        """
        steps, rows = self.responses.shape[:2]
        height = self.height
        noise = self.late.std(axis=1, ddof=1).mean(axis=0)
        distinct = np.abs(height) > CLEAR * noise / np.sqrt(rows)
        if not distinct.any():
            return np.zeros((1, rows)), np.full((1, rows), np.inf)
        size = np.where(distinct, height, 1.0)
        left = self.remaining() / size
        error = noise / np.abs(size) / np.sqrt(steps - 1)
        return left.T[distinct], np.repeat(error[distinct, np.newaxis], rows, axis=1)

    def kernel(self, lags: int) -> KernelFit:
        """Weights of the rows before, common to all outputs, with their covariance."""
        steps, rows = self.responses.shape[:2]
        size = float(self.height @ self.height)
        chance = float(self.late.var(axis=1, ddof=1).mean(axis=0).sum()) * 8 / (rows * steps)
        if size <= CLEAR * chance:  # the two stimuli look alike: nothing can be said
            return np.zeros(1), np.full((1, 1), np.nan)
        course = Steps(self.along_height().responses / size)  # the step's height is 1
        lags = min(lags, rows // 2)
        remaining = np.append(course.remaining()[:lags, 0], 0.0)
        difference_of = np.eye(lags + 1)[:-1] - np.eye(lags + 1)[1:]
        spread = np.full(lags + 1, float(course.late.var(axis=1, ddof=1).mean()) / (steps - 1))
        spread[-1] = 0.0
        return difference_of @ remaining, difference_of @ np.diag(spread) @ difference_of.T


@dataclass(frozen=True, eq=False)
class Pilot:
    """The pilot measurement, by which the main part is planned.

    Attributes
    ----------
    lags
        Rows before that may leak into a row.
    longer
        Whether a row is remembered for longer than can be fitted.
    paired
        Whether output i belongs to input i.
    stimuli
        The two that were stepped between, each of shape (n_inputs,).
    steps
        Responses to the steps.
    """

    lags: int
    longer: bool
    paired: bool
    stimuli: tuple[Float64Array, Float64Array]
    steps: Steps


def measure_pilot(session: TimedSession, plan: Plan, rng: np.random.Generator) -> Pilot:
    """Measure ``plan.pilot`` rows."""
    spec = session.session.device.spec
    stimuli = contrast(spec, rng)
    responses = session.measure(steps_between(*stimuli, plan.steps, plan.step_rows))
    steps = Steps(responses.reshape(plan.steps, plan.step_rows, -1))
    # A device that mixes is taken to forget alike in all outputs; together they show it best.
    lags, longer = _lags(*(steps if singles(spec) else steps.along_height()).relative())
    paired = bool(singles(spec)) and _is_paired(session, spec)
    return Pilot(lags, longer, paired, stimuli, steps)


def _lags(left: Float64Array, error: Float64Array) -> tuple[int, bool]:
    """Rows until ``LEFT_OVER`` of a step is left, by the slowest output whose decay is seen."""
    longest = LONGEST_DWELL - 2
    rows = [LEAST_DWELL - 2]
    for residual, uncertain in zip(left, error, strict=True):
        seen = int(np.argmin(np.append(np.abs(residual) > CLEAR * uncertain, False)))
        if seen == 0:
            continue
        if seen == 1:
            factor = (abs(residual[1]) + 2 * uncertain[1]) / abs(residual[0])
        else:
            factor = float((np.abs(residual[seen - 1]) / np.abs(residual[0])) ** (1 / (seen - 1)))
        start = min(abs(float(residual[0])), 1.0)
        factor = float(np.clip(factor, 1e-3, 0.99))
        rows.append(1 + int(np.ceil(np.log(LEFT_OVER / max(start, LEFT_OVER)) / np.log(factor))))
    return min(max(rows), longest), max(rows) > longest


def _is_paired(session: TimedSession, spec: DeviceSpec) -> bool:
    """Whether each input moves its own output more than all other outputs together do by it."""
    raised = np.repeat(middle(spec)[np.newaxis], spec.n_inputs + 1, axis=0)
    raised[np.arange(spec.n_inputs), np.arange(spec.n_inputs)] += half_range(spec) / 2
    responses = session.measure(np.repeat(raised, 3, axis=0))[2::3]  # the last of three rows has settled most
    moved = np.abs(responses[:-1] - responses[-1])
    own = np.diagonal(moved)
    others = np.sqrt(np.square(moved).sum(axis=1) - np.square(own))
    return bool(np.median(own) > 0 and np.mean(own > DOMINANCE * others) >= 0.5)


def memory_figures(kernels: Sequence[KernelFit], dof: float) -> dict[str, Estimate]:
    """Kernel, total and decay of the memory of each output.

    Returns
    -------
    ``memory_kernel`` (channel, lag), from lag 1 on; ``memory``, their sum: what a step still lacks in its first
    row;
    ``settling_factor``, the ratio of one lag to the one before, and ``settling_rows`` = -1 / ln of it, its time
    constant. NaN where there is no memory to be seen.
    """
    weights = np.stack([weights for weights, _ in kernels])
    errors = np.stack([np.sqrt(np.diagonal(covariance)) for _, covariance in kernels])
    totals = [float(np.sqrt(covariance.sum())) for _, covariance in kernels]
    factors, factor_errors = np.array([_decay(*kernel) for kernel in kernels]).T
    factor = Estimate.normal(factors, factor_errors, dof)
    return {
        "memory_kernel": Estimate.normal(weights, errors, dof),
        "memory": Estimate.normal(weights.sum(axis=1), totals, dof),
        "settling_factor": factor,
        "settling_rows": factor.mapped(lambda end: -1 / np.log(np.clip(end, 1e-300, 1 - 1e-12)), "rows"),
    }


def rows_until(kernel: Float64Array, left: float) -> int:
    """Rows to discard after a change, so that no more than a share ``left`` of it remains in those that follow."""
    remaining = np.cumsum(np.abs(kernel)[::-1])[::-1]  # from lag j on
    return int(np.sum(remaining > left))


def _decay(weights: Float64Array, covariance: Float64Array) -> tuple[float, float]:
    """Ratio a of h_j = h_1 a^(j - 1), by generalised least squares, and its standard error."""
    error = np.sqrt(np.diagonal(covariance))
    if not abs(weights[0]) > CLEAR * error[0] or len(weights) < 2:
        return np.nan, np.nan
    precision = np.linalg.pinv(covariance, hermitian=True)
    lag = np.arange(len(weights))
    first, factor = float(weights[0]), float(np.clip(weights[1] / weights[0], 0.01, 0.95))
    for _ in range(GAUSS_NEWTON_STEPS):
        powers = factor**lag
        columns = np.stack([powers, first * lag * factor ** np.maximum(lag - 1, 0)], axis=1)
        normal = columns.T @ precision @ columns
        step = np.linalg.pinv(normal) @ columns.T @ precision @ (weights - first * powers)
        first, factor = first + float(step[0]), float(np.clip(factor + step[1], -0.95, 0.999))
        if abs(step[1]) < 1e-10:
            break
    return factor, float(np.sqrt(np.linalg.pinv(normal)[1, 1]))
