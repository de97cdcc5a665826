"""The rectangular mesh: where its interferometers are, what a chip of it does to light, and the derivative."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array

Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Layout:
    """Places of the interferometers of a rectangular mesh, column after column.

    After Clements et al., Optica 3, 1460 (2016). Column c holds those on modes (m, m + 1) with m = c % 2,
    c % 2 + 2, …; N columns make N (N - 1) / 2 of them.

    Attributes
    ----------
    n_modes
        Waveguides, at least 2.
    """

    n_modes: int

    @cached_property
    def upper(self) -> list[NDArray[np.intp]]:
        """The upper mode m of each interferometer, for every column."""
        return [np.arange(c % 2, self.n_modes - 1, 2) for c in range(self.n_modes)]

    @cached_property
    def places(self) -> list[slice]:
        """Where the interferometers of each column stand among all."""
        ends = np.cumsum([len(upper) for upper in self.upper])
        return [slice(int(end) - len(upper), int(end)) for end, upper in zip(ends, self.upper, strict=True)]

    @property
    def count(self) -> int:
        """Interferometers."""
        return self.n_modes * (self.n_modes - 1) // 2

    def neighbours(self) -> NDArray[np.bool_]:
        """Which phase shifters lie beside each other, shape (2 count, 2 count): all theta, then all phi.

        Along the light phi stands before theta. Neighbours are the next ones along the same waveguides (also those
        that touch it at one mode), and those of the same kind across, two modes away.
        """
        mode = np.concatenate(self.upper)
        column = np.repeat(np.arange(self.n_modes), [len(upper) for upper in self.upper])
        along = np.concatenate([2 * column + 1, 2 * column])
        across = np.tile(mode, 2)
        apart, beside = (np.abs(np.subtract.outer(each, each)) for each in (along, across))
        return np.asarray(((apart == 1) & (beside <= 1)) | ((apart == 0) & (beside == 2)))


@dataclass(frozen=True)
class Chip:
    """What light meets on one chip.

    Attributes
    ----------
    layout
        Of its mesh.
    splitting
        Angle of the first and the second splitter of each interferometer, shape (2, count), in rad; pi / 4 splits
        in half.
    offsets
        Phases with nothing set, shape (2 count,), in rad: all theta, then all phi.
    coupling
        What the set phases make of all phases, shape (2 count, 2 count): cross-talk; ``None`` for none.
    transmission
        Of the amplitude through one interferometer.
    """

    layout: Layout
    splitting: Float64Array
    offsets: Float64Array
    coupling: Float64Array | None = None
    transmission: float = 1.0

    def phases(self, tuning: Float64Array) -> Float64Array:
        """The phases that light meets, shape (2 count,), for those that are set."""
        return self.offsets + (tuning if self.coupling is None else self.coupling @ tuning)

    def matrix(self, tuning: Float64Array) -> Complex:
        """The matrix from input to output amplitudes, shape (n_modes, n_modes)."""
        return self._columns(self.phases(tuning))[-1]

    def pull_back(self, tuning: Float64Array, gradients: Complex) -> Float64Array:
        """Derivative by the tuning, from that by the real + i that by the imaginary part of the matrix."""
        phases, layout = self.phases(tuning), self.layout
        before, found = self._columns(phases), np.empty(2 * layout.count)
        back = gradients
        for c in reversed(range(layout.n_modes)):
            back, found_theta, found_phi = self._column_back(c, phases, before[c], back)
            found[layout.places[c]] = found_theta
            found[layout.count :][layout.places[c]] = found_phi
        return found if self.coupling is None else self.coupling.T @ found

    def _columns(self, phases: Float64Array) -> list[Complex]:
        """The matrix up to each column, before the first to behind the last."""
        reached = [np.eye(self.layout.n_modes, dtype=np.complex128)]
        for c in range(self.layout.n_modes):
            after = reached[-1].copy()
            upper, steps = self.layout.upper[c], self._steps(c, phases)
            pair = after[upper], after[upper + 1]
            for step in steps:
                pair = _through(step, pair)
            after[upper], after[upper + 1] = pair
            reached.append(after)
        return reached

    def _steps(self, c: int, phases: Float64Array) -> list[Complex]:
        """The 2x2 matrices of a column's parts in the order of the light: phi, splitter, theta, splitter.

        Each of shape (2, 2, interferometers, 1).
        """
        place, count = self.layout.places[c], self.layout.count
        first, second = (_splitter(angle[place]) for angle in self.splitting)
        shifted = [_phase(phases[start:][place]) for start in (count, 0)]
        return [shifted[0], first, shifted[1], self.transmission * second]

    def _column_back(
        self, c: int, phases: Float64Array, before: Complex, back: Complex
    ) -> tuple[Complex, Float64Array, Float64Array]:
        """Gradients before a column, and by its theta and phi, from those behind it."""
        upper, steps = self.layout.upper[c], self._steps(c, phases)
        pairs = [(before[upper], before[upper + 1])]
        for step in steps[:-1]:
            pairs.append(_through(step, pairs[-1]))
        behind, slopes = (back[upper], back[upper + 1]), []
        for number in reversed(range(4)):
            if number in (0, 2):  # a phase on the upper waveguide: its output turns by i times itself
                output = steps[number][0, 0] * pairs[number][0]
                slopes.append(np.asarray((behind[0].conj() * 1j * output).sum(axis=1).real))
            behind = _through(steps[number].conj().swapaxes(0, 1), behind)
        back = back.copy()
        back[upper], back[upper + 1] = behind
        return back, slopes[0], slopes[1]


def _through(step: Complex, pair: tuple[Complex, Complex]) -> tuple[Complex, Complex]:
    upper, lower = pair
    return step[0, 0] * upper + step[0, 1] * lower, step[1, 0] * upper + step[1, 1] * lower


def _splitter(angle: Float64Array) -> Complex:
    """A directional coupler, [[cos, i sin], [i sin, cos]], shape (2, 2, any, 1)."""
    cosine, sine = np.cos(angle), 1j * np.sin(angle)
    return np.array([[cosine, sine], [sine, cosine]], dtype=np.complex128)[..., np.newaxis]


def _phase(angle: Float64Array) -> Complex:
    """A phase on the upper waveguide, diag(exp(i angle), 1), shape (2, 2, any, 1)."""
    one, none = np.ones_like(angle), np.zeros_like(angle)
    return np.array([[np.exp(1j * angle), none], [none, one]], dtype=np.complex128)[..., np.newaxis]
