"""Null physics: what a network must beat before its accuracy says anything about the device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device import Device, DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream


class _NullPhysics(Device):
    """Takes the place of a device: the same channels and limits, no physics, no noise, no time."""

    simulated = True

    reproducible = True

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = replace(spec, output_unit="", max_rows=None, row_seconds=None, deterministic=True)


class Zeros(_NullPhysics):
    """Answers zero on every output: what a network knows without its device.

    Parameters
    ----------
    spec
        Of the device whose place it takes.
    """

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return np.zeros((len(inputs), self.spec.n_outputs))

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`: nothing depends on the stimuli."""
        return np.zeros_like(stimuli)


class RandomFeatures(_NullPhysics):
    r"""Answers max(0, A x + b) with A and b Gaussian, drawn once: what random digital features are worth.

    x is the stimulus with its limits at -1 and 1. Entries of A have variance 5 / n_inputs and those of b 1/4, as
    of :class:`hwloop.simulators.relu_layer.ReluLayer`: A x has about unit variance. Random features with a trained
    readout are a random-features model (Rahimi and Recht 2008), an extreme learning machine (Huang et al. 2006).
    A row's result is the same to the last bit in every batch.

    Parameters
    ----------
    spec
        Of the device whose place it takes.
    seed
        Draws A and b.
    """

    def __init__(self, spec: DeviceSpec, seed: int = 0) -> None:
        super().__init__(spec)
        self._stream = NoiseStream(seed, "random-features")
        rng = self._stream.at_row(0)
        self._middle, self._half_range = (spec.high + spec.low) / 2, (spec.high - spec.low) / 2
        self.weight = rng.standard_normal((spec.n_outputs, spec.n_inputs)) * np.sqrt(5.0 / spec.n_inputs)
        self.bias = 0.5 * rng.standard_normal(spec.n_outputs)
        self._product = ExactProduct(self.weight.T)

    def identify(self) -> str:
        return f"RandomFeatures(seed={self._stream.seed})"

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return np.maximum(self._product((inputs - self._middle) / self._half_range) + self.bias, 0.0)

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`."""
        active = ((stimuli - self._middle) / self._half_range) @ self.weight.T + self.bias > 0
        return np.asarray((gradients * active) @ self.weight / self._half_range)


class LinearProjection(_NullPhysics):
    """Answers a seeded linear projection of the stimulus to as many outputs: what width alone is worth.

    The projection has orthonormal columns (rows, if there are fewer outputs than inputs), so it loses nothing
    that fits: with n_outputs >= n_inputs it is an isometry, to float32's accuracy. A row's result is the same
    to the last bit in every batch.

    Parameters
    ----------
    spec
        Of the device whose place it takes.
    seed
        Draws the projection.
    """

    def __init__(self, spec: DeviceSpec, seed: int = 0) -> None:
        super().__init__(spec)
        self._stream = NoiseStream(seed, "linear-projection")
        large, small = max(spec.n_inputs, spec.n_outputs), min(spec.n_inputs, spec.n_outputs)
        orthonormal, _ = np.linalg.qr(self._stream.at_row(0).standard_normal((large, small)))
        self.projection = orthonormal if spec.n_outputs == large else orthonormal.T  # (n_outputs, n_inputs)
        self._project = ExactProduct(self.projection.T)

    def identify(self) -> str:
        return f"LinearProjection(seed={self._stream.seed})"

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return self._project(inputs)

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`."""
        return np.asarray(gradients @ self.projection)
