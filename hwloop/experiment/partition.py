"""The parts of a split: rows to train on, to validate on and to test on, kept apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError


class LabelledDataset(Protocol):
    """What an experiment needs of a dataset; :class:`hwloop.experiments.dataset.Dataset` is one."""

    @property
    def name(self) -> str:
        """As ``hwloop list`` shows it."""

    @property
    def inputs(self) -> Float64Array:
        """Features, shape (rows, features)."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Classes from 0, shape (rows,)."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class."""


class SplitRows(Protocol):
    """Row numbers of the three parts."""

    @property
    def train(self) -> NDArray[np.int64]:
        """Rows to train on."""

    @property
    def validation(self) -> NDArray[np.int64]:
        """Rows to choose settings on; may be empty."""

    @property
    def test(self) -> NDArray[np.int64]:
        """Rows to report on."""


# split(dataset, seed, test fraction, validation fraction)
Splitter = Callable[..., SplitRows]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows with their labels: inputs (rows, features), labels (rows,)."""

    inputs: Float64Array
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Partition:
    """A dataset as one seed splits it."""

    seed: int
    train: Labelled
    validation: Labelled | None
    test: Labelled
    class_names: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def n_features(self) -> int:
        """Features of an input row."""
        return int(self.train.inputs.shape[1])


def partition(dataset: LabelledDataset, seed: int, split: Splitter, test: float, validation: float) -> Partition:
    """Split a dataset with a seed.

    Raises
    ------
    DatasetError
        No row is left to test on, so no accuracy could be reported.
    """
    rows = split(dataset, seed, test, validation)
    if len(rows.test) == 0:
        raise DatasetError(f"{dataset.name}: the split leaves no test rows; give split.test a fraction above 0")
    parts = [
        Labelled(dataset.inputs[part], dataset.labels[part]) for part in (rows.train, rows.validation, rows.test)
    ]
    return Partition(seed, parts[0], parts[1] if len(parts[1]) else None, parts[2], tuple(dataset.class_names))
