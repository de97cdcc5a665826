"""Huber's loss by modified residuals, so that glitches in a few rows do not bend a fit.

A least-squares step on residuals that are clipped at ``delta`` never increases Huber's loss, and its normal
matrix stays the same in every step (Huber and Dutter, 1974; Huber, Robust Statistics, section 7.8).
"""

from __future__ import annotations

import numpy as np

from hwloop.device.spec import Float64Array

# At 1.345 standard deviations Huber's estimate keeps 95 % of least squares' efficiency on Gaussian noise.
HUBER_THRESHOLD = 1.345
# The standard deviation of a Gaussian over its median absolute deviation.
MAD_TO_SIGMA = 1.4826


def huber_delta(residuals: Float64Array) -> Float64Array:
    """Where Huber's loss turns linear, per output: shape (rows, n_outputs) -> (n_outputs,)."""
    scale = MAD_TO_SIGMA * np.median(np.abs(residuals), axis=0)
    # A fit without residual noise has no scale: the smallest number keeps the clipping defined.
    return np.asarray(np.maximum(HUBER_THRESHOLD * scale, np.finfo(np.float64).tiny))


def clipped(residuals: Float64Array, delta: Float64Array) -> Float64Array:
    """Residuals limited to ``delta`` on either side: the derivative of Huber's loss."""
    return np.clip(residuals, -delta, delta)


class RidgeProjector:
    """Least squares against one design matrix with many right-hand sides, solved once.

    Parameters
    ----------
    design
        Shape (rows, n_features).
    ridge
        Penalty on the squared coefficients, relative to the mean diagonal of the normal matrix. The default
        is far below what noise costs; it only keeps a design of too few rows solvable.
    """

    def __init__(self, design: Float64Array, ridge: float = 1e-6) -> None:
        normal = design.T @ design
        normal[np.diag_indices_from(normal)] += ridge * np.trace(normal) / len(normal)
        self._solution = np.linalg.solve(normal, design.T)

    def __call__(self, targets: Float64Array) -> Float64Array:
        """Coefficients of shape (n_features, n_outputs) for targets of shape (rows, n_outputs)."""
        return self._solution @ targets
