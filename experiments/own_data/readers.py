"""Which reader a file has, by the ending of its name; what a file holds, by its checksum."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

from hwloop.errors import DatasetError
from hwloop.experiments.own_data.array_files import partner_of, read_features, read_npy, read_npz
from hwloop.experiments.own_data.delimited import read_delimited
from hwloop.experiments.own_data.images import image_files, read_images, read_unsorted_images
from hwloop.experiments.own_data.raw import MOST_BYTES, RawTable
from hwloop.experiments.own_data.table_files import read_arff, read_parquet

READERS: dict[str, Callable[[Path], RawTable]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".txt": read_delimited,
    ".data": read_delimited,
    ".parquet": read_parquet,
    ".arff": read_arff,
    ".npz": read_npz,
    ".npy": read_npy,
}


def read_raw(path: Path) -> RawTable:
    """The table in a file, or in a folder of images.

    Raises
    ------
    DatasetError
        There is no such file, nothing reads it, it is too large, or it is damaged.
    """
    if path.is_dir():
        return read_images(path)
    require_file(path)
    return reader_of(path)(path)


def read_unlabelled(path: Path) -> RawTable:
    """The same without targets: images of whatever folder, the array of features alone; raises as it does."""
    if path.is_dir():
        return read_unsorted_images(path)
    require_file(path)
    reader = reader_of(path)
    return read_features(path) if reader in (read_npz, read_npy) else reader(path)


def reader_of(path: Path) -> Callable[[Path], RawTable]:
    """What reads files of this name.

    Raises
    ------
    DatasetError
        Nothing does.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise DatasetError(f"{path}: nothing reads {path.suffix or 'names without an ending'}; known: {known}")
    return reader


def require_file(path: Path) -> None:
    """Refuse what is not there, or too large.

    Raises
    ------
    DatasetError
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path} cannot be read ({reason}); check the name") from error
    if not stat.S_ISREG(found.st_mode):
        raise DatasetError(
            f"{path} is no ordinary file (a pipe or a device), and is read more than once; save a copy"
        )
    if found.st_size > MOST_BYTES:
        raise DatasetError(f"{path} has {found.st_size:,} bytes; at most {MOST_BYTES:,} are read. Take fewer rows")


def content_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; of several, such as the images of a folder, that of their names and sums.

    Raises
    ------
    DatasetError
        It cannot be read.
    """
    if path.is_dir():
        return _digest_of_all(path, image_files(path))
    partner = partner_of(path) if path.suffix.lower() == ".npy" else None
    return _digest(path) if partner is None else _digest_of_all(path.parent, [path, partner])


def _digest_of_all(folder: Path, files: list[Path]) -> str:
    lines = [f"{_digest(file)}  {file.relative_to(folder)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _digest(path: Path) -> str:
    require_file(path)
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
