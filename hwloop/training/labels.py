"""Labels, of training and of validation rows, checked before anything is measured."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwloop.errors import DatasetError, HwloopWarning
from hwloop.layers.network import as_rows
from hwloop.layers.rowwise import plain_array

Validation = tuple[Tensor, NDArray[np.int64]]  # rows (rows, n_features) and their classes (rows,)
SHOWN = 8  # classes that a message lists
ENCODE = "encode them first: names, labels = numpy.unique(labels, return_inverse=True)"


def as_classes(labels: Any, samples: int, what: str = "labels") -> NDArray[np.int64]:
    """Whole numbers from 0, shape (samples,).

    Raises
    ------
    DatasetError
        Another shape, text, fractions, missing or negative labels.
    """
    array = plain_array(labels, what)
    if array.shape != (samples,):
        raise DatasetError(f"{what} must have shape ({samples},), one a row, but have shape {array.shape}")
    if array.dtype.kind not in "iub":
        raise DatasetError(f"{what} must be whole numbers from 0, not {_example(array)}; {ENCODE}")
    if array.size and array.min() < 0:
        row = int(np.argmin(array))
        raise DatasetError(f"{what} must be whole numbers from 0, but that of row {row} is {array[row]}; {ENCODE}")
    return array.astype(np.int64)


def as_labels(labels: Any, samples: int) -> Tensor:
    """Classes of training rows as int64, shape (samples,): from 0, at least two of them with a row.

    A class without a row keeps its place: rows of it may come later. It costs rows and room all the same, so it is
    said (:class:`hwloop.errors.HwloopWarning`); labels that skip more classes than they hold are no such numbers.

    Raises
    ------
    DatasetError
        As :func:`as_classes`; one class only; or more classes without a row than with one.
    """
    array = as_classes(labels, samples)
    present = np.unique(array)
    if len(present) < 2:
        raise DatasetError("the training rows hold one class only; there is nothing to learn")
    absent = int(present[-1]) + 1 - len(present)
    if absent > 0:
        shown = ", ".join(str(label) for label in present[:SHOWN]) + (", ..." if len(present) > SHOWN else "")
        said = f"the labels are {shown}: {absent:,} of the {absent + len(present):,} classes have no training row"
        if absent > len(present):
            raise DatasetError(f"{said}; {ENCODE}")
        warnings.warn(
            f"{said}, yet they cost rows and will not be predicted; {ENCODE}", HwloopWarning, stacklevel=4
        )
    return torch.from_numpy(array)


def as_validation(validation: Any, n_features: int, n_classes: int) -> Validation:
    """Validation rows (rows, n_features) and their classes (rows,), all among those of the training rows.

    Raises
    ------
    DatasetError
    """
    try:
        inputs, labels = validation
    except (TypeError, ValueError) as error:
        raise DatasetError("validation must be a pair of rows and labels") from error
    rows = as_rows(inputs)
    if rows.shape[1] != n_features or len(rows) == 0:
        raise DatasetError(
            f"validation rows {tuple(rows.shape)} must have shape (rows, {n_features}), with at least one row"
        )
    classes = as_classes(labels, len(rows), "validation labels")
    if classes.max() >= n_classes:
        row = int(np.argmax(classes))
        raise DatasetError(
            f"validation row {row} is of class {classes[row]}, but the training rows hold the classes 0 to "
            f"{n_classes - 1}; encode the labels of both together"
        )
    return rows, classes


def _example(array: NDArray[Any]) -> str:
    """What stands there in the place of whole numbers."""
    kinds = {"f": "floats", "U": "text", "S": "text", "c": "complex numbers", "M": "dates"}
    missing = [value is None or value != value for value in array.tolist()]
    if any(missing):
        return f"missing ({array[missing.index(True)]}, in row {missing.index(True)})"
    return f"{kinds.get(array.dtype.kind, str(array.dtype))} such as {array.tolist()[0] if array.size else ''!r}"
