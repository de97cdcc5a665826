"""Time series and their targets as arrays, one series or many."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError
from hwloop.layers.rowwise import as_float64

Series = NDArray[np.float64]


def plain_values(values: Any) -> Any:
    """A frame's values; everything else as it is."""
    return values.to_numpy() if hasattr(values, "to_numpy") else values


def as_series(values: Any, what: str) -> tuple[Series, bool]:
    """Series (rows, steps, features), every value finite, and whether several were given.

    Raises
    ------
    DatasetError
    """
    try:
        array = as_float64(plain_values(values), what)
    except DatasetError:
        raise
    except ValueError as error:
        raise DatasetError(f"{error}; several series must have equal lengths") from error
    many = array.ndim == 3
    if array.ndim in (1, 2):
        array = array.reshape(1, len(array), -1) if array.size else array
    if array.ndim != 3 or 0 in array.shape or array.shape[1] < 2:
        raise DatasetError(
            f"{what} must have shape (steps,), (steps, features) or (rows, steps, features), with two steps or "
            f"more, not {np.shape(plain_values(values))}"
        )
    if not np.isfinite(array).all():
        row, step, value = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
        where = f"row {row}, step {step}, value {value}" if many else f"step {step}, value {value}"
        raise DatasetError(f"{where} of the {what} is {array[row, step, value]}; fill it in or leave the step out")
    return array, many


def as_targets(values: Any, series: Series, many: bool) -> tuple[Series, bool]:
    """Targets (rows, steps, values), and whether the values had an axis of their own.

    Raises
    ------
    DatasetError
    """
    array = np.asarray(plain_values(values))
    rows, steps = series.shape[:2]
    leading = (rows, steps) if many else (steps,)
    if array.shape[: len(leading)] != leading or array.ndim - len(leading) not in (0, 1) or array.size == 0:
        shape = ", ".join(map(str, leading))
        raise DatasetError(f"targets must have shape ({shape},) or ({shape}, values), not {array.shape}")
    found, _ = as_series(array.reshape(rows, steps, -1), "targets")
    return found, array.ndim > len(leading)
