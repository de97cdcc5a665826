"""Arrays of NumPy in files: ``.npz``, and pairs of ``.npy``; nothing in them is unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError
from hwloop.experiments.own_data.objects import shape_of_row, table_of_arrays
from hwloop.experiments.own_data.raw import MOST_BYTES, RawTable, listed, made_up_names

NPY: Any = np.lib.format  # has no types
INPUTS = ("x", "inputs", "input", "data", "features", "images")
TARGETS = ("y", "targets", "target", "labels", "label")
TRAIN, TEST = "_train", "_test"


def read_npz(path: Path) -> RawTable:
    """Arrays by name: one of rows (rows, ...) of features, and others of a value a row (rows,), such as ``y``.

    With ``X_train``, ``y_train``, ``X_test`` and ``y_test`` the last two are the test rows.

    Raises
    ------
    DatasetError
        It is damaged, or it is not clear which array holds the features.
    """
    arrays = read_arrays(path)
    train = {name.removesuffix(TRAIN): array for name, array in arrays.items() if name.endswith(TRAIN)}
    if not train:
        return _table(path, arrays)
    test = {name.removesuffix(TEST): array for name, array in arrays.items() if name.endswith(TEST)}
    table = _table(path, train, _table(path, test) if test else None)
    rest = [name for name in arrays if not name.endswith((TRAIN, TEST))]
    said = [f"{path.name}: arrays left out, of neither {TRAIN} nor {TEST}: {listed(rest)}"] if rest else []
    return replace(table, notes=(*table.notes, *said))


def read_npy(path: Path) -> RawTable:
    """Features (rows, ...) with the targets beside them (:func:`partner_of`), or a table (rows, columns).

    Raises
    ------
    DatasetError
        It is damaged, or no table.
    """
    features = _one(path)
    beside = partner_of(path)
    if beside is not None:
        targets = _one(beside)
        table = table_of_arrays(path.name, features, _named({beside.stem: targets}))
        return RawTable(
            str(path),
            table.frame,
            False,
            table.targets,
            table.alike,
            notes=(f"targets: {beside.name}, beside it",),
            shape=table.shape,
        )
    if features.ndim != 2:
        raise DatasetError(
            f"{path} has shape {features.shape} and no targets (y.npy beside X.npy); give it a pair"
        )
    import pandas as pd

    return RawTable(str(path), pd.DataFrame(features, columns=made_up_names(features.shape[1])), named=False)


def read_features(path: Path) -> RawTable:
    """Features alone, of a ``.npz`` with whatever else is in it, or a ``.npy``; raises as the others do."""
    import pandas as pd

    if path.suffix.lower() == ".npz":
        arrays = read_arrays(path)
        array = arrays[_features_of(path, arrays)]
    else:
        array = _one(path)
    if array.ndim < 2 or array.dtype.kind not in "biuf":
        raise DatasetError(f"{path} has shape {array.shape} of {array.dtype}; give numbers, (rows, features)")
    flat = array.reshape(len(array), -1)
    frame = pd.DataFrame(flat, columns=made_up_names(flat.shape[1]))
    return RawTable(str(path), frame, named=False, shape=shape_of_row(array))


def partner_of(path: Path) -> Path | None:
    """``y.npy`` beside ``X.npy``, ``labels_train.npy`` beside ``images_train.npy``; ``None`` if there is none."""
    head, underline, rest = path.stem.partition("_")
    if head.lower() not in INPUTS:
        return None
    names = [f"{target}{underline}{rest}.npy" for target in TARGETS]
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a ``.npz``, by their names.

    Raises
    ------
    DatasetError
        It is damaged.
    """
    try:
        with zipfile.ZipFile(path) as stored:
            found = {}
            for member in stored.infolist():
                if member.filename.endswith(".npy"):
                    with stored.open(member) as stream:
                        found[member.filename.removesuffix(".npy")] = _array(stream, member.file_size)
            return found
    except Exception as error:  # a damaged header or archive is met as errors of many kinds
        raise _damaged(path, error) from error


def _one(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as stream:
            return _array(stream, path.stat().st_size)
    except Exception as error:  # as above
        raise _damaged(path, error) from error


def _array(stream: IO[bytes], size: int) -> NDArray[Any]:
    """The array in a stream of so many bytes; its header is looked at before room is made for it."""
    version = NPY.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format")
    read = NPY.read_array_header_1_0 if version == (1, 0) else NPY.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if dtype.itemsize * math.prod(shape) > min(size, 2 * MOST_BYTES):
        raise ValueError(f"shape {shape} is more than it holds, or than is read")
    stream.seek(0)
    return np.asarray(NPY.read_array(stream, allow_pickle=False))


def _damaged(path: Path, error: Exception) -> DatasetError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DatasetError(f"{path} cannot be read as arrays of NumPy: {' '.join(str(reason).split())[:200]}")


def _table(path: Path, arrays: Mapping[str, NDArray[Any]], test: RawTable | None = None) -> RawTable:
    """The array of features, and beside it what has a value a row."""
    name = _features_of(path, arrays)
    features = arrays[name]
    others = {
        other: array
        for other, array in arrays.items()
        if other != name and array.shape[:1] == features.shape[:1] and array.ndim <= 2
    }
    if not others:
        raise DatasetError(f"{path} has no array of {len(features):,} targets beside {name!r}")
    table = table_of_arrays(str(path), features, _named(others))
    known = [other for other in others if other.lower() in TARGETS]
    if len(known) > 1:
        raise DatasetError(f"{path} holds {listed(known)}, which may all be the targets; keep one of these names")
    targets = tuple(column for column in table.targets if known and _is_of(column, known[0], others[known[0]]))
    left_out = [other for other in arrays if other != name and other not in others]
    notes = (f"{path.name}: arrays left out, which are no values a row: {listed(left_out)}",) if left_out else ()
    return RawTable(
        str(path),
        table.frame,
        False,
        targets,
        table.alike,
        beside=table.targets,  # every column that is not of the array of features
        notes=notes,
        test=test,
        shape=table.shape,
    )


def _features_of(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    known = [name for name in arrays if name.lower() in INPUTS and arrays[name].ndim > 1]
    wide = [name for name in arrays if name.lower() not in TARGETS and arrays[name].ndim > 1]
    found = known or wide
    if len(found) != 1:
        raise DatasetError(
            f"{path} holds {'no array' if not found else 'several arrays'} of rows of features (rows, ...) among "
            f"{listed(arrays) or 'none'}; call it X, and the targets y"
        )
    return found[0]


def _named(arrays: Mapping[str, NDArray[Any]]) -> Any:
    """A frame with a column a value a row, called after its array."""
    import pandas as pd

    columns: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufUS":
            raise DatasetError(f"the array {name!r} is of type {array.dtype}, neither numbers nor text")
        array = np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
        if array.ndim == 2 and array.shape[1] != 1:
            columns |= {f"{name}{k + 1}": array[:, k] for k in range(array.shape[1])}
        else:
            columns[name] = array.reshape(-1)
    return pd.DataFrame(columns)


def _is_of(column: str, name: str, array: NDArray[Any]) -> bool:
    several = array.ndim == 2 and array.shape[1] != 1
    return column in ({f"{name}{k + 1}" for k in range(array.shape[1])} if several else {name})
