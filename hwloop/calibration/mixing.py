"""Calibration of a device that mixes its inputs: every input by itself, around an operating point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from hwloop.calibration.channel_fit import DRIFT_DEGREE
from hwloop.calibration.main_part import Analysis, Cells, MainRows, ReferenceCourse, measure_calls, with_references
from hwloop.calibration.memory import KernelFit, Pilot, memory_figures
from hwloop.calibration.plan import SWEEP_LEVELS, SWEPT_INPUTS, Plan
from hwloop.calibration.transfer_curve import LevelMeans, noise_figures, transfer_figures, unit_of_slope
from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate, rank_figures, standard_deviation
from hwloop.probing.stimuli import half_range
from hwloop.probing.timing import TimedSession

STEP_SHARE = 1 / 20  # of the range, to each side: the slope's step
SEEN = 4.0  # standard errors: less memory than that is not corrected for
MOST_OVERLAPS = 128  # inputs whose overlaps are kept


@dataclass(frozen=True, eq=False)
class MixingDesign:
    """Which stimuli are measured; rows of one *cell* have the same.

    Attributes
    ----------
    stimuli
        Of each cell, shape (cells, n_inputs): the operating point, the other reference, then for every input one
        step up and one down, then the levels of every swept input.
    step
        Step of each input, shape (n_inputs,).
    swept
        Inputs that go through all levels.
    grid
        Their levels, shape (levels, swept).
    """

    stimuli: Float64Array
    step: Float64Array
    swept: NDArray[np.int64]
    grid: Float64Array

    @classmethod
    def of(cls, spec: DeviceSpec, pilot: Pilot) -> MixingDesign:
        """Around the first of the two stimuli of the pilot."""
        n, (low, high) = spec.n_inputs, pilot.stimuli
        step = (spec.high - spec.low) * STEP_SHARE
        swept = np.unique(np.linspace(0, n - 1, min(SWEPT_INPUTS, n)).round().astype(np.int64))
        grid = np.linspace(spec.low[swept], spec.high[swept], SWEEP_LEVELS)
        sweeps = np.repeat(low[np.newaxis], grid.size, axis=0)
        sweeps[np.arange(grid.size), np.tile(swept, SWEEP_LEVELS)] = grid.ravel()
        slopes = (low + np.diag(step), low - np.diag(step))
        return cls(np.concatenate([low[np.newaxis], high[np.newaxis], *slopes, sweeps]), step, swept, grid)

    @property
    def up(self) -> Cells:
        """Cells with each input one step up."""
        return np.arange(2, 2 + len(self.step))

    @property
    def down(self) -> Cells:
        """Cells with each input one step down."""
        return self.up + len(self.step)

    @property
    def sweep(self) -> Cells:
        """Cells of the sweeps, shape (levels, swept)."""
        first = 2 + 2 * len(self.step)
        return np.arange(first, first + self.grid.size).reshape(self.grid.shape)

    def repeated(self, room: int) -> Cells:
        """``room`` cells: half for the slopes of all inputs, half for the sweeps; what is left over rests."""
        slopes = np.concatenate([self.up, self.down])
        slope_rounds = max(2, (room // 2) // len(slopes))
        sweep_rounds = max(2, (room - len(slopes) * slope_rounds) // self.grid.size)
        cells = np.concatenate([np.tile(slopes, slope_rounds), np.tile(self.sweep.ravel(), sweep_rounds)])[:room]
        return np.concatenate([cells, np.zeros(room - len(cells), dtype=np.int64)])


@dataclass(frozen=True, eq=False)
class MixingData:
    """The main part as it was measured, and the pilot."""

    design: MixingDesign
    rows: MainRows
    pilot: Pilot
    spec: DeviceSpec


def measure_mixing(session: TimedSession, plan: Plan, pilot: Pilot, rng: np.random.Generator) -> MixingData:
    """Measure the main part: all cells in random order, reference calls at equal distances."""
    spec = session.session.device.spec
    design = MixingDesign.of(spec, pilot)
    cells = rng.permutation(design.repeated(plan.main - plan.reference))
    calls = with_references(cells, np.arange(2), plan.call_sizes, rng)
    return MixingData(design, measure_calls(session, calls, lambda cells: design.stimuli[cells]), pilot, spec)


def analyse_mixing(data: MixingData, units: tuple[str, str]) -> Analysis:
    """All figures; ``units`` of input and output. The definitions are in docs/calibrate.md."""
    rows, unit = data.rows, units[1]
    kernel = data.pilot.steps.kernel(data.pilot.lags)
    settled = _without_memory(rows.responses, kernel)
    references = _references(settled, rows)
    settled = settled - _drift_course(settled, rows)
    means = _CellMeans.of(settled, data)
    dof = int(len(settled) - np.sum(means.rows > 0) - DRIFT_DEGREE)
    noise = standard_deviation(means.residuals, dof, unit)
    jacobian, jacobian_error, gain = _jacobian(data, means, noise.value, units)
    curves = _curves(data, means, noise.value, jacobian, gain, dof)
    figures = transfer_figures(curves, *units)
    figures["line_gain"] = figures.pop("gain")
    error = noise.value / np.sqrt(means.rows[0])
    figures |= {"gain": gain, "offset": Estimate.normal(means.responses[0], error, dof, unit)}
    spans = np.ptp(means.responses[means.rows > 0], axis=0)
    figures |= noise_figures(noise, Estimate(*np.zeros((3, len(spans)))), spans)
    figures["repeatability"] = rows.repeatability(data.pilot.lags, unit)
    figures |= memory_figures([kernel], dof)
    figures["overlap"] = _overlap(jacobian, jacobian_error)
    figures |= _drift(rows, unit)
    half = half_range(data.spec)
    figures |= rank_figures(jacobian * half, jacobian_error * half)
    return Analysis(figures, curves, means.residuals, references, rows.middle_row, data.design.swept)


def _references(settled: Float64Array, rows: MainRows) -> ReferenceCourse:
    number = np.flatnonzero(rows.is_reference)
    moved, cells = settled[number], rows.cells[number]
    for which in (0, 1):
        moved[cells == which] -= moved[cells == which].mean(axis=0)
    return ReferenceCourse(rows.first_row + number, moved, cells)


def _without_memory(responses: Float64Array, kernel: KernelFit) -> Float64Array:
    """Each row less what the rows before it left in it; as it is where no memory is seen."""
    weights, covariance = kernel
    if not SEEN * np.sqrt(covariance.sum()) < abs(weights.sum()) < 0.5:
        return responses
    settled = responses.copy()
    for row in range(1, len(settled)):
        depth = min(row, len(weights))
        before = settled[row - depth : row][::-1]
        settled[row] = (responses[row] - weights[:depth] @ before) / (1 - weights[:depth].sum())
    return settled


def _drift_course(settled: Float64Array, rows: MainRows) -> Float64Array:
    """What every output moved by at the operating point, of mean 0, shape (rows, n_outputs)."""
    at_rest = rows.cells == 0
    basis = legvander(rows.time, DRIFT_DEGREE)
    degrees = min(DRIFT_DEGREE + 1, max(1, int(at_rest.sum()) // 4))
    fit, *_ = np.linalg.lstsq(basis[at_rest, :degrees], settled[at_rest], rcond=None)
    return np.asarray(basis[:, 1:degrees] @ fit[1:])


@dataclass(frozen=True, eq=False)
class _CellMeans:
    """Mean response and rows of each cell, and what each measured row differs from its cell's mean by."""

    responses: Float64Array
    rows: Float64Array
    residuals: Float64Array

    @classmethod
    def of(cls, settled: Float64Array, data: MixingData) -> _CellMeans:
        cells, n_cells = data.rows.cells, len(data.design.stimuli)
        counts = np.bincount(cells, minlength=n_cells).astype(np.float64)
        order = np.argsort(cells, kind="stable")
        starts = np.searchsorted(cells[order], np.arange(n_cells))
        sums = np.add.reduceat(np.vstack([settled[order], np.zeros((1, settled.shape[1]))]), starts, axis=0)
        means = np.where(counts[:, np.newaxis] > 0, sums / np.maximum(counts, 1)[:, np.newaxis], 0.0)
        return cls(means, counts, settled - means[cells])


