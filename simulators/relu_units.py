"""Rectified linear units, one a channel: the hidden units of a digital network."""

from __future__ import annotations

import numpy as np

from hwloop.device import Device, DeviceSpec
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array

MAX_CHANNELS = 1_000_000


class ReluUnits(Device):
    """Digital stand-in for a device: y = max(0, x), channel by channel.

    No physics, no mixing, no noise, no time. Between two trained maps it makes of two stages one hidden layer of a
    network as papers have it; ``relu-layer`` mixes its channels at random before.

    Parameters
    ----------
    n_inputs
        Channels; there are as many outputs.

    Raises
    ------
    ValueError
        A number that is not allowed.
    """

    simulated = True

    reproducible = True

    def __init__(self, *, n_inputs: int = 64) -> None:
        n_inputs = whole_number("n_inputs", n_inputs, 1, MAX_CHANNELS)
        self.spec = DeviceSpec(n_inputs, n_inputs, -1.0, 1.0, deterministic=True)

    def identify(self) -> str:
        return f"ReluUnits(n_inputs={self.spec.n_inputs})"

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return np.maximum(inputs, 0.0)

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`."""
        return gradients * (stimuli > 0)
