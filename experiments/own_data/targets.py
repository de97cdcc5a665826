"""The target of a table: classes or values, as it was said or as the column looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError, DatasetError
from hwloop.experiments.own_data.columns import alike_texts, as_numbers, as_texts
from hwloop.experiments.own_data.raw import RawTable, listed
from hwloop.registry import nearest
from hwloop.tasks import TASKS, Classification, LearningTask, Regression

MOST_GUESSED = 20  # different whole numbers that are taken for classes
MOST_CLASSES = 1000
MOST_EXACT = 2**53  # whole numbers up to it are exact as float64
NAMES_SHOWN = 10


@dataclass(frozen=True)
class TargetColumns:
    """What is to be learned: a task, its targets (rows,) or (rows, n), and what was chosen, in words."""

    task: LearningTask
    values: NDArray[Any]
    notes: tuple[str, ...]


def target_of(raw: RawTable, names: Sequence[str], task: str | None, chosen: str) -> TargetColumns:
    """The target of a table.

    Parameters
    ----------
    names
        Its columns; several for a regression of several values.
    task
        The kind of task; ``None`` to guess: text and few whole numbers are classes, other numbers values.
    chosen
        Why these columns, in words, where nobody named them.

    Raises
    ------
    ConfigError
        An unknown kind of task.
    DatasetError
        A target is missing in a row, or is none of that task.
    """
    if task is not None and task not in TASKS:
        raise ConfigError(f"unknown task {task!r}: {nearest(task, TASKS)}")
    for name in names:
        gone = np.flatnonzero(raw.frame[name].isna().to_numpy())
        if len(gone):
            raise DatasetError(
                f"{raw.where}: the target {name!r} is missing in {len(gone):,} of {len(raw.frame):,} rows, first "
                f"in {raw.row(int(gone[0]))}; fill it in, or leave the rows out"
            )
    kind = task or _guessed(raw, names)
    if kind not in KINDS:
        raise ConfigError(f"the task {kind!r} does not learn from a table: {nearest(kind, KINDS)}")
    found = KINDS[kind](raw, names)
    said = f"target: {listed(names)}{chosen}, {found.notes[0]}"
    if task is None:
        said += f"; taken for {kind}, --task says otherwise"
    return TargetColumns(found.task, found.values, (said, *found.notes[1:]))


def _guessed(raw: RawTable, names: Sequence[str]) -> str:
    """Classification for text, truth values and few whole numbers; regression for other numbers."""
    if len(names) > 1:
        return Regression.kind
    numbers = as_numbers(raw.frame[names[0]])
    if numbers is None:
        return Classification.kind
    different = np.unique(numbers)
    few = len(different) <= MOST_GUESSED and (len(different) <= 2 or 2 * len(different) <= len(numbers))
    return Classification.kind if few and bool(np.all(different == np.round(different))) else Regression.kind


def _classes(raw: RawTable, names: Sequence[str]) -> TargetColumns:
    if len(names) > 1:
        raise DatasetError(f"{raw.where}: a classification has one target, not {len(names)} ({listed(names)})")
    series = raw.frame[names[0]]
    numbers = as_numbers(series)
    texts: list[str]
    if numbers is None:
        texts = [str(text) for text in as_texts(series)]
        ordered = getattr(series.dtype, "categories", None)  # of a categorical column: its own order
        class_names = sorted(set(texts)) if ordered is None else [str(c) for c in ordered if str(c) in set(texts)]
    else:
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            raise DatasetError(
                f"{raw.where}, {raw.row(int(bad[0]))}: the target {names[0]!r} is {numbers[bad[0]]}"
            )
        is_bool = set(np.unique(numbers)) <= {0.0, 1.0} and series.dtype.kind in "bO"
        values = _exact(raw, names[0], numbers)
        texts = [_number_name(value, is_bool) for value in values]
        class_names = list(dict.fromkeys(_number_name(value, is_bool) for value in sorted(set(values))))
    if len(class_names) < 2:
        raise DatasetError(
            f"{raw.where}: every row is of the class {class_names[0][:60]!r} (target {names[0]!r}); a classifier "
            "needs two at least"
        )
    if len(class_names) > MOST_CLASSES or (2 * len(class_names) > len(texts) and len(texts) > 2 * MOST_GUESSED):
        raise DatasetError(
            f"{raw.where}: the target {names[0]!r} has {len(class_names):,} different values in {len(texts):,} "
            "rows, too many for classes; name another target, or take numbers as values with --task regression"
        )
    number = {name: position for position, name in enumerate(class_names)}
    labels = np.array([number[text] for text in texts], dtype=np.int64)
    counts = np.bincount(labels)
    shown = ", ".join(
        f"{name[:40]} ({count:,})" for name, count in zip(class_names, counts[:NAMES_SHOWN], strict=False)
    )
    more = f" and {len(class_names) - NAMES_SHOWN} more" if len(class_names) > NAMES_SHOWN else ""
    notes = [f"{len(class_names)} classes: {shown}{more}"]
    single = [name for name, count in zip(class_names, counts, strict=True) if count == 1]
    if single:
        notes.append(f"one row alone is of {listed(single)}: it is trained on and never tested")
    if numbers is None:
        notes += [f"classes: {said}" for said in alike_texts(class_names)]
    return TargetColumns(Classification.named(class_names), labels, tuple(notes))


def _exact(raw: RawTable, name: str, numbers: Float64Array) -> list[int | float]:
    """The numbers of a target, as whole numbers where they are beyond what floats tell apart."""
    if np.abs(numbers).max() < MOST_EXACT:
        return [float(value) for value in numbers]
    values = list(raw.frame[name])
    if not all(isinstance(value, int | np.integer) for value in values):
        raise DatasetError(
            f"{raw.where}: the target {name!r} holds numbers beyond 2**53, which floating point does not tell "
            "apart; write classes as text, or take numbers as values with --task regression"
        )
    return [int(value) for value in values]


def _number_name(value: float, is_bool: bool) -> str:
    if is_bool:
        return str(bool(value))
    return str(int(value)) if value == int(value) else repr(float(value))


def _values(raw: RawTable, names: Sequence[str]) -> TargetColumns:
    columns = []
    for name in names:
        numbers = as_numbers(raw.frame[name])
        if numbers is None:
            raise DatasetError(
                f"{raw.where}: the target {name!r} is no column of numbers, so there are no values to learn; they "
                "can be classes (--task classification)"
            )
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            raise DatasetError(f"{raw.where}, {raw.row(int(bad[0]))}: the target {name!r} is {numbers[bad[0]]}")
        columns.append(numbers)
    values = np.stack(columns, axis=1)
    ranges = ", ".join(
        f"{low:g} to {high:g}" for low, high in zip(values.min(axis=0), values.max(axis=0), strict=True)
    )
    return TargetColumns(
        Regression(tuple(names)), values[:, 0] if len(names) == 1 else values, (f"values {ranges}",)
    )


KINDS = {Classification.kind: _classes, Regression.kind: _values}
