"""Calibration of an instrument channel to channel: output i belongs to input i."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.calibration.channel_fit import ChannelData, ChannelFit, fit_channel
from hwloop.calibration.main_part import (
    Analysis,
    Cells,
    MainCall,
    MainRows,
    ReferenceCourse,
    measure_calls,
    with_references,
)
from hwloop.calibration.memory import Pilot, memory_figures
from hwloop.calibration.plan import Plan, number_of_levels
from hwloop.calibration.transfer_curve import LevelMeans, noise_figures, transfer_figures
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate, rank_figures, standard_deviation
from hwloop.probing.timing import TimedSession

ROUNDS = 2  # the second with the other channels' curves as the first has found them


@dataclass(frozen=True, eq=False)
class PairedData:
    """The main part as it was measured; a cell is the level of every channel.

    Attributes
    ----------
    grid
        Stimulus at each level of each channel, shape (levels, channels).
    rows
        What was measured, cells of shape (rows, channels).
    lags
        Rows before that may leak in.
    """

    grid: Float64Array
    rows: MainRows
    lags: int


def measure_paired(session: TimedSession, plan: Plan, pilot: Pilot, rng: np.random.Generator) -> PairedData:
    """Measure the main part."""
    spec = session.session.device.spec
    room = plan.main - plan.reference
    hold = max(4, min(pilot.lags + 2, room // 20))
    n_levels = number_of_levels(room, hold)
    grid = np.linspace(spec.low, spec.high, n_levels)
    channels = np.arange(spec.n_inputs)
    calls = paired_calls(plan.main, spec.n_inputs, n_levels, hold, plan.call_sizes, rng)
    rows = measure_calls(session, calls, lambda levels: grid[levels, channels])
    return PairedData(grid, rows, min(pilot.lags, hold))


def paired_calls(
    rows: int, n_channels: int, n_levels: int, hold: int, call_sizes: Sequence[int], rng: np.random.Generator
) -> list[MainCall]:
    """Calls in the order of measuring, ``rows`` rows together; references at a quarter and three quarters.

    Every channel goes through its own random permutations of the levels, all at once: so each row tells something
    of every channel, and no channel's curve can be mistaken for another's cross-talk. A level is held for ``hold``
    rows, so that a settled value and the way to it are both seen.
    """
    main_rows = rows - sum(call_sizes)
    holds = -(-main_rows // hold)
    levels = np.stack([_balanced(holds, n_levels, rng) for _ in range(n_channels)], axis=1)
    low = n_levels // 4
    references = np.repeat([[low], [n_levels - 1 - low]], n_channels, axis=1)
    return with_references(np.repeat(levels, hold, axis=0)[:main_rows], references, call_sizes, rng)


def _balanced(holds: int, n_levels: int, rng: np.random.Generator) -> Cells:
    """Random permutations of the levels, one after the other."""
    rounds = -(-holds // n_levels)
    return np.concatenate([rng.permutation(n_levels) for _ in range(rounds)])[:holds]


def analyse_paired(data: PairedData, units: tuple[str, str]) -> Analysis:
    """All figures of a channel-to-channel instrument; ``units`` of input and output."""
    fits, rows, unit = _fitted(data), data.rows, units[1]
    dof = fits[0].dof
    curves = [LevelMeans(data.grid[:, i], *fit.part("level"), dof=float(fit.dof)) for i, fit in enumerate(fits)]
    residuals = np.stack([fit.residuals for fit in fits], axis=1)
    figures = transfer_figures(curves, *units)
    spans = np.array([curve.full_scale for curve in curves])
    figures |= noise_figures(standard_deviation(residuals, dof, unit), figures["inl_rms"], spans)
    figures["repeatability"] = rows.repeatability(max(1, data.lags - 2), unit)
    figures |= memory_figures([fit.part("memory") for fit in fits], dof)
    figures["crosstalk"] = _crosstalk(fits)
    for name, kind in (("gain_drift", "1/row"), ("offset_drift", f"{unit}/row")):
        # Time runs from -1 to 1 over the rows, and the first Legendre polynomial is time itself.
        slopes = [(values[0], np.sqrt(spread[0, 0])) for values, spread in (fit.part(name) for fit in fits)]
        value, error = np.array(slopes).T * rows.per_row
        figures[name] = Estimate.normal(value, error, dof, kind)
    figures |= _rank(figures, data.grid)
    return Analysis(figures, curves, residuals, _references(data, fits), rows.middle_row)


def _references(data: PairedData, fits: list[ChannelFit]) -> ReferenceCourse:
    fitted = np.flatnonzero(data.rows.is_reference[data.lags :])
    moved = np.stack([fit.moved[fitted] for fit in fits], axis=1)
    number = fitted + data.lags
    return ReferenceCourse(data.rows.first_row + number, moved, data.rows.cells[number, 0])


def _fitted(data: PairedData) -> list[ChannelFit]:
    """Every output; the curves of the others are taken as linear first, then as they were found."""
    rows, middle = data.rows, data.grid.mean(axis=0)
    curves = data.grid - middle
    fits: list[ChannelFit] = []
    for _ in range(ROUNDS):
        signals = np.take_along_axis(curves, rows.cells, axis=0)
        fits = [
            fit_channel(
                ChannelData(
                    rows.cells[:, i],
                    np.delete(signals, i, axis=1),
                    rows.time,
                    rows.responses[:, i],
                    data.grid[:, i],
                    data.lags,
                )
            )
            for i in range(data.grid.shape[1])
        ]
        levels = np.stack([fit.part("level")[0] for fit in fits], axis=1)
        lines = [np.polyval(np.polyfit(data.grid[:, i], levels[:, i], 1), middle[i]) for i in range(len(fits))]
        curves = levels - np.array(lines)
    return fits


def _crosstalk(fits: list[ChannelFit]) -> Estimate:
    """Response of output i (row) to input j (column), relative to j's own output; the diagonal is 1."""
    n = len(fits)
    values, errors = np.eye(n), np.zeros((n, n))
    for i, fit in enumerate(fits):
        value, covariance = fit.part("crosstalk")
        others = np.delete(np.arange(n), i)
        values[i, others], errors[i, others] = value, np.sqrt(np.diagonal(covariance))
    return Estimate.normal(values, errors, fits[0].dof)


def _rank(figures: dict[str, Estimate], grid: Float64Array) -> dict[str, Estimate]:
    """Of the matrix of slopes, inputs in half ranges: K_ij gain_j half_j."""
    half = (grid[-1] - grid[0]) / 2
    gain, crosstalk = figures["gain"], figures["crosstalk"]
    response = crosstalk.value * gain.value * half
    error_of_gain = np.diag(gain.half_width * half / 1.96)
    errors = np.hypot(crosstalk.half_width / 1.96 * np.abs(gain.value) * half, error_of_gain)
    return rank_figures(response, errors)
