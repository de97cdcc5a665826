"""The checks at the seam: what may reach a device, and what may come back from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from hwloop.device.plain_numbers import NotPlainError, plain_numbers
from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.errors import BadReading, LimitError, StimulusError

# SCPI-99 vol. 1, 7.2.1.4 and 7.2.1.5: an instrument reports infinity as 9.9E37 and not-a-number as 9.91E37.
# The threshold lies below 9.9E37 because a float32 reading rounds it down.
SCPI_OVERFLOW = 9.89e37
CACHED_VALUES = 65_536  # copied, then checked, before the next ones: each value is fetched from memory once


def checked_stimuli(inputs: Any, spec: DeviceSpec, device: str) -> Float64Array:
    """A private float64 copy of ``inputs``, shape (rows, n_inputs), every value finite and within limits.

    The copy is what makes the check hold: nobody can alter the values between check and output.

    Raises
    ------
    StimulusError
        Wrong shape or type, a value that is not finite, or one that is masked.
    LimitError
        A value outside the device's limits; the message names row, channel, value and limit.
    """
    try:
        given = plain_numbers(inputs, spec.input_unit)
    except NotPlainError as error:
        raise StimulusError(
            f"{device}: stimuli must be real numbers, every one of them valid, but {error}; "
            f"give an array of shape (rows, {spec.n_inputs})"
        ) from error
    if given.ndim != 2 or given.shape[1] != spec.n_inputs:
        raise StimulusError(
            f"{device}: stimuli must have shape (rows, {spec.n_inputs}), one column an input channel, "
            f"but have shape {given.shape}"
        )
    stimuli = np.empty(given.shape)
    for part in _parts(stimuli):
        with np.errstate(over="ignore"):  # a longer float than ours may become infinite
            stimuli[part] = given[part]
        # A NaN fails both comparisons, so one pass finds every kind of fault.
        fine = (stimuli[part] >= spec.input_low) & (stimuli[part] <= spec.input_high)
        if not fine.all():
            _refuse(stimuli, part.start, fine, spec, device)
    return stimuli


def _refuse(
    stimuli: Float64Array, first_row: int, fine: NDArray[np.bool_], spec: DeviceSpec, device: str
) -> NoReturn:
    """Say which stimulus is not fine, of those from ``first_row`` on."""
    row, channel = _first_fault(fine, first_row)
    value = float(stimuli[row, channel])
    place = f"{device}: row {row}, channel {channel}"
    if not np.isfinite(value):
        raise StimulusError(f"{place}: the stimulus is {value}; every value must be finite")
    low, high = float(spec.low[channel]), float(spec.high[channel])
    unit = f" {spec.input_unit}" if spec.input_unit else ""
    side, limit = ("below the lower", low) if value < low else ("above the upper", high)
    raise LimitError(
        f"{place}: {value!r}{unit} lies {side} limit of {limit!r}{unit}; nothing was sent. "
        f"Keep stimuli within [{low!r}, {high!r}]{unit}."
    )


def copy_readings(reply: Any, responses: Float64Array, spec: DeviceSpec, device: str) -> None:
    """Copy the driver's reply into ``responses``, shape (rows, n_outputs), every value a real reading.

    It is a copy because a driver may answer from the same memory again.

    Raises
    ------
    BadReading
        Wrong shape or type, NaN, infinity, SCPI's 9.9E37 and 9.91E37, or a value that the reply itself marks as
        invalid: a masked array, a fill value, a quantity in another unit.
    """
    try:
        given = plain_numbers(reply, spec.output_unit)
    except NotPlainError as error:
        raise BadReading(
            f"{device}: the reply must be real numbers, every one of them a reading, but {error}; "
            "check what _measure returns"
        ) from error
    if given.shape != responses.shape:
        raise BadReading(
            f"{device}: the reply to {len(responses)} rows must have shape ({len(responses)}, {spec.n_outputs}), "
            f"but has shape {given.shape}; check spec.n_outputs and what _measure returns"
        )
    for part in _parts(responses):
        with np.errstate(over="ignore"):  # a longer float than ours may become infinite
            responses[part] = given[part]
        sound = np.abs(responses[part]) < SCPI_OVERFLOW  # False for NaN too
        if not sound.all():
            row, channel = _first_fault(sound, part.start)
            value = float(responses[row, channel])
            kind = "SCPI for an overflow or no reading" if np.isfinite(value) else "not a reading"
            raise BadReading(
                f"{device}: row {row}, output {channel} reads {value!r}, which is {kind}; "
                "check range, trigger and cabling, then measure the row again"
            )


def _parts(array: Float64Array) -> Iterator[slice]:
    """Consecutive rows that a processor's cache holds."""
    step = max(1, CACHED_VALUES // array.shape[1])
    return (slice(start, start + step) for start in range(0, len(array), step))


def _first_fault(fine: NDArray[np.bool_], first_row: int) -> tuple[int, int]:
    row, channel = (int(i) for i in np.argwhere(~fine)[0])
    return first_row + row, channel
