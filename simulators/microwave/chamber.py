"""The chamber of coupled dipoles in two dimensions: antennas, walls, scatterers and pixels are polarisable points.

The PhysFad formalism (Faqiri, Saigre-Tardif, Alexandropoulos, del Hougne, IEEE Trans. Wireless Commun. 22, 580
(2023)). Lengths are in wavelengths and frequencies in units of the working frequency, so c = 1 and k = 2 pi f.
Everything that no pixel changes is eliminated once per frequency (Schur complement).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import hankel2

from hwloop.device.spec import Float64Array

WALL_SPACING = 0.25  # wavelengths: a fence that dense lets little through
CLEARANCE = 0.5  # wavelengths between anything inside and the walls, and between two things inside
PIXEL_GAP = 0.3  # wavelengths between the metasurface and its wall
MAX_TRIES = 100_000

# Strengths and resonances after PhysFad's examples: walls answer strongly far below their resonance, antennas
# and pixels that are on are resonant at the working frequency.
WALL = {"resonance": 10.0, "strength": 50.0, "loss": 0.0}
SCATTERER = {"resonance": 10.0, "strength": 50.0, "loss": 0.0}
ANTENNA = {"resonance": 1.0, "strength": 0.5, "loss": 0.0}
PIXEL_STRENGTH, PIXEL_LOSS = 0.5, 0.03
PIXEL_ON, PIXEL_OFF = 1.0, 5.0  # resonance frequencies
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Dipoles:
    """Points with a Lorentzian polarisability.

    Attributes
    ----------
    positions
        Shape (dipoles, 2), in wavelengths.
    resonance
        Resonance frequency of each, shape (dipoles,).
    strength
        chi of each: how strongly it answers.
    loss
        gamma of each: absorption, at least 0.
    """

    positions: Float64Array
    resonance: Float64Array
    strength: Float64Array
    loss: Float64Array

    def __len__(self) -> int:
        return len(self.positions)

    def __add__(self, other: Dipoles) -> Dipoles:
        return Dipoles(
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.resonance, other.resonance]),
            np.concatenate([self.strength, other.strength]),
            np.concatenate([self.loss, other.loss]),
        )

    @classmethod
    def alike(cls, positions: Float64Array, resonance: float, strength: float, loss: float) -> Dipoles:
        """Dipoles at ``positions`` that differ in nothing else."""
        count = len(positions)
        return cls(positions, *(np.full(count, value) for value in (resonance, strength, loss)))

    def inverse_polarisability(self, frequency: float) -> Complex:
        """1 / alpha of each at a frequency, shape (dipoles,), for fields that go as exp(+i omega t).

        Its imaginary part holds the radiation of a lone dipole, k^2 / 4, which no passive dipole can do without,
        and what it absorbs.
        """
        k = 2 * np.pi * frequency
        detuning = (2 * np.pi * self.resonance) ** 2 - k**2
        return np.asarray((detuning + 1j * k * self.loss) / self.strength**2 + 0.25j * k**2)

    def interaction(self, frequency: float) -> Complex:
        """W, shape (dipoles, dipoles): W p = E with p the dipole moments and E the incident field; symmetric."""
        k = 2 * np.pi * frequency
        offsets = self.positions[:, np.newaxis, :] - self.positions[np.newaxis, :, :]
        distances = np.hypot(offsets[..., 0], offsets[..., 1])
        np.fill_diagonal(distances, 1.0)
        matrix = np.asarray(0.25j * k**2 * hankel2(0, k * distances), dtype=np.complex128)
        np.fill_diagonal(matrix, self.inverse_polarisability(frequency))
        return matrix


@dataclass(frozen=True)
class Chamber:
    """Everything in the cavity. ``pixels`` are off; the two states differ in their resonance alone."""

    antennas: Dipoles
    fixed: Dipoles
    pixels: Dipoles

    @property
    def pixels_on(self) -> Dipoles:
        """The same pixels, all of them on."""
        return replace(self.pixels, resonance=np.full(len(self.pixels), PIXEL_ON))


def build_chamber(
    size: float,
    n_antennas: int,
    n_pixels: int,
    n_scatterers: int,
    wall_loss: float,
    antenna_rng: np.random.Generator,
    scatterer_rng: np.random.Generator,
) -> Chamber:
    """A chamber whose shape has no symmetry, with antennas and then scatterers placed at random.

    Parameters
    ----------
    size
        Length of the wall that carries the metasurface, in wavelengths.
    wall_loss
        Absorption of the walls, at least 0.

    Raises
    ------
    ValueError
        There is no room.
    """
    corners = np.array([[0, 0], [1, 0], [1.0, 0.62], [0.71, 0.87], [0.23, 0.78], [0, 0.55]]) * size
    pitch = (size - 2 * CLEARANCE) / max(n_pixels, 1)
    if pitch < 0.1:
        fits = int((size - 2 * CLEARANCE) / 0.1)
        raise ValueError(f"{n_pixels} pixels do not fit a wall of {size:g} wavelengths; it holds {fits}")
    along = CLEARANCE + pitch * (np.arange(n_pixels) + 0.5)
    metasurface = np.column_stack([along, np.full(n_pixels, PIXEL_GAP)])
    antennas = _scattered(corners, n_antennas, metasurface, antenna_rng)
    scatterers = _scattered(corners, n_scatterers, np.vstack([metasurface, antennas]), scatterer_rng)
    walls = Dipoles.alike(_fence(corners), **WALL | {"loss": wall_loss})
    return Chamber(
        antennas=Dipoles.alike(antennas, **ANTENNA),
        fixed=walls + Dipoles.alike(scatterers, **SCATTERER),
        pixels=Dipoles.alike(metasurface, PIXEL_OFF, PIXEL_STRENGTH, PIXEL_LOSS),
    )


def _fence(corners: Float64Array) -> Float64Array:
    """Points along a closed polygon, evenly spaced on every side."""
    sides = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        count = max(1, round(float(np.linalg.norm(end - start)) / WALL_SPACING))
        sides.append(start + (end - start) * (np.arange(count) / count)[:, np.newaxis])
    return np.concatenate(sides)


def _scattered(corners: Float64Array, count: int, taken: Float64Array, rng: np.random.Generator) -> Float64Array:
    """Random points inside a convex polygon, away from its walls, from what is there and from each other."""
    points: list[Float64Array] = []
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.column_stack([-edges[:, 1], edges[:, 0]]) / np.linalg.norm(edges, axis=1)[:, np.newaxis]
    for _ in range(MAX_TRIES):
        if len(points) == count:
            return np.array(points).reshape(count, 2)
        point = rng.uniform(corners.min(axis=0), corners.max(axis=0))
        from_walls = ((point - corners) * normals).sum(axis=1).min()
        others = np.vstack([taken, *points]) if points else taken
        apart = np.linalg.norm(others - point, axis=1).min() if len(others) else np.inf
        if from_walls >= CLEARANCE and apart >= CLEARANCE:
            points.append(point)
    raise ValueError(
        f"there is no room for {count} antennas and scatterers at {CLEARANCE} wavelengths from each other; the "
        f"nearest that found room is {len(points)}; make the chamber larger"
    )


@dataclass(frozen=True)
class Eliminated:
    """What is left of a chamber at one frequency: antennas and pixels.

    With W in blocks, [[A, B], [B', D]], A of antennas, walls and scatterers and D of the pixels (off), a state s
    (0 or 1 a pixel) has the Schur complement S(s) = D - B' A^-1 B + diag(s change), and the block of W^-1
    between antennas is G + U' S(s)^-1 U.

    Attributes
    ----------
    direct
        G, shape (antennas, antennas).
    coupling
        U = B' A^-1 between pixels and antennas, shape (pixels, antennas).
    off
        S of all pixels off, shape (pixels, pixels).
    change
        By how much a pixel's 1 / alpha changes when it is switched on, shape (pixels,).
    """

    direct: Complex
    coupling: Complex
    off: Complex
    change: Complex


def eliminate(chamber: Chamber, frequency: float, port_coupling: float) -> Eliminated:
    """Solve for all that does not change.

    ``port_coupling`` is the Gamma of every antenna: what it takes from the field and hands to its cable.
    """
    antennas, pixels = len(chamber.antennas), len(chamber.pixels)
    everything = chamber.antennas + chamber.fixed + chamber.pixels
    matrix = everything.interaction(frequency)
    ports = np.arange(antennas)
    matrix[ports, ports] += 1j * port_coupling
    kept = len(everything) - pixels
    a, b, d = matrix[:kept, :kept], matrix[:kept, kept:], matrix[kept:, kept:]
    right = np.zeros((kept, antennas + pixels), dtype=np.complex128)
    right[ports, ports] = 1.0
    right[:, antennas:] = b
    solved: Complex = np.linalg.solve(a, right).astype(np.complex128, copy=False)
    change = chamber.pixels_on.inverse_polarisability(frequency) - chamber.pixels.inverse_polarisability(frequency)
    return Eliminated(
        direct=solved[:antennas, :antennas],
        coupling=solved[:antennas, antennas:].T,
        off=d - b.T @ solved[:, antennas:],
        change=change,
    )


def scattering(inverse: Complex, port_coupling: float) -> Complex:
    """S between the antennas' cables from W^-1 between the antennas, any shape (..., antennas, antennas).

    S = 1 - 2 i Gamma W^-1: S S^dagger = 1 - 4 Gamma W^-1 Im(W_0) (W^-1)^dagger Gamma with W_0 the chamber
    without cables, so no chamber with passive dipoles gives out more than it gets.
    """
    return np.asarray(np.eye(inverse.shape[-1]) - 2j * port_coupling * inverse)


def single_flips(chamber: Eliminated, state: Float64Array) -> Complex:
    """W^-1 between the antennas after each pixel alone is flipped, shape (pixels, antennas, antennas).

    One inverse for all of them: a flip of pixel i changes S by c e_i e_i', a rank-one update (Sherman-Morrison).
    ``state`` has shape (pixels,), 0 or 1.
    """
    inverse = np.linalg.inv(chamber.off + np.diag(state * chamber.change))
    filled = inverse @ chamber.coupling
    here = chamber.direct + chamber.coupling.T @ filled
    weights = 1 / (1 / np.where(state > 0, -chamber.change, chamber.change) + np.diagonal(inverse))
    return np.asarray(
        here - weights[:, np.newaxis, np.newaxis] * filled[:, :, np.newaxis] * filled[:, np.newaxis, :]
    )


def plain_scattering(chamber: Chamber, frequency: float, port_coupling: float, states: Float64Array) -> Complex:
    """S of each state by inverting W as a whole: what the fast path is checked against, and timed against.

    ``states`` has shape (rows, pixels), 0 or 1; the result (rows, antennas, antennas).
    """
    antennas, pixels = len(chamber.antennas), len(chamber.pixels)
    off = (chamber.antennas + chamber.fixed + chamber.pixels).interaction(frequency)
    change = chamber.pixels_on.inverse_polarisability(frequency) - chamber.pixels.inverse_polarisability(frequency)
    found = []
    for state in states:
        matrix = off.copy()
        diagonal = np.einsum("ii->i", matrix)
        diagonal[:antennas] += 1j * port_coupling
        diagonal[-pixels:] += state * change
        found.append(np.linalg.inv(matrix)[:antennas, :antennas])
    return scattering(np.array(found), port_coupling)
