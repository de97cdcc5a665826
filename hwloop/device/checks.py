"""Checks every stimulus before it reaches a driver, and every reading that comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.errors import BadReading, LimitError, StimulusError

LARGEST_WHOLE = 2**53  # beyond it float64 does not hold every whole number
QUANTITIES = (("units", "magnitude"), ("unit", "value"))  # of Pint, of Astropy
FILLED = ("_FillValue", "missing_value")  # NetCDF's conventions, in an array's attributes


class NotPlainError(ValueError):
    """These are no real numbers, or some are marked as invalid; the message says what is wrong."""


def plain_numbers(given: Any, unit: str) -> NDArray[Any]:
    """The same values as a plain array of real numbers, not copied where they are one.

    Parameters
    ----------
    given
        An array of any library that NumPy can read, or nested lists.
    unit
        Of the values that are expected. A quantity in another one is refused: its number alone would be wrong.

    Raises
    ------
    NotPlainError
    """
    _refuse_marked(given, unit)
    try:
        array: NDArray[Any] = np.asanyarray(_held(given))
    except Exception as error:
        raise NotPlainError(f"{type(given).__name__} cannot be read as an array ({error})") from error
    if type(array) is not np.ndarray:
        _refuse_marked(array, unit)  # some bring their mask only now
        array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        held = "an array" if isinstance(given, np.ndarray) else type(given).__name__
        raise NotPlainError(f"{held} of {array.dtype} holds no real numbers")
    if array.dtype.kind in "iu" and array.dtype.itemsize > 4 and array.size:
        largest = max(-int(array.min()), int(array.max()))
        if largest > LARGEST_WHOLE:  # NaN turned into a whole number is -2**63
            raise NotPlainError(f"a whole number as large as {largest} is none that float64 can hold")
    return array


def _held(given: Any) -> Any:
    """The array in a quantity, or what one comes to that is still to be computed: NumPy would drop its mask."""
    if type(given) is np.ndarray:
        return given
    for unit_name, value_name in QUANTITIES:
        if hasattr(given, unit_name) and hasattr(given, value_name):
            return getattr(given, value_name)
    compute = getattr(given, "compute", None)
    return compute() if callable(compute) else given


def _refuse_marked(given: Any, unit: str) -> None:
    """Look at what an object says of its values beside the values."""
    if type(given) is np.ndarray or isinstance(given, int | float | np.generic):
        return
    if isinstance(given, list | tuple):
        for item in given:
            _refuse_marked(item, unit)
        return
    _refuse_masked(given)
    for unit_name, value_name in QUANTITIES:
        own, value = getattr(given, unit_name, None), getattr(given, value_name, None)
        if own is not None and value is not None and not callable(value):
            _refuse_marked(value, unit)
            if unit not in _names(own):
                raise NotPlainError(f"the {type(given).__name__} is in {own!s}, not in {unit or 'no unit'}")
    attributes = getattr(given, "attrs", None)
    if isinstance(attributes, Mapping):
        for fill in (attributes[name] for name in FILLED if name in attributes):
            marked = np.isin(np.asarray(given), np.asarray(fill))
            if marked.any():
                raise NotPlainError(
                    f"{_marked(marked)} of the {type(given).__name__} are {fill!s}, its fill value"
                )


def _refuse_masked(given: Any) -> None:
    """``mask`` says which values are invalid, ``get_mask()`` of torch.masked which are not."""
    valid = getattr(given, "get_mask", None)
    marks = getattr(given, "mask", None)
    if valid is not None and callable(valid):
        marks = ~np.asarray(valid(), dtype=bool)
    if marks is None or callable(marks):  # pandas has a method of that name, which masks
        return
    invalid = np.asarray(marks)
    if invalid.dtype.kind == "b" and invalid.any():
        raise NotPlainError(f"{_marked(invalid)} of the {type(given).__name__} are masked")


def _marked(invalid: NDArray[np.bool_]) -> str:
    first = ", ".join(str(int(i)) for i in np.argwhere(invalid)[0])
    return f"{int(invalid.sum())} of {invalid.size} values (the first at [{first}])"


def _names(unit: Any) -> set[str]:
    """What a unit may be called; Pint has a short name too, and a word for none."""
    name = str(unit)
    if hasattr(unit, "dimensionality"):
        return {name, "" if name == "dimensionless" else f"{unit:~}"}
    return {name}


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