def _jacobian(
    data: MixingData, means: _CellMeans, noise: Float64Array, units: tuple[str, str]
) -> tuple[Float64Array, Float64Array, Estimate]:
    """Central differences, shape (n_outputs, n_inputs), their errors, and every column's norm without noise."""
    up, down, step = data.design.up, data.design.down, 2 * data.design.step
    jacobian = ((means.responses[up] - means.responses[down]) / step[:, np.newaxis]).T
    per_row = np.sqrt(1 / means.rows[up] + 1 / means.rows[down]) / step
    error = noise[:, np.newaxis] * per_row
    variance = np.square(error)
    square = np.sum(jacobian**2, axis=0) - variance.sum(axis=0)
    uncertain = 4 * np.sum(variance * jacobian**2, axis=0) + 2 * np.sum(variance**2, axis=0)
    return jacobian, error, Estimate.root(square, 1.96 * np.sqrt(uncertain), unit_of_slope(*units))


def _curves(
    data: MixingData, means: _CellMeans, noise: Float64Array, jacobian: Float64Array, gain: Estimate, dof: int
) -> list[LevelMeans]:
    """Every swept input's response along its column of the Jacobian, per unit of that direction."""
    curves = []
    for position, channel in enumerate(data.design.swept):
        column = jacobian[:, channel]
        length = float(np.linalg.norm(column)) or 1.0
        # Noise turns the measured direction away from the true one, by an angle whose cosine is this ratio.
        cosine = float(gain.value[channel]) / length or 1.0
        direction = column / length / cosine
        cells = data.design.sweep[:, position]
        along = (means.responses[cells] - means.responses[0]) @ direction
        variance = float(np.sum(np.square(noise * direction)))
        covariance = np.diag(variance / np.maximum(means.rows[cells], 1.0)) + variance / means.rows[0]
        curves.append(LevelMeans(data.design.grid[:, position], along, covariance, dof))
    return curves


