"""Columns of any kind become numbers, or are refused by name: what a column of features may hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.experiments.own_data.delimited import DECIMAL_COMMA, NUMBER
from hwloop.experiments.own_data.prepared import Preparation, PreparedColumn, codes
from hwloop.experiments.own_data.raw import RawTable, listed

if TYPE_CHECKING:
    import pandas as pd

# 31.12.2024 or 12/31/2024, with a time behind it or not; in which order, nobody can tell. Two digits are no year:
# 10-20-30 may be a code.
DAY_MONTH_YEAR = re.compile(r"[0-9]{1,2}([./-])[0-9]{1,2}\1[0-9]{4}([ T,].*[0-9].*)?", re.ASCII)
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?", re.ASCII)
MOST_CATEGORIES = 100  # of a text column
MOSTLY = 0.9  # a column of so many numbers is one of numbers, whatever the others are
FEW_ROWS = 20  # a text in every row of so few may still be a category


@dataclass(frozen=True)
class Features:
    """The features of a table before anything is fitted: values (rows, columns), NaN where one is missing."""

    values: Float64Array
    preparation: Preparation
    notes: tuple[str, ...]


def features_of(raw: RawTable, names: Sequence[str], targets: Sequence[str]) -> Features:
    """The columns of those names as numbers, without those that never vary.

    Parameters
    ----------
    names
        Of the columns of features.
    targets
        Of those that are learned.

    Raises
    ------
    DatasetError
        A column holds what is neither a number nor a category; the message says how to leave it out.
    """
    columns, values = [], np.empty((len(raw.frame), len(names)))
    for position, (column, found) in enumerate(_columns(raw, names)):
        columns.append(column)
        values[:, position] = found
    _require_finite(raw, names, values)
    kept = np.ones(len(names), dtype=bool) if raw.alike or len(values) < 2 else _varies(values)
    if not kept.any():
        raise DatasetError(f"{raw.where}: none of its columns varies; there is nothing to learn from")
    preparation = Preparation(
        tuple(column for column, keep in zip(columns, kept, strict=True) if keep),
        tuple(str(name) for name in raw.frame.columns),
        tuple(targets),
        raw.named,
        raw.shape,
        raw.depth,
    )
    return Features(values[:, kept], preparation, tuple(_said(raw, columns, values, kept)))


def series_of(raw: RawTable, names: Sequence[str]) -> Float64Array:
    """The columns of a series in time, (times, columns), all of numbers and without gaps.

    Raises
    ------
    DatasetError
        A column is none of numbers, or a value is missing.
    """
    columns = []
    for name in names:
        numbers = as_numbers(raw.frame[name])
        if numbers is None:
            raise _unusable(raw, name, "holds no numbers; give a series of numbers")
        gone = np.flatnonzero(np.isnan(numbers))
        if len(gone):
            raise DatasetError(
                f"{raw.where}, {raw.row(int(gone[0]))}: the series {name!r} has a gap; fill it in, or leave it out"
            )
        columns.append(numbers)
    values = np.stack(columns, axis=1)
    _require_finite(raw, names, values)
    return values


def as_texts(series: pd.Series[Any]) -> list[str | None]:
    """The values of a column as texts without spaces around them; ``None`` where one is missing."""
    return [None if gone else str(value).strip() for value, gone in zip(series, series.isna(), strict=True)]


def written_texts(raw: RawTable, name: str) -> pd.Series[Any]:
    """The values of a column as its file has them; those of a file that knows their types are made texts.

    Whether a column holds numbers shows in all of its rows: ``01`` is a number where no other row holds letters.
    """
    import pandas as pd

    if raw.as_written is not None:
        return raw.as_written([name])[name]
    series = raw.frame[name]
    values = [None if gone else _as_text(value) for value, gone in zip(series, series.isna(), strict=True)]
    return pd.Series(values, index=series.index, name=name, dtype=object)


def _as_text(value: Any) -> str:
    """A gap in a column of whole numbers made floats of them."""
    whole = isinstance(value, float | np.floating) and value == np.round(value) and np.isfinite(value)
    return str(int(value)) if whole else str(value).strip()


def as_numbers(series: pd.Series[Any]) -> Float64Array | None:
    """A column of numbers or truth values as float64, NaN where one is missing; ``None`` for another kind."""
    from pandas.api import types

    if types.is_complex_dtype(series.dtype):
        return None
    if types.is_bool_dtype(series.dtype) or types.is_numeric_dtype(series.dtype):
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    if not types.is_object_dtype(series.dtype):
        return None
    known = series[series.notna()]
    if all(isinstance(value, bool | int | float | np.bool_ | np.number | Decimal) for value in known):
        return np.array([np.nan if gone else _float(v) for v, gone in zip(series, series.isna(), strict=True)])
    return None


def _float(value: Any) -> float:
    """A whole number beyond all floats is infinite, and so refused where it stands."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _columns(raw: RawTable, names: Sequence[str]) -> Iterator[tuple[PreparedColumn, Float64Array]]:
    for name in names:
        series = raw.frame[name]
        numbers = as_numbers(series)
        yield (PreparedColumn(name), numbers) if numbers is not None else _text_column(raw, name, series)


