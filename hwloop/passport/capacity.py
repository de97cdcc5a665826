"""Information processing capacity: how much of which functions of its past inputs a device's states hold.

Inputs are drawn independently and uniformly; products of their Legendre polynomials at different delays are then
an orthonormal basis of all functions of the past. The capacity of a function y is the share of its variance that
a linear map of the states explains; all capacities together are at most the number of linearly independent states
(Dambre, Verstraeten, Schrauwen and Massar, Sci. Rep. 2, 514 (2012)).

With N samples and r independent states a function that has nothing to do with them is explained to r / N, by
chance. Of thousands of functions that is more than there is to find. So what chance explains is taken off, by
counting only products of different samples, and what is left of it is measured on surrogates: the same inputs
with the states of other times. All functions of a degree together need no list of them: their sum over the basis
is a kernel, built delay by delay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb, factorial, prod

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate, quantile

SURROGATES = 12
BLOCK = 128  # samples of a block of the kernels: what is computed with stays in a processor's cache
RESOLVED = 1e-9  # of the largest singular value of the states; what is less is rounding
FEWEST_A_STATE = 3  # samples for each state
CLEAR = 4.0  # spreads of chance that show that an input is remembered

Float32Array = NDArray[np.float32]


def legendre(values: Float64Array, degrees: int) -> Float64Array:
    """Legendre polynomials of degree 0 to ``degrees``, of mean square 1 for a value uniform in [-1, 1].

    Returns
    -------
    Shape (degrees + 1, ...): the degree comes first.
    """
    found = [np.ones_like(values), values]
    for n in range(1, degrees):
        found.append(((2 * n + 1) * values * found[n] - n * found[n - 1]) / (n + 1))
    return np.stack([np.sqrt(2 * n + 1) * each for n, each in enumerate(found[: degrees + 1])])


@dataclass(frozen=True, eq=False)
class Samples:
    """States, and the inputs that led to them.

    Parameters
    ----------
    inputs
        Shape (sequences, steps, channels), independent and uniform in [-1, 1]; a sequence begins at rest.
    states
        At the end of the last steps, shape (sequences, last steps, nodes): those before, if there are any, have
        not forgotten how the sequence began.
    """

    inputs: Float64Array
    states: Float64Array

    @property
    def count(self) -> int:
        """Samples."""
        return int(self.states.shape[0] * self.states.shape[1])

    @property
    def first(self) -> int:
        """The first step that there are states of: no delay is longer."""
        return int(self.inputs.shape[1] - self.states.shape[1])

    @property
    def rows(self) -> Float64Array:
        """States, shape (count, nodes), sequence after sequence."""
        return self.states.reshape(self.count, -1)

    def delayed(self, values: Float64Array, delay: int) -> Float64Array:
        """Values of a step, shape (sequences, steps, ...), so many steps before each sample: (count, ...)."""
        if delay > self.first:
            raise ValueError(f"a delay of {delay} steps reaches before the first of {self.first} steps left out")
        steps = values.shape[1]
        return values[:, self.first - delay : steps - delay].reshape(self.count, *values.shape[2:])


class StateSpace:
    """What a linear map of the states can give.

    Parameters
    ----------
    states
        Shape (samples, nodes).

    Attributes
    ----------
    basis
        Orthonormal columns that span the centred states, shape (samples, rank).
    """

    def __init__(self, states: Float64Array) -> None:
        centred = states - states.mean(axis=0)
        spread = centred.std(axis=0)
        varies = spread > RESOLVED * float(np.abs(states).max(initial=0.0))
        if not varies.any():
            self.basis = np.zeros((len(states), 0))
            return
        left, values, _ = np.linalg.svd(centred[:, varies] / spread[varies], full_matrices=False)
        self.basis = np.ascontiguousarray(left[:, values > RESOLVED * values[0]])

    @property
    def rank(self) -> int:
        """Linearly independent states."""
        return self.basis.shape[1]

    @property
    def freedom(self) -> int:
        """Samples beyond those that the states themselves and their mean use up."""
        return len(self.basis) - 1 - self.rank

    def explained(self, targets: Float64Array) -> Float64Array:
        """Share of each target's variance (samples, targets) that the states explain, chance taken off."""
        centred = targets - targets.mean(axis=0)
        total = np.square(centred).sum(axis=0)
        raw = np.square(self.basis.T @ centred).sum(axis=0) / np.where(total > 0, total, 1.0)
        chance = self.rank / (len(targets) - 1)
        return np.asarray((raw - chance) / (1 - chance))

    @property
    def chance(self) -> float:
        """Standard deviation of :meth:`explained` for a function that has nothing to do with the states."""
        samples = len(self.basis) - 1
        return float(np.sqrt(2 * self.rank * max(1 - self.rank / samples, 0.0)) / max(self.freedom, 1))


