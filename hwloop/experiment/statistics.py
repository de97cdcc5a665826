"""Means over seeds and their uncertainty: the few formulas behind every figure of the evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
