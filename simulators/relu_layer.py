"""A random layer of rectified linear units: what a digital network has in a physical one's place."""

from __future__ import annotations

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device import Device, DeviceSpec
from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream

MAX_CHANNELS = 1_000_000


class ReluLayer(Device):
    r"""Digital stand-in for a device: y = max(0, A x + b), A and b Gaussian, drawn once.

    No physics, no noise, no time. Published figures of backprop-free trainers are of networks of such units, so
    this is the device to compare a trainer with its paper on, and a substrate with none.

    With x in [-1, 1], entries of A have variance 5 / n_inputs, so that A x has variance 1 for stimuli that fill a
    third of their range with some references at its end (mean square 1/5); b has the standard deviation ``bias``.
    A row's response is the same to the last bit in every batch.

    Parameters
    ----------
    n_inputs, n_outputs
        Channels.
    bias
        Standard deviation of b, in that of A x.
    seed
        Draws A and b.

    Raises
    ------
    ValueError
        A setting that is not allowed.
    """

    simulated = True

    reproducible = True

    def __init__(self, *, n_inputs: int = 64, n_outputs: int = 200, bias: float = 0.5, seed: int = 0) -> None:
        n_inputs = whole_number("n_inputs", n_inputs, 1, MAX_CHANNELS)
        n_outputs = whole_number("n_outputs", n_outputs, 1, MAX_CHANNELS)
        self._bias_std = real_number("bias", bias, low=0.0, high=1e6)
        self._stream = NoiseStream(seed, "relu-layer")
        rng = self._stream.at_row(0)
        self.weight = rng.standard_normal((n_outputs, n_inputs)) * np.sqrt(5.0 / n_inputs)
        self.bias = self._bias_std * rng.standard_normal(n_outputs)
        self._product = ExactProduct(self.weight.T)
        self.spec = DeviceSpec(n_inputs, n_outputs, -1.0, 1.0, deterministic=True)

    def identify(self) -> str:
        shape = f"n_inputs={self.spec.n_inputs}, n_outputs={self.spec.n_outputs}"
        return f"ReluLayer({shape}, bias={self._bias_std!r}, seed={self._stream.seed})"

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return np.maximum(self._product(inputs) + self.bias, 0.0)

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`."""
        active = stimuli @ self.weight.T + self.bias > 0
        return np.asarray((gradients * active) @ self.weight)
