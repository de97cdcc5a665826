"""A coherent device with an amplitude detector: ``y = |A x + c|``, ``A`` and ``c`` complex.

Interference of waves, as in a cavity at one frequency or behind a scattering medium. The phases of
``A x + c`` are not measured, so the fit is phase retrieval: alternately give the measured amplitudes the
phases of the model, and solve for ``A`` by least squares (Gerchberg and Saxton, Optik 35, 237 (1972); Fienup,
Appl. Opt. 21, 2758 (1982), "error reduction"). Nesterov's momentum makes it fast. The constant ``c`` stands
for a wave that is there without a stimulus; with a large one the affine map is a limit of the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwloop.blocks import ExactProduct
from hwloop.device.spec import Float64Array
from hwloop.twin.candidate import Candidate, Model, RidgeProjector, clipped, huber_delta
from hwloop.twin.linear import with_constant

Complex128Array = NDArray[np.complex128]

STARTS = 3
# Momentum starts afresh after this many steps, and the loss's scale is estimated anew.
CYCLE_STEPS = 20
MAX_CYCLES = 20
# A cycle that betters an output's mean absolute residual by less than this fraction is its last.
CONVERGED = 1e-4


def real_product(rows: Float64Array, matrix: Complex128Array) -> Complex128Array:
    """``rows @ matrix`` for real rows: two real products instead of a complex one."""
    product = np.empty((len(rows), matrix.shape[1]), dtype=np.complex128)
    product.real = rows @ matrix.real
    product.imag = rows @ matrix.imag
    return product


def modulus(field: Complex128Array) -> Float64Array:
    """``|field|``; numbers of a device's size need no guard against overflow, which makes it fast."""
    return np.asarray(np.sqrt(field.real * field.real + field.imag * field.imag))


@dataclass(frozen=True, eq=False)
class ModulusModel(Model):
    """``y = |x A + c|``: ``matrix`` complex (n_inputs, n_outputs), ``constant`` complex (n_outputs,)."""

    matrix: Complex128Array
    constant: Complex128Array

    def __call__(self, stimuli: Float64Array) -> Float64Array:
        """The detected amplitude."""
        real, imaginary = np.split(self._product(stimuli), 2, axis=1)
        real += self.constant.real
        imaginary += self.constant.imag
        return np.asarray(np.sqrt(real * real + imaginary * imaginary))

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Dy = Re(conj(u) du) / abs(u), u = x A + c."""
        field = real_product(stimuli, self.matrix) + self.constant
        field *= gradients / np.maximum(modulus(field), np.finfo(np.float64).tiny)
        return np.asarray(field.real @ self.matrix.real.T + field.imag @ self.matrix.imag.T)

    @cached_property
    def _product(self) -> ExactProduct:
        return ExactProduct(np.hstack([self.matrix.real, self.matrix.imag]))


class Modulus(Candidate):
    """Phase retrieval from a few starts, the best kept for each output, with Huber's loss."""

    name = "modulus"

    def fit(self, stimuli: Float64Array, responses: Float64Array, rng: np.random.Generator) -> ModulusModel:
        """Fit from the linear solution, which gives the real part, and random imaginary parts."""
        retrieval = _PhaseRetrieval(with_constant(stimuli), responses)
        linear = retrieval.project(responses)
        # The slopes' root mean square: what a random phase would leave for the imaginary part.
        size = np.sqrt(np.mean(linear[1:] ** 2, axis=0))
        best = retrieval.cycle(linear + 1j * size * rng.standard_normal(linear.shape))
        error = retrieval.error(best)
        for _ in range(STARTS - 1):
            other = retrieval.cycle(linear + 1j * size * rng.standard_normal(linear.shape))
            other_error = retrieval.error(other)
            best = np.where(other_error < error, other, best)
            error = np.minimum(other_error, error)
        weights = retrieval.refined(best, error)
        return ModulusModel(matrix=weights[1:], constant=weights[0])


