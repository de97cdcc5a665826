"""Tables that know their types: Parquet, read by pyarrow, and ARFF, read by SciPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hwloop.errors import DatasetError
from hwloop.experiments.own_data.raw import RawTable, require_bytes, require_columns, require_size

# No schema is larger; a damaged file that says so is refused before room is made for it.
THRIFT_LIMIT = 1 << 24
MISSING_NOMINAL = "?"


def read_parquet(path: Path) -> RawTable:
    """A table of Apache Parquet; its index, where pandas wrote one, is no column.

    Raises
    ------
    DatasetError
        It is damaged or too large, or pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DatasetError(
            f'{path}: Parquet needs pyarrow, which is not installed; pip install "hwloop[export]", or give CSV'
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(
            path, thrift_string_size_limit=THRIFT_LIMIT, thrift_container_size_limit=THRIFT_LIMIT
        ) as stored:
            require_columns(str(path), stored.metadata.num_columns)
            require_size(str(path), stored.metadata.num_rows, stored.metadata.num_columns)
            table = _read_within(path, stored)
            table.validate(full=True)  # text that is no UTF-8 is met here, not later
            frame = table.to_pandas(use_threads=False)
    except DatasetError:
        raise
    except Exception as error:  # pyarrow's errors are of many kinds
        raise _damaged(path, "Parquet", error) from error
    return _checked(path, frame)


def _read_within(path: Path, stored: Any) -> Any:
    """The table, if its values have room: a few bytes may stand for millions of equal texts.

    Texts are first read as numbers of different texts, which shows how long all of them together are. Texts within
    lists are not looked at.
    """
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    groups = [stored.metadata.row_group(number) for number in range(stored.metadata.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    nested = [chunk for chunk in chunks if chunk.path_in_schema not in stored.schema_arrow.names]
    require_bytes(str(path), sum(chunk.total_uncompressed_size for chunk in chunks))
    require_bytes(str(path), sum(8 * chunk.num_values for chunk in nested))
    fixed = [stored.schema.column(number).length for number in range(stored.metadata.num_columns)]
    require_bytes(str(path), stored.metadata.num_rows * sum(max(0, length) for length in fixed))
    kinds = (
        pyarrow.types.is_string,
        pyarrow.types.is_large_string,
        pyarrow.types.is_binary,
        pyarrow.types.is_large_binary,
    )
    texts = [each.name for each in stored.schema_arrow if any(is_one(each.type) for is_one in kinds)]
    if not texts:
        return stored.read(use_threads=False)
    with pyarrow.parquet.ParquetFile(
        path,
        thrift_string_size_limit=THRIFT_LIMIT,
        thrift_container_size_limit=THRIFT_LIMIT,
        read_dictionary=texts,
    ) as compact:
        size = 0
        for column in compact.read(columns=texts, use_threads=False).columns:
            for chunk in column.chunks:
                lengths = pyarrow.compute.binary_length(chunk.dictionary)
                size += pyarrow.compute.sum(lengths.take(chunk.indices)).as_py() or 0
                require_bytes(str(path), size)
    return stored.read(use_threads=False)


def read_arff(path: Path) -> RawTable:
    """A table of Weka's attribute-relation file format, in UTF-8; without sparse rows, dates or texts.

    Raises
    ------
    DatasetError
        It is damaged, or holds what SciPy does not read.
    """
    import pandas as pd
    from scipy.io import arff

    try:
        with path.open(encoding="utf-8-sig") as stream:
            values, described = arff.loadarff(stream)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} cannot be read as text in UTF-8 ({error.reason}); save it in UTF-8") from error
    except Exception as error:  # scipy's reader meets whatever stands in the file
        raise _damaged(path, "ARFF", error) from error
    require_size(str(path), len(values), len(described.names()))
    columns = {name: _arff_column(values[name]) for name in described.names()}
    return _checked(path, pd.DataFrame(columns))


def _arff_column(values: Any) -> Any:
    if values.dtype.kind != "S":
        return values
    texts = np.char.decode(values, "utf-8", "replace").astype(object)
    texts[texts == MISSING_NOMINAL] = None
    return texts


def _checked(path: Path, frame: Any) -> RawTable:
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1).reset_index(drop=True)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DatasetError(f"{path}: two columns are called {twice!r}; give every column its own name")
    if len(frame.columns) == 0:
        raise DatasetError(f"{path} has no columns")
    return RawTable(str(path), frame)


def _damaged(path: Path, kind: str, error: Exception) -> DatasetError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DatasetError(f"{path} cannot be read as {kind}: {reason[:200]}")
