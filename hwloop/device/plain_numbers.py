"""Numbers out of whatever holds them, and never one that its holder marks as invalid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