class _PhaseRetrieval:
    """Accelerated error reduction for one set of rows; every output is a problem of its own."""

    def __init__(self, design: Float64Array, amplitudes: Float64Array) -> None:
        self.design = design
        self.amplitudes = amplitudes
        self.project = RidgeProjector(design)

    def error(self, weights: Complex128Array) -> Float64Array:
        """Mean absolute residual of each output, shape (n_outputs,)."""
        residuals = self.amplitudes - modulus(real_product(self.design, weights))
        return np.asarray(np.mean(np.abs(residuals), axis=0))

    def cycle(self, weights: Complex128Array) -> Complex128Array:
        """``CYCLE_STEPS`` steps with momentum (Nesterov 1983) from ``weights``, (1 + n_inputs, n_outputs)."""
        previous, ahead, inertia = weights, weights, 1.0
        delta: Float64Array | None = None
        for _ in range(CYCLE_STEPS):
            field = real_product(self.design, ahead)
            length = modulus(field)
            residuals = self.amplitudes - length
            delta = huber_delta(residuals) if delta is None else delta
            # The residual, laid along the phase that the model has at present.
            field *= 1 + clipped(residuals, delta) / np.maximum(length, np.finfo(np.float64).tiny)
            current = real_product_of(self.project, field)
            next_inertia = (1 + np.sqrt(1 + 4 * inertia**2)) / 2
            ahead = current + (inertia - 1) / next_inertia * (current - previous)
            previous, inertia = current, next_inertia
        return previous

    def refined(self, weights: Complex128Array, error: Float64Array) -> Complex128Array:
        """Cycles until no output gains from another; an output keeps the best weights that it had."""
        for _ in range(MAX_CYCLES):
            other = self.cycle(weights)
            other_error = self.error(other)
            gain = error - other_error
            weights = np.where(gain > 0, other, weights)
            error = np.minimum(error, other_error)
            if not np.any(gain > CONVERGED * error):
                break
        return weights


def real_product_of(project: RidgeProjector, field: Complex128Array) -> Complex128Array:
    """The projector applied to real and imaginary part."""
    return np.asarray(project(field.real) + 1j * project(field.imag))


# Of the largest response; the last is a detector that does not saturate.
LEVELS = (1.005, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0, math.inf)
PROBED_OUTPUTS = 8
HELD_OUT_FRACTION = 0.2
# A reading this close to the level says nothing of the intensity any more.
NEAREST = 0.995


@dataclass(frozen=True, eq=False)
class IntensityModel(Model):
    """``y = a**2 / (1 + a**2 / level)`` with the amplitudes ``a`` of ``field``."""

    field: ModulusModel
    level: float

    def __call__(self, stimuli: Float64Array) -> Float64Array:
        """The saturated intensity."""
        return detected(self.field(stimuli), self.level)

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Dy/da = 2 a / (1 + a**2 / level)**2, then that of the amplitude."""
        amplitudes = self.field(stimuli)
        slope = 2 * amplitudes / (1 + amplitudes**2 / self.level) ** 2
        return self.field.pull_back(stimuli, gradients * slope)


class Intensity(Candidate):
    """A coherent device with a square-law detector that saturates: ``y = I / (1 + I / F)``, ``I = |A x + c|**2``.

    Light on a camera. With the level F, the curve is undone, and what is left is phase retrieval on the amplitudes
    ``sqrt(I)``. F is one number for the whole device: the one, of a few multiples of the largest response, whose
    fit of a few outputs predicts held-out rows best.
    """

    name = "intensity"

    def fit(self, stimuli: Float64Array, responses: Float64Array, rng: np.random.Generator) -> IntensityModel:
        """Choose the saturation level on a few outputs, then fit all."""
        level = self._level(stimuli, responses, rng)
        return IntensityModel(Modulus().fit(stimuli, amplitudes_of(responses, level), rng), level)

    def _level(self, stimuli: Float64Array, responses: Float64Array, rng: np.random.Generator) -> float:
        largest = float(responses.max())
        if largest <= 0:
            return math.inf
        probed = responses[:, rng.permutation(responses.shape[1])[:PROBED_OUTPUTS]]
        held_out = np.arange(len(stimuli)) < max(1, round(HELD_OUT_FRACTION * len(stimuli)))
        order = rng.permutation(len(stimuli))
        fitted, tested = order[~held_out], order[held_out]

        def error(level: float) -> float:
            field = Modulus().fit(stimuli[fitted], amplitudes_of(probed[fitted], level), rng)
            return float(np.mean(np.abs(detected(field(stimuli[tested]), level) - probed[tested])))

        return min((largest * factor for factor in LEVELS), key=error)


def detected(amplitudes: Float64Array, level: float) -> Float64Array:
    """Response to amplitudes of any shape."""
    intensity = amplitudes**2
    return np.asarray(intensity / (1 + intensity / level))


def amplitudes_of(responses: Float64Array, level: float) -> Float64Array:
    """Its inverse; responses below zero count as darkness, those beyond the level as just below it."""
    within = np.clip(responses, 0.0, NEAREST * level if math.isfinite(level) else None)
    return np.asarray(np.sqrt(within / (1 - within / level)))
