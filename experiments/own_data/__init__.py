"""Data of the user's own: files and Python objects become a dataset, nothing about them guessed without a word.

:func:`from_file` and :func:`from_object` are entry points, so that an experiment finds them without a floor below
this one importing them. pandas reads tables (docs/decisions/0063); it is imported when a table is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hwloop.errors import DatasetError
from hwloop.experiments.dataset import Dataset
from hwloop.experiments.own_data.columns import as_numbers, features_of, series_of, written_texts
from hwloop.experiments.own_data.objects import raw_of_object
from hwloop.experiments.own_data.raw import RawTable, listed
from hwloop.experiments.own_data.readers import content_digest, read_raw
from hwloop.experiments.own_data.series import series_dataset
from hwloop.experiments.own_data.targets import target_of
from hwloop.registry import check_settings
from hwloop.tasks import SequenceOfValues


def from_file(
    file: str,
    *,
    target: str | list[str] | None = None,
    task: str | None = None,
    drop: Sequence[str] = (),
    group: str | None = None,
    test_file: str | None = None,
    sha256: str | None = None,
    test_sha256: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Dataset:
    """A table, arrays or a folder of images of your own, see docs/your-data.md.

    Parameters
    ----------
    file
        The file, or the folder of images.
    target
        The column, or columns, to learn; by default the last one.
    task
        ``classification`` or ``regression``; by default as the target looks.
    drop
        Columns that are left out.
    group
        A column whose rows of one value stay on one side of the split.
    test_file
        A file of the same columns: its rows, and no others, are the test rows.
    sha256, test_sha256
        Of the files as they were when the run was begun.
    settings
        Of a series in time (task ``sequence``), see :func:`hwloop.experiments.own_data.series.series_dataset`.

    Raises
    ------
    DatasetError
        A file cannot be read, has changed, or holds what cannot be learned from.
    """
    if task == SequenceOfValues.kind:
        return _series(Path(file), target, drop, sha256, {"group": group, "test_file": test_file}, settings or {})
    digest = _require_unchanged(Path(file), sha256)
    raw, source = read_raw(Path(file)), {"sha256": digest}
    if test_file is not None:
        source["test_sha256"] = _require_unchanged(Path(test_file), test_sha256)
        raw = replace(raw, test=read_raw(Path(test_file)))
    return dataset_of(raw, Path(file).stem, target, task, drop, group, source)


def from_object(
    found: Any,
    *,
    name: str,
    target: str | list[str] | None = None,
    task: str | None = None,
    drop: Sequence[str] = (),
    group: str | None = None,
) -> Any:
    """What a function of the user's returned, as a dataset; what is one already is given back.

    Parameters
    ----------
    found
        See :data:`hwloop.experiments.own_data.objects.RETURNS`.
    name
        As it was named, ``module:function``.
    target, task, drop, group
        As of :func:`from_file`, for a frame.

    Raises
    ------
    DatasetError
        It is nothing of that kind, or nothing can be learned from it.
    """
    if all(hasattr(found, part) for part in ("name", "inputs", "labels")):
        return found
    return dataset_of(raw_of_object(found, name), name.replace(":", "."), target, task, drop, group)


def _require_unchanged(path: Path, sha256: str | None) -> str:
    found = content_digest(path)
    if sha256 is not None and found != sha256:
        raise DatasetError(
            f"{path} has changed since the run was begun: its SHA-256 was {sha256[:12]}… and is {found[:12]}…. "
            "Put the old file back, or start a new run with the new one (--data, or a run.toml without sha256)"
        )
    return found


def _series(
    path: Path,
    target: str | list[str] | None,
    drop: Sequence[str],
    sha256: str | None,
    unfit: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Dataset:
    """The rows of a table as one series in time."""
    for key, value in unfit.items():
        if value is not None:
            raise DatasetError(f"{path}: a series in time is split into stretches, and takes no {key}")
    check_settings(series_dataset, settings, "a series")
    digest, raw = _require_unchanged(path, sha256), read_raw(path)
    raw.require(drop, "to drop")
    targets, chosen = _targets(raw, target, set(drop))
    names = [str(column) for column in raw.frame.columns if column not in drop]
    table = series_of(raw, names)
    found = series_dataset(path.stem, table, names, targets, **settings)
    notes = (f"{raw.where}: {found.description}", *raw.notes, f"target: {listed(targets)}{chosen}")
    source = {"target": targets if len(targets) > 1 else targets[0], "task": found.task.kind, "sha256": digest}
    assert found.preparation is not None
    whole = tuple(str(column) for column in raw.frame.columns)
    preparation = replace(found.preparation, table=whole, named=raw.named)
    return replace(found, notes=notes, source=source, preparation=preparation)


def dataset_of(
    raw: RawTable,
    name: str,
    target: str | Sequence[str] | None,
    task: str | None,
    drop: Sequence[str],
    group: str | None,
    source: dict[str, Any] | None = None,
) -> Dataset:
    """A dataset of a table and of what was said about it; raises as :func:`from_file` does."""
    if not len(raw.frame):
        raise DatasetError(f"{raw.where} has no rows; there is nothing to learn from")
    raw, n_test = _with_test_rows(raw)
    targets, chosen = _targets(raw, target, {*drop, group})
    raw.require(drop, "to drop")
    raw.require([group] if group else [], "group")
    if clash := sorted({*targets} & {*drop, group}):
        raise DatasetError(f"{raw.where}: {clash[0]!r} cannot be the target and be dropped or group rows too")
    learned = target_of(raw, targets, task, chosen)
    beside = [name for name in raw.beside if name not in {*targets, *drop, group}]
    names = [str(column) for column in raw.frame.columns if column not in {*targets, *drop, group, *beside}]
    if not names:
        raise DatasetError(f"{raw.where} has no column beside the target; there is nothing to learn from")
    others = [name for name in raw.beside if name not in targets]
    features = features_of(replace(raw, frame=raw.frame.drop(columns=others)), names, targets)
    rows = len(raw.frame)
    return Dataset(
        name=name,
        inputs=features.values,
        labels=learned.values,
        class_names=getattr(learned.task, "class_names", ()),
        task=learned.task,
        description=f"{raw.where}: {rows:,} rows of {len(names):,} columns",
        groups=_groups(raw, group),
        test_rows=np.arange(rows - n_test, rows) if n_test else None,
        preparation=features.preparation,
        notes=(
            f"{raw.where}: {rows:,} rows of {len(names):,} columns",
            *raw.notes,
            *([f"arrays left out, which are named neither target nor group: {listed(beside)}"] if beside else []),
            *learned.notes,
            *features.notes,
            *_copies(raw, names),
        ),
        source={
            "target": targets if len(targets) > 1 else targets[0],
            "task": learned.task.kind,
            **(source or {}),
        },
    )


def _with_test_rows(raw: RawTable) -> tuple[RawTable, int]:
    """The test rows below the others, and how many they are."""
    import pandas as pd

    test = raw.test
    if test is None:
        return raw, 0
    test.require_like(raw.shape, raw.depth, f"one of {raw.where}")
    missing = [column for column in raw.frame.columns if column not in test.frame.columns]
    if missing and raw.named and test.named:
        raise DatasetError(f"{test.where} has no column {listed(missing)}, which {raw.where} has")
    if len(test.frame.columns) != len(raw.frame.columns) and missing:
        raise DatasetError(
            f"{test.where} has {len(test.frame.columns)} columns, {raw.where} has {len(raw.frame.columns)}"
        )
    below = test.frame.set_axis(raw.frame.columns, axis=1) if missing else test.frame[list(raw.frame.columns)]
    above, notes = raw.frame, [*raw.notes, f"test rows: the {len(below):,} of {test.where}"]
    for place, name in enumerate(raw.frame.columns):
        are_numbers = [as_numbers(part[name]) is not None for part in (raw.frame, below)]
        if are_numbers[0] != are_numbers[1]:  # a kind for the column, whatever each file alone looks like
            own_name = str(test.frame.columns[place]) if missing else str(name)
            above = above.assign(**{str(name): written_texts(raw, str(name))})
            below = below.assign(**{str(name): written_texts(test, own_name).to_numpy()})
    frame = pd.concat([above, below], ignore_index=True)
    return replace(raw, frame=frame, lines=None, notes=tuple(notes), test=None, as_written=None), len(below)


def _targets(raw: RawTable, target: str | Sequence[str] | None, others: set[str | None]) -> tuple[list[str], str]:
    """The columns of the target, and why these, where nobody said it."""
    if target is not None:
        names = [target] if isinstance(target, str) else list(target)
        raw.require(names, "target")
        if len(set(names)) != len(names) or not names:
            raise DatasetError(f"{raw.where}: name each target once, not {names}")
        return names, ""
    if raw.targets:
        return list(raw.targets), ""
    last = [str(column) for column in raw.frame.columns if column not in others][-1:]
    if not last:
        raise DatasetError(f"{raw.where} has no column that could be the target")
    return last, " (the last column; --target names another)"


def _groups(raw: RawTable, group: str | None) -> Any:
    if group is None:
        return None
    gone = np.flatnonzero(raw.frame[group].isna().to_numpy())
    if len(gone):
        raise DatasetError(f"{raw.where}, {raw.row(int(gone[0]))}: the group {group!r} is missing; fill it in")
    series = raw.frame[group]
    numbers = series if as_numbers(series) is not None else series.astype(str).str.strip()
    return numbers.astype(str).to_numpy(dtype=str)


def _copies(raw: RawTable, names: Sequence[str]) -> list[str]:
    if raw.alike and len(names) > 100:  # a look at every value of every image
        return []
    copies = int(raw.frame[list(names)].duplicated().sum())
    if not copies:
        return []
    return [
        f"{copies:,} row{' is a copy' if copies == 1 else 's are copies'} of others; where one is trained on and "
        "the other tested, the score flatters"
    ]
