"""Which reader a file has, by the ending of its name; what a file holds, by its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from hwloop.errors import DatasetError
from hwloop.experiments.own_data.delimited import read_delimited
from hwloop.experiments.own_data.raw import MOST_BYTES, RawTable

READERS: dict[str, Callable[[Path], RawTable]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".txt": read_delimited,
    ".data": read_delimited,
}


def read_raw(path: Path) -> RawTable:
    """The table in a file.

    Raises
    ------
    DatasetError
        There is no such file, nothing reads it, it is too large, or it is damaged.
    """
    require_file(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DatasetError(
            f"{path}: no reader for {path.suffix or 'a name without ending'!r}; known: {', '.join(READERS)}"
        )
    return reader(path)


def require_file(path: Path) -> None:
    """Refuse what is not there, or too large.

    Raises
    ------
    DatasetError
    """
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path} cannot be read ({reason}); check the name") from error
    if size > MOST_BYTES:
        raise DatasetError(f"{path} has {size:,} bytes; at most {MOST_BYTES:,} are read. Take fewer rows")


def content_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; raises as :func:`read_raw` does."""
    require_file(path)
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
