"""Measures how far a device has moved since the first reference measurement, and corrects gain and offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array

# A response whose distance from the median pass is this many times the median distance, squared, was lost to a
# glitch. (Of the squares of normal numbers 2 in 10,000 lie beyond 30 times their median.)
GLITCH = 30.0
# Standard deviations that a reading of noise alone stays within, and the estimate of the noise itself: together
# well under one false alarm in 10,000 measurements.
FAR, NOISE_FAR = 4.75, 4.0
ROUNDING = 1e-9  # relative: what rounding alone may change


@dataclass(frozen=True, eq=False)
class Responses:
    """Mean responses to the reference stimuli, shape (stimuli, n_outputs), over a number of passes."""

    mean: Float64Array
    passes: int


@dataclass(frozen=True)
class Noise:
    """Noise of a response, as repeated passes show it.

    Attributes
    ----------
    power
        Mean square of the noise of one reading, in the square of the output's unit.
    freedom
        Values of one pass over the stimuli that vary independently: the participation ratio (tr S)^2 / tr S^2 of
        the noise's covariance S. Stimuli times outputs for independent and equal pixels, the number of stimuli
        or less for a common gain that jitters.
    passes
        That the estimate rests on.
    """

    power: float
    freedom: float
    passes: int

    def largest_excess(self, freedom: float, variance: float) -> float:
        """How far a mean square change may exceed the noise's share in it by chance.

        ``freedom`` counts the independent values that the mean is over. ``variance`` is the noise's share as
        estimated; both it and the mean square follow chi-squared distributions.
        """
        above = _chi_square_ratio(freedom, FAR)
        below = _chi_square_ratio((self.passes - 1) * self.freedom, -NOISE_FAR)
        return variance * (above / below - 1.0)


@dataclass(frozen=True, eq=False)
class Change:
    """Distance between two measurements of the same stimuli.

    Attributes
    ----------
    drift
        Root mean square change of the responses beyond their noise, in units of their spread over the stimuli;
        0 where noise alone may have caused it.
    noise_floor
        Drift below this cannot be told from noise.
    gain
        Common gain, by least squares; offsets of the outputs do not enter.
    decorrelation
        1 minus the correlation over the stimuli, all outputs together, noise allowed for: what no gain common to
        all outputs and no offset can explain.
    by_output
        The drift of each output, shape (n_outputs,), in units of the common spread; 0 where noise alone may
        have caused it.
    """

    drift: float
    noise_floor: float
    gain: float
    decorrelation: float
    by_output: Float64Array


def averaged(passes: Float64Array) -> Responses:
    """Mean of repeated passes, shape (passes, stimuli, n_outputs); a glitch counts as the median pass."""
    return Responses(_without_glitches(passes).mean(axis=0), len(passes))


def noise_of(passes: Float64Array) -> Noise:
    """Noise of repeated passes, shape (passes, stimuli, n_outputs), at least 3 of them; glitches do not count."""
    kept = _without_glitches(passes)
    deviations = kept - kept.mean(axis=0)
    count, stimuli, outputs = kept.shape
    powers = np.sum(np.square(deviations), axis=(0, 2)) / (count - 1)
    power = float(powers.sum()) / (stimuli * outputs)
    return Noise(power, _freedom(deviations, powers), count)


def change(base: Responses, now: Responses, noise: Noise) -> Change:
    """How far ``now`` lies from ``base``."""
    moved = np.mean(np.square(now.mean - base.mean), axis=0)
    variance = noise.power * (1 / base.passes + 1 / now.passes)
    scale = spread(base, noise)
    drift = float(np.sqrt(max(0.0, float(moved.mean()) - variance))) / scale
    floor, floor_of_one = (
        max(float(np.sqrt(noise.largest_excess(freedom, variance))) / scale, ROUNDING)
        for freedom in (noise.freedom, min(noise.freedom, len(base.mean)))
    )
    by_output = np.sqrt(np.maximum(0.0, moved - variance)) / scale
    by_output[by_output <= floor_of_one] = 0.0
    gain, correlation = _gain_and_correlation(base, now, noise)
    return Change(drift if drift > floor else 0.0, floor, gain, 1.0 - correlation, by_output)


def spread(responses: Responses, noise: Noise) -> float:
    """Standard deviation of an output over the stimuli, without its noise; the root mean square where it is 0."""
    variances = np.var(responses.mean, axis=0, ddof=1)
    signal = float(variances.mean()) - noise.power / responses.passes
    if signal <= ROUNDING * float(variances.mean()):
        signal = float(np.mean(np.square(responses.mean)))
    return float(np.sqrt(signal)) or 1.0


def _without_glitches(passes: Float64Array) -> Float64Array:
    centre = np.median(passes, axis=0)
    distance = np.mean(np.square(passes - centre), axis=2)
    # Far off both as it is and for its brightness: the noise of some devices grows with the response.
    relative = distance / np.maximum(np.mean(np.square(centre), axis=1), np.finfo(np.float64).tiny)
    kept = (distance <= GLITCH * np.median(distance)) | (relative <= GLITCH * np.median(relative))
    return np.asarray(np.where(kept[:, :, np.newaxis], passes, centre))


def _freedom(deviations: Float64Array, powers: Float64Array) -> float:
    """Participation ratio of the noise, from products of deviations in different passes of the same stimulus.

    Deviations from the mean of n passes: for normal noise of covariance S of a stimulus's outputs, the mean square
    product is a tr S^2 + (tr S)^2 / n^2 with a = (1 - 1/n)^2 + 1/n^2, and the square of the estimated tr S is
    (tr S)^2 + 2 tr S^2 / (n - 1).
    """
    count, stimuli, outputs = deviations.shape
    products = np.square(np.einsum("psm,qsm->pqs", deviations, deviations))
    mean_square = products[~np.eye(count, dtype=bool)].mean(axis=0)
    share = (1 - 1 / count) ** 2 + 1 / count**2 - 2 / (count**2 * (count - 1))
    squares = float(np.sum(mean_square - np.square(powers) / count**2)) / share
    total = float(powers.sum()) ** 2
    if total == 0.0:
        return 1.0
    return float(np.clip(total / max(squares, total / (stimuli * outputs)), 1.0, None))


def _gain_and_correlation(base: Responses, now: Responses, noise: Noise) -> tuple[float, float]:
    """Slope and correlation over the stimuli of the outputs about their means; 1 where there is no signal."""
    first, second = (part.mean - part.mean.mean(axis=0) for part in (base, now))
    freedom = (len(first) - 1) * first.shape[1] * noise.power
    own = float(np.sum(np.square(first))) - freedom / base.passes
    other = float(np.sum(np.square(second))) - freedom / now.passes
    if own <= 0.0 or other <= 0.0:
        return 1.0, 1.0
    product = float(np.sum(first * second))
    return product / own, float(np.clip(product / np.sqrt(own * other), -1.0, 1.0))


def _chi_square_ratio(degrees: float, deviations: float) -> float:
    """A chi-squared variable over its mean, so many deviations out (Wilson and Hilferty, PNAS 17, 684, 1931)."""
    step = 2.0 / (9.0 * degrees)
    return float(max(0.02, (1.0 - step + deviations * np.sqrt(step)) ** 3))


# A slope beyond these would amplify noise more than it restores.
LEAST_SLOPE, LARGEST_SLOPE = 0.2, 5.0
SURE = 4.0  # standard deviations by which an output's signal must exceed its noise to have a slope of its own
SMALLEST = 1e-30  # variance, where neither noise nor misfit gives one


@dataclass(frozen=True, eq=False)
class DriftCorrection:
    """``slope * response + offset`` for every output; both have shape (n_outputs,)."""

    slope: Float64Array
    offset: Float64Array

    def apply(self, responses: Float64Array) -> Float64Array:
        """Corrected responses of shape (rows, n_outputs); each row by itself."""
        return self.slope * responses + self.offset


def fitted_correction(first: Responses, now: Responses, noise: Noise) -> DriftCorrection:
    """The correction that takes ``now`` to ``first``, by least squares over the reference stimuli.

    The slope of each output is shrunk towards the one common to all, by its own uncertainty against the scatter
    over the outputs (empirical Bayes; Efron and Morris, JASA 68, 117, 1973): an output that the stimuli hardly
    move shares the common slope. The offset takes each output's mean to what it was.
    """
    stimuli, middle, target = len(now.mean), now.mean.mean(axis=0), first.mean.mean(axis=0)
    measured, wanted = now.mean - middle, first.mean - target
    noise_share = (stimuli - 1) * noise.power / now.passes
    signal = np.sum(np.square(measured), axis=0) - noise_share  # noise in the measured values flattens a slope
    sure = signal > np.maximum(SMALLEST, SURE * noise_share * np.sqrt(2.0 / (stimuli - 1)))
    signal = np.where(sure, signal, 1.0)
    slope = np.sum(wanted * measured, axis=0) / signal
    misfit = np.sum(np.square(wanted - slope * measured), axis=0) / max(1, stimuli - 2)
    variance = np.maximum(misfit, noise.power * (1 / first.passes + 1 / now.passes))
    slope = np.clip(_shrunk(slope, variance / signal, sure), LEAST_SLOPE, LARGEST_SLOPE)
    return DriftCorrection(slope, target - slope * middle)


def _shrunk(slopes: Float64Array, variances: Float64Array, sure: NDArray[np.bool_]) -> Float64Array:
    """Slopes pulled towards their weighted mean; those that are not sure become it, or 1 if none is."""
    if not sure.any():
        return np.ones_like(slopes)
    variances = np.maximum(variances, SMALLEST)
    weights = sure / variances
    common = float(np.sum(weights * slopes) / np.sum(weights))
    excess = weights * (np.square(slopes - common) - variances)
    scatter = max(0.0, float(np.sum(excess) / np.sum(weights)))
    share = scatter / (scatter + variances)
    return np.asarray(np.where(sure, common + share * (slopes - common), common))
