"""Arrays that a user hands over: taken as they are meant, or refused before anything is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError, StimulusError


def plain_array(values: Any, what: str) -> NDArray[Any]:
    """Anything array-like as a numpy array of its own type; a tensor may be on any device and have a gradient.

    Raises
    ------
    DatasetError
        Masked values: without their mask they would count like all others.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    if np.ma.is_masked(values):
        count = int(np.asarray(values.mask).sum())
        raise DatasetError(f"the {what} have {count} masked values; leave those rows out")
    return np.asarray(values)


def as_float64(values: Any, what: str) -> Float64Array:
    """Real numbers as a float64 array of its own, of any shape.

    Raises
    ------
    StimulusError
        Text, complex numbers, rows of different lengths, or anything else that is no table of real numbers.
    DatasetError
        Masked values.
    """
    try:
        array = plain_array(values, what)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"they are of type {array.dtype}")
    except DatasetError:
        raise
    except (TypeError, ValueError, NotImplementedError) as error:
        raise StimulusError(f"the {what} must be a table of real numbers: {error}") from error
    return np.array(array, dtype=np.float64)
