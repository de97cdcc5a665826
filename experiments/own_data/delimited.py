"""Tables as text: values separated by commas, semicolons, tabs or bars, read by pandas."""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hwloop.errors import DatasetError
from hwloop.experiments.own_data.raw import RawTable, listed, made_up_names, require_columns, require_size

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LINES_LOOKED_AT = 20
NAMELESS = "\0row"  # a first column without a name: the row numbers that other programs write
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
DECIMAL = re.compile(r"(?![+-]?[0-9]+$)" + NUMBER.pattern, re.ASCII)  # no whole number
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+", re.ASCII)
MISSING = ("", "nan", "na", "n/a", "null", "none", "-", "?")
NO_NAMES = (*MISSING, "inf", "infinity")
# As they are written: pandas knows most of them, but no question mark, and compares letters as they are.
MISSING_AS_WRITTEN = sorted({form for text in MISSING for form in (text, text.upper(), text.capitalize())})


@dataclass(frozen=True)
class _Layout:
    """How the lines of a file are to be read."""

    separator: str
    names: list[str]
    has_header: bool
    lines: Sequence[int]


def read_delimited(path: Path) -> RawTable:
    """A table of text in UTF-8; a first line without numbers, or with those of the columns, names them.

    Raises
    ------
    DatasetError
        It cannot be read, or is no such table; the message names the line.
    """
    try:
        layout = _layout(path)
        frame = _frame(path, layout)
    except DatasetError:
        raise
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} cannot be read as text in UTF-8 (byte {error.object[error.start]:#04x}); save it in UTF-8"
        ) from error
    except (OSError, ValueError, csv.Error, OverflowError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path} cannot be read as a table of text: {' '.join(str(reason).split())}") from error
    notes = []
    if layout.separator != "," and not path.name.lower().endswith(".tsv"):
        notes.append(f"{path.name}: its values are separated by {SEPARATORS[layout.separator]}")
    if not layout.has_header:
        notes.append(
            f"{path.name}: its first line holds numbers, so its columns have no names; they are called "
            f"{layout.names[0]} to {layout.names[-1]}"
        )
    elif counted := [name for name in layout.names if NUMBER.fullmatch(name)]:
        notes.append(
            f"{path.name}: the numbers in its first line are taken for names of columns: {listed(counted)}"
        )
    if NAMELESS in frame.columns:
        frame = frame.drop(columns=NAMELESS)
        notes.append(f"{path.name}: its first column has no name, as row numbers have none; it is left out")
    return RawTable(
        str(path),
        frame,
        named=layout.has_header,
        lines=layout.lines,
        notes=tuple(notes),
        as_written=partial(_frame, path, layout),
    )


def _layout(path: Path) -> _Layout:
    """Look at every line: which separator, which names, and whether all have as many values."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        head = list(islice(stream, LINES_LOOKED_AT))
        separator = _separator(head, path)
        stream.seek(0)
        table = csv.reader(_lines_of_text(stream, path), delimiter=separator, strict=True, skipinitialspace=True)
        names: list[str] | None = None
        width = 0
        lines: list[int] = []
        for fields in table:
            if not any(field.strip() for field in fields) and len(fields) <= 1 and width != 1:
                continue  # an empty line
            if names is None and not lines:
                width = len(fields)
                require_columns(str(path), width)
                rows = (row for row in _rows_of(head, separator) if len(row) == width and any(map(str.strip, row)))
                names = _header(fields, list(islice(rows, 1, None)), path)
                if names is not None:
                    continue
            if len(fields) != width:
                raise DatasetError(
                    f"{path}, line {table.line_num}: has {len(fields)} values, where the first line has {width}"
                )
            if not lines:
                require_size(str(path), 1, width)
            lines.append(table.line_num)
    if not lines:
        raise DatasetError(f"{path} holds no rows; give a line of values for each")
    require_size(str(path), len(lines), width)
    return _Layout(separator, names or made_up_names(width), names is not None, lines)


def _lines_of_text(stream: Iterable[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        if "\0" in line:
            raise DatasetError(f"{path} cannot be read as a table of text: line {number} holds a zero byte")
        yield line


def _rows_of(head: Sequence[str], separator: str) -> Iterator[list[str]]:
    """The values of lines that are not empty."""
    return (row for row in csv.reader(head, delimiter=separator, skipinitialspace=True) if row)


def _separator(head: Sequence[str], path: Path) -> str:
    """What cuts every one of the first lines into as many values; else what cuts most of them into the most.

    Raises
    ------
    DatasetError
        Two separators do so: one of them may be a decimal comma.
    """
    alike: dict[str, int] = {}
    best, most = ",", 1
    for separator in SEPARATORS:
        try:
            rows = list(_rows_of(head, separator))
        except csv.Error:
            continue
        widths = Counter(map(len, rows))
        width, count = widths.most_common(1)[0] if widths else (0, 0)
        if width > 1 and len(rows) > 1 and count == len(rows):
            alike[separator] = width
        if width > most and 2 * count > len(rows):
            best, most = separator, width
    if len(alike) > 1:
        found = " and ".join(f"{SEPARATORS[each]} into {width}" for each, width in alike.items())
        raise DatasetError(
            f"{path}: all its first lines are cut alike by {found} values; write decimals with points, and texts "
            "that hold a separator in quotes"
        )
    return next(iter(alike), best)


def _header(fields: Sequence[str], below: Sequence[Sequence[str]], path: Path) -> list[str] | None:
    """The names of the columns, if the line holds names: letters and no number, or numbers that count columns."""
    names = [field.strip() for field in fields]
    if any(NUMBER.fullmatch(name) for name in names):
        if not _counts_columns(names, below, path):
            return None
    elif any(name.lower() in MISSING[1:] for name in names) or not any(
        any(map(str.isalpha, name)) for name in names
    ):
        return None
    empty = [number + 1 for number, name in enumerate(names) if not name]
    if empty == [1] and len(names) > 1:
        names[0] = NAMELESS
    elif empty:
        raise DatasetError(f"{path}, line 1: column {empty[0]} has no name; give every column one")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(
            f"{path}, line 1: two columns are called {listed(twice)}; give every column its own name"
        )
    return names


def _counts_columns(names: Sequence[str], below: Sequence[Sequence[str]], path: Path) -> bool:
    """Whether the numbers of the first line are names, as pandas writes columns without any: 0, 1, 2 and so on.

    Raises
    ------
    DatasetError
        It may be one as well as the other.
    """
    numbers = [place for place, name in enumerate(names) if NUMBER.fullmatch(name)]
    counted = [names[place] for place in numbers]
    in_order = counted in ([str(n + start) for n in range(len(numbers))] for start in (0, 1))
    if names[0] == "" and all(names[1:]) and len(set(names)) == len(names):
        first = [row[0].strip() for row in below]
        counts = len(below) > 1 and first in ([str(n + start) for n in range(len(below))] for start in (0, 1))
        if counts or in_order:
            return True
    texts = [place for place, name in enumerate(names) if _has_letters(name)]
    over_numbers = len(below) > 1 and any(_are_numbers(below, [place], NUMBER) for place in texts)
    new = all(names[place] not in (row[place].strip() for row in below) for place in texts)
    if in_order and (over_numbers or (len(numbers) > 1 and _are_numbers(below, numbers, DECIMAL))):
        return new
    if over_numbers or (in_order and len(numbers) > 2 and new and (texts or counted[0] == "0")):
        raise DatasetError(
            f"{path}, line 1: holds {listed(names)}, which may be names or values; give every column a name with "
            "a letter"
        )
    return False


def _has_letters(name: str) -> bool:
    """Whether it may be a name: no number, and no word for a missing or an infinite one."""
    word = name.lower().strip("+-<>#")
    return any(map(str.isalpha, name)) and word not in NO_NAMES and not NUMBER.fullmatch(name)


def _are_numbers(rows: Sequence[Sequence[str]], places: Sequence[int], kind: re.Pattern[str]) -> bool:
    """Whether those columns hold numbers of a kind and nothing else, but for gaps."""
    values = [value for row in rows for place in places if (value := row[place].strip()).lower() not in MISSING]
    return bool(values) and all(map(kind.fullmatch, values))


def _frame(path: Path, layout: _Layout, as_written: Sequence[str] = ()) -> pd.DataFrame:
    """The values with the types that pandas finds; or some columns alone, of which all values are texts."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        frame = pd.read_csv(
            path,
            sep=layout.separator,
            header=0 if layout.has_header else None,
            names=layout.names,
            index_col=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
            skip_blank_lines=len(layout.names) > 1,
            na_values=MISSING_AS_WRITTEN,
            low_memory=False,
            usecols=list(as_written) or None,
            dtype=str if as_written else None,
        )
    if len(frame) != len(layout.lines):
        raise DatasetError(
            f"{path} holds {len(layout.lines):,} rows, of which pandas finds {len(frame):,}; look for quotes and "
            "line ends inside of values"
        )
    return frame
