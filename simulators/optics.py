"""Light in simulated set-ups: modulators, complex transmission matrices drawn or read, phases that walk.

A field u through a complex matrix T is one real product: the quadratures [Re u, Im u] times a *propagator*
that gives [Re T u, Im T u]. A real field needs half of it.

Transmission matrices are of shape (n_outputs, n_inputs), complex64, and normalised to a mean abs(T)**2 of 1: a
field of norm 1 then gives a mean speckle intensity abs(T u)**2 of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from hwloop.device import Tunable
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream

Matrix = NDArray[np.complex64]
Draw = Callable[[int, int, np.random.Generator], Matrix]
CHUNK_ROWS = 4096  # of a walk


class Modulation(Protocol):
    """A light modulator: its limits, and the field that it makes of a drive within them."""

    @property
    def low(self) -> float:
        """Lower limit of the drive."""
        ...

    @property
    def high(self) -> float:
        """Upper limit of the drive."""
        ...

    @property
    def unit(self) -> str:
        """Unit of the drive."""
        ...

    def quadratures(self, drive: Float64Array) -> Float64Array:
        """Real numbers that describe the field, shape (rows, k n_inputs)."""
        ...

    def pull_back(self, drive: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative by the drive (rows, n_inputs), from that by the quadratures."""
        ...

    def propagator(self, matrix: NDArray[np.complex64]) -> Float64Array:
        """Real matrix of shape (k n_inputs, 2 n_outputs): quadratures in, real then imaginary parts out."""
        ...

    def typical_power(self, n_inputs: int) -> float:
        """Power (squared norm) of the field of a typical encoded stimulus."""
        ...


class AmplitudeModulation:
    """Signed field amplitude u = x in [-1, 1], as a binary mirror array with an off-axis hologram gives."""

    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    unit: ClassVar[str] = ""

    def quadratures(self, drive: Float64Array) -> Float64Array:
        """The field itself, shape (rows, n_inputs)."""
        return drive

    def pull_back(self, drive: Float64Array, gradients: Float64Array) -> Float64Array:
        """The drive is the field."""
        return gradients

    def propagator(self, matrix: NDArray[np.complex64]) -> Float64Array:
        """[Re T, Im T] transposed, shape (n_inputs, 2 n_outputs)."""
        return np.hstack([matrix.real.T, matrix.imag.T]).astype(np.float64)

    def typical_power(self, n_inputs: int) -> float:
        """A fifth of the greatest: data fill a third of their range (rms), a tenth are references at 1."""
        return n_inputs / 5


class PhaseModulation:
    """Unit-power field u = exp(i x) / sqrt(n_inputs), x in [0, 2 pi] rad, as a liquid-crystal SLM gives."""

    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 2 * np.pi
    unit: ClassVar[str] = "rad"

    def quadratures(self, drive: Float64Array) -> Float64Array:
        """[cos x, sin x], shape (rows, 2 n_inputs)."""
        return np.hstack([np.cos(drive), np.sin(drive)])

    def pull_back(self, drive: Float64Array, gradients: Float64Array) -> Float64Array:
        """D cos x = -sin x dx, d sin x = cos x dx."""
        cosine, sine = np.split(gradients, 2, axis=1)
        return np.asarray(sine * np.cos(drive) - cosine * np.sin(drive))

    def propagator(self, matrix: NDArray[np.complex64]) -> Float64Array:
        """[[Re T, Im T], [-Im T, Re T]] transposed blocks over sqrt(n_inputs), (2 n_inputs, 2 n_outputs)."""
        real, imaginary = matrix.real.T.astype(np.float64), matrix.imag.T.astype(np.float64)
        return np.asarray(np.block([[real, imaginary], [-imaginary, real]]) / np.sqrt(matrix.shape[1]))

    def typical_power(self, n_inputs: int) -> float:
        """Every phase pattern has the same."""
        return 1.0


