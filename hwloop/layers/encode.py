"""Features become stimuli within the device's limits, a row at once or step after step."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError, LimitError, StimulusError, TrainingDiverged
from hwloop.layers.rowwise import as_float64, exact_product, mean_in_any_order
from hwloop.layers.standardise import RESOLUTION, scaling

logger = logging.getLogger(__name__)

# One reference channel for this many data channels brings the reference field to about the strength of the
# data's own: the data fill a third of their range (root mean square), the reference all of it.
DATA_CHANNELS_A_REFERENCE = 10
# A spread of this share of the mean or less: the mean needs care.
TIGHT = 1e-9
# Features beyond this magnitude count as this large, so that no sum or product of them overflows.
LARGEST_FEATURE = 1e150


def default_reference_slots(spec: DeviceSpec) -> int:
    """Reference channels that a device needs so that a quadratic detector sees the sign of its input.

    On a device that takes both signs, |T x|^2 is blind to the sign of x; a constant in some channels makes
    the response linear in x to first order (homodyne detection). On a device that takes one sign only, the
    mean of the data sits in mid-range and serves as that constant already.
    """
    if bool(np.any(spec.low < 0)) and bool(np.any(spec.high > 0)):
        return min(spec.n_drives - 1, math.ceil(spec.n_drives / (DATA_CHANNELS_A_REFERENCE + 1)))
    return 0


class Encoder(nn.Module):
    """Maps features of shape (rows, n_features) to stimuli of shape (rows, n_inputs).

    The data fill the first channels, the reference constants the last; channels between them rest at mid-range.
    A device's nudges come after all of these and stay at 0.
    Features fit *directly* where there are no more of them than free channels; otherwise a seeded projection
    with orthonormal columns maps them down, which :attr:`is_direct` tells and the log says.

    Parameters
    ----------
    spec
        The device's channels and limits.
    reference_slots
        Channels held constant at their upper limit; ``None`` for :func:`default_reference_slots`.
    controls
        Constants in the device's unit, one a channel, sent on the channels before the reference.
    scaling_name
        ``"global"`` or ``"channel"``, see :mod:`hwloop.layers.standardise`.
    seed
        Of the projection.
    """

    mean: Tensor
    gain: Tensor
    projection: Tensor

    def __init__(
        self,
        spec: DeviceSpec,
        n_features: int,
        *,
        reference_slots: int | None = None,
        controls: tuple[float, ...] = (),
        scaling_name: str = "global",
        seed: int = 0,
    ) -> None:
        super().__init__()
        slots = default_reference_slots(spec) if reference_slots is None else reference_slots
        free = spec.n_drives - slots - len(controls)
        if slots < 0:
            raise ConfigError(f"reference_slots must not be negative, not {slots}")
        if free < 1:
            raise ConfigError(
                f"{slots} reference slots and {len(controls)} controls leave none of the device's "
                f"{spec.n_drives} inputs for data; give fewer"
            )
        self.n_features = n_features
        self.n_free = free
        self.n_data = min(n_features, free)
        self.is_direct = n_features <= free
        self._scaling = scaling(scaling_name)
        self._low, self._high = spec.low, spec.high
        self._middle = (spec.low + spec.high) / 2
        self._constants = self._middle.copy()
        self._constants[free : free + len(controls)] = controls
        check_controls(self._constants, range(free, free + len(controls)), spec)
        reference = slice(spec.n_drives - slots, spec.n_drives)
        self._constants[reference] = spec.high[reference]
        self._constants[spec.n_drives :] = 0.0
        if spec.streams:  # a row that is encoded by itself begins at rest
            self._constants[-1] = spec.high[-1]
        self.register_buffer("mean", torch.zeros(self.n_data, dtype=torch.float64))
        self.register_buffer("gain", torch.zeros(self.n_data, dtype=torch.float64))
        self.register_buffer("projection", torch.empty(0, dtype=torch.float64))
        if not self.is_direct:
            self.projection = orthogonal_projection(n_features, self.n_data, seed)
            logger.info(projection_note(n_features, free))

    def fit(self, features: Tensor) -> None:
        """Fit mean and gain on training rows, shape (rows, n_features)."""
        data = self._projected(features)
        low, high = data.amin(dim=0), data.amax(dim=0)
        # Shuffled rows must give the same stimuli to the last bit: the session knows a row by its bits.
        self.mean = mean_in_any_order(data)
        # Where the spread is so small that rounding of the mean shows beside it, the mean above the least value.
        tight = high - low <= TIGHT * self.mean.abs()
        if bool(tight.any()):
            self.mean[tight] = low[tight] + mean_in_any_order(data[:, tight] - low[tight])
        deviations = data - self.mean
        varies = high - low > RESOLUTION * torch.maximum(low.abs(), high.abs())
        full_scale = torch.where(varies, self._scaling.full_scale(deviations * varies), 0.0)
        half_range = torch.from_numpy((self._high - self._low) / 2)[: self.n_data]
        # A feature that never varied in training says nothing: it rests at mid-range, also when it varies later.
        self.gain = torch.where(full_scale > 0, half_range / full_scale.clamp_min(1 / LARGEST_FEATURE), 0.0)

    def forward(self, features: Tensor) -> Float64Array:
        """Stimuli for features of shape (rows, n_features): float64, (rows, n_inputs), within the limits."""
        stimuli = np.tile(self._constants, (len(features), 1))
        deviations = (self._projected(features) - self.mean) * self.gain
        stimuli[:, : self.n_data] = self._middle[: self.n_data] + deviations.numpy()
        return np.clip(stimuli, self._low, self._high)

    def excursions(self, features: Tensor) -> Tensor:
        """How far features (rows, n_features) lie from mid-range, (rows, n_data): beyond 1 they are clipped."""
        half_range = torch.from_numpy((self._high - self._low) / 2)[: self.n_data]
        return ((self._projected(features) - self.mean) * self.gain).abs() / half_range

    def clipped_share(self, features: Tensor) -> float:
        """Share of features (rows, n) that lie beyond the limits, of those that vary; 0 where they are mixed.

        ``n`` may be less than ``n_features``: labels are added later.
        """
        width = min(features.shape[1], self.n_features)
        varies = self.gain[:width] > 0
        if not self.is_direct or len(features) == 0 or not bool(varies.any()):
            return 0.0
        padded = torch.cat([features, features.new_zeros(len(features), self.n_features - width)], dim=1)
        return float((self.excursions(padded)[:, :width][:, varies] > 1).double().mean())

    def pull_back(self, stimuli: Float64Array, gradients: Tensor) -> Tensor:
        """Derivative by the features (rows, n_features), from that by the stimuli (rows, n_inputs).

        A channel that was clipped at a limit passes none on.
        """
        data = stimuli[:, : self.n_data]
        inside = (data > self._low[: self.n_data]) & (data < self._high[: self.n_data])
        by_data = gradients[:, : self.n_data] * self.gain * torch.from_numpy(inside)
        return by_data if self.is_direct else by_data @ self.projection.T

    def _projected(self, features: Tensor) -> Tensor:
        features = features.detach().to(torch.float64).clamp(-LARGEST_FEATURE, LARGEST_FEATURE)
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise ConfigError(
                f"the network was built for {self.n_features} features a row, "
                f"but the data have shape {tuple(features.shape)}"
            )
        if bool(features.isnan().any()):  # data are checked before they come here, so it is a map that gave them
            raise TrainingDiverged("what the stage is to encode is not a number")
        if self.is_direct:
            return features
        return exact_product(features, self.projection)


def projection_note(n_features: int, n_free: int) -> str:
    """What becomes of features that do not fit the free inputs of a device, in words; empty where they do."""
    if n_features <= n_free:
        return ""
    return (
        f"{n_features:,} features do not fit {n_free:,} free inputs: a seeded orthogonal projection maps them down"
    )


def check_controls(stimulus: Float64Array, channels: range, spec: DeviceSpec) -> None:
    """Refuse controls outside the device's limits; clipping them would set another bias than was asked for.

    Raises
    ------
    LimitError
    """
    for channel in channels:
        value, low, high = (float(a[channel]) for a in (stimulus, spec.low, spec.high))
        if not low <= value <= high:
            raise LimitError(
                f"control on channel {channel}: {value!r} is outside [{low!r}, {high!r}]; mend controls"
            )


def orthogonal_projection(n_from: int, n_to: int, seed: int) -> Tensor:
    """A random (n_from, n_to) matrix with orthonormal columns, Haar distributed (QR of a Gaussian matrix)."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, n_from, n_to]))
    q, r = np.linalg.qr(rng.standard_normal((n_from, n_to)))
    return torch.from_numpy(q * np.sign(np.diag(r)))


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
    if spec.streams:
        raise ConfigError("a device that streams takes a step a row; its inputs are no steps of a sequence")
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