@dataclass(frozen=True, eq=False)
class Capacity:
    """Capacities of a device.

    Attributes
    ----------
    linear
        Capacity for the input so many steps before, all channels together, shape (delays,): the memory function.
    table
        By degree, from 1, and by the longest delay in the product, shape (degrees, delays).
    by_degree
        Sums of the table over the delays, shape (degrees,); of a degree that came out below zero, 0.
    below_zero
        By how much a degree's whole interval came out below zero, shape (degrees,); 0 for most. No capacity is
        negative: so much is chance that the surrogates did not show.
    total
        Of all functions that were looked at.
    uncapped
        The total before it was held to ``rank``: more than that is chance.
    rank
        Linearly independent states: no total is more.
    samples
        That it was measured on.
    functions
        Of each degree and longest delay, shape (degrees, delays).
    """

    linear: Estimate
    table: Estimate
    by_degree: Estimate
    below_zero: Float64Array
    total: Estimate
    uncapped: Estimate
    rank: int
    samples: int
    functions: Float64Array

    @property
    def memory(self) -> Estimate:
        """Linear memory capacity: the sum of the memory function (Jaeger, GMD report 152, 2002)."""
        return _row(self.by_degree, 0)

    @property
    def nonlinear(self) -> Estimate:
        """Capacity of the second degree and higher."""
        higher = self.by_degree.value[1:]
        reach = np.sqrt(np.square(self.by_degree.half_width[1:]).sum())
        return Estimate.within(max(float(higher.sum()), 0.0), reach, 0.0)

    @property
    def reach(self) -> Estimate:
        """Mean delay, in steps, of what is held linearly; NaN where nothing is."""
        held, errors = np.maximum(self.linear.value, 0.0), self.linear.half_width
        total, delays = float(held.sum()), np.arange(len(held))
        if total <= 0:
            return Estimate.unknown()
        mean = float(delays @ held) / total
        reach = float(np.sqrt(np.square((delays - mean) * errors).sum())) / total
        return Estimate.within(mean, reach, 0.0)


def _row(estimate: Estimate, place: int) -> Estimate:
    value, low, high = (end[place] for end in estimate.ends)
    return Estimate(value, low, high, estimate.unit)


def capacity(samples: Samples, degrees: int, delays: int, seed: int = 0) -> Capacity:
    """Capacity by degree and delay.

    Parameters
    ----------
    samples
        At least :data:`FEWEST_A_STATE` for each independent state.
    degrees
        Of the polynomials, at least 1.
    delays
        Steps that are looked back, the present one among them.
    seed
        Of the surrogates.

    Raises
    ------
    ValueError
        There are too few samples for so many states.
    """
    space = StateSpace(samples.rows)
    require_samples(space.rank, samples.count)
    linear = linear_memory(samples, space, delays)
    sums, functions = _kernel_sums(samples, space, degrees, delays, np.random.default_rng(seed))
    own, others = sums[0], sums[1:]
    # Of the first degree the functions are few: each by itself is better known than their sum.
    value, spread = own - others.mean(axis=0), others.std(axis=0, ddof=1)
    value[0] = linear.value
    table = _with_reach(value, spread, samples.count)
    table = _put_first(table, linear)
    cumulated = others.sum(axis=2)
    by_degree = _with_reach(value.sum(axis=1), cumulated.std(axis=0, ddof=1), samples.count)
    total = _with_reach(value.sum(), cumulated.sum(axis=1).std(ddof=1), samples.count)
    below = np.where(by_degree.high < 0, -by_degree.value, 0.0)
    if below.any():  # they count as nothing, and as less certain by what they missed zero by
        by_degree = Estimate.within(by_degree.value + below, np.maximum(by_degree.half_width, below))
        total = Estimate.within(total.value + below.sum(), np.hypot(total.half_width, np.linalg.norm(below)))
    # The theorem: more than there are states is chance, and every part has its share in it.
    excess = min(1.0, space.rank / float(total.value)) if float(total.value) > 0 else 1.0
    return Capacity(
        linear=linear,
        table=_scaled(table, excess),
        by_degree=_scaled(by_degree, excess),
        below_zero=below,
        total=_scaled(total, excess),
        uncapped=total,
        rank=space.rank,
        samples=samples.count,
        functions=functions,
    )