class MaskedModulation:
    """Another modulation, and behind it a mask that turns the light of each channel by a phase that is tuned.

    Parameters
    ----------
    light
        What modulates.
    phases
        Shape (n_inputs,), in rad; ``None`` where only the propagator is asked for.
    """

    def __init__(self, light: Modulation, phases: Float64Array | None = None) -> None:
        self._light, self._phases = light, np.zeros(1) if phases is None else phases
        self.low, self.high, self.unit = light.low, light.high, light.unit

    def quadratures(self, drive: Float64Array) -> Float64Array:
        """[Re, Im] of the field behind the mask, shape (rows, 2 n_inputs)."""
        field, phases = self._light.quadratures(drive), self._phases
        cosine, sine = np.cos(phases), np.sin(phases)
        if field.shape[1] == drive.shape[1]:
            return np.hstack([cosine * field, sine * field])
        real, imaginary = np.split(field, 2, axis=1)
        return np.hstack([cosine * real - sine * imaginary, sine * real + cosine * imaginary])

    def pull_back(self, drive: Float64Array, gradients: Float64Array) -> Float64Array:
        """Turned back, and through the modulation."""
        real, imaginary = np.split(gradients, 2, axis=1)
        cosine, sine = np.cos(self._phases), np.sin(self._phases)
        before = np.hstack([cosine * real + sine * imaginary, cosine * imaginary - sine * real])
        return self._light.pull_back(drive, before[:, : self._light.quadratures(drive).shape[1]])

    def pull_back_mask(self, drive: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative by the phases, shape (n_inputs,), summed over the rows."""
        real, imaginary = np.split(self.quadratures(drive), 2, axis=1)
        by_real, by_imaginary = np.split(gradients, 2, axis=1)
        return np.asarray((real * by_imaginary - imaginary * by_real).sum(axis=0))

    def propagator(self, matrix: NDArray[np.complex64]) -> Float64Array:
        """Of both quadratures, shape (2 n_inputs, 2 n_outputs), with the modulation's own scale."""
        own = self._light.propagator(matrix)
        if len(own) == 2 * matrix.shape[1]:
            return own
        real, imaginary = np.split(own, 2, axis=1)
        return np.vstack([own, np.hstack([-imaginary, real])])

    def typical_power(self, n_inputs: int) -> float:
        """A mask takes none away."""
        return self._light.typical_power(n_inputs)


def mask_tunables(n_inputs: int, bits: int | None) -> tuple[Tunable, ...]:
    """The phases of a mask of so many bits, in [0, 2 pi), all 0 at rest; none for ``None``."""
    if bits is None:
        return ()
    step = 2 * np.pi / 2 ** whole_number("mask_bits", bits, 1, 24)
    return (Tunable("mask", n_inputs, 0.0, 2 * np.pi - step, "rad", step=step),)


MODULATIONS: dict[str, Modulation] = {"amplitude": AmplitudeModulation(), "phase": PhaseModulation()}


# -- transmission matrices ---------------------------------------------------------------------------------------


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
    return read_matrix(matrix) if isinstance(matrix, str | Path) else np.array(matrix)


def read_matrix(path: str | Path, index: int = 0) -> NDArray[Any]:
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


# -- phases that walk --------------------------------------------------------------------------------------------


class PhaseWalk:
    """Independent walks that begin at 0: each row adds a normal number times ``step`` to every phase.

    The phases before the k-th row depend on the stream and k alone. Going on from row to row costs one draw a
    row; going back begins anew.

    Parameters
    ----------
    stream
        Of the steps.
    n_phases
        Walks.
    step
        Standard deviation of a row's step, in rad.
    """

    def __init__(self, stream: NoiseStream, n_phases: int, step: float) -> None:
        self._stream, self._n_phases, self._step = stream, n_phases, step
        self._row, self._phases = 0, np.zeros(n_phases)

    def at(self, first_row: int, rows: int) -> Float64Array:
        """Phases before each of ``rows`` rows, shape (rows, n_phases), in rad."""
        if first_row < self._row:
            self._row, self._phases = 0, np.zeros(self._n_phases)
        while self._row < first_row:
            self._walk(min(CHUNK_ROWS, first_row - self._row))
        return self._walk(rows)

    def _walk(self, rows: int) -> Float64Array:
        steps = self._step * self._stream.normals(self._row, rows, self._n_phases).astype(np.float64)
        # One after the other: a sum in this order is the same however the rows are cut into calls.
        path = np.cumsum(np.vstack([self._phases, steps]), axis=0)
        self._row, self._phases = self._row + rows, path[-1]
        return np.asarray(path[:-1])
