"""MNIST and Fashion-MNIST, read from the four IDX files that their authors publish."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError
from hwloop.experiments import data_files
from hwloop.experiments.dataset import Dataset, stratified

UNSIGNED_BYTES = 0x08
# A deflated byte stands for at most 1,032 (a run of the longest matches, two bits each).
LARGEST_EXPANSION = 1032
MOST_BYTES = 1 << 32


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file, plain or gzipped (told by its first bytes, not by its name).

    Parameters
    ----------
    path
        The file.
    axes
        Axes that the array must have: 3 for images (rows, height, width), 1 for labels (rows,).

    Raises
    ------
    DatasetError
        The file cannot be read, holds something else, or more or less than its header says.
    """
    try:
        with path.open("rb") as stored:
            gzipped = stored.read(2) == b"\x1f\x8b"
            stored.seek(0)
            size = path.stat().st_size
            if not gzipped:
                return _array(stored, axes, size)
            with gzip.GzipFile(fileobj=stored) as stream:
                return _array(stream, axes, size * LARGEST_EXPANSION)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"{path} cannot be read as an IDX file of {axes} axes: {reason}; get it anew"
        raise DatasetError(message) from error


def _array(stream: BufferedIOBase, axes: int, most: int) -> NDArray[np.uint8]:
    """The array in a stream of at most ``most`` bytes."""
    shape = _shape(stream, axes)
    values, header = math.prod(shape), 4 + 4 * axes
    if values > min(most - header, MOST_BYTES):
        raise ValueError(f"its header announces {shape}, {values:,} bytes, which the file does not hold")
    array = np.empty(values, dtype=np.uint8)
    found = _fill(stream, array)
    if found < values:
        raise ValueError(f"it ends after {found:,} of {values:,} bytes")
    if stream.read(1):
        raise ValueError(f"it goes on after the {values:,} bytes that its header announces")
    return array.reshape(shape)


def _shape(stream: BufferedIOBase, axes: int) -> tuple[int, ...]:
    header = stream.read(4 + 4 * axes)
    expected = UNSIGNED_BYTES << 8 | axes
    if len(header) >= 4:
        (magic,) = struct.unpack(">I", header[:4])
        if magic != expected:
            raise ValueError(f"it begins with {magic:#010x}, not with {expected:#010x}")
    if len(header) < 4 + 4 * axes:
        raise ValueError(f"it ends within its header, after {len(header)} bytes")
    return struct.unpack(f">{axes}I", header[4:])


def _fill(stream: BufferedIOBase, array: NDArray[np.uint8]) -> int:
    """Read until the array is full or the stream ends; returns the bytes read."""
    rest, found = array.data, 0
    while found < len(array) and (count := stream.readinto(rest[found:])):
        found += count
    return found


SIDE = 28
N_CLASSES = 10
# Images and labels of the training part, then of the test part.
FILES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


@dataclass(frozen=True)
class ImageFiles:
    """Four IDX files that share a folder.

    Parameters
    ----------
    name
        Of the dataset, and of the folder inside the folder of data.
    class_names
        One a class.
    contents, source
        What it is, and where it is published.
    """

    name: str
    class_names: tuple[str, ...]
    contents: str
    source: str


MNIST = ImageFiles(
    "mnist",
    tuple(str(digit) for digit in range(N_CLASSES)),
    "handwritten digits",
    "http://yann.lecun.com/exdb/mnist (mirror: https://github.com/cvdfoundation/mnist), LeCun, Cortes and Burges",
)
FASHION_MNIST = ImageFiles(
    "fashion-mnist",
    ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    "articles of clothing",
    "https://github.com/zalandoresearch/fashion-mnist (MIT), Xiao, Rasul and Vollgraf 2017",
)


def mnist(folder: str | Path | None = None, rows: int | None = None, seed: int = 0) -> Dataset:
    """Handwritten digits: 70,000 images of 28 x 28 pixels, 10 classes, 10,000 of them the authors' test set.

    Pixels count 0 to 255, as stored; the encoder fits their scale on the rows that a network trains on. The test
    set is always whole; validation rows come out of the others, as a run's split says.

    Parameters
    ----------
    folder
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
        ``t10k-labels-idx1-ubyte``, each as it is or with ``.gz``. Without it, the folder ``mnist`` in the
        folder of data (see :func:`hwloop.experiments.data_files.find`).
    rows
        So many of the 60,000 rows outside the test set, every class in its share; all of them by default.
    seed
        Chooses those rows.

    Raises
    ------
    DatasetError
        A file is absent (the message says where to get it) or is no such file, or there are fewer ``rows``.
    """
    return _dataset(MNIST, folder, rows, seed)


