"""Rows to predict: read as the training table was, and prepared as its training rows taught."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.experiments.own_data.columns import as_numbers, as_texts, written_texts
from hwloop.experiments.own_data.delimited import DECIMAL_COMMA, NUMBER
from hwloop.experiments.own_data.prepared import UNKNOWN, Preparation, PreparedColumn, codes
from hwloop.experiments.own_data.raw import RawTable, listed, made_up_names, nearest_column
from hwloop.experiments.own_data.readers import read_unlabelled

if TYPE_CHECKING:
    import pandas as pd


WHOLE = re.compile(r"[+-]?[0-9]+\.0*", re.ASCII)  # a whole number that was written as a float
MOST_LOOKED_AT = 1000  # unknown texts, for those that are named


@dataclass(frozen=True)
class NewRows:
    """Features (rows, n_features), what was done to the table, in words, and the file of each row that has one."""

    inputs: Float64Array
    notes: tuple[str, ...]
    files: tuple[str, ...] = ()


def preparation_of(found: Any, n_features: int, names: Sequence[str] | None) -> Preparation:
    """How new rows are prepared for a network.

    Parameters
    ----------
    found
        The preparation of its checkpoint; ``None`` if it was trained on features as they are: then columns are
        numbers, and none may be missing.
    n_features
        Of the network.
    names
        Of the features, where they are known.
    """
    if found is not None:
        return Preparation.from_dict(found)
    known = tuple(names) if names is not None else tuple(made_up_names(n_features))
    return Preparation.of_names(known, named=names is not None)


def read_new_rows(path: Path, preparation: Preparation) -> NewRows:
    """The rows of a file in any of the formats of training data; columns that are not needed are left out.

    Raises
    ------
    DatasetError
        It cannot be read, a column is missing, or a value is no number where numbers are needed.
    """
    raw = read_unlabelled(path)
    if not len(raw.frame):
        raise DatasetError(f"{path} has no rows; there is nothing to predict")
    raw.require_like(preparation.shape, preparation.depth, "one that the network was trained on")
    notes = list(raw.notes) if raw.named or preparation.named or raw.alike else []
    places, said = _places(raw, preparation)
    notes += said
    table = np.empty((len(raw.frame), len(places)))
    for number, (column, place) in enumerate(zip(preparation.columns, places, strict=True)):
        series = raw.frame.iloc[:, place]
        values = _codes(column, raw, str(series.name)) if column.categories else _numbers(raw, series)
        notes += _gaps(raw, column, series, values)
        table[:, number] = values
    files = tuple(place for place in raw.lines or () if isinstance(place, str))
    return NewRows(preparation.features(table), tuple(notes), files)


def _places(raw: RawTable, preparation: Preparation) -> tuple[list[int], list[str]]:
    """Where each column stands in the table: by its name, or by its place where one of the two has no names."""
    found = [str(name) for name in raw.frame.columns]
    if raw.named and preparation.named:
        for name in preparation.names:
            if name not in found:
                nearest = nearest_column(name, found)
                raise DatasetError(
                    f"{raw.where} has no column {name!r}, which the network was trained on: {nearest}"
                )
        unused = [name for name in found if name not in preparation.names]
        left_out = [f"columns that the network does not use: {listed(unused)}"] if unused else []
        return [found.index(name) for name in preparation.names], left_out
    features_alone = [name for name in preparation.table if name not in preparation.targets]
    for expected in (preparation.table, features_alone, preparation.names):
        if len(found) == len(expected):
            said = []
            if raw.named or preparation.named:
                whose = "its columns are" if not raw.named else "the network knows no names; columns are"
                said = [f"{raw.where}: {whose} taken in the order of the training table"]
            return [list(expected).index(name) for name in preparation.names], said
    widths = dict.fromkeys([len(preparation.names), len(features_alone), len(preparation.table)])
    raise DatasetError(
        f"{raw.where} has {len(found):,} columns, where the network takes {' or '.join(map(str, widths))}; give "
        "its features alone, in the order of the training table"
    )


def _numbers(raw: RawTable, series: pd.Series[Any]) -> Float64Array:
    numbers = as_numbers(series)
    if numbers is None:
        row, text = _first_that_is_no_number(series)
        hint = "; write a decimal point" if DECIMAL_COMMA.fullmatch(text) else ""
        raise DatasetError(
            f"{raw.where}, {raw.row(row)}, column {series.name!r}: {text[:40]!r} is no number{hint}"
        )
    bad = np.flatnonzero(np.isinf(numbers))
    if len(bad):
        raise DatasetError(
            f"{raw.where}, {raw.row(int(bad[0]))}, column {series.name!r}: the value is beyond all numbers"
        )
    return numbers


def _first_that_is_no_number(series: pd.Series[Any]) -> tuple[int, str]:
    gone = series.isna()
    for row, (value, missing) in enumerate(zip(series, gone, strict=True)):
        if not missing and not NUMBER.fullmatch(str(value).strip()):
            return row, str(value)
    return 0, str(series.iloc[0])


def _codes(column: PreparedColumn, raw: RawTable, name: str) -> Float64Array:
    """The categories of the texts as they are written; ``1.0`` is ``1`` where only that is one."""
    texts = as_texts(written_texts(raw, name))
    whole = {text: text.partition(".")[0] for text in texts if text is not None and WHOLE.fullmatch(text)}
    known = set(column.categories)
    return codes(
        [text if text is None or text in known else whole.get(text, text) for text in texts], column.categories
    )


def _gaps(raw: RawTable, column: PreparedColumn, series: pd.Series[Any], values: Float64Array) -> Iterator[str]:
    """What is missing or unknown, in words; a gap is refused where nothing was learned to stand for it."""
    missing = np.flatnonzero(np.isnan(values))
    if len(missing) and column.fill is None:
        raise DatasetError(
            f"{raw.where}, {raw.row(int(missing[0]))}, column {series.name!r}: the value is missing; fill it in "
            "or leave the row out"
        )
    if len(missing):
        what = repr(column.categories[int(column.fill or 0)]) if column.categories else f"{column.fill:g}"
        yield f"{len(missing):,} missing values of {column.name!r} are taken for {what}, as in training"
    if column.categories:
        unseen = [float(column.categories.index(text)) for text in column.unseen]
        unknown = np.flatnonzero(np.isin(values, [UNKNOWN, *unseen]))
        if len(unknown):
            texts = dict.fromkeys(str(series.iloc[row]) for row in unknown[:MOST_LOOKED_AT])
            yield (
                f"{len(unknown):,} values of {column.name!r} are none of the training rows' ({listed(texts)}), "
                "so they count as no category"
            )
