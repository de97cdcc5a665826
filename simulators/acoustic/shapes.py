"""The shape of a cavity, a rectangle or one whose right and upper walls bulge inwards, and the places in it.

With walls that are straight or bulge inwards (seen from inside: every wall disperses a beam or leaves it as it
is) the billiard is chaotic (Sinai, Russ. Math. Surveys 25, 137 (1970)), and without a symmetry its modes have
the level statistics of the Gaussian orthogonal ensemble (Bohigas, Giannoni and Schmit, PRL 52, 1 (1984)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array

BULGES = {"rectangle": (0.0, 0.0), "sinai": (0.14, 0.12)}  # depth of right and upper arc, of the wall's length
INVERSE_STEPS = 60  # of a contraction by 0.3 or less a step
MARGIN = 0.06  # from the walls, of the unit square
MAX_TRIES = 10_000


@dataclass(frozen=True)
class Shape:
    """The region 0 <= x <= width - right arc, 0 <= y <= height - upper arc.

    It is the image of the unit square under x = u (width - r(v)), y = v (height - t(u)), r and t the arcs'
    distances from the straight walls.

    Parameters
    ----------
    width, height
        Of the enclosing rectangle, in m.
    right_depth, upper_depth
        How far circular arcs bulge inwards at their middle, in m; 0 for a straight wall.
    """

    width: float
    height: float
    right_depth: float = 0.0
    upper_depth: float = 0.0

    @classmethod
    def named(cls, name: str, width: float, height: float) -> Shape:
        """One of :data:`BULGES` in the given rectangle."""
        right, upper = BULGES[name]
        return cls(width, height, right * height, upper * width)

    @property
    def area(self) -> float:
        """In m^2."""
        arcs = ((self.height, self.right_depth), (self.width, self.upper_depth))
        return self.width * self.height - sum(_segment_area(chord, depth) for chord, depth in arcs)

    @property
    def perimeter(self) -> float:
        """In m."""
        arcs = ((self.height, self.right_depth), (self.width, self.upper_depth))
        return self.width + self.height + sum(_arc_length(chord, depth) for chord, depth in arcs)

    def points(self, u: Float64Array, v: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Coordinates x and y, in m, of points of the unit square."""
        right, _ = _arc(v, self.height, self.right_depth)
        upper, _ = _arc(u, self.width, self.upper_depth)
        return u * (self.width - right), v * (self.height - upper)

    def jacobian(self, u: Float64Array, v: Float64Array) -> tuple[Float64Array, ...]:
        """dx/du, dx/dv, dy/du and dy/dv."""
        right, right_slope = _arc(v, self.height, self.right_depth)
        upper, upper_slope = _arc(u, self.width, self.upper_depth)
        return self.width - right, -u * right_slope, -v * upper_slope, self.height - upper

    def inverse(self, x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Coordinates u and v of points in the shape; outside it, of a point in the unit square that is near."""
        u, v = np.clip(x / self.width, 0, 1), np.clip(y / self.height, 0, 1)
        for _ in range(INVERSE_STEPS):
            right, upper = _arc(v, self.height, self.right_depth)[0], _arc(u, self.width, self.upper_depth)[0]
            u, v = np.clip(x / (self.width - right), 0, 1), np.clip(y / (self.height - upper), 0, 1)
        return u, v

    def contains(self, x: Float64Array, y: Float64Array) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether points lie inside or on the walls."""
        slack = 1e-9 * self.width
        found_x, found_y = self.points(*self.inverse(x, y))
        return np.asarray(np.hypot(found_x - x, found_y - y) <= slack)

    def checked_positions(self, name: str, positions: object) -> Float64Array:
        """Positions as an array of shape (points, 2), in m.

        Raises
        ------
        ValueError
            They are no pairs of numbers, or one lies outside the cavity; the message names a point inside.
        """
        found = np.asarray(positions, dtype=np.float64)
        if found.ndim != 2 or found.shape[1] != 2 or not np.isfinite(found).all():
            raise ValueError(f"{name} must be pairs of finite numbers (x, y) in m, not {positions!r}")
        inside = self.contains(*found.T)
        if not inside.all():
            first = int(np.argmin(inside))
            x, y = found[first]
            near = [float(part[0]) for part in self.points(*self.inverse(*found[first : first + 1].T))]
            raise ValueError(
                f"{name}: number {first} at ({x:g}, {y:g}) m lies outside the cavity; "
                f"the nearest allowed value is about ({near[0]:.4g}, {near[1]:.4g}) m"
            )
        return found


@dataclass(frozen=True)
class Places:
    """Positions in m, each of shape (points, 2)."""

    loudspeakers: Float64Array
    scatterers: Float64Array
    microphones: Float64Array


def scattered(shape: Shape, counts: Sequence[int], rng: np.random.Generator) -> list[Float64Array]:
    """Groups of random points, away from the walls and, as far as there is room, from each other."""
    total = sum(counts)
    apart = 0.7 * np.sqrt(shape.area / max(total, 1))
    points: list[Float64Array] = []
    for _ in range(total):
        for attempt in range(MAX_TRIES):
            point = np.array([float(part[0]) for part in shape.points(*rng.uniform(MARGIN, 1 - MARGIN, (2, 1)))])
            # What is asked for shrinks until it can be had.
            wanted = apart * 0.99**attempt
            if all(np.hypot(*(point - other)) >= wanted for other in points):
                points.append(point)
                break
    placed = np.array(points).reshape(total, 2)
    return [np.asarray(group) for group in np.split(placed, np.cumsum(counts)[:-1])]


def _radius(chord: float, depth: float) -> float:
    return (chord**2 / 4 + depth**2) / (2 * depth)


def _arc(along: Float64Array, chord: float, depth: float) -> tuple[Float64Array, Float64Array]:
    """Distance of an arc from its chord at ``along`` in [0, 1], in m, and its derivative."""
    if depth == 0:
        return np.zeros_like(along), np.zeros_like(along)
    radius, offset = _radius(chord, depth), (along - 0.5) * chord
    root = np.sqrt(radius**2 - offset**2)
    return root - (radius - depth), -offset * chord / root


def _half_angle(chord: float, depth: float) -> float:
    return float(np.arcsin(chord / (2 * _radius(chord, depth))))


def _arc_length(chord: float, depth: float) -> float:
    return 2 * _half_angle(chord, depth) * _radius(chord, depth) if depth else chord


def _segment_area(chord: float, depth: float) -> float:
    if depth == 0:
        return 0.0
    angle = 2 * _half_angle(chord, depth)
    return float(_radius(chord, depth) ** 2 * (angle - np.sin(angle)) / 2)