def fashion_mnist(folder: str | Path | None = None, rows: int | None = None, seed: int = 0) -> Dataset:
    """Articles of clothing: 70,000 images of 28 x 28 pixels, 10 classes, 10,000 of them the authors' test set.

    Files and errors are those of :func:`mnist`; the folder's name is ``fashion-mnist``.

    Parameters
    ----------
    folder
        Holds the four files; without it, the folder ``fashion-mnist`` in the folder of data.
    rows
        So many of the 60,000 rows outside the test set, every class in its share; all of them by default.
    seed
        Chooses those rows.
    """
    return _dataset(FASHION_MNIST, folder, rows, seed)


def _dataset(files: ImageFiles, folder: str | Path | None, rows: int | None, seed: int) -> Dataset:
    place = _folder(files, folder)
    (images, labels), (test_images, test_labels) = (_part(files, place, *names) for names in FILES)
    if rows is not None:
        kept = _kept(files, labels, rows, seed)
        images, labels = images[kept], labels[kept]
    return Dataset(
        name=files.name,
        inputs=np.concatenate([images, test_images]),
        labels=np.concatenate([labels, test_labels]),
        class_names=files.class_names,
        description=f"{len(labels):,} + {len(test_labels):,} {files.contents} of {SIDE} x {SIDE} pixels, "
        f"values 0 to 255 ({files.source})",
        test_rows=np.arange(len(labels), len(labels) + len(test_labels)),
    )


def _folder(files: ImageFiles, folder: str | Path | None) -> Path:
    """The first folder that holds one of the files; a folder that was named is the only one looked in."""
    places = (
        [Path(folder).expanduser()]
        if folder is not None
        else [place / files.name for place in data_files.data_folders(None)]
    )
    found = [place for place in places if any(_path(place, name) for part in FILES for name in part)]
    if found:
        return found[0]
    looked_in = " or ".join(str(place) for place in places) or "any shared/data folder"
    names = ", ".join(name for part in FILES for name in part)
    raise DatasetError(
        f"{files.name}: none of {names} (as they are, or .gz) was found in {looked_in}. They are published at "
        f"{files.source}. Put them into a folder and set dataset.settings.folder to it, or put them at "
        f"FOLDER/{files.name} and set {data_files.VARIABLE}=FOLDER"
    )


def _path(place: Path, name: str) -> Path | None:
    return next((path for path in (place / name, place / f"{name}.gz") if path.is_file()), None)


def _part(
    files: ImageFiles, place: Path, images_name: str, labels_name: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (rows, pixels) and labels (rows,) of one part."""
    found = []
    for name, axes in ((images_name, 3), (labels_name, 1)):
        path = _path(place, name)
        if path is None:
            raise DatasetError(f"{files.name}: {place} has no {name} (nor {name}.gz); get it from {files.source}")
        found.append(read_idx(path, axes))
    images, labels = found
    if images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels) or len(labels) == 0:
        raise DatasetError(
            f"{files.name}: {place / images_name} holds {images.shape} pixels and {labels_name} {len(labels)} "
            f"labels, but there must be as many images of {SIDE} x {SIDE} as labels; get both anew from "
            f"{files.source}"
        )
    if labels.max() >= N_CLASSES:
        raise DatasetError(f"{files.name}: {place / labels_name} has label {labels.max()} of {N_CLASSES} classes")
    return images.reshape(len(images), -1), labels


def _kept(files: ImageFiles, labels: NDArray[np.uint8], rows: int, seed: int) -> NDArray[np.int64]:
    """Numbers of the rows to keep, sorted."""
    if isinstance(rows, bool) or not isinstance(rows, int) or not N_CLASSES <= rows <= len(labels):
        raise DatasetError(
            f"{files.name}: rows must be a whole number from {N_CLASSES} to {len(labels)}, not {rows!r}"
        )
    if rows == len(labels):
        return np.arange(rows)
    return np.sort(stratified(labels.astype(np.int64), rows, np.random.default_rng(seed)))
