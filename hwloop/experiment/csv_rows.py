"""Rows of features from a CSV file: every value a plain number, every row whole, or it is said where not."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+", re.ASCII)
MISSING = {"", "nan", "na", "n/a", "null", "none", "-", "?"}
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_rows(path: Path, columns: int, names: Sequence[str] | None = None) -> Float64Array:
    """Rows (rows, columns), float64, separated by commas; a first line without any number names the columns.

    Python's ``csv`` reads it: whatever it takes for a number beyond the usual ways of writing one (``1_000``,
    ``inf``, digits of other scripts) is refused.

    Parameters
    ----------
    columns
        What every row must have.
    names
        Of the columns, in order, where they are known; a file that names its own must have the same.

    Raises
    ------
    DatasetError
        The file cannot be read, or a row is not such numbers; the message names the line.
    """
    rows: list[list[float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.reader(stream, strict=True)
            for fields in table:
                values = [field.strip() for field in fields]
                if not rows and table.line_num == 1 and _is_header(values):
                    _require_columns(values, columns, f"{path}, line 1")
                    _check_names(path, values, names)
                elif values:
                    rows.append(_numbers(values, columns, f"{path}, line {table.line_num}"))
                elif columns == 1:
                    raise DatasetError(
                        f"{path}, line {table.line_num}: is empty; fill the value in or leave it out"
                    )
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, DatasetError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path} cannot be read as a CSV file ({reason}); give text in UTF-8") from error
    if not rows:
        raise DatasetError(f"{path} holds no rows; give a line of {columns} numbers for each")
    return np.array(rows, dtype=np.float64)


def _is_header(values: Sequence[str]) -> bool:
    """Whether a line is names alone: each has a letter, and none is a number, or says that one is missing."""
    return bool(values) and not any(
        NUMBER.fullmatch(value) or value.lower() in MISSING or not any(map(str.isalpha, value)) for value in values
    )


def _check_names(path: Path, found: Sequence[str], names: Sequence[str] | None) -> None:
    if names is not None and list(found) != list(names):
        different = next((f"{f!r} in place of {n!r}" for f, n in zip(found, names, strict=False) if f != n), "")
        raise DatasetError(
            f"{path}, line 1: names other columns than the network was trained on, {len(found)} for {len(names)}"
            f"{': ' if different else ''}{different}; give the same columns in the same order"
        )


def _numbers(values: Sequence[str], columns: int, where: str) -> list[float]:
    _require_columns(values, columns, where)
    return [_number(value, f"{where}, column {number + 1}") for number, value in enumerate(values)]


def _require_columns(values: Sequence[str], columns: int, where: str) -> None:
    if len(values) != columns:
        raise DatasetError(
            f"{where}: has {len(values)} columns, where the network takes {columns}{_separated_by(values)}; give "
            "its features alone, without labels or numbers of rows"
        )


def _separated_by(values: Sequence[str]) -> str:
    for separator, what in SEPARATORS.items():
        if any(separator in value for value in values):
            return f" (they seem to be separated by {what}; only commas separate)"
    return ""


def _number(value: str, where: str) -> float:
    if value.lower() in MISSING:
        raise DatasetError(f"{where}: the value is missing ({value!r}); fill it in or leave the row out")
    number = float(value) if NUMBER.fullmatch(value) else None
    if number is None:
        hint = "; write a decimal point" if DECIMAL_COMMA.fullmatch(value) else ""
        raise DatasetError(f"{where}: {value[:40]!r} is no number{hint}")
    if not np.isfinite(number):
        raise DatasetError(f"{where}: {value[:40]!r} is beyond all numbers")
    return number
