"""Complex transmission matrices of scattering media and multimode fibres: drawn, or read from a file.

All are of shape (n_outputs, n_inputs), complex64, and normalised to a mean abs(T)**2 of 1: a field of norm 1
then gives a mean speckle intensity abs(T u)**2 of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import whole_number

Matrix = NDArray[np.complex64]
Draw = Callable[[int, int, np.random.Generator], Matrix]


def gaussian(n_outputs: int, n_inputs: int, rng: np.random.Generator) -> Matrix:
    """Independent circular complex Gaussian entries, E abs(T)**2 = 1: full mixing, most modes not recorded.

    The speckle of one stimulus then has negative exponential intensity statistics and contrast 1 (Goodman,
    Speckle Phenomena in Optics, 2007, section 3.2), and the singular values follow Marchenko and Pastur.
    """
    return np.asarray(_circular(n_outputs, n_inputs, rng) / np.sqrt(2), dtype=np.complex64)


def unitary(n_outputs: int, n_inputs: int, rng: np.random.Generator) -> Matrix:
    """A lossless medium: Haar-distributed orthonormal columns (rows, if there are fewer outputs), rescaled.

    With n_outputs >= n_inputs the mean output intensity equals the power of the stimulus to rounding. QR of a
    Gaussian matrix with the phases of R divided out (Mezzadri, Notices AMS 54, 592, 2007).
    """
    large, small = max(n_outputs, n_inputs), min(n_outputs, n_inputs)
    q, r = np.linalg.qr(_circular(large, small, rng))
    phases = np.diagonal(r) / np.abs(np.diagonal(r))
    q = q * phases * np.sqrt(large)
    return np.asarray(q if n_outputs >= n_inputs else q.T, dtype=np.complex64)


DRAWN: dict[str, Draw] = {"iid": gaussian, "unitary": unitary}


def normalised(matrix: Any) -> Matrix:
    """A measured or computed matrix as complex64 with a mean abs(T)**2 of 1.

    Raises
    ------
    ValueError
        It is no finite, non-zero matrix of numbers.
    """
    given = np.asarray(matrix)
    if given.dtype.kind not in "fiuc" or given.ndim != 2 or given.size == 0:
        raise ValueError(
            "a transmission matrix must be an array of numbers of shape (n_outputs, n_inputs), "
            f"not {given.dtype} of shape {given.shape}"
        )
    wide = given.astype(np.complex128)
    if not np.isfinite(wide).all():
        raise ValueError("the transmission matrix holds NaN or infinity; every entry must be finite")
    largest = np.abs(wide).max()
    if largest == 0:
        raise ValueError("the transmission matrix is zero everywhere; no light would arrive")
    wide /= largest  # before squaring, so that tiny or huge units cannot under- or overflow
    return np.asarray(wide / np.sqrt(np.mean(np.abs(wide) ** 2)), dtype=np.complex64)


def as_given(matrix: Any) -> NDArray[Any]:
    """A copy of a matrix that is a setting: an array, or the path of a file."""
    return read(matrix) if isinstance(matrix, str | Path) else np.array(matrix)


def read(path: str | Path, index: int = 0) -> NDArray[Any]:
    """One matrix of a .npy or .npz file, as it is stored, shape (n_outputs, n_inputs).

    Parameters
    ----------
    path
        A .npy file, or a .npz file with an array named ``matrices`` (or only one array). The array holds one
        matrix, or several along its first axis.
    index
        Which of several.

    Raises
    ------
    ValueError
        The file is absent or damaged, or has no such matrix.
    """
    stored = _stored_array(path)
    several = stored if stored.ndim == 3 else stored[np.newaxis]
    if several.ndim != 3 or len(several) == 0:
        raise ValueError(f"{path}: an array of shape {stored.shape} holds no matrix (n_outputs, n_inputs)")
    return np.asarray(several[whole_number("index", index, low=0, high=len(several) - 1)])


def _stored_array(path: str | Path) -> NDArray[Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            name = names[0] if len(names) == 1 else "matrices"
            if name in names:
                return np.asarray(loaded[name])
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; give the path of a .npy or .npz file") from error
    except Exception as error:  # a damaged archive raises errors of many kinds
        raise ValueError(f"{path}: cannot be read as a .npy or .npz file ({error})") from error
    raise ValueError(f"{path}: holds no array named matrices, only {', '.join(names) or 'nothing'}")


def _circular(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    real, imaginary = rng.standard_normal((2, rows, columns))
    return np.asarray(real + 1j * imaginary)
