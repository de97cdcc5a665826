"""Finite differences in time: invariant, order, dispersion, and the same field as the modes have."""

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("numba", reason="the extra hwloop[fdtd] is not installed")

from hwloop.simulators.acoustic.fdtd import Grid, propagate, respond
from hwloop.simulators.acoustic.medium import Medium, Resistor
from hwloop.simulators.acoustic.modal_stepping import ModalStepping
from hwloop.simulators.acoustic.shapes import Places

LAW = Resistor(0.5)


def cosine(grid, m, n=0):
    """The mode (m, n) of the rectangle at the cells' centres, shape (1, cells_y, cells_x)."""
    x, y = (np.arange(count) + 0.5 for count in (grid.cells_x, grid.cells_y))
    return (np.cos(np.pi * n * y / grid.cells_y)[:, None] * np.cos(np.pi * m * x / grid.cells_x))[None]


@dataclass
class GridModes:
    """All modes of the grid itself, in the place of the rectangle's: the difference is then that of time alone."""

    grid: Grid

    @property
    def _numbers(self):
        grid = self.grid
        m, n = (part.ravel() for part in np.meshgrid(np.arange(grid.cells_x), np.arange(grid.cells_y)))
        sines = np.sin(np.pi * m / (2 * grid.cells_x)) ** 2 + np.sin(np.pi * n / (2 * grid.cells_y)) ** 2
        order = np.argsort(sines, kind="stable")
        return m[order], n[order], sines[order]

    @property
    def wavenumbers(self):
        return 2 / self.grid.cell * np.sqrt(self._numbers[2])

    def at(self, positions):
        grid = self.grid
        m, n, _ = self._numbers
        width, height = grid.cells_x * grid.cell, grid.cells_y * grid.cell
        scale = np.sqrt(np.where(m > 0, 2, 1) * np.where(n > 0, 2, 1) / (width * height))
        x, y = positions[:, :1] / width, positions[:, 1:] / height
        return scale * np.cos(np.pi * m * x) * np.cos(np.pi * n * y)


@pytest.mark.slow  # numba compiles
def test_the_leapfrog_s_energy_is_kept_without_loss():
    grid = Grid(40, 30, 0.01, 343.0, 0.0, 0.01 / 343 * 0.7)
    before, now = np.random.default_rng(0).standard_normal((2, 2, 30, 40))
    first, last = grid.energy(before, now), grid.energy(*propagate(grid, before, now, 2000))
    np.testing.assert_allclose(last, first, rtol=1e-12)


def test_with_loss_it_falls():
    grid = Grid(40, 30, 0.01, 343.0, 20.0, 0.01 / 343 * 0.7)
    field = cosine(grid, 3, 2)
    first, last = grid.energy(field, field), grid.energy(*propagate(grid, field, field, 2000))
    seconds = 2000 * grid.step_seconds
    assert last[0] / first[0] == pytest.approx(np.exp(-2 * 20.0 * seconds), rel=0.02)


@pytest.mark.parametrize(("m", "n"), [(1, 0), (4, 3), (12, 9)])
def test_numerical_dispersion_is_that_of_the_closed_form(m, n):
    grid = Grid(64, 48, 0.01, 343.0, 0.0, 0.01 / 343 * 0.6)
    sines = np.sin(np.pi * m / 128) ** 2 + np.sin(np.pi * n / 96) ** 2
    turn = 2 * np.arcsin(grid.courant * np.sqrt(sines))  # w dt
    field, steps = cosine(grid, m, n), 1500
    _, found = propagate(grid, field * np.cos(-turn), field, steps)
    projected = [
        float((f * field).sum() / (field**2).sum())
        for f in (found, propagate(grid, field * np.cos(-turn), field, steps - 1)[1])
    ]
    # From two steps the phase, not the amplitude alone: a cos(turn steps) and a cos(turn (steps - 1)).
    phase = np.arctan2((projected[1] - projected[0] * np.cos(turn)) / np.sin(turn), projected[0])
    assert np.angle(np.exp(1j * (phase - turn * steps))) == pytest.approx(0.0, abs=1e-3)


def test_the_scheme_is_of_second_order():
    def error(cells):
        grid = Grid(cells, cells, 1 / cells, 1.0, 0.0, 0.5 / cells)
        w = np.pi * np.sqrt(4 + 1)
        field = cosine(grid, 2, 1)
        steps = 2 * cells  # always the same time, 1
        _, found = propagate(grid, field * np.cos(w * grid.step_seconds), field, steps)
        return np.abs(found - field * np.cos(w)).max()

    errors = [error(cells) for cells in (32, 64, 128)]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2.0, atol=0.05)


def test_a_step_beyond_courant_s_limit_is_refused_with_the_nearest_that_is_not():
    with pytest.raises(ValueError, match="unstable; the nearest allowed value is") as refused:
        Grid(8, 8, 0.01, 343.0, 0.0, 1e-3)
    Grid(8, 8, 0.01, 343.0, 0.0, float(str(refused.value).split()[-1]) * (1 - 1e-5))
    with pytest.raises(ValueError, match="loss"):
        Grid(8, 8, 0.01, 343.0, -1.0, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("drive", [1e-3, 0.3])
def test_nonlinear_scatterers_give_the_field_that_modes_give(drive):
    grid = Grid(16, 12, 0.05, 343.0, 60.0, 2e-6)
    cells = np.random.default_rng(3).permutation(16 * 12)[:7]
    positions = grid.centres(np.column_stack(np.unravel_index(cells, (12, 16))))
    places = Places(positions[:2], positions[2:5], positions[5:])
    steps, strength = 6000, 100.0
    seconds = grid.step_seconds * np.arange(steps)
    signals = np.stack(
        [np.sin(2 * np.pi * f * seconds) * np.minimum(seconds / 1e-3, 1) for f in (400.0, 700.0)], 1
    )
    signals = signals[None] * 2e3 * drive
    found = respond(grid, places, LAW, strength, signals)
    expected = ModalStepping(Medium(GridModes(grid), 343.0, 60.0), places, LAW, strength, grid.step_seconds)(
        signals
    )
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()
    # The scatterers matter here: without them the field is another.
    without = respond(grid, places, LAW, 0.0, signals)
    assert np.abs(without - expected).max() > 0.05 * np.abs(expected).max()
