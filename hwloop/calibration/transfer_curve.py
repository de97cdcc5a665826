"""From the settled response at each level: gain, offset, INL, DNL, curvature, compression, and noise beside them.

The terms are those of IEEE Std 1241-2010 and 1658-2011, with the distance between two levels in place of the code
width. Every figure is a linear map of the level means, or a ratio of two, so that its error follows from their
covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate, greatest_magnitude, stacked

ONE_DECIBEL = 1 - 10 ** (-1 / 20)  # relative shortfall at the 1 dB compression point: 10.9 %


@dataclass(frozen=True, eq=False)
class LevelMeans:
    """Settled responses of one channel at each level, with the covariance of their errors.

    Parameters
    ----------
    levels
        Stimuli, equally spaced and rising, shape (levels,).
    means, covariance
        Shapes (levels,) and (levels, levels).
    dof
        Degrees of freedom of the covariance.
    """

    levels: Float64Array
    means: Float64Array
    covariance: Float64Array
    dof: float

    @property
    def full_scale(self) -> float:
        """What the fitted line spans over the range of the stimulus, in the output's unit.

        Of a curve that turns round, so that the line spans less than half of what the means do: what those span.
        """
        slope, _ = np.polyfit(self.levels, self.means, 1)
        line = float(abs(slope) * (self.levels[-1] - self.levels[0]))
        means = float(np.ptp(self.means))
        return line if line >= means / 2 else means

    @property
    def shortfall(self) -> Float64Array:
        """Relative shortfall at every level against the line through the middle half; 0 within that half."""
        short = np.zeros(len(self.levels))
        quarter = len(short) // 4
        for index in [*range(quarter), *range(len(short) - quarter, len(short))]:
            short[index] = 1 - self.ratio(*_reach_and_expected(self.levels, index))[0]
        return short

    def errors(self, rows: Float64Array) -> Float64Array:
        """Standard errors of linear maps of the means, one a row."""
        return np.asarray(np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", rows, self.covariance, rows), 0.0)))

    def linear(self, row: Float64Array, unit: str) -> Estimate:
        """A linear map of the means."""
        return Estimate.normal(float(row @ self.means), self.errors(row[np.newaxis])[0], self.dof, unit)

    def ratio(self, above: Float64Array, below: Float64Array) -> tuple[float, float]:
        """Of two linear maps of the means, with its standard error."""
        reference = float(below @ self.means) or np.nan
        ratio = float(above @ self.means) / reference
        return ratio, self.errors(((above - ratio * below) / reference)[np.newaxis])[0]


def transfer_figures(curves: Sequence[LevelMeans], input_unit: str, output_unit: str) -> dict[str, Estimate]:
    """The figures of every channel, stacked along the first axis.

    Returns
    -------
    ``gain`` and ``offset`` of the least-squares line; ``inl`` (channel, level), ``dnl`` (channel, step),
    ``inl_max``,
    ``dnl_max``, ``inl_rms``; ``small_signal_gain``, ``quadratic`` and ``cubic`` of the cubic polynomial;
    ``compression_low`` and ``compression_high`` at the ends of the range.
    """
    per_unit = unit_of_slope(input_unit, output_unit)
    per_channel = [_channel_figures(curve, per_unit, output_unit) for curve in curves]
    return {name: stacked([figures[name] for figures in per_channel]) for name in per_channel[0]}


def unit_of_slope(input_unit: str, output_unit: str) -> str:
    """Output over input, as text."""
    return f"{output_unit or '1'}/{input_unit}" if input_unit else output_unit


def _channel_figures(curve: LevelMeans, per_unit: str, output_unit: str) -> dict[str, Estimate]:
    x, y, dof = curve.levels, curve.means, curve.dof
    line = np.linalg.pinv(np.vander(x, 2))  # slope, intercept
    slope = float(line[0] @ y)
    residual = (np.eye(len(x)) - np.vander(x, 2) @ line) / (curve.full_scale or np.nan)
    inl, inl_error = np.asarray(residual @ y), curve.errors(residual)
    differences = np.diff(np.eye(len(x)), axis=0)
    ideal = slope * (x[1] - x[0]) or np.nan
    dnl = differences @ y / ideal - 1
    dnl_error = curve.errors((differences - np.outer(1 + dnl, line[0] * (x[1] - x[0]))) / ideal)
    return {
        "gain": curve.linear(line[0], per_unit),
        "offset": curve.linear(line[1], output_unit),
        "inl": Estimate.normal(inl, inl_error, dof),
        "dnl": Estimate.normal(dnl, dnl_error, dof),
        "inl_max": greatest_magnitude(inl, inl_error, dof, ""),
        "dnl_max": greatest_magnitude(dnl, dnl_error, dof, ""),
        "inl_rms": _root_mean_square(inl, residual @ curve.covariance @ residual.T),
        **_polynomial_figures(curve, per_unit),
        **_compression(curve),
    }


def _polynomial_figures(curve: LevelMeans, per_unit: str) -> dict[str, Estimate]:
    """Slope at mid-range, and second and third order relative to it, the range scaled to [-1, 1]."""
    half = (curve.levels[-1] - curve.levels[0]) / 2
    u = (curve.levels - curve.levels.mean()) / half
    rows = np.linalg.pinv(np.vander(u, 4, increasing=True))
    orders = {
        name: Estimate.normal(*curve.ratio(rows[order], rows[1]), curve.dof)
        for name, order in (("quadratic", 2), ("cubic", 3))
    }
    return {"small_signal_gain": curve.linear(rows[1] / half, per_unit), **orders}


def _compression(curve: LevelMeans) -> dict[str, Estimate]:
    """Relative shortfall at each end, against the line through the middle half of the levels."""
    figures = {}
    for name, end in (("compression_low", 0), ("compression_high", -1)):
        ratio, error = curve.ratio(*_reach_and_expected(curve.levels, end))
        figures[name] = Estimate.normal(1 - ratio, error, curve.dof)
    return figures


def _reach_and_expected(levels: Float64Array, index: int) -> tuple[Float64Array, Float64Array]:
    """Rows that give, of the level means, the response from mid-range to a level, and the line's."""
    quarter = len(levels) // 4
    middle = slice(quarter, len(levels) - quarter)
    line = np.zeros((2, len(levels)))
    line[:, middle] = np.linalg.pinv(np.vander(levels[middle], 2))
    centre = levels.mean()
    reach = -(centre * line[0] + line[1])
    reach[index] += 1.0
    return reach, np.asarray((levels[index] - centre) * line[0])


