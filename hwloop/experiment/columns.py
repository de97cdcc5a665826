"""Figures of an experiment: their means and intervals over seeds, and how a person reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.events import ReferenceMeasured

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """One figure, measured once a seed.

    Parameters
    ----------
    values
        One a seed, in the order of the seeds; at least one.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(value) for value in self.values))
        if not self.values:
            raise ValueError("a summary needs at least one value")

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return math.fsum(self.values) / len(self.values)

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1 in the denominator); 0 with one seed, where it is not known."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """``mean``, ``std`` and ``values`` as plain numbers."""
        return {"mean": self.mean, "std": self.std, "values": list(self.values)}


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; ``low`` and ``high`` are ``None`` where one value cannot tell."""

    mean: float
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, float | None]:
        """``mean``, ``low`` and ``high`` as plain numbers."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean with Student's t-interval (Gosset 1908): mean +- t s / sqrt(n), n - 1 degrees of freedom.

    Parameters
    ----------
    values
        Independent values, at least one.
    confidence
        Probability, in (0, 1), that such an interval covers the true mean of a normal distribution.
    """
    from scipy.stats import t

    summary = Summary(tuple(values))
    count = len(summary.values)
    if count < 2:
        return Interval(summary.mean, None, None)
    half = float(t.ppf((1 + confidence) / 2, count - 1)) * summary.std / math.sqrt(count)
    return Interval(summary.mean, summary.mean - half, summary.mean + half)


def paired_difference(ours: Summary, theirs: Summary, confidence: float = CONFIDENCE) -> Interval:
    """Difference ``ours - theirs``, seed by seed, with its t-interval.

    Both have seen the same split with the same seed, so what a hard split costs both cancels.
    """
    return t_interval([a - b for a, b in zip(ours.values, theirs.values, strict=True)], confidence)


def percent(accuracy: Summary) -> str:
    """``98.6 ± 0.4 %``, or ``98.6 %`` with one seed."""
    mean = f"{100 * accuracy.mean:.1f}"
    return f"{mean} ± {100 * accuracy.std:.1f} %" if len(accuracy.values) > 1 else f"{mean} %"


def points(difference: Interval | None) -> str:
    """``+2.4 points (95 % interval +1.9 to +2.9)``; a dash where it is not known."""
    if difference is None:
        return "–"
    mean = f"{100 * difference.mean:+.1f} points"
    if difference.low is None or difference.high is None:
        return f"{mean} (one seed, no interval)"
    return f"{mean} (95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def rows(count: float) -> str:
    """Rows a sample: ``2``, ``2.5``, or a dash for none."""
    return "–" if count == 0 else f"{count:,.2f}".rstrip("0").rstrip(".")


def seconds(value: float) -> str:
    """``38 s``, ``2 min 05 s``."""
    whole = round(value)
    return (
        f"{value:.1f} s"
        if value < 10
        else f"{whole} s"
        if whole < 100
        else f"{whole // 60} min {whole % 60:02d} s"
    )


def drift(curve: Sequence[ReferenceMeasured]) -> str:
    """The largest drift of a device, what kind it was, and how often it went beyond the limit."""
    most = max(curve, key=lambda point: point.drift)
    times = sum(bool(point.action) for point in curve)
    if not most.drift:
        noise = f"{100 * most.noise_floor:.2g} %"
        return f"no drift beyond its noise ({noise}) in {len(curve)} measurements"
    beyond = f"beyond the limit {times} of {len(curve)} times" if times else "always within the limit"
    return (
        f"drift up to {100 * most.drift:.3g} % at row {most.row:,}, with a common gain of "
        f"{most.gain:.3f} and {100 * most.decorrelation:.2g} % decorrelation; {beyond}"
    )
