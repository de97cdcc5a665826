"""Finite differences in time for a rectangular cavity: what the modal methods are checked against. Needs numba.

The leapfrog scheme on cell centres, second order in space and time, hard walls:
(1 + gamma dt) p+ = 2 p - (1 - gamma dt) p- + (c dt / h)^2 (sum of 4 neighbours - 4 p) + dt^2 s. A plane wave obeys
sin(w dt / 2)^2 = (c dt / h)^2 (sin(kx h / 2)^2 + sin(ky h / 2)^2). Time runs inside, samples outside, so that a
sample stays in the processor's cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.acoustic.medium import Resistor
from hwloop.simulators.acoustic.shapes import Places

try:
    from numba import njit, prange
except ImportError as error:
    raise ImportError(f"finite differences in time need numba: pip install 'hwloop[fdtd]' ({error})") from error

NEWTON_STEPS = 30
Field = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Grid:
    """Square cells, and the step in time.

    Parameters
    ----------
    cells_x, cells_y
        At least 2.
    cell
        h in m.
    speed, loss
        c in m/s, gamma in 1/s.
    step_seconds
        dt: at most h / (c sqrt(2)), beyond which the scheme is unstable.

    Raises
    ------
    ValueError
        A value that is not allowed, with the reason and the nearest one that is.
    """

    cells_x: int
    cells_y: int
    cell: float
    speed: float
    loss: float
    step_seconds: float

    def __post_init__(self) -> None:
        whole_number("cells_x", self.cells_x, 2)
        whole_number("cells_y", self.cells_y, 2)
        real_number("cell", self.cell, 1e-12)
        real_number("speed", self.speed, 1e-12)
        real_number("loss", self.loss, 0.0)
        longest = self.cell / (self.speed * np.sqrt(2))
        if not 0 < self.step_seconds <= longest * (1 + 1e-12):
            raise ValueError(
                f"step_seconds must be above 0 and at most h / (c sqrt 2), not {self.step_seconds!r}: a longer "
                f"step is unstable; the nearest allowed value is {longest:.6g}"
            )

    @property
    def courant(self) -> float:
        """The ratio c dt / h."""
        return self.speed * self.step_seconds / self.cell

    @property
    def coefficients(self) -> tuple[float, float, float]:
        """Of p, of p- and of each neighbour."""
        damped = 1 + self.loss * self.step_seconds
        square = self.courant**2
        return (2 - 4 * square) / damped, (2 - damped) / damped, square / damped

    def cell_of(self, positions: Float64Array) -> NDArray[np.int64]:
        """Row and column of the cell that each position lies in, shape (points, 2)."""
        found = np.floor(positions[:, ::-1] / self.cell).astype(np.int64)
        return np.clip(found, 0, [self.cells_y - 1, self.cells_x - 1])

    def centres(self, cells: NDArray[np.int64]) -> Float64Array:
        """Positions of the centres of cells, shape (points, 2), in m."""
        return np.asarray((cells[:, ::-1] + 0.5) * self.cell)

    def energy(self, before: Field, now: Field) -> Float64Array:
        """The leapfrog's invariant without loss, for fields (samples, cells_y, cells_x) at two steps.

        Half the sum of (p+ - p)^2 / dt^2 + c^2 grad p+ . grad p.
        """
        rate = (now - before) / self.step_seconds
        stretch = sum(
            (np.diff(now, axis=axis) * np.diff(before, axis=axis)).sum(axis=(1, 2)) / self.cell**2
            for axis in (1, 2)
        )
        return np.asarray((np.square(rate).sum(axis=(1, 2)) + self.speed**2 * stretch) / 2)


def propagate(grid: Grid, before: Field, now: Field, steps: int) -> tuple[Field, Field]:
    """The two last fields after ``steps`` steps without sources.

    Fields have shape (samples, cells_y, cells_x), single or double precision.
    """
    padded = [np.pad(field, ((0, 0), (1, 1), (1, 1)), mode="edge") for field in (before, now)]
    scalars = [now.dtype.type(value) for value in grid.coefficients]
    _propagate(padded[0], padded[1], *scalars, steps)
    first, second = padded if steps % 2 == 0 else padded[::-1]
    inside = (slice(None), slice(1, -1), slice(1, -1))
    return first[inside], second[inside]


def respond(grid: Grid, places: Places, law: Resistor, strength: float, signals: Float64Array) -> Float64Array:
    """Pressures at the microphones from rest, less their mean over the cavity, in double precision.

    Parameters
    ----------
    places
        Everything acts on the cell that it lies in.
    law, strength
        Of the scatterers; strength in m^2/s.
    signals
        Sources of the loudspeakers, shape (rows, steps, loudspeakers).

    Returns
    -------
    ndarray of shape (rows, steps, microphones)
    """
    cells = [grid.cell_of(group) + 1 for group in (places.loudspeakers, places.scatterers, places.microphones)]
    rows, steps, _ = signals.shape
    heard = np.zeros((rows, steps, len(places.microphones)))
    _respond(
        *grid.coefficients,
        grid.step_seconds,
        grid.loss,
        1 / (grid.cells_x * grid.cells_y),
        1 / grid.cell**2,
        (grid.cells_y, grid.cells_x),
        *cells,
        law.offset,
        strength,
        np.ascontiguousarray(signals, dtype=np.float64),
        heard,
    )
    return heard


# -- the inner loops, compiled by numba ---------------------------------------------------------------------------


@njit(cache=True, fastmath={"contract", "reassoc"}, error_model="numpy", inline="always")
def _advance(old: Any, now: Any, of_now: Any, of_old: Any, of_neighbour: Any) -> None:
    """One step of one sample: ``old`` becomes the next field; the border of ``now`` mirrors its neighbours."""
    height, width = now.shape
    for column in range(width):
        now[0, column] = now[1, column]
        now[height - 1, column] = now[height - 2, column]
    for row in range(1, height - 1):
        below, middle, above, out = now[row - 1], now[row], now[row + 1], old[row]
        middle[0] = middle[1]
        middle[width - 1] = middle[width - 2]
        for column in range(1, width - 1):
            around = (below[column] + above[column]) + (middle[column - 1] + middle[column + 1])
            out[column] = (of_now * middle[column] - of_old * out[column]) + of_neighbour * around


@njit(cache=True, parallel=True, error_model="numpy")
def _propagate(old: Any, now: Any, of_now: Any, of_old: Any, of_neighbour: Any, steps: int) -> None:
    """Steps without sources, in place; after an odd number of steps ``old`` and ``now`` have changed places."""
    for sample in prange(now.shape[0]):
        one, other = old[sample], now[sample]
        for step in range(steps):
            if step % 2 == 0:
                _advance(one, other, of_now, of_old, of_neighbour)
            else:
                _advance(other, one, of_now, of_old, of_neighbour)


@njit(cache=True, error_model="numpy")
def _resisted(free: float, before: float, offset: float, pull: float, step: float) -> float:
    """The p that solves p = free - pull F((p - before) / (2 dt)): Newton's steps kept inside a bracket.

    F rises, so there is one; F is bounded by 1 / (1 - offset), so it lies between the ends.
    """
    reach = pull / (1 - offset)
    low, high = free - reach, free + reach
    found = free
    for _ in range(NEWTON_STEPS):
        bounded = np.tanh((found - before) / (2 * step))
        divisor = 1 + offset * bounded
        miss = found - free + pull * bounded / divisor
        if miss > 0:
            high = found
        else:
            low = found
        slope = 1 + pull * (1 - bounded * bounded) / (divisor * divisor) / (2 * step)
        following = found - miss / slope
        if not low <= following <= high:
            following = (low + high) / 2
        if following == found:
            break
        found = following
    return found


@njit(cache=True, parallel=True, error_model="numpy")
def _respond(
    of_now: float,
    of_old: float,
    of_neighbour: float,
    step: float,
    loss: float,
    per_cell: float,
    per_area: float,
    size: Any,
    loudspeakers: Any,
    scatterers: Any,
    microphones: Any,
    offset: float,
    strength: float,
    signals: Any,
    heard: Any,
) -> None:
    """Sources and scatterers; the mean over the cavity is followed apart, and taken off what is heard and felt."""
    damped = 1 + loss * step
    weight = step * step * per_area / damped  # of a source of 1, on the cell that it acts on
    for sample in prange(signals.shape[0]):
        one = np.zeros((size[0] + 2, size[1] + 2))
        other = np.zeros((size[0] + 2, size[1] + 2))
        mean, mean_before = 0.0, 0.0
        for instant in range(1, signals.shape[1]):
            old, now = one, other
            if instant % 2 == 0:
                old, now = other, one
            before = np.empty(len(scatterers))
            for k in range(len(scatterers)):
                before[k] = old[scatterers[k, 0], scatterers[k, 1]] - mean_before
            _advance(old, now, of_now, of_old, of_neighbour)
            added = 0.0
            for k in range(len(loudspeakers)):
                pushed = weight * signals[sample, instant - 1, k]
                old[loudspeakers[k, 0], loudspeakers[k, 1]] += pushed
                added += pushed
            mean_next = (2 * mean - (2 - damped) * mean_before) / damped + added * per_cell
            for k in range(len(scatterers)):
                free = old[scatterers[k, 0], scatterers[k, 1]] - mean_next
                # A force also moves the mean, by its share of a cell: solved for with it.
                share = 1 - per_cell
                found = _resisted(free, before[k], offset, share * weight * strength, step)
                force = (found - free) / share
                old[scatterers[k, 0], scatterers[k, 1]] += force
                mean_next += force * per_cell
            mean_before, mean = mean, mean_next
            for k in range(len(microphones)):
                heard[sample, instant, k] = old[microphones[k, 0], microphones[k, 1]] - mean
