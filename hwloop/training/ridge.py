"""Ridge regression in closed form, its strength by exact leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from hwloop.device.spec import Float64Array

STRENGTHS = np.logspace(-3, 5, 33)


@dataclass(frozen=True)
class Ridge:
    """Coefficients (features, targets), intercepts (targets,), chosen strength and leave-one-out error."""

    weight: Float64Array
    bias: Float64Array
    strength: float
    leave_one_out_error: float


def fit_ridge(features: Float64Array, targets: Float64Array, strengths: Float64Array = STRENGTHS) -> Ridge:
    """Minimise |F w + b - y|^2 + strength |w|^2, with the strength of the least leave-one-out error.

    One eigendecomposition of the smaller Gram matrix serves every strength: with F = U S V^T (centred), the
    hat matrix is U diag(s^2 / (s^2 + strength)) U^T + 1/n, and a row's leave-one-out residual is its residual
    over one minus its leverage (Golub, Heath and Wahba, Technometrics 21, 215, 1979).

    Parameters
    ----------
    features
        Shape (rows, features).
    targets
        Shape (rows, targets).
    """
    rows = len(features)
    centre, mean = features.mean(axis=0), targets.mean(axis=0)
    f, y = features - centre, targets - mean
    left, singular, right = _thin_svd(f)
    projected = left.T @ y
    best: tuple[float, float] | None = None
    for strength in strengths:
        kept = singular**2 / (singular**2 + strength)
        residuals = y - left @ (kept[:, None] * projected)
        leverage = np.square(left) @ kept + 1.0 / rows
        error = float(np.mean(np.square(residuals / np.maximum(1.0 - leverage, 1e-9)[:, None])))
        if best is None or error < best[0]:
            best = (error, float(strength))
    assert best is not None
    weight = right @ ((singular / (singular**2 + best[1]))[:, None] * projected)
    return Ridge(weight, mean - centre @ weight, best[1], best[0])


def _thin_svd(f: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """U (rows, r), s (r,), V (features, r) by the smaller Gram matrix, without its null space."""
    tall = f.shape[0] >= f.shape[1]
    values, vectors = eigh(f.T @ f if tall else f @ f.T)
    keep = values > max(values[-1], 0.0) * 1e-12
    singular, vectors = np.sqrt(values[keep]), vectors[:, keep]
    other = (f @ vectors if tall else f.T @ vectors) / singular
    return (other, singular, vectors) if tall else (vectors, singular, other)
