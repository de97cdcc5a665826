"""From the columns of a table to the features of a network: text one-hot, missing values filled in.

A table is kept as float64 with a column each: numbers as they are, a text as the number of its category, NaN where
a value is missing. What stands for a missing value is fitted on training rows alone, and kept with the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import CheckpointError

UNKNOWN = -1.0  # in the place of a category's number: none that the training rows had


@dataclass(frozen=True)
class PreparedColumn:
    """A column of features.

    Attributes
    ----------
    name
        As the file has it.
    categories
        The texts of a text column, sorted: each becomes a feature that is 1 where the text stands, else 0. Empty
        for a column of numbers.
    unseen
        Categories that no training row had: nothing is known of them, and all features of the column are 0.
    fill
        What stands for a missing value: the median of a column of numbers, the number of the most frequent
        category. ``None`` before it is fitted.
    """

    name: str
    categories: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    fill: float | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of the features that the column becomes."""
        return tuple(f"{self.name}={text}" for text in self.categories) or (self.name,)

    def fitted(self, values: Float64Array) -> Self:
        """The column as training rows (rows,) show it."""
        known = values[~np.isnan(values)]
        if not self.categories:
            return replace(self, fill=float(np.median(known)) if len(known) else 0.0)
        counts = np.bincount(known.astype(np.int64), minlength=len(self.categories))
        unseen = tuple(text for text, count in zip(self.categories, counts, strict=True) if not count)
        return replace(self, unseen=unseen, fill=float(np.argmax(counts)))

    def features(self, values: Float64Array) -> Float64Array:
        """Features (rows, n) of values (rows,), none of them missing."""
        filled = np.where(np.isnan(values), 0.0 if self.fill is None else self.fill, values)
        if not self.categories:
            return filled[:, None]
        seen = np.array([text not in self.unseen for text in self.categories])
        return np.asarray((filled[:, None] == np.arange(len(self.categories))) & seen, dtype=np.float64)


@dataclass(frozen=True)
class Preparation:
    """What makes features of a table's columns; part of a trained network, and found in its checkpoint.

    Parameters
    ----------
    columns
        In the order of the features.
    table
        The names of all columns of the training table, in its order.
    targets
        Those that were learned.
    named
        Whether the names were the table's own.
    shape, depth
        Of what a row holds, see :class:`hwloop.experiments.own_data.raw.RawTable`; empty where it is not known.
    """

    columns: tuple[PreparedColumn, ...]
    table: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    named: bool = True
    shape: tuple[int, ...] = ()
    depth: str = ""

    @classmethod
    def of_names(cls, names: Iterable[str], named: bool = True) -> Self:
        """Columns of numbers."""
        columns = tuple(PreparedColumn(name) for name in names)
        return cls(columns, tuple(column.name for column in columns), (), named)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of the features: a column's name, or ``column=text``."""
        return tuple(name for column in self.columns for name in column.feature_names)

    def fitted(self, table: Float64Array) -> Self:
        """As the training rows (rows, columns) show it."""
        columns = (column.fitted(table[:, number]) for number, column in enumerate(self.columns))
        return replace(self, columns=tuple(columns))

    def features(self, table: Float64Array) -> Float64Array:
        """Features (rows, n_features), float64 and finite, of a table (rows, columns)."""
        if not any(column.categories for column in self.columns):
            fills = np.array([column.fill or 0.0 for column in self.columns])
            return np.where(np.isnan(table), fills, table)
        return np.concatenate(
            [column.features(table[:, number]) for number, column in enumerate(self.columns)], axis=1
        )

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint; only what differs from a column of numbers is named."""
        return {
            "columns": [
                {"name": column.name, "fill": column.fill}
                | ({"categories": list(column.categories)} if column.categories else {})
                | ({"unseen": list(column.unseen)} if column.unseen else {})
                for column in self.columns
            ],
            "table": list(self.table),
            "targets": list(self.targets),
            "named": self.named,
            **({"shape": list(self.shape)} if self.shape else {}),
            **({"depth": self.depth} if self.depth else {}),
        }

    @classmethod
    def from_dict(cls, found: Any) -> Self:
        """What :meth:`as_dict` gave.

        Raises
        ------
        CheckpointError
            It is something else.
        """
        try:
            columns = tuple(_column(each) for each in found["columns"])
            table, targets = (tuple(str(name) for name in found[key]) for key in ("table", "targets"))
            if not columns or not {column.name for column in columns} <= set(table):
                raise ValueError("it names columns that its table does not have")
            shape = tuple(int(length) for length in found.get("shape", ()))
            return cls(columns, table, targets, found["named"] is True, shape, str(found.get("depth", "")))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"how its table was prepared is not understood ({error})") from error


@dataclass(frozen=True)
class SeriesPreparation(Preparation):
    """The columns of a series in time: nothing is fitted, for a series has no gaps; it keeps their names."""

    def fitted(self, table: Float64Array) -> Self:
        """Itself: a gap in new rows is refused, as it was in the training series."""
        return self

    def features(self, table: Float64Array) -> Float64Array:
        """The table itself, whose rows are stretches of the series, (rows, steps * columns)."""
        return table


def _column(found: Mapping[str, Any]) -> PreparedColumn:
    name, fill = found["name"], found["fill"]
    categories, unseen = found.get("categories", []), found.get("unseen", [])
    if not isinstance(name, str) or not all(isinstance(text, str) for text in [*categories, *unseen]):
        raise ValueError(f"column {name!r} has names that are no text")
    if fill is not None and not np.isfinite(fill):
        raise ValueError(f"column {name!r} is filled with {fill!r}")
    if categories and fill is not None and not 0 <= fill < len(categories):
        raise ValueError(f"column {name!r} is filled with category {fill!r} of {len(categories)}")
    if not set(unseen) <= set(categories):
        raise ValueError(f"column {name!r} has not seen categories that it does not have")
    return PreparedColumn(name, tuple(categories), tuple(unseen), None if fill is None else float(fill))


def codes(texts: Sequence[str | None] | NDArray[Any], categories: Sequence[str]) -> Float64Array:
    """Numbers of the categories, shape (rows,): NaN for a missing text, -1 for one that is no category."""
    number = {text: float(n) for n, text in enumerate(categories)}
    return np.array([np.nan if text is None else number.get(text, UNKNOWN) for text in texts], dtype=np.float64)
