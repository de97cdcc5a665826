"""What light meets between modulator and camera, as matrices: launch, modes with coupling, points, exit.

The modes of a graded-index fibre are products of Hermite-Gauss functions, in groups of equal propagation constant:
a parabolic index profile is a harmonic oscillator in the two transverse directions. Lengths are in units in which
the fundamental mode is exp(-(x^2 + y^2) / 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm, schur

from hwloop.device.spec import Float64Array
from hwloop.simulators import optics

Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class ModalFibre:
    """A fibre of M modes.

    Attributes
    ----------
    launch
        From the modulator to where groups of modes can be told apart, shape (L, n_inputs).
    groups
        Number of the group of each of these L, for phases that walk; ``None`` where they are not known.
    entry
        From there into the modes in which propagation is diagonal, shape (M, L).
    phases
        Linear phase of every mode over the whole length, shape (M,), rad.
    couplings
        A unitary matrix at the end of each segment, shape (segments, M, M).
    to_points
        Unitary, from modes to the points at which the nonlinearity is local, shape (M, M).
    density
        Intensity at a point for a power of 1 there, relative to the mean point, shape (M,).
    exit
        From the modes to the camera, shape (n_outputs, M).
    """

    launch: Complex
    groups: NDArray[np.int64] | None
    entry: Complex
    phases: Float64Array
    couplings: Complex
    to_points: Complex
    density: Float64Array
    exit: Complex


def graded(
    side: int,
    pixels: int,
    n_inputs: int,
    n_segments: int,
    mixing: float,
    pitches: float,
    launch_rng: np.random.Generator,
    coupling_rng: np.random.Generator,
) -> ModalFibre:
    """A graded-index fibre of side**2 modes, with random coupling after every segment.

    Parameters
    ----------
    mixing
        Root mean square coupling of a mode to all others at the end of a segment, in rad.
    pitches
        Periods of self-imaging over the length: neighbouring groups part by 2 pi in each.
    """
    modes = side**2
    numbers = group_numbers(side)
    points, weights = to_points(side)
    couplings = [_coupling(numbers, mixing, coupling_rng) for _ in range(n_segments)]
    density = 1 / weights
    return ModalFibre(
        launch=optics.unitary(modes, n_inputs, launch_rng) / np.sqrt(modes),
        groups=numbers.astype(np.int64),
        entry=np.eye(modes, dtype=np.complex128),
        phases=2 * np.pi * pitches * numbers,
        couplings=np.array(couplings),
        to_points=points.astype(np.complex128),
        density=density / density.mean(),
        exit=mode_values(side, pixels).astype(np.complex128),
    )


def measured(matrix: optics.Matrix, n_segments: int, rng: np.random.Generator) -> ModalFibre:
    """A fibre whose linear limit is a measured matrix T, shape (n, n), mean abs(T)**2 = 1.

    T / sqrt(n) = W P with W unitary and P the losses, which are met first. W is spread evenly over the length:
    its eigenvectors are the modes, its eigenvalues their phases. At which points the modes overlap is in no
    matrix, so the points are drawn: a random unitary matrix.
    """
    count = len(matrix)
    _, sizes, right = np.linalg.svd(matrix.astype(np.complex128) / np.sqrt(count))
    triangular, modes = schur(_nearest_unitary(matrix), output="complex")
    lossy = right.conj().T * sizes @ right
    points = _nearest_unitary(optics.unitary(count, count, rng))
    return ModalFibre(
        launch=np.eye(count, dtype=np.complex128),
        groups=_groups_by_size(count),
        entry=modes.conj().T @ lossy,
        phases=np.angle(np.diagonal(triangular)),
        couplings=np.broadcast_to(np.eye(count), (n_segments, count, count)).astype(np.complex128),
        to_points=points @ modes,
        density=np.ones(count),
        exit=modes * np.sqrt(count),
    )


def propagators(medium: ModalFibre, steps_per_segment: int) -> list[Complex]:
    """The linear parts of a Strang split-step, from before the first nonlinear step to after the last.

    A step is half of the linear propagation, the nonlinearity at the points, and the other half; two halves that
    meet, and the coupling between them, make one matrix (Agrawal, Nonlinear Fiber Optics, section 2.4). The
    first takes what ``launch`` gives, the last gives the field at the camera. Equal ones are one object.
    """
    segments = len(medium.couplings)
    half = np.exp(0.5j * medium.phases / (segments * steps_per_segment))
    forth = medium.to_points * half
    back = half[:, np.newaxis] * medium.to_points.conj().T
    inner = forth @ back
    chain = [forth @ medium.entry]
    for number, coupling in enumerate(medium.couplings):
        chain += [inner] * (steps_per_segment - 1)
        end = medium.exit if number == segments - 1 else forth
        chain.append(end @ coupling @ back)
    return chain


def quadrature_form(matrix: Complex) -> Float64Array:
    """The real matrix that takes rows [Re u, Im u] to [Re M u, Im M u], shape (2 columns, 2 rows of M)."""
    real, imaginary = matrix.real.T, matrix.imag.T
    return np.asarray(np.block([[real, imaginary], [-imaginary, real]]), dtype=np.float64)


def _coupling(numbers: Float64Array, mixing: float, rng: np.random.Generator) -> Complex:
    """exp(i H), H random Hermitian; a mode couples half as strongly for each group that lies between."""
    modes = len(numbers)
    real, imaginary = rng.standard_normal((2, modes, modes))
    strength = 0.5 ** np.abs(np.subtract.outer(numbers, numbers))
    strength /= np.sqrt(np.mean((strength**2).sum(axis=1)))
    hermitian = (real + real.T + 1j * (imaginary - imaginary.T)) / 2
    return np.asarray(expm(1j * mixing * strength * hermitian), dtype=np.complex128)


def _nearest_unitary(matrix: optics.Matrix) -> Complex:
    """The unitary factor of the polar decomposition, to double precision; a scale of the matrix is left out."""
    left, _, right = np.linalg.svd(matrix.astype(np.complex128))
    return np.asarray(left @ right)


def _groups_by_size(modes: int) -> NDArray[np.int64] | None:
    """Groups of 2, 4, 6 ... modes (two polarisations), if that many modes fill them; else ``None``."""
    filled: Sequence[int] = [g for g in range(1, modes + 1) if g * (g + 1) <= modes]
    last = filled[-1] if filled else 0
    if last * (last + 1) != modes:
        return None
    return np.repeat(np.arange(last), 2 * np.arange(1, last + 1))


def hermite_functions(count: int, x: Float64Array) -> Float64Array:
    """The first ``count`` normalised Hermite-Gauss functions at the points x, shape (points, count)."""
    values = np.zeros((len(x), count))
    values[:, 0] = np.pi**-0.25 * np.exp(-(x**2) / 2)
    for n in range(1, count):
        before = values[:, n - 2] if n > 1 else 0.0
        values[:, n] = np.sqrt(2 / n) * x * values[:, n - 1] - np.sqrt((n - 1) / n) * before
    return values


def quadrature_points(count: int) -> tuple[Float64Array, Float64Array]:
    """Gauss-Hermite points, and the weight of each for functions that hold their own exp(-x^2), (count,) each.

    At these points sqrt(weight_j) psi_n(x_j) is an orthogonal matrix of ``count`` modes and as many points (a
    discrete variable representation: Light, Hamilton and Lill, J. Chem. Phys. 82, 1400 (1985)).
    """
    off_diagonal = np.sqrt(np.arange(1, count) / 2)
    points, vectors = np.linalg.eigh(np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1))
    weights = np.square(vectors[0] / hermite_functions(1, points)[:, 0])
    return np.asarray(points, dtype=np.float64), np.asarray(weights, dtype=np.float64)


def group_numbers(side: int) -> Float64Array:
    """n_x + n_y of the side**2 modes, in the order in which :func:`mode_values` holds them, shape (modes,)."""
    return np.asarray(np.add.outer(np.arange(side), np.arange(side)).ravel(), dtype=np.float64)


def to_points(side: int) -> tuple[Float64Array, Float64Array]:
    """The orthogonal matrix from modes to points, (side**2, side**2), and the weights of the points."""
    points, weights = quadrature_points(side)
    line = hermite_functions(side, points) * np.sqrt(weights)[:, np.newaxis]
    return np.asarray(np.kron(line, line), dtype=np.float64), np.asarray(np.kron(weights, weights))


def mode_values(side: int, pixels: int) -> Float64Array:
    """The modes on a camera of pixels x pixels over the core, shape (pixels**2, side**2), mean square 1."""
    edge = quadrature_points(side)[0][-1]
    line = hermite_functions(side, np.linspace(-edge, edge, pixels) if pixels > 1 else np.zeros(1))
    values = np.kron(line, line)
    return np.asarray(values / np.sqrt(np.mean(values**2)))
