"""What a dataset is, sound enough to train on, and how its rows are split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import ConfigError, DatasetError
from hwloop.tasks import LearningTask, task_of_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwloop.experiments.own_data.prepared import Preparation


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features and targets, checked when the dataset is made; the arrays are read-only copies.

    Parameters
    ----------
    name
        As ``hwloop list`` shows it.
    inputs
        Features, shape (rows, features), float64, every value finite.
    labels
        The targets, by the name that those of a classification have: the class of each row, shape (rows,), int64
        from 0 to the number of classes - 1; at least two occur.
    class_names
        One name a class; not needed where ``task`` says what is learned.
    description
        What it is, how many rows, and where it comes from.
    groups
        What rows belong together, such as the speaker, shape (rows,): a split keeps a group in one part.
    test_rows
        Row numbers of the dataset's own test set, where its authors chose one.
    task
        What is learned, such as ``hwloop.tasks.Regression()``; by default a classification of ``class_names``.
    targets
        As the task has them, in place of ``labels``; whichever is given, both names give them.
    preparation
        What makes features of ``inputs``, fitted on training rows; then a value may be missing (NaN). Without it
        ``inputs`` are the features.
    notes
        What was chosen for the user when the data were read, in words: shown before the first row and reported.
    source
        The same for the entries of ``[dataset]``: target, task, checksums.

    Raises
    ------
    DatasetError
        Wrong shapes, a value that is not finite, or targets that the task cannot learn: labels out of range,
        fewer than two classes.
    """

    name: str
    inputs: NDArray[np.float64]
    labels: NDArray[Any] = None  # type: ignore[assignment]  # targets may be given in its place
    class_names: tuple[str, ...] = ()
    description: str = ""
    groups: NDArray[Any] | None = None
    test_rows: NDArray[np.int64] | None = None
    task: LearningTask = None  # type: ignore[assignment]  # a classification of the class names
    targets: NDArray[Any] = None  # type: ignore[assignment]
    preparation: Preparation | None = None
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] | None = None
    _stored: NDArray[Any] | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "task", task_of_dataset(self))
        self._store("inputs", self.inputs, np.float64)
        self._store_targets()
        rows = len(self.inputs)
        dims = self.task.target_dims
        if self.inputs.ndim != 2 or self.inputs.shape[1] == 0:
            self._refuse(f"needs inputs (rows, features), not {self.inputs.shape}")
        if self.labels.ndim not in dims or len(self.labels) != rows:
            wanted = " or ".join(("(rows,)", "(rows, targets)")[dim - 1] for dim in dims)
            self._refuse(f"has inputs {self.inputs.shape} and needs targets {wanted}, not {self.labels.shape}")
        bad = np.argwhere(np.isinf(self.inputs) if self.preparation else ~np.isfinite(self.inputs))
        if len(bad):
            row, feature = (int(i) for i in bad[0])
            value = self.inputs[row, feature]
            self._refuse(f"row {row}, feature {feature} is {value}; leave the row out or fill the value in")
        if reason := self.task.reason_against(self.labels):
            self._refuse(reason)
        object.__setattr__(self, "task", self.task.sized(self.labels))
        if self.groups is not None:
            self._store("groups", self.groups, None)
            if self.groups.shape != (rows,):
                self._refuse(f"has {rows} rows, but groups of shape {self.groups.shape}")
        if self.test_rows is not None:
            self._store("test_rows", self.test_rows, np.int64)
            self._check_test_rows(rows)

    def _store_targets(self) -> None:
        # dataclasses.replace gives both; what it took from the dataset replaced is no choice of the caller's.
        given = [value for value in (self.labels, self.targets) if value is not None and value is not self._stored]
        if len(given) == 2 and given[0] is not given[1]:
            self._refuse("has labels and targets; the two are one: give either")
        if not given and self._stored is None:
            self._refuse("has no targets")
        self._store("labels", given[0] if given else self._stored, self.task.target_dtype)
        object.__setattr__(self, "targets", self.labels)
        object.__setattr__(self, "_stored", self.labels)

    def _store(self, name: str, values: Any, dtype: Any) -> None:
        try:
            copy = np.array(values, dtype=dtype)
        except (TypeError, ValueError) as error:
            self._refuse(f"has {name} that are no numbers ({error})")
        copy.flags.writeable = False
        object.__setattr__(self, name, copy)

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


Rows = NDArray[np.int64]

