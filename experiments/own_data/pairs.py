"""Stimuli and responses of somebody's rig: which columns or arrays of a file are which, never guessed."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.experiments.own_data.array_files import read_arrays
from hwloop.experiments.own_data.columns import as_numbers
from hwloop.experiments.own_data.raw import MOST_VALUES, RawTable, listed, nearest_column
from hwloop.experiments.own_data.readers import READERS, content_digest, read_raw, require_file

INPUTS = ("x", "u", "in", "input", "inputs", "stimulus", "stimuli", "drive")
OUTPUTS = ("y", "out", "output", "outputs", "response", "responses", "reading", "readings")
HDF5 = (".h5", ".hdf5", ".nc")
ARRAYS = (".npz", *HDF5)
HOW = "name them with --inputs and --outputs ('x*', a list a,b,c, or how many)"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Measured rows.

    Attributes
    ----------
    inputs, outputs
        Shape (rows, channels) each, finite.
    input_names, output_names
        Of the columns, or of the array.
    notes
        What was chosen, in words.
    sha256
        Of the file.
    """

    inputs: Float64Array
    outputs: Float64Array
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    notes: tuple[str, ...]
    sha256: str


def read_pairs(path: Path, inputs: str | None = None, outputs: str | None = None) -> Pairs:
    """Stimuli and responses in a file: CSV and its kin, Parquet, ARFF, ``.npy``, ``.npz``, HDF5, NetCDF.

    Parameters
    ----------
    inputs, outputs
        Names of columns with ``*`` and ``?``, several with commas, or how many columns; of a file of arrays the
        name of an array. By default the columns or arrays that are called as such (:data:`INPUTS`,
        :data:`OUTPUTS`, with or without a number).

    Raises
    ------
    DatasetError
        The file cannot be read; it is not clear what is what; a value is missing or no number; or no input, or no
        output, ever varies.
    """
    if path.is_dir():
        raise DatasetError(f"{path} is a folder; give a file of stimuli and responses")
    require_file(path)
    suffix = path.suffix.lower()
    if suffix not in READERS and suffix not in HDF5:
        raise DatasetError(
            f"{path}: nothing reads {suffix or 'names without an ending'}; known: {', '.join([*READERS, *HDF5])}"
        )
    digest = content_digest(path)
    if suffix in ARRAYS:
        found = read_arrays(path) if suffix == ".npz" else _hdf5_arrays(path)
        return _varying(path, _of_arrays(path, found, inputs, outputs, digest))
    return _varying(path, _of_table(read_raw(path), inputs, outputs, digest))


def _varying(path: Path, pairs: Pairs) -> Pairs:
    """Refuse stimuli or responses that are the same in all rows, for rounding would be taken for physics."""
    notes = list(pairs.notes)
    for what, names, part in (
        ("inputs", pairs.input_names, pairs.inputs),
        ("outputs", pairs.output_names, pairs.outputs),
    ):
        still = [name for name, column in zip(names, part.T, strict=True) if column.min() == column.max()]
        if len(still) == len(names):
            raise DatasetError(
                f"{path}: the {what} ({listed(still)}) are the same in all {len(part):,} rows, so no row tells "
                f"what the rig does; check the file, or {HOW}"
            )
        if still:
            notes.append(f"the same in every row: {listed(still)}")
    return replace(pairs, notes=tuple(notes))


# -- arrays ------------------------------------------------------------------------------------------------------


