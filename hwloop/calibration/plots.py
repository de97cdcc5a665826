"""Plots of a calibration: transfer curves, noise, memory, between channels, over time, pace, settling.

They need no display and leave the global state of matplotlib alone.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hwloop import html_report
from hwloop.calibration.calibrate import Calibration
from hwloop.calibration.transfer_curve import unit_of_slope
from hwloop.html_report import ACCENT, INK, QUIET, SECOND, THIRD
from hwloop.probing.statistics import Estimate

STYLE: dict[Any, Any] = {
    **html_report.STYLE,
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.grid": True,
    "grid.color": html_report.GRID,
    "savefig.dpi": 170,
}
MOST_LINES = 8
PREFIXED = ("V", "A", "Pa", "W", "s")  # units that take an SI prefix
MOST_INTERVALS = 40  # outputs; more would hide each other
MOST_NUMBERS = 10  # channels of a matrix whose entries are written in
BINS = 14
FLOOR_DB = -90.0


def chosen(count: int) -> NDArray[np.int64]:
    """Which of many channels are drawn: all, or some spread over them."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_LINES)).round().astype(np.int64))


def colours(count: int) -> Any:
    """One for each line: told apart in print and by the colour-blind."""
    if count <= 4:
        return [ACCENT, SECOND, THIRD, "#3f8f5b"][:count]
    return matplotlib.colormaps["viridis"](np.linspace(0.03, 0.88, count))


def in_unit(text: str, unit: str) -> str:
    """An axis label with its unit, if there is one."""
    return f"{text} ({unit})" if unit else text


def _panels(width: float, height: float, **layout: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**layout)


