"""Figures over seeds, and how well they are known: spread, and intervals over seeds and of the test rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.tasks import Metric

CONFIDENCE = 0.95
ROUNDING = 1e-12


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
    """A mean with its confidence interval over seeds; its ends are ``None`` where one value cannot tell.

    ``rows`` is the interval that the number of test rows alone leaves, where all seeds share them or gave the
    same; ``None`` where it is not known, or the seeds have test rows of their own. ``shared`` says that several
    seeds share them while it is not known: then the ends tell what the seeds change, and nothing of what other
    test rows would.
    """

    mean: float
    low: float | None
    high: float | None
    rows: tuple[float, float] | None = None
    shared: bool = False

    @property
    def has_no_width(self) -> bool:
        """Whether all seeds gave the same, but for rounding: few test rows do so by chance."""
        if self.low is None or self.high is None:
            return False
        return self.high - self.low <= ROUNDING * max(abs(self.low), abs(self.high))

    @property
    def side(self) -> int:
        """1 or -1 where all that is known lies above or below 0; else 0: chance explains the difference."""
        if self.low is None or self.high is None or self.shared:
            return 0
        low, high = self.low, self.high
        if self.rows is not None:  # other test rows must not change it either
            low, high = min(low, self.rows[0]), max(high, self.rows[1])
        return 1 if low > 0 else -1 if high < 0 else 0

    def as_dict(self) -> dict[str, Any]:
        """``mean``, ``low`` and ``high`` as plain numbers; ``test_rows`` with a low and a high, or ``None``."""
        rows = None if self.rows is None else {"low": self.rows[0], "high": self.rows[1]}
        return {"mean": self.mean, "low": self.low, "high": self.high, "test_rows": rows}


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE, overlap: float = 0.0) -> Interval:
    """Mean with Student's t-interval (Gosset 1908), corrected for resampling (Nadeau and Bengio 2003).

    mean +- t s sqrt(1 / n + overlap), n - 1 degrees of freedom. Splits of one set share most of their rows, so
    their values are not independent and the plain interval (``overlap`` 0) is too narrow: with five splits into
    three quarters and one, by a factor of 1.6 (Machine Learning 52, 239, equation 13).

    Parameters
    ----------
    values
        One a seed, at least one.
    confidence
        Probability, in (0, 1), that such an interval covers the true mean.
    overlap
        Test rows over training rows where the seeds split one set anew; 0 where the values are independent.
    """
    from scipy.stats import t

    summary = Summary(tuple(values))
    count = len(summary.values)
    if count < 2:
        return Interval(summary.mean, None, None)
    half = float(t.ppf((1 + confidence) / 2, count - 1)) * summary.std * math.sqrt(1 / count + overlap)
    return Interval(summary.mean, summary.mean - half, summary.mean + half)


def paired_difference(
    ours: Summary, theirs: Summary, confidence: float = CONFIDENCE, overlap: float = 0.0
) -> Interval:
    """Difference ``ours - theirs``, seed by seed, with its t-interval.

    Both have seen the same split with the same seed, so what a hard split costs both cancels.
    """
    return t_interval([a - b for a, b in zip(ours.values, theirs.values, strict=True)], confidence, overlap)


def normal_interval(mean: float, error: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Of a mean over many test rows with this standard error."""
    half = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return mean - half, mean + half


def standard_error(figures: NDArray[Any]) -> float:
    """Of the mean of figures (rows,), at least two."""
    return float(np.std(figures, ddof=1)) / math.sqrt(len(figures))


def difference(metric: Metric, found: Interval | None) -> str:
    """``+2.4 points (95 % interval +1.9 to +2.9)``; a dash where it is not known."""
    if found is None:
        return "–"

    def signed(value: float) -> str:
        return f"{metric.scale * value:+z.{metric.decimals}f}"

    return f"{signed(found.mean)} {metric.difference}".rstrip() + f" ({_intervals(found, signed)})"


def score_interval(metric: Metric, found: Interval) -> str:
    """``95 % interval 98.1 to 99.4``: how well a score is known."""
    return _intervals(found, lambda value: f"{metric.scale * value:.{metric.decimals}f}")


def _intervals(found: Interval, text: Callable[[float], str]) -> str:
    """That over seeds, that of the test rows, or why there is none."""
    rows = "" if found.rows is None else f"{text(found.rows[0])} to {text(found.rows[1])}"
    if found.low is None or found.high is None:
        return f"one seed; 95 % interval of its test rows {rows}" if rows else "one seed, no interval"
    seeds = f"{text(found.low)} to {text(found.high)}"
    if found.shared:
        return f"95 % interval over seeds {seeds}, which share one test part; what another would give is not known"
    if not rows:
        return f"95 % interval {seeds}"
    return f"95 % interval over seeds {seeds}, of the test rows {rows}"