def _hdf5_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Datasets of numbers by their paths; NetCDF 4 is HDF5."""
    try:
        import h5py
    except ImportError as error:
        raise DatasetError(
            f'{path}: HDF5 needs h5py, which is not installed; pip install "hwloop[export]", or give .npz'
        ) from error
    found: dict[str, NDArray[Any]] = {}
    total = 0

    def visit(name: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf" and item.ndim in (1, 2):
            total += int(item.size)
            if total > MOST_VALUES:
                raise ValueError(f"more than {MOST_VALUES:,} values; take fewer rows")
            found[name] = np.asarray(item[()])

    try:
        with h5py.File(path, "r") as stored:
            stored.visititems(visit)
    except Exception as error:  # h5py meets a damaged file as errors of many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(f"{path} cannot be read as HDF5: {reason}") from error
    return found


def _of_arrays(
    path: Path, arrays: dict[str, NDArray[Any]], inputs: str | None, outputs: str | None, digest: str
) -> Pairs:
    names = [
        _array_name(path, arrays, asked, known, what)
        for asked, known, what in ((inputs, INPUTS, "inputs"), (outputs, OUTPUTS, "outputs"))
    ]
    if names[0] == names[1]:
        raise DatasetError(f"{path}: {names[0]!r} cannot be inputs and outputs; {HOW}")
    found = []
    for name in names:
        array = arrays[name]
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or 0 in array.shape:
            raise DatasetError(
                f"{path}: {name!r} has shape {array.shape} of {array.dtype}; give numbers, (rows, n)"
            )
        found.append(np.asarray(array, dtype=np.float64).reshape(len(array), -1))
    if len(found[0]) != len(found[1]):
        raise DatasetError(
            f"{path}: {names[0]!r} has {len(found[0]):,} rows, {names[1]!r} {len(found[1]):,}; give as many"
        )
    columns = [
        tuple(f"{name}[{k}]" for k in range(part.shape[1])) for name, part in zip(names, found, strict=True)
    ]
    for name, part in zip(names, found, strict=True):
        bad = np.argwhere(~np.isfinite(part))
        if len(bad):
            raise DatasetError(
                f"{path}: {name!r} is {part[tuple(bad[0])]} in row {bad[0][0] + 1}; leave the row out"
            )
    rest = [name for name in arrays if name not in names]
    notes = [f"inputs: {names[0]}, outputs: {names[1]}", *([f"left out: {listed(rest)}"] if rest else [])]
    return Pairs(found[0], found[1], columns[0], columns[1], tuple(notes), digest)


def _array_name(
    path: Path, arrays: dict[str, NDArray[Any]], asked: str | None, known: Sequence[str], what: str
) -> str:
    if asked is not None:
        if asked not in arrays:
            raise DatasetError(f"{path} has no array {asked!r} (--{what}): {nearest_column(asked, arrays)}")
        return asked
    found = [name for name in arrays if name.rpartition("/")[2].lower() in known]
    if len(found) != 1:
        how_many = f"several: {listed(found)}" if found else f"none among {listed(arrays) or 'no arrays at all'}"
        raise DatasetError(f"{path}: which array holds the {what} is not clear, {how_many}; {HOW}")
    return found[0]


# -- tables ------------------------------------------------------------------------------------------------------


def _of_table(raw: RawTable, inputs: str | None, outputs: str | None, digest: str) -> Pairs:
    columns = [str(name) for name in raw.frame.columns]
    if not raw.named and inputs is None and outputs is None:
        raise DatasetError(f"{raw.where} has no names of columns; say how many are stimuli (--inputs 20)")
    first = _columns(raw, columns, inputs, INPUTS, "inputs", 0)
    counted = inputs is not None and inputs.isdigit()
    if outputs is None and counted:
        second = columns[len(first) :]  # a count divides the table, whatever the names
    else:
        second = _columns(raw, columns, outputs, OUTPUTS, "outputs", len(first) if counted else 0)
    both = [name for name in first if name in second]
    if both:
        raise DatasetError(f"{raw.where}: {listed(both)} would be inputs and outputs; {HOW}")
    if not second:
        raise DatasetError(f"{raw.where} has {len(columns)} columns, all of them inputs; {HOW}")
    rest = [name for name in columns if name not in {*first, *second}]
    notes = [
        f"{len(first)} inputs: {listed(first)}",
        f"{len(second)} outputs: {listed(second)}",
        *([f"left out: {listed(rest)}"] if rest else []),
    ]
    return Pairs(_numbers(raw, first), _numbers(raw, second), tuple(first), tuple(second), tuple(notes), digest)


def _columns(
    raw: RawTable, columns: list[str], asked: str | None, known: Sequence[str], what: str, start: int
) -> list[str]:
    if asked is None:
        stem = re.compile(rf"({'|'.join(known)})[ _.\-]?\[?\d*\]?", re.IGNORECASE)
        found = [name for name in columns if stem.fullmatch(name)]
        if not found:
            raise DatasetError(f"{raw.where} has no columns called as {what} ({', '.join(known[:4])}, ...); {HOW}")
        return found
    if asked.isdigit():
        count = int(asked)
        if not 1 <= count <= len(columns) - start:
            raise DatasetError(
                f"{raw.where} has {len(columns)} columns, {len(columns) - start} for --{what} {asked}"
            )
        return columns[start : start + count]
    chosen: list[str] = []
    for pattern in (part.strip() for part in asked.split(",")):
        matching = [name for name in columns if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        if not matching:
            raise DatasetError(
                f"{raw.where} has no column {pattern!r} (--{what}): {nearest_column(pattern, columns)}"
            )
        chosen += [name for name in matching if name not in chosen]
    return chosen


def _numbers(raw: RawTable, names: Sequence[str]) -> Float64Array:
    found = np.empty((len(raw.frame), len(names)))
    for place, name in enumerate(names):
        numbers = as_numbers(raw.frame[name])
        if numbers is None:
            raise DatasetError(f"{raw.where}: the column {name!r} holds no numbers; leave it out ({HOW})")
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            value = "missing" if np.isnan(numbers[bad[0]]) else "infinite"
            raise DatasetError(f"{raw.where}, {raw.row(int(bad[0]))}: {name!r} is {value}; leave the row out")
        found[:, place] = numbers
    return found
