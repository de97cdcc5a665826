"""Modes of a hard-walled cavity: -lap psi = k^2 psi with a normal derivative of zero at the walls.

A spectral element: Legendre polynomials on the unit square, mapped onto the shape, with Gauss-Lobatto quadrature
(Patera, J. Comput. Phys. 54, 468 (1984)). The error of a smooth mode falls exponentially with the degree, where a
staircase of finite differences would be in error by the cell size.

Modes are kept on disk, by a hash of the geometry: solved once a machine, not once a run.
The folder is ``$HWLOOP_CACHE``, else ``$XDG_CACHE_HOME/hwloop``, else ``~/.cache/hwloop``. A file is written whole
under another name and then renamed, carries a checksum, and is solved again if it is damaged. A folder that
cannot be written costs time, never a run.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_array, diags_array, eye_array, kron

from hwloop.device.spec import Float64Array
from hwloop.simulators.acoustic.shapes import Shape

VERSION = 1  # of the discretisation: raise it when the modes of a geometry come out differently
SPARE_DEGREE = 12  # beyond pi points a wavelength, which is where Legendre polynomials begin to resolve a wave


@dataclass(frozen=True)
class Eigenmodes:
    """The lowest modes of a shape, from the uniform one (k = 0) up.

    Parameters
    ----------
    shape
        Whose modes they are.
    wavenumbers
        k, rising, in rad/m, shape (modes,).
    nodal
        psi at the nodes, shape (modes, nodes of u, nodes of v), in 1/m: the integral of psi^2 is 1.
    """

    shape: Shape
    wavenumbers: Float64Array
    nodal: Float64Array

    def at(self, positions: Float64Array) -> Float64Array:
        """Values of psi at positions of (points, 2) in m; shape (points, modes), in 1/m."""
        u, v = self.shape.inverse(*positions.T)
        along_u = _interpolation(self.nodal.shape[1], u)
        along_v = _interpolation(self.nodal.shape[2], v)
        return np.asarray(np.einsum("pi,mij,pj->pm", along_u, self.nodal, along_v, optimize=True))


def solve(shape: Shape, count: int) -> Eigenmodes:
    """The lowest ``count`` modes."""
    u, weights_u = gauss_lobatto(_degree(shape.width, shape, count))
    v, weights_v = gauss_lobatto(_degree(shape.height, shape, count))
    grid_u, grid_v = (part.ravel() for part in np.meshgrid(u, v, indexing="ij"))
    x_u, x_v, y_u, y_v = shape.jacobian(grid_u, grid_v)
    determinant = x_u * y_v - x_v * y_u
    weights = np.outer(weights_u, weights_v).ravel()
    along_u = csr_array(kron(csr_array(_differentiation(u)), eye_array(len(v))))
    along_v = csr_array(kron(eye_array(len(u)), csr_array(_differentiation(v))))
    # Gradients in x and y by the chain rule; the stiffness is the integral of their products.
    by_x = diags_array(y_v / determinant) @ along_u - diags_array(y_u / determinant) @ along_v
    by_y = diags_array(x_u / determinant) @ along_v - diags_array(x_v / determinant) @ along_u
    mass = weights * determinant
    scale = 1 / np.sqrt(mass)
    scaled = [diags_array(np.sqrt(mass)) @ part @ diags_array(scale) for part in (by_x, by_y)]
    stiffness = sum((part.T @ part).toarray() for part in scaled)
    squares, vectors = eigh(stiffness, subset_by_index=(0, count - 1), overwrite_a=True, check_finite=False)
    squares[0] = 0.0  # the uniform mode, but for rounding
    vectors *= np.where(vectors.sum(axis=0) < 0, -1.0, 1.0)
    nodal = (vectors * scale[:, np.newaxis]).T.reshape(count, len(u), len(v))
    return Eigenmodes(shape, np.sqrt(squares), nodal)


def weyl_count(shape: Shape, wavenumber: float) -> float:
    """Expected number of modes below k, hard walls: A k^2 / 4 pi + P k / 4 pi (Weyl, with perimeter term)."""
    return (shape.area * wavenumber**2 + shape.perimeter * wavenumber) / (4 * np.pi)


def wavenumber_of(shape: Shape, count: float) -> float:
    """The k below which ``count`` modes are expected."""
    linear = shape.perimeter / (4 * np.pi)
    square = shape.area / (4 * np.pi)
    return float((-linear + np.sqrt(linear**2 + 4 * square * count)) / (2 * square))


def gauss_lobatto(degree: int) -> tuple[Float64Array, Float64Array]:
    """Nodes in [0, 1] and weights of Gauss-Lobatto quadrature, exact for polynomials of 2 degree - 1."""
    legendre = np.polynomial.legendre.Legendre.basis(degree)
    nodes = np.r_[-1.0, np.sort(legendre.deriv().roots().real), 1.0]
    weights = 2 / (degree * (degree + 1) * legendre(nodes) ** 2)
    return (nodes + 1) / 2, weights / 2


def _degree(length: float, shape: Shape, count: int) -> int:
    return int(np.ceil(wavenumber_of(shape, count) * length / 2)) + SPARE_DEGREE


def _barycentric_weights(nodes: Float64Array) -> Float64Array:
    apart = 4 * (nodes[:, np.newaxis] - nodes)
    np.fill_diagonal(apart, 1.0)
    return np.asarray(1 / apart.prod(axis=1))


def _differentiation(nodes: Float64Array) -> Float64Array:
    """Derivatives at the nodes of the polynomial through values at the nodes (Berrut and Trefethen 2004)."""
    weights = _barycentric_weights(nodes)
    apart = nodes[:, np.newaxis] - nodes
    np.fill_diagonal(apart, 1.0)
    matrix = weights / weights[:, np.newaxis] / apart
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return np.asarray(matrix)


def _interpolation(n_nodes: int, at: Float64Array) -> Float64Array:
    """Values at ``at`` of the polynomials that are 1 at one node and 0 at the others, shape (points, nodes)."""
    nodes, _ = gauss_lobatto(n_nodes - 1)
    apart = at[:, np.newaxis] - nodes
    hit = apart == 0
    terms = _barycentric_weights(nodes) / np.where(hit, 1.0, apart)
    terms /= terms.sum(axis=1, keepdims=True)
    return np.where(hit.any(axis=1, keepdims=True), hit.astype(np.float64), terms)


# -- on disk ------------------------------------------------------------------------------------------------------


def folder() -> Path:
    """Where cached modes are."""
    named = os.environ.get("HWLOOP_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hwloop"


def modes(shape: Shape, count: int) -> Eigenmodes:
    """The lowest ``count`` modes of a shape, from the cache or solved and cached."""
    key = hashlib.sha256(f"{VERSION}/{shape!r}/{count}".encode()).hexdigest()[:24]
    path = folder() / f"eigenmodes-{key}.npz"
    found = _read(path, shape, count)
    if found is None:
        found = solve(shape, count)
        _write(path, found)
    return found


def _read(path: Path, shape: Shape, count: int) -> Eigenmodes | None:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            wavenumbers, nodal, checksum = stored["wavenumbers"], stored["nodal"], str(stored["sha256"])
    except Exception:  # absent, or damaged in one of many ways
        return None
    if wavenumbers.shape != (count,) or checksum != _checksum(wavenumbers, nodal):
        return None
    return Eigenmodes(shape, wavenumbers, nodal)


def _write(path: Path, found: Eigenmodes) -> None:
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            checksum = _checksum(found.wavenumbers, found.nodal)
            np.savez(stream, wavenumbers=found.wavenumbers, nodal=found.nodal, sha256=np.array(checksum))
        os.replace(temporary, path)
    except OSError:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _checksum(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
