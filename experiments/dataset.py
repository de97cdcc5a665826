"""What a dataset is: rows of features with a class each, sound enough to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features and labels, checked when the dataset is made; the arrays are read-only copies.

    Parameters
    ----------
    name
        As ``hwloop list`` shows it.
    inputs
        Features, shape (rows, features), float64, every value finite.
    labels
        Class of each row, shape (rows,), int64 from 0 to the number of classes - 1; at least two occur.
    class_names
        One name a class.
    description
        What it is, how many rows, and where it comes from.
    groups
        What rows belong together, such as the speaker, shape (rows,): a split keeps a group in one part.
    test_rows
        Row numbers of the dataset's own test set, where its authors chose one.

    Raises
    ------
    DatasetError
        Wrong shapes, a value that is not finite, labels out of range, or fewer than two classes.
    """

    name: str
    inputs: NDArray[np.float64]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    description: str = ""
    groups: NDArray[Any] | None = None
    test_rows: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        self._store("inputs", self.inputs, np.float64)
        self._store("labels", self.labels, np.int64)
        object.__setattr__(self, "class_names", tuple(self.class_names))
        rows = len(self.inputs)
        if self.inputs.ndim != 2 or self.inputs.shape[1] == 0 or self.labels.shape != (rows,):
            self._refuse(
                f"needs inputs (rows, features) and labels (rows,), not {self.inputs.shape} and "
                f"{self.labels.shape}"
            )
        bad = np.argwhere(~np.isfinite(self.inputs))
        if len(bad):
            row, feature = (int(i) for i in bad[0])
            value = self.inputs[row, feature]
            self._refuse(f"row {row}, feature {feature} is {value}; leave the row out or fill the value in")
        present = np.unique(self.labels)
        if len(present) < 2:
            self._refuse(f"has {len(present)} class of labels; a classifier needs at least two")
        if present[0] < 0 or present[-1] >= len(self.class_names):
            self._refuse(f"has labels from {present[0]} to {present[-1]} for {len(self.class_names)} classes")
        if self.groups is not None:
            self._store("groups", self.groups, None)
            if self.groups.shape != (rows,):
                self._refuse(f"has {rows} rows, but groups of shape {self.groups.shape}")
        if self.test_rows is not None:
            self._store("test_rows", self.test_rows, np.int64)
            self._check_test_rows(rows)

    def _store(self, field: str, values: Any, dtype: Any) -> None:
        try:
            copy = np.array(values, dtype=dtype)
        except (TypeError, ValueError) as error:
            self._refuse(f"has {field} that are no numbers ({error})")
        copy.flags.writeable = False
        object.__setattr__(self, field, copy)

    def _check_test_rows(self, rows: int) -> None:
        own = self.test_rows
        assert own is not None
        if own.ndim != 1 or len(np.unique(own)) != len(own) or np.any((own < 0) | (own >= rows)):
            self._refuse(f"has test rows that are no distinct row numbers from 0 to {rows - 1}")
        if self.groups is not None:
            inside = np.isin(np.arange(rows), own)
            shared = np.intersect1d(self.groups[inside], self.groups[~inside])
            if len(shared):
                self._refuse(f"has group {shared[0]!r} both in its test rows and outside of them")

    def _refuse(self, what: str) -> None:
        raise DatasetError(f"dataset {self.name!r} {what}")
