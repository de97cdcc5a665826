"""Intervals of measured figures, ranks of matrices, and exact tests of whether two ways of measuring agree.

A check that compares two ways of measuring the same rows draws by lot which of the two comes first. If the
way makes no difference, every outcome of the lots was equally likely to go with the responses that came; the
p-value counts those that would show at least as large a difference. Nothing is assumed of the noise.
(R. A. Fisher, The Design of Experiments, 1935; E. S. Edgington, Randomization Tests, 1995.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from hwloop.device.spec import Float64Array

CONFIDENCE = 0.95
DRAWS, LEAST_DRAWS = 200, 8  # of the bootstrap of singular values
LEFT_BIAS = 4.0
MULTIPLICATIONS = 1e10  # all draws together: some seconds; a large matrix gets fewer draws
PAIRS = 20  # the smallest p-value is 2 / 2**20
GLITCH_CAP = 2.0  # no pair counts for more than so many times the median one
TIE = 1e-9  # relative; sums that differ by rounding alone count as equal


@dataclass(frozen=True, eq=False)
class Estimate:
    """Value and interval, arrays of one shape.

    NaN stands for a figure that could not be measured; an infinite end for an interval that is open there.

    Parameters
    ----------
    value, low, high
        The estimate, and the ends of its 95 % confidence interval.
    unit
        As text; empty for a pure number.
    """

    value: Float64Array
    low: Float64Array
    high: Float64Array
    unit: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))

    @classmethod
    def normal(cls, value: ArrayLike, standard_error: ArrayLike, dof: float = np.inf, unit: str = "") -> Self:
        """Symmetric interval of a normal estimate whose standard error has ``dof`` degrees of freedom."""
        centre = np.asarray(value, dtype=np.float64)
        reach = quantile(dof) * np.asarray(standard_error, dtype=np.float64)
        return cls(centre, centre - reach, centre + reach, unit)

    @classmethod
    def log_normal(cls, value: ArrayLike, relative_error: ArrayLike, dof: float = np.inf, unit: str = "") -> Self:
        """Interval of a positive figure whose logarithm is normal, such as a standard deviation."""
        centre = np.asarray(value, dtype=np.float64)
        factor = np.exp(quantile(dof) * np.asarray(relative_error, dtype=np.float64))
        return cls(centre, centre / factor, centre * factor, unit)

    @classmethod
    def root(cls, square: ArrayLike, reach: ArrayLike, unit: str = "") -> Self:
        """Root of a square, at least 0, that is known to within ``reach``."""
        squares = (square + sign * np.asarray(reach) for sign in (0, -1, 1))
        value, low, high = (np.sqrt(np.maximum(one, 0.0)) for one in squares)
        return cls(value, low, high, unit)

    @classmethod
    def within(
        cls, value: ArrayLike, reach: ArrayLike, least: float = -np.inf, most: float = np.inf, unit: str = ""
    ) -> Self:
        """Known to within ``reach``; the interval ends where the figure's own limits are."""
        centre, half = (np.asarray(each, dtype=np.float64) for each in (value, reach))
        ends = np.clip(np.stack([centre - half, centre + half]), least, most)
        return cls(centre, np.minimum(ends[0], centre), np.maximum(ends[1], centre), unit)

    @classmethod
    def exact(cls, value: float, unit: str = "") -> Self:
        """A figure that is known."""
        return cls.within(value, 0.0, unit=unit)

    @classmethod
    def unknown(cls, shape: tuple[int, ...] = (), unit: str = "") -> Self:
        """A figure that could not be measured."""
        nothing = np.full(shape, np.nan)
        return cls(nothing, nothing, nothing, unit)

    @property
    def ends(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Value, low and high."""
        return self.value, self.low, self.high

    def mapped(self, function: Callable[[Float64Array], Float64Array], unit: str) -> Self:
        """A function, which rises, of the figure."""
        return type(self)(function(self.value), function(self.low), function(self.high), unit)

    @property
    def half_width(self) -> Float64Array:
        """Half of the interval."""
        return (self.high - self.low) / 2

    def covers(self, truth: ArrayLike) -> NDArray[np.bool_]:
        """Whether each interval holds the truth."""
        true = np.asarray(truth, dtype=np.float64)
        return np.asarray((self.low <= true) & (true <= self.high))

    def as_dict(self) -> dict[str, Any]:
        """Plain lists for JSON; what is not finite is ``None``."""
        names = ("value", "low", "high")
        return {**dict(zip(names, map(_plain, self.ends), strict=True)), "unit": self.unit}


def quantile(dof: float = np.inf, numbers: int = 1) -> float:
    """Standard errors that the interval reaches to each side.

    Of more ``numbers`` all intervals together hold with :data:`CONFIDENCE` (Sidak): for the greatest of them.
    """
    tail = (1 - CONFIDENCE ** (1 / max(numbers, 1))) / 2
    return float(norm.isf(tail) if np.isinf(dof) else t.isf(tail, max(dof, 1.0)))


def stacked(estimates: Sequence[Estimate]) -> Estimate:
    """Estimates of one shape along a new first axis."""
    value, low, high = (np.stack(end) for end in zip(*(one.ends for one in estimates), strict=True))
    return Estimate(value, low, high, estimates[0].unit)


def greatest_magnitude(values: Float64Array, errors: Float64Array, dof: float, unit: str) -> Estimate:
    """Max abs over the last axis; the interval holds it if all numbers lie within theirs together.

    The greatest of several noisy numbers is too great on average, so no interval about it would do.
    """
    reach = quantile(dof, values.shape[-1]) * errors
    magnitudes = np.abs(values)
    low = np.maximum(magnitudes - reach, 0.0).max(axis=-1)
    return Estimate(magnitudes.max(axis=-1), low, (magnitudes + reach).max(axis=-1), unit)


def standard_deviation(residuals: Float64Array, dof: float, unit: str) -> Estimate:
    """Of residuals of shape (rows, channels) that have ``dof`` degrees of freedom left.

    The error of ln s is sqrt((kurtosis - 1) / (4 dof)): for normal noise 1 / sqrt(2 dof), and right for other
    noise.
    """
    squares = np.square(residuals)
    variance = squares.sum(axis=0) / dof
    fourth = np.mean(np.square(squares), axis=0)
    second = np.mean(squares, axis=0)
    kurtosis = np.divide(fourth, second**2, out=np.full_like(second, 3.0), where=second > 0)
    # A sample of n has a kurtosis of at most n: never less uncertain than normal noise would be, within reason.
    relative = np.sqrt(np.maximum(kurtosis - 1, 1.0) / (4 * dof))
    return Estimate.log_normal(np.sqrt(variance), relative, dof, unit)


def effective_rank(singular_values: Float64Array) -> Float64Array:
    """Exp of the entropy of the singular values' shares (Roy and Vetterli, EUSIPCO 2007).

    Parameters
    ----------
    singular_values
        Shape (..., values), not negative.
    """
    total = singular_values.sum(axis=-1, keepdims=True)
    share = np.divide(singular_values, total, out=np.zeros_like(singular_values), where=total > 0)
    entropy = -np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=-1)
    return np.where(total[..., 0] > 0, np.exp(entropy), 0.0)


def rank_figures(response: Float64Array, errors: Float64Array, seed: int = 0) -> dict[str, Estimate]:
    """Singular values and effective rank of a matrix whose entries have independent standard errors.

    Noise makes great singular values greater, and a matrix seem fuller. By how much is seen when as much noise is
    added once more (parametric bootstrap, up to ``DRAWS`` matrices), and that is taken off. Where the noise is as
    great as the least singular values some bias is left: the intervals allow for ``LEFT_BIAS`` times what was
    taken.

    Parameters
    ----------
    response, errors
        Shape (outputs, inputs).
    seed
        Of the bootstrap.

    Returns
    -------
    ``singular_values``, the largest first, and ``effective_rank``.
    """
    rng = np.random.default_rng(seed)
    values = _singular_values(response)
    draws = int(np.clip(MULTIPLICATIONS / (response.size * min(response.shape)), LEAST_DRAWS, DRAWS))
    drawn = np.stack(
        [_singular_values(response + errors * rng.standard_normal(response.shape)) for _ in range(draws)]
    )
    return {
        "singular_values": _bias_taken_off(values, drawn, (0.0, np.inf)),
        "effective_rank": _bias_taken_off(effective_rank(values), effective_rank(drawn), (1.0, len(values))),
    }


def _singular_values(matrix: Float64Array) -> Float64Array:
    """By the smaller Gram matrix, many times faster than a decomposition; exact to 1e-8 of the largest."""
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    return np.asarray(np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)))


def _bias_taken_off(estimate: Float64Array, drawn: Float64Array, within: tuple[float, float]) -> Estimate:
    bias = drawn.mean(axis=0) - estimate
    spread = drawn.std(axis=0, ddof=1)
    surely = np.maximum(np.abs(bias) - 2 * spread / np.sqrt(len(drawn)), 0.0)  # not by chance of the draws
    reach = quantile() * spread + LEFT_BIAS * surely
    value, low, high = (np.clip(estimate - bias + sign * reach, *within) for sign in (0, -1, 1))
    return Estimate(value, low, high)


def _plain(numbers: Float64Array) -> Any:
    if numbers.ndim:
        return [_plain(part) for part in numbers]
    return float(numbers) if np.isfinite(numbers) else None


def sign_flip_p_value(differences: Float64Array) -> float:
    """Exact p-value of "the two ways give the same", from pairs whose order was drawn by lot.

    Parameters
    ----------
    differences
        Shape (pairs, values): second way minus first way, in units of the noise of each value. At most 24
        pairs: all 2**pairs outcomes are counted.

    Returns
    -------
    float
        Share of sign patterns s whose abs(sum_i s_i d_i)**2 is at least the observed one.
    """
    pairs = len(differences)
    if not 2 <= pairs <= 24:
        raise ValueError(f"2 to 24 pairs are needed, not {pairs}")
    capped = _without_outliers(differences)
    gram = capped @ capped.T
    observed = gram.sum()
    if observed <= 0:
        return 1.0
    half = pairs // 2
    first, second = _sign_patterns(half), _sign_patterns(pairs - half)
    sums = np.einsum("ai,ij,aj->a", first, gram[:half, :half], first)[:, None]
    sums = sums + np.einsum("ai,ij,aj->a", second, gram[half:, half:], second)
    sums += 2.0 * (first @ gram[:half, half:] @ second.T)
    return float(np.mean(sums >= observed * (1.0 - TIE)))


def label_p_value(statistic: float, shuffled: Sequence[float] | Float64Array) -> float:
    """p-value of a statistic among those of random relabellings, never 0 (Phipson and Smyth, 2010)."""
    others = np.asarray(shuffled)
    return float((1 + np.sum(others >= statistic - TIE * abs(statistic))) / (1 + len(others)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order = np.argsort(p_values)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted


def _sign_patterns(count: int) -> Float64Array:
    """All 2**count patterns of signs, shape (2**count, count)."""
    bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    return np.asarray(1 - 2 * bits, dtype=np.float64)


def _without_outliers(differences: Float64Array) -> Float64Array:
    """Differences whose largest are scaled down: by their length alone, so that the test stays exact."""
    lengths = np.linalg.norm(differences, axis=1)
    limit = GLITCH_CAP * np.median(lengths)
    if limit <= 0:
        return differences
    return np.asarray(differences * np.minimum(1.0, limit / np.maximum(lengths, limit))[:, None])
