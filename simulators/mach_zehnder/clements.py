"""Settings of an ideal rectangular mesh that make a given unitary matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.simulators.mach_zehnder.circuit import Complex, Layout

UNITARY_TO = 1e-6  # largest entry of U* U - 1


def ideal_settings(unitary: Any) -> tuple[Float64Array, Float64Array]:
    r"""Decompose a unitary matrix into the phases of an ideal rectangular mesh.

    By the algorithm of Clements et al., Optica 3, 1460 (2016), for interferometers
    i exp(i theta / 2) [[exp(i phi) s, c], [exp(i phi) c, -s]] with s = sin(theta / 2), c = cos(theta / 2).

    Parameters
    ----------
    unitary
        Complex matrix of shape (n_modes, n_modes), n_modes at least 2.

    Returns
    -------
    tuning : ndarray of shape (n_modes * (n_modes - 1),)
        All theta, within [0, pi], then all phi, within (-pi, pi], in rad, as ``mach-zehnder-mesh`` orders them.
    outputs : ndarray of shape (n_modes,)
        Phases behind the mesh, in rad: ``exp(i outputs)[:, newaxis] * mesh`` is the matrix. Intensities do not see
        them.

    Raises
    ------
    ValueError
        The matrix is not unitary.
    """
    rest = _checked(unitary)
    modes = len(rest)
    first: list[tuple[int, float, float]] = []  # in the order of the light
    last: list[tuple[int, float, float]] = []  # the one at the output first
    for diagonal in range(modes - 1):
        for place in range(diagonal + 1):
            if diagonal % 2 == 0:
                m, row = diagonal - place, modes - 1 - place
                theta, phi = _angles(-rest[row, m + 1], rest[row, m])
                rest[:, m : m + 2] = rest[:, m : m + 2] @ _ideal(theta, phi).conj().T
                first.append((m, theta, phi))
            else:
                m, column = modes - 2 - diagonal + place, place
                theta, phi = _angles(rest[m, column], rest[m + 1, column])
                rest[m : m + 2] = _ideal(theta, phi) @ rest[m : m + 2]
                last.append((m, theta, phi))
    outputs = np.diagonal(rest).copy()
    for m, theta, phi in reversed(last):
        # An inverse before the diagonal is another one behind it: T* D = D' T'.
        one, two = outputs[m], outputs[m + 1]
        first.append((m, theta, float(np.angle(one / two))))
        outputs[m : m + 2] = -np.exp(-1j * theta) * two * np.array([np.exp(-1j * phi), 1.0])
    return _ordered(first, Layout(modes)), np.asarray(np.angle(outputs), dtype=np.float64)


def _checked(unitary: Any) -> Complex:
    given = np.array(unitary, dtype=np.complex128)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or len(given) < 2:
        raise ValueError(f"a unitary matrix has shape (n, n) with n at least 2, not {given.shape}")
    if not np.isfinite(given).all():
        raise ValueError("the matrix holds NaN or infinity")
    off = np.abs(given.conj().T @ given - np.eye(len(given))).max()
    if off > UNITARY_TO:
        raise ValueError(
            f"the matrix is not unitary: U* U differs from 1 by {off:.2g}; take the nearest one, "
            "u @ vh of numpy.linalg.svd"
        )
    return given


def _angles(wanted: complex, against: complex) -> tuple[float, float]:
    """Theta and phi with tan(theta / 2) exp(-i phi) = wanted / against; 0 where nothing is to be nulled."""
    theta = 2 * float(np.arctan2(abs(wanted), abs(against)))
    phi = float(np.angle(against) - np.angle(wanted))
    return theta, float(np.angle(np.exp(1j * phi)))


def _ideal(theta: float, phi: float) -> Complex:
    s, c, turn = np.sin(theta / 2), np.cos(theta / 2), np.exp(1j * phi)
    return np.array(1j * np.exp(0.5j * theta) * np.array([[turn * s, c], [turn * c, -s]]))


def _ordered(found: list[tuple[int, float, float]], layout: Layout) -> Float64Array:
    """Each interferometer in the first column that light reaches it in."""
    tuning = np.empty((2, layout.count))
    depth = np.zeros(layout.n_modes, dtype=np.intp)
    for m, theta, phi in found:
        column = max(depth[m], depth[m + 1])
        column += (column - m) % 2  # the mesh has m there in every second column
        depth[m : m + 2] = column + 1
        tuning[:, layout.places[column].start + m // 2] = theta, phi
    return tuning.ravel()
