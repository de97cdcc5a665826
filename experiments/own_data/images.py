"""A folder of images, read by Pillow: a class a subfolder, a feature a pixel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
OF_ONE_NUMBER = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
DEPTHS = {"I": "32 bits", "F": "floating point"}  # of a value, where a mode has neither 8 bits nor 16


def read_images(folder: Path) -> RawTable:
    """Images of one size and depth, their class the name of their subfolder.

    Raises
    ------
    DatasetError
        There are no subfolders with images, one is damaged, their sizes or depths differ, or nothing but their
        transparency does.
    """
    subfolders = _subfolders(folder)
    files = [(path, sub.name) for sub in subfolders for path in _images_in(sub)]
    if not files:
        raise DatasetError(
            f"{folder} has no subfolders with images; put those of each class into one of its own"
            f"{_hint(folder, [sub.name for sub in subfolders])}"
        )
    raw = _table(folder, [path for path, _ in files])
    raw.frame[CLASS] = [name for _, name in files]
    return replace(raw, targets=(CLASS,))


def read_unsorted_images(folder: Path) -> RawTable:
    """The images of a folder and of its subfolders, whatever their class; raises as :func:`read_images` does."""
    files = image_files(folder)
    if not files:
        raise DatasetError(f"{folder} holds no images ({', '.join(ENDINGS)})")
    return _table(folder, files)


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


def _table(folder: Path, files: Sequence[Path]) -> RawTable:
    """A row an image: values as the files have them, grey where all images are grey, else red, green, blue."""
    import pandas as pd

    images = list(_images(folder, files))
    height, width = images[0].values.shape[:2]
    grey = sum(image.values.ndim == 2 for image in images)
    notes = [f"{len(files):,} {'grey' if grey == len(files) else 'colour'} images of {width} x {height} pixels"]
    found = [image.values for image in images]
    if 0 < grey < len(files):
        found = [each if each.ndim == 3 else np.repeat(each[:, :, None], 3, axis=2) for each in found]
        notes.append("grey images among those of colour count as red, green and blue of the same value")
    pixels = np.stack(found).reshape(len(found), -1)
    notes += _transparency(folder, images, pixels)
    frame = pd.DataFrame(pixels, columns=made_up_names(pixels.shape[1], "pixel"))
    places = [str(path.relative_to(folder)) for path in files]
    shape, depth = found[0].shape, images[0].depth
    return RawTable(
        str(folder), frame, False, alike=True, lines=places, notes=tuple(notes), shape=shape, depth=depth
    )


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Of one image: values (height, width) or (height, width, 3), and whether its transparency varies."""

    values: Float64Array
    depth: str
    transparent: bool


def _images(folder: Path, files: Sequence[Path]) -> Iterator[_Pixels]:
    size, depth = None, ""
    for path in files:
        with _opened(path) as image:
            if size is None:
                size, depth = image.size, _depth(image)
                require_size(str(folder), len(files), 3 * size[0] * size[1])
            if image.size != size:
                raise DatasetError(
                    f"{path} has {image.size[0]} x {image.size[1]} pixels, {files[0]} has {size[0]} x {size[1]}; "
                    "bring all images to one size"
                )
            if _depth(image) != depth:
                raise DatasetError(
                    f"{path} has values of {_depth(image)}, {files[0]} of {depth}; bring all images to one depth"
                )
            yield _read(path, image, depth)


def _depth(image: Image) -> str:
    """Of its values, as Pillow gives them."""
    return "16 bits" if image.mode.startswith("I;16") else DEPTHS.get(image.mode, "8 bits")


def _transparency(folder: Path, images: Sequence[_Pixels], pixels: Float64Array) -> list[str]:
    """What is said of transparency that varies; refused where it is all that does."""
    count = sum(image.transparent for image in images)
    if not count:
        return []
    if np.ptp(pixels) == 0:
        raise DatasetError(
            f"{folder}: nothing but the transparency of its images varies, and that is not read; put them on a "
            "background, or save the transparency as grey images"
        )
    return [f"the transparency of {count:,} images is left out, though it varies; colours are read as if opaque"]


def _opened(path: Path) -> Image:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return Image.open(path)
    except Exception as error:  # whatever a decoder meets in a damaged file
        raise _damaged(path, error) from error


def _read(path: Path, image: Image, depth: str) -> _Pixels:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            shown = image
            if image.mode not in OF_ONE_NUMBER:
                shown = image.convert("RGB")
            elif image.mode == "1":
                shown = image.convert("L")
            return _Pixels(np.asarray(shown, dtype=np.float64), depth, _varies_in_transparency(image))
    except Exception as error:  # as above
        raise _damaged(path, error) from error


def _varies_in_transparency(image: Image) -> bool:
    coded = "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")  # in a colour, or in the palette
    if not coded and image.mode not in ("LA", "PA", "RGBA", "RGBa"):
        return False
    low, high = image.convert("RGBA").getchannel("A").getextrema()
    return bool(low != high)


def _damaged(path: Path, error: Exception) -> DatasetError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DatasetError(f"{path} cannot be read as an image: {reason[:200]}")


def _hint(folder: Path, names: Sequence[str]) -> str:
    """What to do about a folder that is one of parts, not of classes."""
    parts = [name for name in names if name.lower() in ("train", "test", "val", "validation")]
    return f". {listed(parts)} seem to be parts: give {folder / parts[0]}, and --test-file" if parts else ""
