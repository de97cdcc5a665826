"""The parts of a split: rows to train on, to validate on and to test on, kept apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.tasks import LearningTask, task_of_dataset


class TableOfRows(Protocol):
    """What an experiment needs of a dataset; :class:`hwloop.experiments.dataset.Dataset` is one.

    A ``task`` (:class:`hwloop.tasks.LearningTask`) says what its labels are; without one they are classes, with a
    name each in ``class_names``. It may have a ``preparation``, ``notes`` and a ``source``.
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


class FeaturePreparation(Protocol):
    """What makes features of a table's columns (:class:`hwloop.experiments.own_data.prepared.Preparation`)."""

    def fitted(self, table: Float64Array) -> Self:
        """As the training rows (rows, columns) show it."""

    def features(self, table: Float64Array) -> Float64Array:
        """Features (rows, n_features), all finite."""

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""


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
    """Rows with their targets: inputs (rows, features), targets (rows,).

    ``groups`` (rows,) says what rows belong together, where the dataset does: they are held out together.
    """

    inputs: Float64Array
    targets: NDArray[Any]
    groups: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def taken(self, rows: NDArray[np.int64]) -> Samples:
        """Some of them, by number."""
        groups = None if self.groups is None else self.groups[rows]
        return Samples(self.inputs[rows], self.targets[rows], groups)


@dataclass(frozen=True, eq=False)
class Partition:
    """A dataset as one seed splits it.

    Attributes
    ----------
    preparation
        What made the features, as the training rows fitted it; ``None`` where the dataset holds features.
    notes
        What was chosen for the user when the data were read, in words.
    own_test_rows
        Whether the test rows are the dataset's choice, or the last of a series in time, and no seed's.
    """

    seed: int
    train: Samples
    validation: Samples | None
    test: Samples
    task: LearningTask
    preparation: FeaturePreparation | None = None
    notes: tuple[str, ...] = ()
    own_test_rows: bool = False

    @classmethod
    def of_rows(
        cls,
        dataset: TableOfRows,
        seed: int,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        test: NDArray[np.int64],
    ) -> Self:
        """The parts of a dataset by row numbers; whatever is fitted to prepare them sees training rows alone."""
        preparation: FeaturePreparation | None = getattr(dataset, "preparation", None)
        inputs = dataset.inputs
        if preparation is not None:
            preparation = preparation.fitted(inputs[train])
            inputs = preparation.features(inputs)
        every = Samples(inputs, dataset.labels, getattr(dataset, "groups", None))
        return cls(
            seed,
            every.taken(train),
            every.taken(validation) if len(validation) else None,
            every.taken(test),
            task_of_dataset(dataset).fitted_to(dataset.labels[train]),
            preparation,
            tuple(getattr(dataset, "notes", ())),
            getattr(dataset, "test_rows", None) is not None or task_of_dataset(dataset).in_time,
        )

    @property
    def fit_options(self) -> dict[str, Any]:
        """What a trainer's ``fit`` must be told beside the training rows; a third party's may not know of it."""
        return self.task.options_for(self.train.targets)

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
    data = Partition.of_rows(dataset, seed, rows.train, rows.validation, rows.test)
    if reason := data.task.reason_not_to_score(data.test.targets):
        raise DatasetError(
            f"{dataset.name}: the test targets of seed {seed} are {reason} ({len(data.test)} rows); take a larger "
            "test part"
        )
    return data


def digest_of(dataset: TableOfRows) -> str:
    """SHA-256 of what a run learns from: inputs, targets, groups, test rows and names of classes."""
    digest = hashlib.sha256()
    parts = (dataset.inputs, dataset.labels, getattr(dataset, "groups", None), getattr(dataset, "test_rows", None))
    for part in (*parts, list(task_of_dataset(dataset).class_names)):
        array = np.asarray([] if part is None else part)
        digest.update(f"{array.dtype.kind} {array.shape};".encode())
        if array.dtype.kind in "biufc":
            digest.update(np.ascontiguousarray(array).tobytes())
        else:
            digest.update(json.dumps([str(value) for value in array.ravel()]).encode())
    return digest.hexdigest()