def _label(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _bars(axes: Any, x: Any, estimate: Estimate, scale: float = 1.0, fmt: str = "o", **style: Any) -> None:
    """Values with their intervals."""
    reach = np.stack([estimate.value - estimate.low, estimate.high - estimate.value])
    axes.errorbar(x, estimate.value * scale, reach * scale, fmt=fmt, **style)


def transfer(calibration: Calibration) -> Figure:
    """Settled response at every level with its line, and below what the line leaves, with 95 % intervals."""
    figure, axes = _panels(8.6, 5.0, nrows=2, ncols=2, sharex="col", height_ratios=[1.25, 1])
    analysis = calibration.analysis
    drawn = chosen(len(analysis.curves))
    inl, dnl = calibration.figures["inl"], calibration.figures["dnl"]
    swept = "" if calibration.pilot.paired else " along its column"
    name = "channel" if calibration.pilot.paired else "input"
    for position, colour in zip(drawn, colours(len(drawn)), strict=True):
        curve = analysis.curves[position]
        x = curve.levels
        line = np.polyfit(x, curve.means, 1)
        label = f"{name} {position if analysis.swept is None else analysis.swept[position]}"
        axes[0, 0].plot(x, np.polyval(line, x), color=colour, linewidth=1.0)
        axes[0, 0].plot(x, curve.means, "o", color=colour, markersize=3.6, label=label)
        _with_band(axes[1, 0], x, 100 * inl.value[position], 100 * inl.half_width[position], colour)
        middle = (x[1:] + x[:-1]) / 2
        _with_band(axes[1, 1], middle, 100 * dnl.value[position], 100 * dnl.half_width[position], colour)
        slope = np.diff(curve.means) / np.diff(x)
        axes[0, 1].plot(middle, slope, color=colour, linewidth=1.4)
    unit_in, unit_out = calibration.spec.input_unit, calibration.spec.output_unit
    stimulus = in_unit("stimulus", unit_in)
    _label(axes[0, 0], "settled response, and its least-squares line", "", in_unit(f"response{swept}", unit_out))
    axes[0, 0].legend(fontsize=8, ncols=2, handletextpad=0.2, columnspacing=0.8)
    slope_label = in_unit("slope", unit_of_slope(unit_in, unit_out))
    _label(axes[0, 1], "slope between neighbouring levels", "", slope_label)
    _label(axes[1, 0], "integral nonlinearity: what the line leaves", stimulus, "INL (% of full scale)")
    _label(axes[1, 1], "differential nonlinearity: step over ideal step, less 1", stimulus, "DNL (%)")
    return figure


def noise(calibration: Calibration) -> Figure:
    """Noise of each output with its interval, its distribution, and repeatability beside the fit's residual."""
    figure, (by_output, distribution) = _panels(8.6, 2.9, ncols=2, width_ratios=[1.25, 1])
    floor, repeat = calibration.figures["noise"], calibration.figures["repeatability"]
    shift = 0.12 if len(floor.value) <= MOST_INTERVALS else 0.0
    outputs = np.arange(len(floor.value))
    unit = calibration.spec.output_unit
    scale, prefix = _engineering(float(np.median(floor.value))) if unit in PREFIXED else (1.0, "")
    for estimate, offset, colour, label in (
        (floor, -shift, ACCENT, "about the fitted response"),
        (repeat, shift, SECOND, "between neighbouring rows of one stimulus"),
    ):
        if not np.isfinite(estimate.value).all() or (estimate is repeat and len(outputs) > MOST_INTERVALS):
            continue
        size, line = (5, 1.1) if len(outputs) <= MOST_INTERVALS else (1.5, 0.3)
        style: dict[str, Any] = {"color": colour, "markersize": size, "elinewidth": line, "label": label}
        _bars(by_output, outputs + offset, estimate, scale, **style)
    deviation = in_unit("standard deviation", prefix + unit)
    _label(by_output, "noise of a single row, 95 % intervals", "output", deviation)
    by_output.set_ylim(bottom=0)
    if len(outputs) <= 12:
        by_output.set_xticks(outputs)
    by_output.legend(fontsize=8, loc="lower right")
    residuals = calibration.analysis.residuals
    standard = residuals / np.where(floor.value > 0, floor.value, 1.0)
    sample = standard[:, chosen(standard.shape[1])].ravel()
    places = np.linspace(-4.5, 4.5, 61)
    distribution.hist(np.clip(sample, -4.5, 4.5), bins=places, density=True, color=ACCENT, alpha=0.75)
    distribution.plot(
        places, np.exp(-(places**2) / 2) / np.sqrt(2 * np.pi), color=INK, linewidth=1.1, label="normal"
    )
    distribution.set_yscale("log")
    distribution.set_ylim(1e-5, 1)
    _label(distribution, "residuals of the fit", "residual / noise floor", "probability density")
    distribution.legend(fontsize=8)
    return figure


def memory(calibration: Calibration) -> Figure:
    """Weight of the rows before, by lag, and what is left of a step, row by row."""
    figure, (by_lag, left) = _panels(8.6, 2.9, ncols=2)
    kernel = calibration.figures["memory_kernel"]
    lags = np.arange(1, kernel.value.shape[1] + 1)
    drawn = chosen(len(kernel.value))
    for position, colour in zip(drawn, colours(len(drawn)), strict=True):
        weight, reach = 100 * kernel.value[position], 100 * kernel.half_width[position]
        name = f"output {position}" if calibration.pilot.paired else "all outputs"
        jitter = 0.05 * (list(drawn).index(position) - (len(drawn) - 1) / 2)
        by_lag.errorbar(
            lags + jitter, weight, reach, fmt="o", color=colour, markersize=4, elinewidth=1.1, label=name
        )
        remaining = np.cumsum(weight[::-1])[::-1]
        error = np.sqrt(np.cumsum(reach[::-1] ** 2))[::-1]
        left.errorbar(
            np.arange(len(remaining)), np.maximum(remaining, 1e-9), error, fmt="o-", color=colour, markersize=4,
            linewidth=1.0,
        )  # fmt: skip
    by_lag.axhline(0, color=QUIET, linewidth=0.8)
    _label(by_lag, "how much of an earlier row is in this one", "rows before", "weight (%)")
    by_lag.set_xticks(lags)
    by_lag.legend(fontsize=8, ncols=2)
    span = float(np.median([curve.full_scale for curve in calibration.analysis.curves])) or 1.0
    floor = 100 * float(np.median(calibration.figures["noise"].value)) / span
    left.set_yscale("log")
    bottom = max(floor / 20, 1e-7)
    left.set_ylim(bottom, 3 * max(100 * float(np.abs(kernel.value).sum(axis=1).max()), floor, 10 * bottom))
    if floor > bottom:
        left.axhline(floor, color=QUIET, linewidth=1.0, linestyle="--")
        left.annotate("noise of a row", (0.99, floor), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                      color=QUIET, fontsize=8)  # fmt: skip
    _label(left, "what is missing of a step", "rows after the first", "missing (% of the step)")
    return figure


def _with_band(axes: Any, x: Any, value: Any, reach: Any, colour: Any) -> None:
    axes.fill_between(x, value - reach, value + reach, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, value, "o-", color=colour, markersize=3, linewidth=1.0)


def _engineering(size: float) -> tuple[float, str]:
    """A factor and SI prefix that bring a number to between 1 and 1000."""
    for factor, prefix in ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n")):
        if size * factor >= 1 or size == 0:
            return factor, prefix
    return 1e12, "p"


def between_channels(calibration: Calibration) -> Figure:
    """Cross-talk in dB (or the overlap of the inputs' responses), and the singular values."""
    figure, (left, right) = _panels(8.6, 3.5, ncols=2, width_ratios=[1.15, 1])
    if "crosstalk" in calibration.figures:
        values = calibration.figures["crosstalk"].value
        decibels = 20 * np.log10(np.maximum(np.abs(values), 10 ** (FLOOR_DB / 20)))
        np.fill_diagonal(decibels, np.nan)
        _matrix(figure, left, decibels, "dB", ".0f")
        _label(left, "cross-talk, dB of the disturbing channel's own output", "input", "output")
    else:
        values = calibration.figures["overlap"].value.copy()
        np.fill_diagonal(values, np.nan)
        _matrix(figure, left, values, "abs cos", ".2f")
        _label(left, "overlap of the responses to two inputs", "input", "input")
    singular, rank = calibration.figures["singular_values"], calibration.figures["effective_rank"]
    number = np.arange(1, len(singular.value) + 1)
    _bars(right, number, singular, fmt="o-", color=ACCENT, markersize=4, linewidth=1.0)
    positive = singular.value[singular.value > 0]
    if len(positive) and positive.min() < 0.1 * positive.max():
        right.set_yscale("log")
    else:
        right.set_ylim(bottom=0)
    value, low, high = (float(end) for end in rank.ends)
    title = f"effective rank {value:.4g} ({low:.4g} to {high:.4g}) of {len(number)}"
    _label(right, title, "direction", in_unit("singular value, half ranges in", calibration.spec.output_unit))
    if len(number) <= 12:
        right.set_xticks(number)
    return figure


def drift(calibration: Calibration) -> Figure:
    """What the reference readings moved by over the calibration, mean by mean, with straight lines through all."""
    course = calibration.analysis.references
    figure, panels = _panels(8.6, 2.9, ncols=2, sharey=True)
    outputs = chosen(course.moved.shape[1])
    factor, unit = (1e3, "m" + calibration.spec.output_unit) if calibration.spec.output_unit == "V" else (1.0, "")
    unit = unit or calibration.spec.output_unit
    for axes, which, title in zip(
        panels, np.unique(course.which), ("low reference", "high reference"), strict=False
    ):
        of_this = course.which == which
        rows = course.row[of_this]
        edges = np.array_split(np.arange(len(rows)), min(BINS, max(1, len(rows) // 4)))
        for output, colour in zip(outputs, colours(len(outputs)), strict=True):
            moved = factor * course.moved[of_this, output]
            at = [rows[part].mean() for part in edges]
            means = [moved[part].mean() for part in edges]
            axes.plot(at, means, "o", color=colour, markersize=3, alpha=0.6, markeredgewidth=0)
            slope, start = np.polyfit(rows, moved, 1)
            ends = np.array([rows.min(), rows.max()])
            axes.plot(ends, slope * ends + start, color=colour, linewidth=1.3, label=f"output {output}")
        axes.set_title(title)
        axes.set_xlabel("row")
    panels[0].set_ylabel(in_unit("change of the reading", unit))
    panels[1].legend(fontsize=8, ncols=2)
    return figure


def pace(calibration: Calibration) -> Figure:
    """Time of a call and rows a second against rows a call."""
    figure, (times, rates) = _panels(8.6, 2.9, ncols=2)
    measured = calibration.batch_times
    latency, row = (float(calibration.figures[name].value) for name in ("latency", "row_time"))
    rows, seconds = measured.rows, measured.seconds
    smooth = np.geomspace(rows[0], rows[-1], 100)
    model = latency + row * smooth
    _bars(times, rows, seconds, 1e3, color=ACCENT, markersize=4)
    times.plot(smooth, 1e3 * model, color=SECOND, linewidth=1.3, label="latency + rows × time of a row")
    least, most = rows / seconds.high, rows / np.maximum(seconds.low, 1e-3 * seconds.value)  # within the plot
    rate_reach = np.stack([rows / seconds.value - least, most - rows / seconds.value])
    rates.errorbar(rows, rows / seconds.value, rate_reach, fmt="o", color=ACCENT, markersize=4)
    rates.plot(smooth, smooth / np.maximum(model, 1e-12), color=SECOND, linewidth=1.3)
    held = calibration.recommended
    calls = held.rows_per_call * (held.settling_rows + held.averages)
    rates.axvline(calls, color=QUIET, linewidth=1.0, linestyle="--")
    rates.annotate(" recommended", (calls, 0.04), xycoords=("data", "axes fraction"), color=QUIET, fontsize=8,
                   ha="right" if calls > 0.5 * rows[-1] else "left")  # fmt: skip
    for axes in (times, rates):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(rows, [f"{int(r)}" for r in rows])
    times.legend(fontsize=8)
    latency_title = f"latency {1e3 * latency:.3g} ms, a row {1e6 * row:.3g} µs"
    _label(times, latency_title, "rows a call", "time of a call (ms)")
    _label(rates, "medians with 95 % intervals", "rows a call", "rows a second")
    return figure


def settling(calibration: Calibration) -> Figure | None:
    """Memory against the setting that was swept."""
    sweep = calibration.sweep
    if sweep is None:
        return None
    figure, axes = _panels(5.4, 2.9)
    memory = sweep.memory
    axes.errorbar(
        1e3 * sweep.seconds, 100 * memory.value, 100 * memory.half_width, fmt="o", color=ACCENT, markersize=5
    )
    tau = float(sweep.time_constant.value)
    title = "too little memory, or too few values, for a time constant"
    if np.isfinite(tau):
        low, high = 1e3 * sweep.time_constant.low, 1e3 * sweep.time_constant.high
        title = f"time constant {1e3 * tau:.3g} ms ({low:.3g} to {high:.3g})"
        at = np.linspace(sweep.seconds[0], sweep.seconds[-1], 100)
        axes.plot(1e3 * at, 100 * sweep.model(at), color=SECOND, linewidth=1.3)
        floor = float(sweep.floor.value)
        axes.axhline(100 * floor, color=QUIET, linestyle="--", linewidth=1.0)
        axes.annotate("waiting removes no more ", (1, 100 * floor), xycoords=("axes fraction", "data"), ha="right",
                      va="bottom", color=QUIET, fontsize=8)  # fmt: skip
    if sweep.recommended is not None:
        axes.axvline(1e3 * sweep.recommended, color=INK, linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    _label(axes, title, f"{sweep.setting} (ms)", "missing in a step's first row (%)")
    return figure


def _matrix(figure: Figure, axes: Any, values: Any, label: str, numbers: str) -> None:
    axes.grid(False)
    image = axes.imshow(values, cmap="viridis")
    figure.colorbar(image, ax=axes, label=label, shrink=0.85)
    n = len(values)
    if n <= MOST_NUMBERS:
        axes.set_xticks(range(n))
        axes.set_yticks(range(n))
        middle = (np.nanmin(values) + np.nanmax(values)) / 2 if n > 1 else 0.0
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = INK if value > middle else "white"
                axes.text(column, row, format(value, numbers), ha="center", va="center", color=colour, fontsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)


PLOTS = {
    "transfer": transfer,
    "noise": noise,
    "memory": memory,
    "channels": between_channels,
    "drift": drift,
    "pace": pace,
    "settling": settling,
}
