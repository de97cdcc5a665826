"""An affine device: ``y = A x + b``, by ridge regression with Huber's loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device.spec import Float64Array
from hwloop.twin.candidate import Candidate, Model, RidgeProjector, clipped, huber_delta

STEPS = 20


def with_constant(stimuli: Float64Array) -> Float64Array:
    """Stimuli with a leading column of ones: shape (rows, 1 + n_inputs)."""
    return np.concatenate([np.ones((len(stimuli), 1)), stimuli], axis=1)


@dataclass(frozen=True, eq=False)
class AffineModel(Model):
    """``y = x A + b``: ``matrix`` of shape (n_inputs, n_outputs), ``offset`` of shape (n_outputs,)."""

    matrix: Float64Array
    offset: Float64Array

    def __call__(self, stimuli: Float64Array) -> Float64Array:
        """The affine response."""
        return self._product(stimuli) + self.offset

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        return np.asarray(gradients @ self.matrix.T)

    @cached_property
    def _product(self) -> ExactProduct:
        return ExactProduct(self.matrix)


class AffineCandidate(Candidate):
    """AffineCandidate map by least squares on clipped residuals."""

    name = "linear"

    def fit(self, stimuli: Float64Array, responses: Float64Array, rng: np.random.Generator) -> AffineModel:
        """Fit by modified residuals; draws nothing from ``rng``."""
        design = with_constant(stimuli)
        project = RidgeProjector(design)
        weights = project(responses)
        for _ in range(STEPS):
            predicted = design @ weights
            residuals = responses - predicted
            weights = project(predicted + clipped(residuals, huber_delta(residuals)))
        return AffineModel(matrix=weights[1:], offset=weights[0])
