"""What is wrong with a nearly linear instrument, channel by channel: drawn by a seed, or given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream

# Lowest and highest value of each setting.
LIMITS = {
    "gain": (-1e12, 1e12),
    "offset": (-1e12, 1e12),
    "cubic": (-0.33, 10.0),  # below -1/3 the curve turns round within the range
    "noise": (0.0, 1e12),
    "time_constant": (0.0, 1e6),
    "memory": (0.0, 0.5),
    "crosstalk": (-1.0, 1.0),
    "gain_drift_per_row": (-1.0, 1.0),
    "offset_drift_per_row": (-1e12, 1e12),
}


@dataclass(frozen=True, eq=False)
class InstrumentFaults:
    """One number a channel, each of shape (n_channels,); ``crosstalk`` of shape (n_channels, n_channels).

    Units and meaning are those of :class:`hwloop.simulators.linear_instrument.LinearInstrument`.
    """

    gain: Float64Array
    offset: Float64Array
    cubic: Float64Array
    noise: Float64Array
    time_constant: Float64Array
    memory: Float64Array
    crosstalk: Float64Array
    gain_drift_per_row: Float64Array
    offset_drift_per_row: Float64Array

    @property
    def mixing(self) -> Float64Array:
        """K: what each output (row) gets of each channel's signal (column); 1 on the diagonal."""
        mixing = self.crosstalk.copy()
        np.fill_diagonal(mixing, 1.0)
        return mixing

    def replaced(self, given: Mapping[str, Any], n_channels: int) -> Self:
        """A copy with the values that are not ``None``, broadcast to the channels.

        Raises
        ------
        ValueError
            A value of another shape, not finite, or out of :data:`LIMITS`.
        """
        values = {
            name: _channel_values(name, value, getattr(self, name).shape)
            for name, value in given.items()
            if value is not None
        }
        return replace(self, **values)


def drawn_faults(n_channels: int, seed: int) -> InstrumentFaults:
    """Faults as an honest laboratory instrument of some volts has them, uniformly distributed.

    Gain 0.8 to 1.2, offset -50 to 50 mV, cubic -5 to 5 %, noise 1 to 4 mV, time constant 0.3 to 0.8 ms (4 to 29 %
    of a step is left after a hold of 1 ms), memory 0.5 to 5 %, cross-talk -1 to 1 %, gain drift -2 to 2 in a
    million rows, offset drift -1 to 1 microvolt a row.
    """
    rng = NoiseStream(seed, "linear-instrument/faults").at_row(0)

    def uniform(low: float, high: float) -> Float64Array:
        return rng.uniform(low, high, n_channels)

    return InstrumentFaults(
        gain=uniform(0.8, 1.2),
        offset=uniform(-0.05, 0.05),
        cubic=uniform(-0.05, 0.05),
        noise=uniform(1e-3, 4e-3),
        time_constant=uniform(3e-4, 8e-4),
        memory=uniform(0.005, 0.05),
        gain_drift_per_row=uniform(-2e-6, 2e-6),
        offset_drift_per_row=uniform(-1e-6, 1e-6),
        crosstalk=rng.uniform(-0.01, 0.01, (n_channels, n_channels)),
    )


def _channel_values(name: str, value: Any, shape: tuple[int, ...]) -> Float64Array:
    if np.ndim(value) == 0:
        values = np.full(shape, real_number(name, value, *LIMITS[name]))
    else:
        numbers = np.array(value, dtype=np.float64)
        if numbers.shape != shape:
            raise ValueError(f"{name} must be one number or have shape {shape}, not {numbers.shape}")
        values = np.array([real_number(name, number, *LIMITS[name]) for number in numbers.ravel()]).reshape(shape)
    return values
