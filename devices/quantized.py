"""Coarser converters around a device: what fewer bits of DAC or ADC would cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from hwloop.device import Device, DeviceWrapper, RowHandling
from hwloop.device.converters import Converter
from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array


class Quantized(DeviceWrapper):
    """Rounds stimuli to a DAC's grid over the input limits and responses to an ADC's grid over ``adc_range``.

    A rounded stimulus never leaves the limits, and responses outside the ADC's range are clipped to it.

    Parameters
    ----------
    device
        The device inside.
    dac_bits
        Resolution of the stimuli, 1 to 24 bits over each channel's limits; ``None`` leaves them.
    adc_bits
        Resolution of the responses, 1 to 24 bits over ``adc_range``; ``None`` leaves them.
    adc_range
        (low, high) in the output's unit. It must be given with ``adc_bits``: a range learnt from responses
        would make a row's answer depend on the rows measured before it.
    """

    identity_states_settings: ClassVar[bool] = True

    def __init__(
        self,
        device: Device,
        dac_bits: int | None = None,
        adc_bits: int | None = None,
        adc_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__(device)
        spec = device.spec
        self._dac = None if dac_bits is None else Converter(dac_bits, spec.input_low, spec.input_high)
        self._adc = None if adc_bits is None else Converter(adc_bits, *_range(adc_range))
        if adc_bits is None and adc_range is not None:
            raise ValueError("adc_range is given without adc_bits; give both or neither")

    @property
    def handling(self) -> RowHandling:  # type: ignore[override]
        """With a DAC it changes stimuli."""
        return RowHandling(changes_stimuli=self._dac is not None)

    def identify(self) -> str:
        dac = "ideal" if self._dac is None else f"{self._dac.bits} bits"
        adc = "ideal" if self._adc is None else f"{self._adc.bits} bits over [{self._adc.low}, {self._adc.high}]"
        return f"Quantized({self.device.identify()}, dac={dac}, adc={adc})"

    def _measure(self, inputs: Float64Array) -> Float64Array:
        responses = self.device.measure(inputs if self._dac is None else self._dac.convert(inputs))
        return responses if self._adc is None else self._adc.convert(responses)


def _range(adc_range: Sequence[float] | None) -> tuple[float, float]:
    if adc_range is None:
        raise ValueError(
            "adc_bits needs adc_range=(low, high) in the output's unit: a range learnt from the responses "
            "would make a row's answer depend on other rows; use the range of the instrument"
        )
    if np.shape(adc_range) != (2,):
        raise ValueError(f"adc_range must be a pair (low, high), not {adc_range!r}")
    low, high = (real_number("adc_range", end) for end in adc_range)
    if low >= high:
        raise ValueError(f"adc_range must rise from low to high, not {adc_range!r}")
    return low, high
