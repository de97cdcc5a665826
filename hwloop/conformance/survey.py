"""What responses show of noise and signal: random stimuli and their mirror images, each measured several times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import label_p_value
from hwloop.probing.stimuli import mirrored, moderate

STIMULI = 12  # and as many mirror images
REPEATS = 3
ROWS = 2 * STIMULI * REPEATS
RELABELLINGS = 2000
SIGNAL_P_VALUE = 1e-3  # p-value at which responses count as depending on the stimulus


@dataclass(frozen=True)
class ResponseSurvey:
    """Responses in the order in which they were measured.

    Attributes
    ----------
    responses
        Shape (ROWS, n_outputs).
    labels
        Which stimulus a row had: k < STIMULI for one, k + STIMULI for its mirror image. Shape (ROWS,).
    """

    stimuli: Float64Array
    responses: Float64Array
    labels: NDArray[np.int64]

    @cached_property
    def cube(self) -> Float64Array:
        """Responses by stimulus and repeat, shape (2 STIMULI, REPEATS, n_outputs)."""
        order = np.argsort(self.labels, kind="stable")
        return np.asarray(self.responses[order].reshape(2 * STIMULI, REPEATS, -1))

    @cached_property
    def span(self) -> Float64Array:
        """How far each output moves over the stimuli, never 0 where any output moves; shape (n_outputs,)."""
        medians = np.median(self.cube, axis=1)
        low, high = np.percentile(medians, [2, 98], axis=0)
        span = high - low
        typical = float(np.median(span[span > 0])) if (span > 0).any() else 1.0
        return np.where(span > 1e-6 * typical, span, typical)

    def signal_p_value(self, rng: np.random.Generator, late: int = 0) -> float:
        """Permutation test of "the response does not depend on the stimulus", ``late`` rows before.

        The statistic is the sum of squares between stimuli; random relabellings give its distribution.
        """
        # On ranks, so that neither a glitch nor an output with a large unit decides alone.
        ranks = rankdata(self.responses[late:], axis=0)
        ranks -= ranks.mean(axis=0)
        gram = ranks @ ranks.T
        labels = self.labels[: len(ranks)]

        def between(arrangement: NDArray[np.int64]) -> float:
            same = arrangement[:, None] == arrangement
            return float(gram[same].sum())

        shuffled = [between(rng.permutation(labels)) for _ in range(RELABELLINGS)]
        return label_p_value(between(labels), shuffled)

    def lags(self, rng: np.random.Generator) -> bool:
        """Whether responses depend on the row before, and not on their own."""
        return self.signal_p_value(rng, late=1) <= SIGNAL_P_VALUE < self.signal_p_value(rng)

    @cached_property
    def stale(self) -> NDArray[np.bool_]:
        """Rows whose response is that of the row before, which had another stimulus; shape (ROWS,)."""
        same = (self.responses[1:] == self.responses[:-1]).all(axis=1)
        stimulus = self.labels % STIMULI  # a mirror image may well be answered alike
        return np.concatenate([[False], same & (stimulus[1:] != stimulus[:-1])])

    @cached_property
    def step(self) -> Float64Array:
        """The smallest difference of two readings, the converter's step or less; shape (n_outputs,)."""
        differences = np.diff(np.sort(self.responses, axis=0), axis=0)
        smallest = np.where(differences > 0, differences, np.inf).min(axis=0)
        moving = np.isfinite(smallest)
        typical = float(np.median(smallest[moving])) if moving.any() else 0.0
        return np.where(moving, smallest, typical)

    @cached_property
    def glitches(self) -> NDArray[np.bool_]:
        """Rows far from both other repeats, by what is usual, and not stale; shape (2 STIMULI, REPEATS)."""
        scaled = self.cube / self.span
        distances = _distances(scaled) + np.where(np.eye(REPEATS, dtype=bool), np.inf, 0.0)
        nearest = distances.min(axis=2)
        medians = np.median(scaled, axis=1)
        apart = _distances(medians)[np.triu_indices(len(medians), 1)]
        coarse = 3 * np.linalg.norm(self.step / self.span)  # what a few steps of the converter may do
        lost = (nearest > 8 * np.median(nearest)) & (nearest > max(0.25 * np.median(apart), coarse))
        return np.asarray(lost & ~self._by_stimulus(self.stale))

    @cached_property
    def _clean(self) -> Float64Array:
        """Repeats of the stimuli of which no row was lost, shape (stimuli, REPEATS, n_outputs)."""
        clean = ~(self.glitches | self._by_stimulus(self.stale)).any(axis=1)
        return np.asarray(self.cube[clean] if clean.sum() > 2 else self.cube)

    @cached_property
    def noise(self) -> Float64Array:
        """Standard deviation of each output between repeats, lost rows aside; never 0; shape (n_outputs,).

        At least what rounding to the converter's step gives, step / sqrt(12), and a tenth of the median output's.
        """
        tenth = np.full_like(self.span, 0.1 * np.median(self._deviation))
        floors = [tenth, 1e-7 * self.span, self.step / np.sqrt(12)]
        return np.asarray(np.maximum.reduce([self._deviation, *floors]))

    @property
    def noise_of_span(self) -> float:
        """Median over the outputs of noise over span."""
        return float(np.median(self._deviation / self.span))

    @cached_property
    def farthest_repeats(self) -> float:
        """The largest distance of two repeats, as :meth:`distance` has it: what noise and drift can do."""
        scale = np.sqrt(self.noise.size) * self.noise
        return float(_distances(self._clean / scale).max())

    def distance(self, one: Float64Array, other: Float64Array) -> Float64Array:
        """Root mean square over the outputs (last axis) of the difference over the noise."""
        return np.asarray(np.linalg.norm((one - other) / self.noise, axis=-1) / np.sqrt(self.noise.size))

    @cached_property
    def _deviation(self) -> Float64Array:
        return np.asarray(np.sqrt(self._clean.var(axis=1, ddof=1).mean(axis=0)))

    def _by_stimulus(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(rows[np.argsort(self.labels, kind="stable")].reshape(2 * STIMULI, REPEATS))


def _distances(points: Float64Array) -> Float64Array:
    """Between all pairs along the last axis but one."""
    return np.asarray(np.linalg.norm(points[..., :, None, :] - points[..., None, :, :], axis=-1))


def take_survey(
    spec: DeviceSpec, rng: np.random.Generator, measure: Callable[[Float64Array], Float64Array]
) -> ResponseSurvey:
    """Measure :data:`ROWS` rows; ``measure`` sends every row in a call of its own."""
    half = moderate(spec, STIMULI, rng)
    stimuli = np.concatenate([half, mirrored(spec, half)])
    # Each repeat of the set in an order of its own, so that repeats of a stimulus are spread over time.
    labels = np.concatenate([rng.permutation(len(stimuli)) for _ in range(REPEATS)])
    return ResponseSurvey(stimuli, measure(stimuli[labels]), labels)


class Repeats:
    """Compares every response, in whatever company, with the first one to the same stimulus, bit by bit.

    Attributes
    ----------
    equal, different
        Repeats that gave the same bits, and that did not.
    largest_difference
        In the output's unit.
    """

    def __init__(self) -> None:
        self.equal = self.different = 0
        self.largest_difference = 0.0
        self._first: dict[bytes, Float64Array] = {}

    def enter(self, stimuli: Float64Array, responses: Float64Array) -> None:
        """Enter measured rows, shapes (rows, n_inputs) and (rows, n_outputs)."""
        for stimulus, response in zip(stimuli, responses, strict=True):
            first = self._first.get(stimulus.tobytes())
            if first is None:
                self._first[stimulus.tobytes()] = response.copy()
                continue
            difference = float(np.max(np.abs(first - response)))
            self.largest_difference = max(self.largest_difference, difference)
            self.equal += difference == 0
            self.different += difference != 0
