"""The one interface of every candidate for a twin, and what their fits share: scaling, and Huber's loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwloop.device.spec import Float64Array


class Model(ABC):
    """A fitted map from standardised stimuli to responses, in NumPy alone."""

    @abstractmethod
    def __call__(self, stimuli: Float64Array) -> Float64Array:
        """Responses of shape (rows, n_outputs) to standardised stimuli of shape (rows, n_inputs)."""

    @abstractmethod
    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative by standardised stimuli (rows, n_inputs), from that by the responses (rows, n_outputs)."""


class Candidate(ABC):
    """A family of models, and how one of them is fitted to measured rows."""

    name: ClassVar[str]

    @abstractmethod
    def fit(self, stimuli: Float64Array, responses: Float64Array, rng: np.random.Generator) -> Model:
        """Fit a model, robustly: a few rows in a hundred may be glitches.

        Parameters
        ----------
        stimuli
            Shape (rows, n_inputs), each channel standardised (mean 0, standard deviation 1).
        responses
            Shape (rows, n_outputs), in the device's own unit.
        rng
            The only source of randomness.
        """


@dataclass(frozen=True, eq=False)
class ColumnScaling:
    """The affine map ``(values - centre) / spread``, channel by channel; both of shape (n_channels,)."""

    centre: Float64Array
    spread: Float64Array

    @classmethod
    def fitted_to(cls, values: Float64Array) -> ColumnScaling:
        """Mean and standard deviation of each column; a column that never changes is only centred."""
        spread = values.std(axis=0)
        constant = np.ptp(values, axis=0) == 0
        return cls(centre=values.mean(axis=0), spread=np.where(constant, 1.0, spread))

    def forward(self, values: Float64Array) -> Float64Array:
        """Standardise values of shape (rows, n_channels)."""
        return (values - self.centre) / self.spread

    def inverse(self, standardised: Float64Array) -> Float64Array:
        """Undo :meth:`forward`."""
        return standardised * self.spread + self.centre


# At 1.345 standard deviations Huber's estimate keeps 95 % of least squares' efficiency on Gaussian noise.
HUBER_THRESHOLD = 1.345
# The standard deviation of a Gaussian over its median absolute deviation.
MAD_TO_SIGMA = 1.4826


# Huber's loss by modified residuals, so that glitches in a few rows do not bend a fit. A least-squares step on
# residuals that are clipped at ``delta`` never increases Huber's loss, and its normal matrix stays the same in
# every step (Huber and Dutter, 1974; Huber, Robust Statistics, section 7.8).


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