def _text_column(raw: RawTable, name: str, series: pd.Series[Any]) -> tuple[PreparedColumn, Float64Array]:
    from pandas.api import types

    if types.is_datetime64_any_dtype(series.dtype):
        raise _unusable(raw, name, "holds dates; give numbers that follow from them")
    is_text = types.is_string_dtype(series.dtype) or types.is_object_dtype(series.dtype)
    if not is_text and not hasattr(series.dtype, "categories"):
        raise _unusable(raw, name, f"is of type {series.dtype}, neither numbers nor text")
    other = next((value for value in series[series.notna()] if not isinstance(value, str)), None)
    if other is not None and types.is_object_dtype(series.dtype):
        if hasattr(other, "isoformat"):
            raise _unusable(raw, name, f"holds dates, such as {str(other)!r}; give numbers that follow from them")
        if not isinstance(other, bool | int | float):
            raise _unusable(raw, name, f"holds a {type(other).__name__}, neither numbers nor text")
    texts = as_texts(series)
    known = [text for text in texts if text is not None]
    categories = sorted(set(known))
    _refuse_what_is_no_category(raw, name, texts, known, categories)
    return PreparedColumn(name, tuple(categories)), codes(texts, categories)


def _refuse_what_is_no_category(
    raw: RawTable, name: str, texts: Sequence[str | None], known: Sequence[str], categories: Sequence[str]
) -> None:
    if categories and all(THOUSANDS.fullmatch(text) or NUMBER.fullmatch(text) for text in categories):
        shown = next((text for text in categories if "," in text), None)
        if shown is not None:
            plain = shown.replace(",", "")
            raise _unusable(
                raw,
                name,
                f"holds numbers such as {shown!r}, whose comma may cut thousands or decimals; write {plain!r} or "
                f"{shown.replace(',', '.')!r}"
                if shown.count(",") == 1
                else f"holds numbers with commas between thousands, such as {shown!r}; write {plain!r}",
            )
    commas = sum(DECIMAL_COMMA.fullmatch(text) is not None for text in categories)
    if commas and all(DECIMAL_COMMA.fullmatch(text) or NUMBER.fullmatch(text) for text in categories):
        raise _unusable(raw, name, f"holds numbers with a decimal comma, such as {categories[0]!r}; write points")
    numbers = [NUMBER.fullmatch(text) is not None for text in known]
    if MOSTLY * len(known) <= sum(numbers) < len(known):
        row = next(n for n, text in enumerate(texts) if text is not None and not NUMBER.fullmatch(text))
        raise _unusable(
            raw,
            name,
            f"holds {str(texts[row])[:40]!r} in {raw.row(row)}, where nearly all others are numbers; mend it",
        )
    if _are_dates(categories):
        raise _unusable(raw, name, f"holds dates, such as {categories[0]!r}; give numbers that follow from them")
    if len(categories) > MOST_CATEGORIES or (len(categories) == len(known) > FEW_ROWS):
        raise _unusable(
            raw,
            name,
            f"holds {len(categories):,} different texts in {len(known):,} rows, such as {categories[0][:40]!r}: "
            "these are no categories",
        )


