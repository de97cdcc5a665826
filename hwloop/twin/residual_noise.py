"""The noise of a twin: the residuals that the fit left on held-out rows, drawn again at random.

A row of noise is one measured row of residuals, resampled whole (the residual bootstrap; Efron and
Tibshirani, An Introduction to the Bootstrap, section 9.4). So the outputs' common jitter, the heavy tails and
the glitches come out as they were measured, and no distribution is assumed. Only the scale depends on the
response, since the gain of a detector jitters: ``sigma(y)^2 = floor^2 + (gain y)^2``, per output.

Slow drift in the measured rows appears as independent noise of the same size: order in time is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from hwloop.device.spec import Float64Array
from hwloop.twin.robust import MAD_TO_SIGMA

# Rows share one generator in chunks of this size, so that drawing many rows is fast.
CHUNK_ROWS = 256
# Squared residuals are limited to this many standard deviations in the fit of the scale, because of glitches.
GLITCH_SIGMAS = 4.0


@dataclass(frozen=True, eq=False)
class ResidualNoise:
    """Standardised residuals of measured rows, and how their scale follows the response.

    Parameters
    ----------
    standardised
        Residuals over ``sigma``, shape (held-out rows, n_outputs).
    floor
        Standard deviation at response 0, in the device's unit, shape (n_outputs,).
    gain
        Relative standard deviation at large responses, shape (n_outputs,).
    """

    standardised: Float64Array
    floor: Float64Array
    gain: Float64Array

    @classmethod
    def fitted_to(cls, predicted: Float64Array, measured: Float64Array) -> ResidualNoise:
        """Fit to predictions and measurements of held-out rows, both of shape (rows, n_outputs)."""
        residuals = measured - predicted
        limit = GLITCH_SIGMAS * MAD_TO_SIGMA * np.median(np.abs(residuals), axis=0)
        squares = np.minimum(residuals**2, limit**2)
        floor, gain = np.zeros(predicted.shape[1]), np.zeros(predicted.shape[1])
        for output, (response, square) in enumerate(zip(predicted.T, squares.T, strict=True)):
            unit = float(np.mean(square))
            level = float(np.mean(response**2))
            if unit > 0 and level > 0:
                design = np.stack([np.ones_like(response), response**2 / level], axis=1)
                variances, _ = nnls(design, square / unit)
                floor[output] = np.sqrt(variances[0] * unit)
                gain[output] = np.sqrt(variances[1] * unit / level)
            else:
                floor[output] = np.sqrt(unit)
        sigma = _sigma(floor, gain, predicted)
        # Not centred: glitches may all point one way, and their mean is no error of the other rows.
        return cls(standardised=residuals / np.where(sigma > 0, sigma, 1.0), floor=floor, gain=gain)

    def rows(self, responses: Float64Array, first_row: int, seed: int) -> Float64Array:
        """Noise for responses of shape (rows, n_outputs), the rows ``first_row``, ``first_row + 1``, ….

        The noise of row k depends on ``seed``, k and the response alone.
        """
        drawn = self._drawn_rows(first_row, len(responses), seed)
        return self.standardised[drawn] * _sigma(self.floor, self.gain, responses)

    def _drawn_rows(self, first: int, count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Which measured row each of ``count`` rows takes its residuals from."""
        chunks = range(first // CHUNK_ROWS, (first + count - 1) // CHUNK_ROWS + 1)
        drawn = [
            np.random.default_rng((seed, chunk)).integers(len(self.standardised), size=CHUNK_ROWS)
            for chunk in chunks
        ]
        start = first - chunks[0] * CHUNK_ROWS
        return np.concatenate(drawn)[start : start + count]


def _sigma(floor: Float64Array, gain: Float64Array, responses: Float64Array) -> Float64Array:
    return np.asarray(np.sqrt(floor**2 + (gain * responses) ** 2))