def _root_mean_square(values: Float64Array, covariance: Float64Array) -> Estimate:
    """Root mean square of values, the noise that their covariance tells taken off, by the delta method."""
    count = len(values)
    square = max(float(np.mean(values**2) - np.trace(covariance) / count), 0.0)
    variance = 4 * float(values @ covariance @ values) / count**2 + 2 * float(np.sum(covariance**2)) / count**2
    return Estimate.root(square, 1.96 * np.sqrt(variance))


def noise_figures(noise: Estimate, inl_rms: Estimate, spans: Float64Array) -> dict[str, Estimate]:
    """``noise``, ``snr`` and ``effective_bits`` of every output.

    Parameters
    ----------
    noise
        Standard deviation of a row about the fitted response, shape (n_outputs,).
    inl_rms
        Of full scale, shape (n_outputs,).
    spans
        Full scale in the unit of the noise, shape (n_outputs,).
    """
    return {
        "noise": noise,
        "snr": signal_to_noise(noise, spans),
        "effective_bits": effective_bits(noise, inl_rms, spans),
    }


def signal_to_noise(noise: Estimate, spans: Float64Array) -> Estimate:
    """20 log10 of a full-scale sine's rms, span / (2 sqrt 2), over the noise (IEEE Std 1241-2010), in dB."""
    ratios = (_over(spans / (2 * np.sqrt(2)), end) for end in noise.ends)
    value, high, low = (
        np.where(ratio > 0, 20 * np.log10(np.where(ratio > 0, ratio, 1.0)), np.nan) for ratio in ratios
    )
    return Estimate(value, low, high, "dB")


def effective_bits(noise: Estimate, inl_rms: Estimate, spans: Float64Array) -> Estimate:
    """log2 of span / (sqrt(12) NAD) (IEEE Std 1241-2010), NAD = rms of noise and INL together.

    NAD is here that of a stimulus that visits all levels alike, instead of a sine. Its interval follows from those
    of its two parts, which are independent.
    """
    variance, distortion = noise.value**2, (inl_rms.value * spans) ** 2
    nad = np.sqrt(variance + distortion)
    reach = np.hypot((noise.high**2 - noise.low**2) / 2, (inl_rms.high**2 - inl_rms.low**2) / 2 * spans**2) / (
        2 * np.maximum(nad, 1e-300)
    )
    ratio = _over(spans, np.sqrt(12) * nad)
    value = np.where(ratio > 0, np.log2(np.where(ratio > 0, ratio, 1.0)), np.nan)
    relative = np.where(nad > 0, _over(reach, nad), 0.0) / np.log(2)
    return Estimate(value, value - relative, value + relative, "bits")


def _over(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.inf), where=denominator > 0)