def _are_dates(categories: Sequence[str]) -> bool:
    import pandas as pd

    if not categories or not all(any(map(str.isdigit, text)) and len(text) >= 8 for text in categories):
        return False
    if all(map(DAY_MONTH_YEAR.fullmatch, categories)):
        return True
    found = pd.to_datetime(list(categories[:MOST_CATEGORIES]), errors="coerce", format="ISO8601", utc=True)
    return bool(found.notna().all())


def _unusable(raw: RawTable, name: str, why: str) -> DatasetError:
    option = f"--drop {shlex.quote(' '.join(name.split()))}"
    return DatasetError(f"{raw.where}: column {name!r} {why}, or leave it out (drop; {option})")


def _require_finite(raw: RawTable, names: Sequence[str], values: Float64Array) -> None:
    bad = np.argwhere(np.isinf(values))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        raise DatasetError(
            f"{raw.where}, {raw.row(row)}: column {names[column]!r} is {values[row, column]}, which no device can "
            "be given; mend it, or leave the row out"
        )


def _varies(values: Float64Array) -> NDArray[np.bool_]:
    """Columns that hold two different values; a missing one is none."""
    low = np.where(np.isnan(values), np.inf, values).min(axis=0)
    high = np.where(np.isnan(values), -np.inf, values).max(axis=0)
    return np.asarray(low < high)


def _said(
    raw: RawTable, columns: Sequence[PreparedColumn], values: Float64Array, kept: NDArray[np.bool_]
) -> Iterator[str]:
    """What is done with the columns, in words."""
    constant = [column.name for column, keep in zip(columns, kept, strict=True) if not keep]
    if constant:
        yield f"{_count(constant, 'constant column')} left out: {listed(constant)}"
    of_text = [column for column, keep in zip(columns, kept, strict=True) if keep and column.categories]
    if of_text:
        features = sum(len(column.categories) for column in of_text)
        names = listed(column.name for column in of_text)
        yield f"{_count(of_text, 'text column')} one-hot, {features} features: {names}"
    yield from (f"{column.name!r}: {said}" for column in of_text for said in alike_texts(column.categories))
    missing = np.isnan(values)
    gaps = [
        column.name for column, keep, gone in zip(columns, kept, missing.T, strict=True) if keep and gone.any()
    ]
    if gaps:
        yield (
            f"{np.count_nonzero(missing[:, kept]):,} missing values, filled in with the training rows' median (of "
            f"text: the most frequent) of their column: {listed(gaps)}"
        )
    counting = [
        column.name
        for column, found, keep in zip(columns, values.T, kept, strict=True)
        if keep and not raw.alike and not column.categories and len(found) > FEW_ROWS and _counts_the_rows(found)
    ]
    if counting:
        yield f"{listed(counting)} counts the rows and tells where a row stands; leave it out with --drop"


def alike_texts(texts: Sequence[str]) -> Iterator[str]:
    """In words: texts that count as several although they are one number, or one word in small letters."""
    found: dict[float | str, list[str]] = {}
    for text in texts:
        found.setdefault(float(text) if NUMBER.fullmatch(text) else text.casefold(), []).append(text)
    twice = [forms for forms in found.values() if len(forms) > 1]
    if twice:
        more = f" (and {len(twice) - 1} more such)" if len(twice) > 1 else ""
        yield f"{listed(twice[0])} are written differently, so they count as {len(twice[0])}{more}"


def _counts_the_rows(values: Float64Array) -> bool:
    """Whether every row has a whole number of its own, without holes but for missing ones, in whatever order."""
    known = np.sort(values[~np.isnan(values)])
    if 2 * len(known) <= len(values) or known[-1] - known[0] >= len(values):
        return False
    return bool(np.all(np.diff(known) > 0) and np.all(known == np.round(known)))


def _count(things: Sequence[object], what: str) -> str:
    return f"{len(things):,} {what}{'' if len(things) == 1 else 's'}"