def require_samples(rank: int, samples: int) -> None:
    """Refuse fewer samples than chance can be told from capacity with.

    Raises
    ------
    ValueError
    """
    if samples < FEWEST_A_STATE * rank:
        raise ValueError(
            f"{samples:,} samples are too few for {rank:,} independent states; at least {FEWEST_A_STATE * rank:,} "
            "tell what they hold from chance"
        )


def linear_memory(samples: Samples, space: StateSpace, delays: int) -> Estimate:
    """Capacity for the input each number of steps before, all channels together, shape (delays,)."""
    shares = np.stack([space.explained(samples.delayed(samples.inputs, delay)) for delay in range(delays)])
    held = np.clip(shares, 0.0, 1.0)
    variance = space.chance**2 + 4 * held * np.square(1 - held) / samples.count
    return Estimate.within(shares.sum(axis=1), quantile() * np.sqrt(variance.sum(axis=1)))


def remembered(samples: Samples, space: StateSpace, degrees: int, longest: int) -> int:
    """Delays after which nothing of a single input, in any degree, is seen any more; at most ``longest``."""
    polynomials = legendre(samples.inputs, degrees)[1:]
    threshold, last = CLEAR * space.chance, 0
    for delay in range(longest):
        values = np.concatenate([samples.delayed(each, delay) for each in polynomials], axis=1)
        if float(space.explained(values).max()) > threshold:
            last = delay + 1
    return max(last, 1)


def _with_reach(value: Float64Array, spread: Float64Array, samples: int) -> Estimate:
    """Chance alone, as the surrogates show it, and how well a share of a variance is known from N samples.

    The variance of a squared correlation C is 4 C (1 - C)^2 / N; of several that sum to S at most 4 S / N.
    """
    dof = SURROGATES - 1
    variance = np.square(spread) * (1 + 1 / SURROGATES)
    reach = np.hypot(quantile(dof) * np.sqrt(variance), quantile() * np.sqrt(4 * np.maximum(value, 0.0) / samples))
    return Estimate.within(value, reach)


def _put_first(table: Estimate, linear: Estimate) -> Estimate:
    value, low, high = (
        np.concatenate([own[None], end[1:]]) for own, end in zip(linear.ends, table.ends, strict=True)
    )
    return Estimate(value, low, high)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    """The value shrinks; the ends stay where they were, but on its two sides."""
    value = estimate.value * factor
    return Estimate(value, np.minimum(estimate.low, value), np.maximum(estimate.high * factor, value))


def _kernel_sums(
    samples: Samples, space: StateSpace, degrees: int, delays: int, rng: np.random.Generator
) -> tuple[Float64Array, Float64Array]:
    """Capacity by degree and longest delay, of the states and of the surrogates; and how many functions there are.

    Returns
    -------
    Shape (1 + surrogates, degrees, delays), and (degrees, delays).
    """
    features = [_powers(samples.delayed(samples.inputs, delay), degrees) for delay in range(delays)]
    count, channels = samples.count, samples.inputs.shape[2]
    orders = [np.arange(count), *(_surrogate_order(samples, rng) for _ in range(SURROGATES))]
    basis = space.basis.astype(np.float32)
    shuffled = [basis[order] for order in orders]
    sums = np.zeros((len(orders), degrees, delays))
    squares = np.zeros((degrees, delays))
    for start in range(0, count, BLOCK):
        rows = slice(start, start + BLOCK)
        for other in range(start, count, BLOCK):
            columns = slice(other, other + BLOCK)
            weights = np.stack([each[rows] @ each[columns].T for each in shuffled])
            if other == start:
                weights[:, np.arange(weights.shape[1]), np.arange(weights.shape[1])] = 0.0
            twice = 1.0 if other == start else 2.0
            for delay, kernel in enumerate(_kernels(features, rows, columns, degrees)):
                flat = kernel.reshape(degrees, -1)
                sums[:, :, delay] += twice * (weights.reshape(len(orders), -1) @ flat.T)
                if other == start:
                    squares[:, delay] += np.einsum("nii->n", kernel)
    functions = _functions(degrees, delays, channels)
    mean_square = np.divide(squares / count, functions, out=np.ones_like(squares), where=functions > 0)
    cumulated = sums / space.freedom / mean_square
    return np.diff(cumulated, axis=2, prepend=0.0), np.diff(functions, axis=1, prepend=0.0)


