"""Encode a sequence: every step into its own channels of one row, all steps alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError, StimulusError
from hwloop.layers.encode import Encoder
from hwloop.layers.given import as_float64


class SequenceEncoder(Encoder):
    """Maps sequences (rows, steps * features), step after step, to stimuli (rows, n_inputs).

    A row is a sequence, and the device must carry its memory on within it: a session may split a batch, measure
    a row again or leave out one that it knows, so nothing is promised between rows. The device's channels are
    those of the first step, then those of the second, and so on. One affine map serves every step: what stands
    at another time is the same quantity. No reference channel is added by default: a device with memory has a
    bias of its own.

    Parameters
    ----------
    spec
        The device's channels, a multiple of ``steps``, with the same limits in every step.
    n_features
        Of a whole sequence, a multiple of ``steps``.
    steps
        Steps of a sequence, at least 1.
    reference_slots, scaling_name, seed
        Of one step, see :class:`hwloop.layers.Encoder`.
    """

    def __init__(
        self,
        spec: DeviceSpec,
        n_features: int,
        steps: int,
        *,
        reference_slots: int | None = None,
        scaling_name: str = "global",
        seed: int = 0,
    ) -> None:
        if n_features % steps:
            raise ConfigError(f"{n_features} features a row are no {steps} steps of equal size")
        super().__init__(
            step_spec(spec, steps),
            n_features // steps,
            reference_slots=reference_slots or 0,
            scaling_name=scaling_name,
            seed=seed,
        )
        self.steps = steps

    def fit(self, features: Tensor) -> None:
        """Fit mean and gain on the steps of all training rows, shape (rows, steps * features)."""
        super().fit(self._steps_of(features))

    def forward(self, features: Tensor) -> Float64Array:
        """Stimuli (rows, n_inputs) for sequences (rows, steps * features)."""
        steps = super().forward(self._steps_of(features))
        return np.ascontiguousarray(steps.reshape(len(features), -1))

    def excursions(self, features: Tensor) -> Tensor:
        """As of an :class:`Encoder`, a row a step."""
        return super().excursions(self._steps_of(features))

    def clipped_share(self, features: Tensor) -> float:
        """As of an :class:`Encoder`, over all steps."""
        return float((self.excursions(features)[:, self.gain > 0] > 1).double().mean())

    def _steps_of(self, features: Tensor) -> Tensor:
        expected = self.steps * self.n_features
        if features.ndim != 2 or features.shape[1] != expected:
            raise ConfigError(
                f"the network was built for {expected} features a row ({self.steps} steps of {self.n_features}), "
                f"but the data have shape {tuple(features.shape)}"
            )
        return features.detach().reshape(-1, self.n_features)


def step_spec(spec: DeviceSpec, steps: int) -> DeviceSpec:
    """Channels and limits of one step of a device that takes ``steps`` of them in a row.

    Raises
    ------
    ConfigError
        The channels are no whole number a step, or the steps have different limits.
    """
    if spec.n_nudges:
        raise ConfigError("a device with nudges settles once a row: its inputs are no steps of a sequence")
    if steps < 1 or spec.n_inputs % steps:
        raise ConfigError(
            f"the device's {spec.n_inputs} inputs are no {steps} steps of equal size; "
            "give the device as many inputs as a sequence has numbers (n_inputs), and its number of steps"
        )
    low, high = spec.low.reshape(steps, -1), spec.high.reshape(steps, -1)
    if bool(np.any(low != low[0])) or bool(np.any(high != high[0])):
        raise ConfigError(
            f"the device's limits differ between the {steps} steps of a row; one map cannot serve all"
        )
    return replace(spec, n_inputs=spec.n_inputs // steps, input_low=low[0], input_high=high[0])


def as_sequences(inputs: Float64Array | Tensor) -> Float64Array:
    """Sequences (rows, steps, features) as float64.

    Raises
    ------
    ConfigError
        Another shape.
    StimulusError
        No real numbers, or some that are not finite.
    """
    array = as_float64(inputs, "sequences")
    if array.ndim != 3 or 0 in array.shape:
        raise ConfigError(f"sequences must have shape (rows, steps, features), not {array.shape}")
    if not np.isfinite(array).all():
        row, step, value = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise StimulusError(f"row {row}, step {step}, value {value} of the sequences is {array[row, step, value]}")
    return array
