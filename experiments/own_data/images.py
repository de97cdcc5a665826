"""A folder of images, read by Pillow: a class a subfolder, a feature a pixel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.experiments.own_data.raw import RawTable, listed, made_up_names, require_size

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
CLASS = "class"
OF_ONE_NUMBER = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L")


def read_images(folder: Path) -> RawTable:
    """Images of one size, their class the name of their subfolder.

    Raises
    ------
    DatasetError
        There are no subfolders with images, one is damaged, or their sizes differ.
    """
    import pandas as pd

    subfolders = _subfolders(folder)
    files = [(path, sub.name) for sub in subfolders for path in _images_in(sub)]
    if not files:
        raise DatasetError(
            f"{folder} has no subfolders with images; put those of each class into one of its own"
            f"{_hint(folder, [sub.name for sub in subfolders])}"
        )
    pixels, notes = _pixels([path for path, _ in files])
    frame = pd.DataFrame(pixels, columns=made_up_names(pixels.shape[1], "pixel"))
    frame[CLASS] = [name for _, name in files]
    places = [str(path.relative_to(folder)) for path, _ in files]
    return RawTable(str(folder), frame, False, (CLASS,), alike=True, lines=places, notes=tuple(notes))


def read_unsorted_images(folder: Path) -> RawTable:
    """The images of a folder and of its subfolders, whatever their class; raises as :func:`read_images` does."""
    import pandas as pd

    files = image_files(folder)
    if not files:
        raise DatasetError(f"{folder} holds no images ({', '.join(ENDINGS)})")
    pixels, notes = _pixels(files)
    frame = pd.DataFrame(pixels, columns=made_up_names(pixels.shape[1], "pixel"))
    places = [str(path.relative_to(folder)) for path in files]
    return RawTable(str(folder), frame, False, alike=True, lines=places, notes=tuple(notes))


def image_files(folder: Path) -> list[Path]:
    """All images that would be read, in order."""
    return [*_images_in(folder), *(path for sub in _subfolders(folder) for path in _images_in(sub))]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read ({error.strerror})") from error


def _images_in(folder: Path) -> Iterator[Path]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read ({error.strerror})") from error
    return (each for each in inside if each.suffix.lower() in ENDINGS and each.is_file())


def _pixels(files: Sequence[Path]) -> tuple[Float64Array, list[str]]:
    """Values (rows, pixels) as the files have them: grey where all images are grey, else red, green, blue."""
    found, size, colours = [], None, set()
    for path in files:
        with _opened(path) as image:
            if size is None:
                size = image.size
                require_size(str(path.parent), len(files), 3 * size[0] * size[1])
            if image.size != size:
                raise DatasetError(
                    f"{path} has {image.size[0]} x {image.size[1]} pixels, {files[0]} has {size[0]} x {size[1]}; "
                    "bring all images to one size"
                )
            is_grey = image.mode in OF_ONE_NUMBER
            colours.add(is_grey)
            found.append(_values(path, image, is_grey))
    assert size is not None
    if len(colours) > 1:
        found = [each if each.ndim == 3 else np.repeat(each[:, :, None], 3, axis=2) for each in found]
    kind = "grey" if colours == {True} else "colour"
    notes = [f"{len(files):,} {kind} images of {size[0]} x {size[1]} pixels"]
    if len(colours) > 1:
        notes.append("grey images among those of colour count as red, green and blue of the same value")
    return np.stack(found).reshape(len(found), -1), notes


def _opened(path: Path) -> Image:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return Image.open(path)
    except Exception as error:  # whatever a decoder meets in a damaged file
        raise _damaged(path, error) from error


def _values(path: Path, image: Image, is_grey: bool) -> Float64Array:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            shown = image if image.mode in ("L", "I", "F", "I;16") else image.convert("L" if is_grey else "RGB")
            return np.asarray(shown, dtype=np.float64)
    except Exception as error:  # as above
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DatasetError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DatasetError(f"{path} cannot be read as an image: {reason[:200]}")


def _hint(folder: Path, names: Sequence[str]) -> str:
    """What to do about a folder that is one of parts, not of classes."""
    parts = [name for name in names if name.lower() in ("train", "test", "val", "validation")]
    return f". {listed(parts)} seem to be parts: give {folder / parts[0]}, and --test-file" if parts else ""