# Random choices of whole groups, of which the one with the most even classes is taken.
GROUP_DRAWS = 64


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the three parts, each sorted; no row is in two parts."""

    train: Rows
    validation: Rows
    test: Rows


def split(dataset: Dataset, seed: int, test: float = 0.25, validation: float = 0.0) -> Split:
    """Split a dataset at random: by class, or by group where it has groups; one in time into stretches.

    Rows that are stretches of one series (``task.in_time``) stay in their order: training rows come first, then
    validation rows, then test rows. The washout of a part's first row lies between it and the part before.

    Parameters
    ----------
    dataset
        What to split. Where it has test rows of its own, those are the test part, whatever ``test`` says.
        Where it has groups (speakers), no group is in two parts, and each class is in every part if possible.
    seed
        The same seed gives the same split.
    test, validation
        Fractions of all rows, in [0, 1); at least one row is left to train on.

    Raises
    ------
    ConfigError
        The fractions are out of range.
    DatasetError
        No row, or only one class, would be left to train on.
    """
    for name, fraction in (("test", test), ("validation", validation)):
        if not 0 <= fraction < 1:
            raise ConfigError(f"the {name} fraction must be in [0, 1), not {fraction!r}")
    if test + validation >= 1:
        raise ConfigError(f"test ({test}) and validation ({validation}) together leave nothing to train on")
    rng = np.random.default_rng(seed)
    rows = np.arange(len(dataset.labels))
    if dataset.test_rows is not None:
        test_rows = np.sort(dataset.test_rows)
    else:
        test_rows = _choose(dataset, rows, test * len(rows), rng)
    rest = np.setdiff1d(rows, test_rows)
    validation_rows = _choose(dataset, rest, validation * len(rows), rng)
    train_rows = np.setdiff1d(rest, validation_rows)
    if reason := dataset.task.reason_not_to_train(dataset.labels[train_rows]):
        raise DatasetError(
            f"{dataset.name}: the split leaves {len(train_rows)} rows of {reason} to train on; "
            "take smaller test and validation parts"
        )
    return Split(train=train_rows, validation=validation_rows, test=test_rows)


def _choose(dataset: Dataset, rows: Rows, count: float, rng: np.random.Generator) -> Rows:
    """About ``count`` of the rows, sorted, with every stratum in its share."""
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    wanted = int(np.ceil(count))
    if dataset.task.in_time:
        return rows[-min(wanted, len(rows) - 1) :]
    strata = dataset.task.strata(dataset.labels[rows])
    if dataset.groups is None:
        return np.sort(rows[stratified(strata, wanted, rng)])
    return np.sort(rows[_grouped(strata, dataset.groups[rows], wanted, rng)])


def stratified(strata: Rows, wanted: int, rng: np.random.Generator) -> Rows:
    """Positions of ``wanted`` rows, each stratum in its share, rounded by largest remainder.

    A stratum keeps at least one row out, so that there is one to train on.
    """
    kinds, counts = np.unique(strata, return_counts=True)
    share = counts * wanted / len(strata)
    taken = np.floor(share).astype(np.int64)
    # Strata with equal remainders take turns at random, so that none is favoured over many seeds.
    order = np.lexsort((rng.random(len(kinds)), taken - share))
    taken[order[: wanted - taken.sum()]] += 1
    taken = np.minimum(taken, counts - 1)
    chosen = [
        rng.permutation(np.flatnonzero(strata == kind))[:number] for kind, number in zip(kinds, taken, strict=True)
    ]
    return np.concatenate(chosen)


def _grouped(strata: Rows, groups: NDArray[np.generic], wanted: int, rng: np.random.Generator) -> Rows:
    """Positions of whole groups with about ``wanted`` rows in all, the strata as even as chance offers."""
    names, member = np.unique(groups, return_inverse=True)
    kinds, kind = np.unique(strata, return_inverse=True)
    table = np.zeros((len(names), len(kinds)), dtype=np.int64)
    np.add.at(table, (member, kind), 1)
    ideal = table.sum(axis=0) * wanted / len(strata)
    best, least = np.empty(0, dtype=np.int64), np.inf
    for _ in range(GROUP_DRAWS):
        order = rng.permutation(len(names))
        total = np.cumsum(table[order].sum(axis=1))
        # The number of groups whose rows come nearest to what is wanted; one group at least stays out.
        number = int(np.argmin(np.abs(total[:-1] - wanted))) + 1 if len(names) > 1 else 0
        inside = table[order[:number]].sum(axis=0)
        outside = table.sum(axis=0) - inside
        missing = np.count_nonzero(inside == 0) + np.count_nonzero(outside == 0)
        # A stratum missing from a part is worse than any unevenness.
        badness = missing * len(strata) + np.abs(inside - ideal).sum()
        if badness < least:
            best, least = order[:number], badness
    return np.flatnonzero(np.isin(member, best))
