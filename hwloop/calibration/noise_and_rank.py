"""Noise, signal-to-noise ratio and effective bits; singular values and effective rank."""

from __future__ import annotations

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate, quantile

DRAWS, LEAST_DRAWS = 200, 8
LEFT_BIAS = 4.0
MULTIPLICATIONS = 1e10  # all draws together: some seconds; a large matrix gets fewer draws


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