def _overlap(jacobian: Float64Array, error: Float64Array) -> Estimate:
    """abs(cos) of the angle between the responses to two inputs; 1 on the diagonal."""
    columns = jacobian[:, :MOST_OVERLAPS]
    variance = np.square(error[:, :MOST_OVERLAPS])
    square = np.maximum(
        np.sum(columns**2, axis=0) - variance.sum(axis=0), 1e-3 * np.sum(columns**2, axis=0) + 1e-100
    )
    cosine = columns.T @ columns / np.sqrt(np.outer(square, square))
    per_input = variance.mean(axis=0) / square
    errors = np.sqrt(per_input[:, np.newaxis] + per_input)
    np.fill_diagonal(cosine, 1.0)
    np.fill_diagonal(errors, 0.0)
    magnitude, reach = np.abs(cosine), 1.96 * errors
    return Estimate(magnitude, np.maximum(magnitude - reach, 0.0), np.minimum(magnitude + reach, 1.0))


def _drift(rows: MainRows, unit: str) -> dict[str, Estimate]:
    """Slopes a row: of the mean over outputs at the operating point, and of the way to the other reference."""
    number = np.flatnonzero(rows.is_reference)
    responses, other = rows.responses[number], rows.cells[number] == 1
    time = 2.0 * number / (len(rows.cells) - 1) - 1.0
    difference = responses[other].mean(axis=0) - responses[~other].mean(axis=0)
    size = float(np.linalg.norm(difference)) or 1.0
    columns = np.stack([np.ones_like(time), other, time, time * other], axis=1)

    def slope(target: Float64Array, which: int, scale: float, unit: str) -> Estimate:
        fit, *_ = np.linalg.lstsq(columns, target, rcond=None)
        residual = target - columns @ fit
        dof = max(len(target) - 4, 1)
        covariance = float(residual @ residual) / dof * np.linalg.pinv(columns.T @ columns)
        values = np.array([[fit[which]], [np.sqrt(covariance[which, which])]])
        value, error = values / scale * rows.per_row
        return Estimate.normal(value, error, dof, unit)

    return {
        "gain_drift": slope(responses @ difference / size, 3, size, "1/row"),
        "offset_drift": slope(responses.mean(axis=1), 2, 1.0, f"{unit}/row"),
    }
