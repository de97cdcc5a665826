"""The parts of a split: rows to train on, to validate on and to test on, kept apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.tasks import LearningTask, task_of_dataset


class TableOfRows(Protocol):
    """What an experiment needs of a dataset; :class:`hwloop.experiments.dataset.Dataset` is one.

    A ``task`` (:class:`hwloop.tasks.LearningTask`) says what its labels are; without one they are classes, with a
    name each in ``class_names``.
    """

    @property
    def name(self) -> str:
        """As ``hwloop list`` shows it."""

    @property
    def inputs(self) -> Float64Array:
        """Features, shape (rows, features)."""

    @property
    def labels(self) -> NDArray[Any]:
        """Targets as the task has them, shape (rows,)."""


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
class Samples:
    """Rows with their targets: inputs (rows, features), targets (rows,)."""

    inputs: Float64Array
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.targets)

    def taken(self, rows: NDArray[np.int64]) -> Samples:
        """Some of them, by number."""
        return Samples(self.inputs[rows], self.targets[rows])


@dataclass(frozen=True, eq=False)
class Partition:
    """A dataset as one seed splits it."""

    seed: int
    train: Samples
    validation: Samples | None
    test: Samples
    task: LearningTask

    @property
    def n_features(self) -> int:
        """Features of an input row."""
        return int(self.train.inputs.shape[1])


def partition(dataset: TableOfRows, seed: int, split: Splitter, test: float, validation: float) -> Partition:
    """Split a dataset with a seed.

    Raises
    ------
    DatasetError
        No row is left to test on, so nothing could be reported.
    """
    rows = split(dataset, seed, test, validation)
    if len(rows.test) == 0:
        raise DatasetError(f"{dataset.name}: the split leaves no test rows; give split.test a fraction above 0")
    task = task_of_dataset(dataset)
    every = Samples(dataset.inputs, dataset.labels)
    held_out = every.taken(rows.validation) if len(rows.validation) else None
    train, test_rows = every.taken(rows.train), every.taken(rows.test)
    if reason := task.reason_not_to_score(test_rows.targets):
        raise DatasetError(
            f"{dataset.name}: the test targets of seed {seed} are {reason} ({len(test_rows)} rows); take a larger "
            "test part"
        )
    return Partition(seed, train, held_out, test_rows, task.fitted_to(train.targets))
