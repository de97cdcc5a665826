"""The settled ring against known physics: a lone cubic, the minimum of the energy, reciprocity, damped motion."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hwloop import open_device
from hwloop.simulators.oscillators.motion import Duffing, Lattice, Verlet
from hwloop.simulators.oscillators.settled import Equilibrium, SettledOscillators

IDEAL = {"read_noise": 0.0, "adc_bits": None, "dac_bits": None}


def free_rows(device, rows, seed=0):
    """Stimuli without nudges."""
    stimuli = np.zeros((rows, device.spec.n_inputs))
    drives = stimuli[:, : device.spec.n_drives]
    drives[:] = np.random.default_rng(seed).uniform(-1, 1, drives.shape)
    return stimuli


def ring(count=12, reach=2, hardening=1.3, rows=5, scale=8.0, seed=0):
    """Equilibrium, forces and stiffness of a few rows."""
    rng = np.random.default_rng(seed)
    springs = rng.uniform(0.2, 1.5, (reach, count))
    stiffness = rng.uniform(0.3, 2.0, (rows, count))
    return springs, Equilibrium(springs, hardening), scale * rng.normal(size=(rows, count)), stiffness


def cubic_root(force, stiffness, hardening):
    """Cardano: the real q with stiffness q + hardening q^3 = force."""
    p, half = stiffness / hardening, force / (2 * hardening)
    root = np.sqrt(half**2 + (p / 3) ** 3)
    return np.cbrt(half + root) + np.cbrt(half - root)


@pytest.mark.parametrize(("amplitude", "hardening"), [(0.1, 1.0), (2.0, 0.3), (50.0, 1.0), (1000.0, 30.0)])
def test_a_lone_oscillator_settles_where_cardano_says(amplitude, hardening):
    device = SettledOscillators(
        n_inputs=1, n_oscillators=1, amplitude=amplitude, hardening=hardening,
        neighbours=0, disorder=0.0, preload=0.0, full_scale=1.0, **IDEAL,
    )  # fmt: skip
    force = np.linspace(-1, 1, 41)
    found = device.measure(np.stack([force, np.zeros(41)], axis=1))[:, 0]
    np.testing.assert_allclose(found, cubic_root(amplitude * force, 1.0, hardening), rtol=1e-8, atol=1e-10)
    nudged = device.measure(np.stack([np.zeros(41), force], axis=1))[:, 0]
    np.testing.assert_array_equal(nudged, found)  # a nudge is a force like any other


def test_equal_forces_on_equal_oscillators_do_not_feel_the_springs():
    device = SettledOscillators(
        n_inputs=9, n_oscillators=9, amplitude=4.0, disorder=0.0, preload=0.0, full_scale=1.0, **IDEAL
    )
    rows = np.zeros((3, 18))
    rows[:, :9] = np.array([[-1.0], [0.2], [0.7]])
    expected = cubic_root(4.0 * rows[:, :9], 1.0, 1.0)
    np.testing.assert_allclose(device.measure(rows), expected, atol=1e-10)


def test_a_linear_ring_is_solved_by_its_matrix():
    springs, equilibrium, forces, stiffness = ring(hardening=0.0)
    ahead = [np.roll(np.eye(12), distance, axis=1) for distance in (1, 2)]  # (ahead q)_i = q_(i + distance)
    stretch = [shift - np.eye(12) for shift in ahead]
    tension = sum(one.T @ np.diag(k) @ one for one, k in zip(stretch, springs, strict=True))
    expected = [np.linalg.solve(tension + np.diag(s), f) for s, f in zip(stiffness, forces, strict=True)]
    np.testing.assert_allclose(equilibrium.settled(forces, stiffness), expected, atol=1e-11)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("count", "reach"), [(1, 0), (5, 2), (12, 1), (30, 3)])
def test_no_net_force_is_left(count, reach, scale):
    _, equilibrium, forces, stiffness = ring(count, reach, scale=scale)
    settled = equilibrium.settled(forces, stiffness)
    assert np.abs(equilibrium.gradient(settled, forces, stiffness)).max() < 1e-6


def test_the_gradient_is_that_of_the_energy_and_the_minimum_is_one():
    _, equilibrium, forces, stiffness = ring(rows=1, scale=3.0)
    at = np.random.default_rng(1).normal(size=(1, 12))
    change = 1e-5 * np.eye(12)
    slopes = [
        (equilibrium.energy(at + d, forces, stiffness) - equilibrium.energy(at - d, forces, stiffness)) / 2e-5
        for d in change
    ]
    np.testing.assert_allclose(np.ravel(slopes), equilibrium.gradient(at, forces, stiffness)[0], atol=1e-7)
    found = minimize(lambda q: equilibrium.energy(q[np.newaxis], forces, stiffness)[0], at[0], tol=1e-12)
    np.testing.assert_allclose(equilibrium.settled(forces, stiffness)[0], found.x, atol=1e-5)


def test_damped_motion_ends_there():
    # Another road to the same place: the equations of motion of the dynamic device, with a drive of frequency 0.
    springs, equilibrium, forces, stiffness = ring(rows=3)
    column = torch.from_numpy(springs[:, :, np.newaxis].copy())
    lattice = Lattice(Duffing(1.3), torch.from_numpy(stiffness.T.copy()), column)
    method = Verlet(lattice, 0.02, damping=0.7, drive_frequency=0.0)
    drive = torch.from_numpy(forces.T.copy())
    ((angles, velocities),) = method.states(torch.zeros(12, 3, dtype=torch.float64), drive, 4000, 1)
    assert velocities.abs().max() < 1e-8
    np.testing.assert_allclose(angles.numpy().T, equilibrium.settled(forces, stiffness), atol=1e-8)


def test_the_response_to_small_forces_is_reciprocal():
    # Nudges reach every oscillator: what a push on one does at another, measured, both ways round.
    device = SettledOscillators(n_inputs=6, seed=2, **IDEAL)
    count, size = device.spec.n_outputs, 1e-4
    (at,) = free_rows(device, 1)
    pushes = np.zeros((count, device.spec.n_inputs))
    pushes[:, device.spec.n_drives :] = size * np.eye(count)
    matrix = (device.measure(at + pushes) - device.measure(at - pushes)) / (2 * size)
    assert np.abs(matrix - matrix.T).max() < 1e-6 * np.abs(matrix).max()
    assert np.linalg.eigvalsh(matrix).min() > 0  # the energy is convex
    assert (np.abs(matrix) > 1e-4 * np.abs(matrix).max()).mean() > 0.9  # springs carry it all round


def test_drives_and_the_nudges_beside_them_push_alike():
    device = SettledOscillators(n_inputs=5, n_oscillators=11, **IDEAL)
    rows = 0.5 * free_rows(device, 4)
    nudged = np.zeros_like(rows)
    nudged[:, 5:10] = rows[:, :5]
    np.testing.assert_allclose(device.measure(nudged), device.measure(rows), atol=1e-10)


def test_no_row_depends_on_those_beside_it():
    device = SettledOscillators(n_inputs=8, **IDEAL)
    rows = free_rows(device, 200)
    together = device.measure(rows)
    np.testing.assert_array_equal(np.concatenate([device.measure(rows[[k]]) for k in range(20)]), together[:20])
    np.testing.assert_array_equal(device.measure(rows[::-1]), together[::-1])


def test_disorder_drifts_and_a_seed_draws_another_ring():
    still, drifting = (SettledOscillators(n_inputs=6, drift_per_row=rate, **IDEAL) for rate in (0.0, 0.01))
    rows = np.repeat(free_rows(still, 1), 300, axis=0)
    moved = np.abs(drifting.measure(rows) - still.measure(rows)).max(axis=1)
    assert moved[0] == 0
    assert moved[-1] > 3 * moved[1] > 0
    assert (drifting.spec.deterministic, still.spec.deterministic) == (False, True)
    assert np.abs(
        SettledOscillators(n_inputs=6, seed=1, **IDEAL).measure(rows[:1]) - still.measure(rows[:1])
    ).max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_inputs": 0}, "n_inputs must be at least 1"),
        ({"n_inputs": 8, "n_oscillators": 7}, "n_oscillators must be at least 8"),
        ({"hardening": -0.1}, "hardening must be at least 0"),
        ({"n_inputs": 2, "neighbours": 3}, "neighbours must be at most 1"),
        ({"amplitude": 0.0}, "amplitude must be at least"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SettledOscillators(**settings)


def test_it_is_found_by_name_and_says_which_inputs_nudge():
    spec = open_device("settled-oscillators", n_inputs=5, n_oscillators=8).spec
    assert (spec.n_inputs, spec.n_drives, spec.n_nudges, spec.n_outputs) == (13, 5, 8, 8)