def _surrogate_order(samples: Samples, rng: np.random.Generator) -> NDArray[np.int64]:
    """States of other samples: of other times of a series, whose order is kept, or drawn by lot."""
    count = samples.count
    if samples.states.shape[1] < 2:
        return rng.permutation(count)
    # By more than is remembered, so that no state meets an input that it holds.
    near = min(samples.first + 1, count // 4)
    return np.roll(np.arange(count), int(rng.integers(near, count - near)))


def _functions(degrees: int, delays: int, channels: int) -> Float64Array:
    """Functions of each degree of the inputs up to each delay, shape (degrees, delays)."""
    return np.array(
        [[comb(channels * (d + 1) + n - 1, n) for d in range(delays)] for n in range(1, degrees + 1)], dtype=float
    )


@dataclass(frozen=True, eq=False)
class _Powers:
    """Products of the polynomials of one input, by how often each degree occurs in the product."""

    partitions: Sequence[tuple[int, ...]]
    products: Sequence[Float32Array]


def _powers(inputs: Float64Array, degrees: int) -> _Powers:
    """Of inputs (samples, channels)."""
    polynomials = legendre(inputs, degrees).astype(np.float32)
    if inputs.shape[1] == 1:
        return _Powers([(n,) for n in range(1, degrees + 1)], [polynomials[n] for n in range(1, degrees + 1)])
    partitions = [part for n in range(1, degrees + 1) for part in _partitions(n)]
    return _Powers(
        partitions, [np.prod([polynomials[k] for k in part], axis=0, dtype=np.float32) for part in partitions]
    )


def _partitions(number: int, largest: int | None = None) -> list[tuple[int, ...]]:
    """Ways to write a number as a sum, each largest first."""
    if number == 0:
        return [()]
    top = min(number, largest or number)
    return [(k, *rest) for k in range(top, 0, -1) for rest in _partitions(number - k, k)]


def _kernels(features: Sequence[_Powers], rows: slice, columns: slice, degrees: int) -> Iterator[Float32Array]:
    """Kernels of degree 1 to ``degrees`` of all inputs up to each delay, each (degrees, rows, columns).

    What is given is changed when the next is asked for.
    """
    now: Float32Array | None = None
    for each in features:
        step = _one_delay(each, rows, columns, degrees)
        if now is None:
            now = step
        else:
            for n in reversed(range(degrees)):  # the lower degrees are still those of the delays before
                for k in range(n):  # degree k + 1 of this delay, n - k of those before
                    now[n] += step[k] * now[n - k - 1]
                now[n] += step[n]
        yield now


def _one_delay(each: _Powers, rows: slice, columns: slice, degrees: int) -> Float32Array:
    """Sum over all functions of one delay's inputs; of several channels through Newton's identities.

    The product over the channels of 1 + sum_k t^k p_k(x) p_k(x') is what generates them. Its logarithm is a sum
    over channels, whose terms are products of one function of x and one of x': matrix products.
    """
    grams = [left[rows] @ left[columns].T for left in each.products]
    if len(each.partitions) == degrees and all(len(part) == 1 for part in each.partitions):
        return np.stack(grams)
    logarithm = np.zeros((degrees, *grams[0].shape), dtype=np.float32)
    for part, gram in zip(each.partitions, grams, strict=True):
        logarithm[sum(part) - 1] += np.float32(_log_weight(part)) * gram
    found = np.zeros_like(logarithm)
    for n in range(1, degrees + 1):
        found[n - 1] += logarithm[n - 1]
        for j in range(1, n):
            found[n - 1] += np.float32(j / n) * logarithm[j - 1] * found[n - j - 1]
    return found


def _log_weight(part: tuple[int, ...]) -> float:
    """Of a product a_k1 a_k2 ... in ln(1 + a_1 t + a_2 t^2 + ...): (-1)^(s-1) (s-1)! / prod(multiplicities!)."""
    size = len(part)
    ways = prod(factorial(part.count(k)) for k in set(part))
    sign = 1.0 if size % 2 else -1.0
    return sign * factorial(size - 1) / ways
