"""A device with its calibration applied: corrected readings, the recommended range and rows a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hwloop.device import Device, DeviceSpec, DeviceWrapper, RowHandling
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.devices.correction import correction


class Calibrated(DeviceWrapper):
    """Narrows the range, limits the rows a call, and turns readings back into what caused them.

    With a correction the readings are *input-referred*: in the unit of the stimuli, what a perfect instrument of
    gain 1 would have shown. Without one they stay as they are. ``hwloop calibrate`` writes the settings.

    Parameters
    ----------
    device
        The device inside, with settling and averaging already around it.
    correction
        ``{"kind": "affine", "gain": [...], "offset": [...]}`` or ``{"kind": "monotone", "readings": [[...]],
        "values": [[...]]}``; ``None`` for none.
    input_low, input_high
        A range within the device's limits, one number or one a channel; ``None`` keeps the device's. The limits of
        the device inside hold as well, whatever is given here.
    rows_per_call
        Rows that one call carries at most; ``None`` keeps the device's.
    """

    def __init__(
        self,
        device: Device,
        correction: Mapping[str, Any] | None = None,
        input_low: Any = None,
        input_high: Any = None,
        rows_per_call: int | None = None,
    ) -> None:
        super().__init__(device)
        spec = device.spec
        self._correction = _correction(correction, spec.n_outputs)
        self._low = _limit("input_low", input_low, spec.low, spec)
        self._high = _limit("input_high", input_high, spec.high, spec)
        if not (self._low < self._high).all():
            raise ValueError("input_low must lie below input_high on every channel")
        rows = None if rows_per_call is None else whole_number("rows_per_call", rows_per_call, low=1)
        self._max_rows = min((n for n in (rows, spec.max_rows) if n is not None), default=None)

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The inner spec with range, rows a call and, with a correction, the input's unit for the output too."""
        inner = self.device.spec
        unit = inner.output_unit if self._correction is None else inner.input_unit
        return replace(
            inner, input_low=self._low, input_high=self._high, max_rows=self._max_rows, output_unit=unit
        )

    @property
    def handling(self) -> RowHandling:  # type: ignore[override]
        """Rows pass as they are; a range of its own narrows the limits."""
        own = self.device.spec
        return RowHandling(narrows_limits=bool((self._low > own.low).any() or (self._high < own.high).any()))

    def _measure(self, inputs: Float64Array) -> Float64Array:
        readings = self.device.measure(inputs)
        return readings if self._correction is None else self._correction.apply(readings)


def _correction(table: Mapping[str, Any] | None, n_outputs: int) -> Any:
    found = correction(table)
    if found is not None and found.n_channels != n_outputs:
        raise ValueError(
            f"the correction is for {found.n_channels} outputs, but the device has {n_outputs}; "
            "calibrate this device again"
        )
    return found


def _limit(name: str, given: Any, own: Float64Array, spec: DeviceSpec) -> Float64Array:
    if given is None:
        return own
    try:
        limit = np.broadcast_to(np.array(given, dtype=np.float64), own.shape)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be one number, or one for each of {len(own)} inputs ({error})") from error
    outside = ~((limit >= spec.low) & (limit <= spec.high))  # also where it is NaN
    if outside.any():
        channel = int(np.argmax(outside))
        raise ValueError(
            f"{name} of channel {channel} is {limit[channel]!r}, outside the device's limits "
            f"[{spec.low[channel]!r}, {spec.high[channel]!r}]; a calibration can narrow the range only"
        )
    return limit
