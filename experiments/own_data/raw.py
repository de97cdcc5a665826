"""What a reader gives: a table of named columns as it was found, and how large it may be."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwloop.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 1 << 30  # of a file
MOST_VALUES = 100_000_000  # of a table: 0.8 GB as float64
MOST_COLUMNS = 100_000  # that each have a name and a type of their own
MOST_COMPARED = 1000  # names that one is compared with
LONGEST_NAME = 500
SHOWN = 5  # names that a message lists


@dataclass(frozen=True)
class RawTable:
    """A table before anything is chosen or changed.

    Attributes
    ----------
    where
        The file or object that it came from, for messages.
    frame
        The columns, with different names.
    named
        Whether the names are the table's own; else they are made up (``x1``, ``x2``, ...).
    targets
        The columns that the reader knows for the target; empty if it knows of none.
    alike
        Whether all columns but the target are one quantity, such as the pixels of an image.
    lines
        The line of each row in its file, or its own file, for messages; ``None`` where there are none.
    shape, depth
        Of what a row holds, such as an image's (height, width) and ``8 bits`` a value; empty where it is flat, or
        not known.
    beside
        Columns that are left out of the features unless somebody names them.
    notes
        What the reader chose, in words.
    test
        A test set that came with it.
    as_written
        Gives columns by their names as texts, as the file has them and NaN where one is missing; ``None`` where
        the file knows the types of its values.
    """

    where: str
    frame: pd.DataFrame
    named: bool = True
    targets: tuple[str, ...] = ()
    alike: bool = False
    lines: Sequence[int] | Sequence[str] | None = None
    beside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    test: RawTable | None = field(default=None, repr=False)
    as_written: Callable[[Sequence[str]], pd.DataFrame] | None = field(default=None, repr=False)
    shape: tuple[int, ...] = ()
    depth: str = ""

    def __post_init__(self) -> None:
        for name in self.frame.columns:
            if len(str(name)) > LONGEST_NAME:
                raise DatasetError(
                    f"{self.where}: the name of a column has {len(str(name)):,} characters, at most "
                    f"{LONGEST_NAME} are read; it begins with {str(name)[:40]!r}"
                )

    def row(self, number: int) -> str:
        """A row in words."""
        if self.lines is None:
            return f"row {number + 1}"
        place = self.lines[number]
        return place if isinstance(place, str) else f"line {place}"

    def require_like(self, shape: tuple[int, ...], depth: str, other: str) -> None:
        """Refuse rows of another shape or depth than others have, where both are known.

        Raises
        ------
        DatasetError
            As many numbers in another order, or of another size, would be taken for the same.
        """
        mine, theirs = (" x ".join(map(str, each)) for each in (self.shape, shape))
        long, wanted = ([length for length in each if length != 1] for each in (self.shape, shape))
        if self.shape and shape and long != wanted:  # an axis of one changes no order
            raise DatasetError(
                f"a row of {self.where} has shape {mine}, {other} {theirs}; give rows of that shape"
            )
        if self.depth and depth and self.depth != depth:
            raise DatasetError(
                f"{self.where} has values of {self.depth}, {other} {depth}; bring them to one depth"
            )

    def require(self, names: Iterable[str], what: str) -> None:
        """Refuse names that are no columns.

        Raises
        ------
        DatasetError
            The nearest is named.
        """
        for name in names:
            if name not in self.frame.columns:
                raise DatasetError(
                    f"{self.where} has no column {name!r} ({what}): {nearest_column(name, self.frame.columns)}"
                )


def made_up_names(count: int, letter: str = "x") -> list[str]:
    """``x1``, ``x2``, ... for columns without names."""
    return [f"{letter}{number + 1}" for number in range(count)]


def listed(names: Iterable[object]) -> str:
    """Some names in words: ``'a', 'b' and 3 more``."""
    every = list(names)
    shown = ", ".join(repr(str(name)[:60]) for name in every[:SHOWN])
    return shown if len(every) <= SHOWN else f"{shown} and {len(every) - SHOWN:,} more"


def nearest_column(name: str, columns: Iterable[object]) -> str:
    """In words: the nearest of a table's columns, and some of those that it has; they may be thousands."""
    known = [str(column)[:60] for column in columns]
    close = difflib.get_close_matches(name[:60], known[:MOST_COMPARED], n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}It has {listed(known)}"


def require_columns(where: str, columns: int) -> None:
    """Refuse a table of so many named columns that looking at each takes minutes.

    Raises
    ------
    DatasetError
    """
    if columns > MOST_COLUMNS:
        raise DatasetError(
            f"{where} has {columns:,} columns; at most {MOST_COLUMNS:,} are read. Take fewer, or an array (.npy)"
        )


def require_bytes(where: str, size: int) -> None:
    """Refuse values that take more room than a file may.

    Raises
    ------
    DatasetError
    """
    if size > MOST_BYTES:
        raise DatasetError(
            f"{where} holds {size:,} bytes of values; at most {MOST_BYTES:,} are read. Take fewer rows"
        )


def require_size(where: str, rows: int, columns: int) -> None:
    """Refuse a table that would fill the memory.

    Raises
    ------
    DatasetError
    """
    if rows * columns > MOST_VALUES:
        raise DatasetError(
            f"{where} has {rows:,} rows of {columns:,} values; at most {MOST_VALUES:,} values are read. Take "
            "fewer rows or columns"
        )
