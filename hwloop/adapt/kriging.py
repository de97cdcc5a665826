"""Re-training on responses interpolated between the few that were measured, by a Gaussian process."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from hwloop.adapt.retraining import PredictedRetraining
from hwloop.device.spec import Float64Array

MEAN_VARIANCE = 3.0  # of an output's mean over stimuli, in units of the responses' variance
NUGGET = 1e-4  # keeps the kernel's inverse finite where stimuli are nearly alike
LEAST_NOISE = 1e-3  # variance of a row beside the kernel, in units of the responses' variance
KEPT = (1.0, 0.9995, 0.998, 0.995, 0.99, 0.98, 0.97, 0.95, 0.92, 0.88, 0.82, 0.75, 0.65, 0.5, 0.3)
MOST_KNOTS = 3000


class KrigedKalmanFilter:
    """Responses f(x) at known stimuli, the knots, and what is not known of them, while the device moves.

    Prior: a Gaussian process with the kernel k(x, x') = exp(-|x - x'|^2 / l^2) + v, l^2 the median of the squared
    distances, the same for every output. Between two looks at the device f <- r f + sqrt(1 - r^2) g with g a new
    draw of the prior, so that the process keeps its size; r is that of :data:`KEPT` which makes the rows just
    measured likeliest. Source: Mardia et al., "The kriged Kalman filter", Test 7, 217 (1998).

    It knows nothing of the device but that like stimuli are answered alike.

    Parameters
    ----------
    stimuli, responses
        Known rows (rows, n_inputs) and (rows, n_outputs).
    noise
        Variance of a reading, in the responses' unit squared.
    rng
        Draws knots from more than :data:`MOST_KNOTS` rows.
    """

    def __init__(
        self, stimuli: Float64Array, responses: Float64Array, noise: float, rng: np.random.Generator
    ) -> None:
        chosen = np.sort(rng.permutation(len(stimuli))[:MOST_KNOTS])
        self._knots, known = stimuli[chosen], responses[chosen]
        self._mean = known.mean(axis=0)
        self._unit = float(np.sqrt(known.var(axis=0).mean())) or 1.0
        self._noise = max(LEAST_NOISE, noise / self._unit**2)
        distances = _squared_distances(self._knots, self._knots)
        self._length = float(np.median(distances)) or 1.0
        self._prior = self._kernel_of(distances)
        self._prior[np.diag_indices_from(self._prior)] += NUGGET
        self._factor = cho_factor(self._prior)
        # The update by the knots themselves in closed form: K - K (K + rI)^-1 K = r (I - r (K + rI)^-1).
        identity = np.eye(len(known))
        inverse = cho_solve(cho_factor(self._prior + self._noise * identity), identity)
        self._covariance = self._noise * (identity - self._noise * inverse)
        self._values = self._prior @ (inverse @ ((known - self._mean) / self._unit))

    def __call__(self, stimuli: Float64Array) -> Float64Array:
        """Expected responses, shape (rows, n_outputs)."""
        weights = cho_solve(self._factor, self._values)
        return np.asarray(self._mean + self._unit * (self._kernel(stimuli) @ weights))

    def next_step(self) -> None:
        """Nothing is to be done: every look finds out by itself how far the device has moved."""

    def follow(self, stimuli: Float64Array, responses: Float64Array) -> None:
        """Let the device have moved by as much as makes these rows likeliest, then learn from them."""
        kernel = self._kernel(stimuli)
        looked = cho_solve(self._factor, kernel.T).T  # the rows as combinations of the knots
        answers = (responses - self._mean) / self._unit
        expected, shared = looked @ self._values, looked @ self._covariance
        prior, now = kernel @ looked.T, shared @ looked.T
        kept = max(KEPT, key=lambda r: self._likelihood(r * r * now + (1 - r * r) * prior, answers - r * expected))
        if kept < 1:
            self._covariance *= kept**2
            self._covariance += (1 - kept**2) * self._prior
            shared = kept**2 * shared + (1 - kept**2) * kernel
        self._values *= kept
        lower = self._spread(shared @ looked.T)
        whitened = solve_triangular(lower, shared, lower=True)
        self._values += whitened.T @ solve_triangular(lower, answers - kept * expected, lower=True)
        self._covariance -= whitened.T @ whitened

    def _spread(self, covariance: Float64Array) -> Float64Array:
        """Cholesky's factor of the covariance of readings, whose noise it adds."""
        symmetric = (covariance + covariance.T) / 2
        return np.asarray(np.linalg.cholesky(symmetric + self._noise * np.eye(len(covariance))), dtype=np.float64)

    def _likelihood(self, covariance: Float64Array, surprise: Float64Array) -> float:
        """Logarithm, up to a constant, over all outputs."""
        lower = self._spread(covariance)
        whitened = solve_triangular(lower, surprise, lower=True)
        return float(-0.5 * np.sum(whitened**2) - surprise.shape[1] * np.sum(np.log(np.diag(lower))))

    def _kernel(self, stimuli: Float64Array) -> Float64Array:
        return self._kernel_of(_squared_distances(stimuli, self._knots))

    def _kernel_of(self, distances: Float64Array) -> Float64Array:
        return np.asarray(np.exp(-distances / self._length) + MEAN_VARIANCE)


def _squared_distances(rows: Float64Array, others: Float64Array) -> Float64Array:
    """Between every row and every other, shape (rows, others)."""
    squares = np.sum(rows**2, axis=1)[:, None] + np.sum(others**2, axis=1)[None, :]
    return np.asarray(np.maximum(squares - 2 * rows @ others.T, 0.0))


class Kriging(PredictedRetraining):
    """A Gaussian process over stimuli follows the device; the network is re-trained on what it expects.

    The process is :class:`hwloop.adapt.kriging.KrigedKalmanFilter`, the rest as in
    :class:`hwloop.adapt.retraining.PredictedRetraining`. It knows no physics, and so serves any device that
    answers like stimuli alike.
    """

    def follower(self, stimuli: Float64Array, responses: Float64Array, noise: float) -> KrigedKalmanFilter:
        """The process as the rows of training time leave it."""
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=self.rng)))
        return KrigedKalmanFilter(stimuli, responses, noise, rng)
