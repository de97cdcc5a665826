"""The figures of a calibration: what each is, and the line of it that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate


@dataclass(frozen=True)
class Figure:
    """Title, meaning, and what the axes of its array count, separated by commas; shares are shown as percent."""

    title: str
    meaning: str
    axes: str = ""
    as_percent: bool = False


# One line each, in this order; those without a group are arrays for the JSON and the plots.
GROUPS: dict[str, dict[str, Figure]] = {
    "Transfer": {
        "gain": Figure("gain", "slope of the least-squares line; mixing: norm of the Jacobian's column", "input"),
        "line_gain": Figure(
            "gain over the range", "slope of the least-squares line along the column", "swept input"
        ),
        "offset": Figure("offset", "the line at zero stimulus; mixing: response at the operating point", "output"),
        "small_signal_gain": Figure("gain at mid-range", "slope of the cubic polynomial at mid-range", "channel"),
        "inl_max": Figure("INL, greatest", "greatest deviation from the line, of full scale", "channel", True),
        "dnl_max": Figure("DNL, greatest", "greatest deviation of a step from the ideal one", "channel", True),
        "quadratic": Figure(
            "second order", "of the polynomial, over its first, range scaled to [-1, 1]", "channel", True
        ),
        "cubic": Figure(
            "third order", "of the polynomial, over its first, range scaled to [-1, 1]", "channel", True
        ),
    },
    "Saturation": {
        "compression_low": Figure(
            "compression, low end", "shortfall against the middle half's line", "channel", True
        ),
        "compression_high": Figure(
            "compression, high end", "shortfall against the middle half's line", "channel", True
        ),
    },
    "Noise": {
        "noise": Figure("noise floor", "standard deviation of a row about the fitted response", "output"),
        "repeatability": Figure(
            "repeatability", "standard deviation of neighbouring rows of one stimulus", "output"
        ),
        "snr": Figure("SNR", "full-scale sine over noise", "output"),
        "effective_bits": Figure("effective bits", "log2 of full scale / (sqrt 12 x noise and INL)", "output"),
    },
    "Memory": {
        "memory": Figure("memory", "share of a change that is missing in its first row", "output", True),
        "settling_rows": Figure("settling", "time constant of the memory", "output"),
    },
    "Between channels": {
        "crosstalk": Figure(
            "cross-talk", "response of an output to another's input, over that input's own", "output,input", True
        ),
        "overlap": Figure("overlap", "abs cos between the responses to two inputs", "input,input", True),
        "effective_rank": Figure("effective rank", "exp of the singular values' entropy"),
    },
    "Drift": {
        "gain_drift": Figure("gain drift", "relative change of the gain a row", "output"),
        "offset_drift": Figure("offset drift", "change of the offset a row", "output"),
    },
    "Tunables": {
        "tunable_effect": Figure(
            "effect", "change from the lowest values to the highest, of the responses' spread", "tunable", True
        ),
        "tunable_return": Figure(
            "set and return", "change behind a return to rest, of the spread", "tunable", True
        ),
        "tunable_unsettled": Figure(
            "unsettled", "difference right behind a write and later, of the spread", "tunable", True
        ),
    },
    "Pace": {
        "latency": Figure("latency", "time of a call beyond its rows"),
        "row_time": Figure("time of a row", "time that each further row of a call takes"),
        "rows_per_second": Figure("rows a second", "in the largest calls"),
    },
    "": {
        "inl": Figure("INL", "deviation from the line, of full scale", "channel,level", True),
        "inl_rms": Figure(
            "INL, rms", "rms deviation from the line over the levels, of full scale", "channel", True
        ),
        "dnl": Figure("DNL", "step between two levels over the ideal step, less 1", "channel,step", True),
        "memory_kernel": Figure("memory by lag", "weight of the row so many rows before", "output,lag", True),
        "settling_factor": Figure("settling factor", "what is left of the memory after one more row", "output"),
        "singular_values": Figure("singular values", "of the response to half ranges", "direction"),
    },
}
FIGURES = {name: figure for group in GROUPS.values() for name, figure in group.items()}


@dataclass(frozen=True)
class FigureLine:
    """Median over the channels with its interval, and the least and the greatest channel."""

    group: str
    title: str
    meaning: str
    value: str
    least: str = ""
    greatest: str = ""
    unit: str = ""


def described(
    name: str, estimate: Estimate, groups: Mapping[str, Mapping[str, Figure]] = GROUPS
) -> dict[str, object]:
    """A figure for JSON, with its title, its meaning and what its axes count."""
    about = next(figures[name] for figures in groups.values() if name in figures)
    axes = about.axes.split(",") if about.axes else []
    return {"title": about.title, "meaning": about.meaning, "axes": axes, **estimate.as_dict()}


def figure_lines(
    figures: Mapping[str, Estimate], groups: Mapping[str, Mapping[str, Figure]] = GROUPS
) -> list[FigureLine]:
    """A line for every figure that was measured and has a group."""
    return [
        _line(group, name, names[name], figures[name])
        for group, names in groups.items()
        for name in names
        if group and name in figures
    ]


def with_interval(value: float, low: float, high: float) -> str:
    """``1.1168 ± 0.0002``, ``1.2 (0.9 to 2.4)`` where the interval is lopsided, ``–`` for no figure."""
    if not np.isfinite(value):
        return "–"
    if np.isfinite(low) and high == np.inf:
        return f"{number(value)} ({number(low)} or more)"
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{number(value)} ({number(low)} to {number(high)})"
    half = (high - low) / 2
    decimals = _decimals(half)
    if abs((high + low) / 2 - value) > 0.15 * half:
        return f"{_fixed(value, decimals)} ({_fixed(low, decimals)} to {_fixed(high, decimals)})"
    return f"{_fixed(value, decimals)} ± {_fixed(half, decimals)}" if half > 0 else number(value)


def number(value: float) -> str:
    """Four digits."""
    if not np.isfinite(value):
        return "–" if np.isnan(value) else "∞"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _line(group: str, name: str, about: Figure, estimate: Estimate) -> FigureLine:
    scale, unit = _scale(estimate, about.as_percent)
    value, low, high = (_off_diagonal(name, end) * scale for end in estimate.ends)
    known = np.flatnonzero(np.isfinite(value))
    if not len(known):
        return FigureLine(group, about.title, about.meaning, "not seen")
    # A channel that exists, not a mean of two: its interval is its own.
    middle = known[np.argsort(value[known])[len(known) // 2]]
    shown = with_interval(float(value[middle]), float(low[middle]), float(high[middle]))
    halves = (high - low)[known] / 2
    decimals = _decimals(float(np.median(halves[np.isfinite(halves)])) if np.isfinite(halves).any() else np.nan)
    extremes = (value[known].min(), value[known].max()) if len(value) > 1 else ()
    least, greatest = (_fixed(float(end), decimals) for end in extremes) if extremes else ("", "")
    return FigureLine(group, about.title, about.meaning, shown, least, greatest, unit)


def _off_diagonal(name: str, numbers: Float64Array) -> Float64Array:
    """The diagonal of a matrix between channels is 1 by definition."""
    if name in ("crosstalk", "overlap"):
        return np.asarray(numbers[~np.eye(len(numbers), dtype=bool)])
    return numbers.ravel()


def _scale(estimate: Estimate, as_percent: bool) -> tuple[float, str]:
    """A factor and unit that bring the figure near 1."""
    if as_percent:
        return 100.0, "%"
    sizes = np.abs(estimate.value[np.isfinite(estimate.value)])
    size = float(np.median(sizes)) if sizes.size else 1.0
    if estimate.unit.endswith("/row"):
        return 1e6, "1e-6 " + estimate.unit
    if estimate.unit in ("V", "s", "Pa", "A") and size < 0.1:
        return (1e6, "µ" + estimate.unit) if size < 1e-4 else (1e3, "m" + estimate.unit)
    return 1.0, estimate.unit


def _decimals(half: float) -> int:
    """Two digits of the interval's half."""
    if not half > 0 or not np.isfinite(half):
        return 4
    return int(np.clip(1 - np.floor(np.log10(half)), 0, 10))


def _fixed(value: float, decimals: int) -> str:
    if not np.isfinite(value):
        return number(value)
    text = f"{value:,.{decimals}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text
