"""The oscillators against closed forms: elliptic integrals, the leapfrog invariant, normal modes, resonance."""

import numpy as np
import pytest
import torch
from examples import each_row
from scipy.special import ellipk

from hwloop import open_device
from hwloop.simulators.oscillators.motion import Duffing, Lattice, Pendulum, Verlet
from hwloop.simulators.oscillators.network import Oscillators

QUIET = {"read_noise": 0.0, "adc_bits": None, "dac_bits": None}


def column(values):
    return torch.as_tensor(np.reshape(values, (-1, 1)), dtype=torch.float64)


def ring(potential, stiffness=(1.0,), springs=()):
    count = len(stiffness)
    return Lattice(
        potential, column(stiffness), torch.as_tensor(np.reshape(springs, (-1, count, 1)), dtype=torch.float64)
    )


def path(lattice, start, step, steps, **settings):
    """Angles and velocities at every step, shape (2, steps, oscillators)."""
    states = Verlet(lattice, step, **settings).states(column(start), None, 1, steps)
    return np.array([(q[:, 0].numpy(), v[:, 0].numpy()) for q, v in states]).swapaxes(0, 1)


def period(lattice, amplitude, step=0.02):
    """From the crossings of zero of a free motion."""
    angles = path(lattice, [amplitude], step, 4000)[0, :, 0]
    before = np.flatnonzero(angles[:-1] * angles[1:] < 0)
    moments = before + angles[before] / (angles[before] - angles[before + 1])
    return 2 * step * np.diff(moments).mean()


@pytest.mark.parametrize("degrees", [5, 60, 120, 170])
def test_period_of_a_pendulum_is_an_elliptic_integral(degrees):
    amplitude = np.radians(degrees)
    expected = 4 * ellipk(np.sin(amplitude / 2) ** 2)
    assert period(ring(Pendulum()), amplitude) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("amplitude", each_row([0.1, 0.5, 1.0, 3.0], 0.1, 3.0))
def test_backbone_of_a_duffing_oscillator(amplitude):
    found = 2 * np.pi / period(ring(Duffing(0.7)), amplitude)
    squared = 0.7 * amplitude**2
    exact = np.pi / 2 * np.sqrt(1 + squared) / ellipk(squared / 2 / (1 + squared))
    assert found == pytest.approx(exact, rel=0.01)
    if squared < 0.2:
        assert found == pytest.approx(np.sqrt(1 + 0.75 * squared), rel=0.01)  # first harmonic balance


def test_what_leapfrog_conserves_of_a_linear_ring_is_constant():
    # For q'' = -K q it is v'v + q'K(1 - step^2 K / 4)q, exactly (Hairer et al., section IX.3).
    rng = np.random.default_rng(0)
    stiffness, springs, step = rng.uniform(0.5, 1.5, 8), rng.uniform(0.2, 0.4, (1, 8)), 0.2
    shift = np.roll(np.eye(8), 1, axis=1)  # (shift q)_i = q_(i + 1)
    tension = np.diag(springs[0]) @ (shift - np.eye(8))
    matrix = np.diag(stiffness) - (tension - shift.T @ tension)
    q, v = path(ring(Duffing(0.0), stiffness, springs), rng.normal(size=8), step, 2000)
    held = matrix @ (np.eye(8) - step**2 / 4 * matrix)
    invariant = (v**2).sum(axis=1) + np.einsum("ti,ij,tj->t", q, held, q)
    assert np.abs(invariant / invariant[0] - 1).max() < 1e-12


@pytest.mark.slow
def test_energy_of_a_nonlinear_ring_does_not_wander():
    lattice = ring(Pendulum(), np.ones(6), np.full((2, 6), 0.3))
    start = np.random.default_rng(1).uniform(-2, 2, 6)
    q, v = (torch.as_tensor(part) for part in path(lattice, start, 0.05, 16_000)[:, ::8].swapaxes(1, 2).copy())
    total = lattice.energy(q, v).sum(0).numpy()
    early, late = total[:500], total[-500:]
    assert np.abs(total / total.mean() - 1).max() < 5e-3
    assert late.mean() == pytest.approx(early.mean(), rel=2e-4)


def test_order_is_two_with_damping_and_springs():
    lattice = ring(Pendulum(), (1.0, 1.2, 0.9), np.full((1, 3), 0.4))
    ends = [path(lattice, [1.0, -2.0, 0.5], 10 / n, n, damping=0.2)[:, -1].ravel() for n in (200, 400, 6400)]
    coarse, fine = (np.linalg.norm(end - ends[2]) for end in ends[:2])
    assert np.log2(coarse / fine) == pytest.approx(2.0, abs=0.05)


def test_two_tied_oscillators_have_their_normal_modes():
    # A ring of three with equal springs: omega^2 = 1 in step, 1 + 3 k against each other.
    lattice = ring(Duffing(0.0), np.ones(3), np.full((1, 3), 0.5))
    times = 0.01 * np.arange(1, 1001)
    together, against = (path(lattice, start, 0.01, 1000)[0, :, 0] for start in ([1, 1, 1], [1, -1, 0]))
    np.testing.assert_allclose(together, np.cos(times), atol=1e-3)
    np.testing.assert_allclose(against, np.cos(np.sqrt(2.5) * times), atol=1e-3)


def test_driven_linear_oscillator_reaches_its_steady_state():
    method = Verlet(ring(Duffing(0.0)), 0.01, damping=0.1, drive_frequency=1.3)
    ((angle, _),) = method.states(column([0.0]), column([0.7]), 10_000, 1)
    response = 0.7 / (1 - 1.3**2 + 2j * 0.1 * 1.3)
    assert float(angle) == pytest.approx((response * np.exp(130j)).real, abs=1e-4)


class TestDevice:
    def test_single_precision_is_enough(self):
        device = Oscillators(n_inputs=16, steps_per_period=100, **QUIET)
        start = np.random.default_rng(0).uniform(-1, 1, (1, 16))
        lattice = ring(Pendulum(), device._disorder.stiffness(0, 1)[:, 0], device._disorder.springs)
        steps = device._steps_per_read * 4
        q = path(lattice, 2.0 * start[0], device.read_times[-1] / steps, steps, damping=0.01)[0]
        expected = q[device._steps_per_read - 1 :: device._steps_per_read].ravel() / np.pi
        np.testing.assert_allclose(device.measure(start)[0], expected, atol=2e-4)

    @pytest.mark.parametrize("settings", [{}, {"model": "duffing", "readout": "energy"}, {"encoding": "drive"}])
    def test_a_row_is_the_same_in_every_batch(self, settings):
        device = Oscillators(n_inputs=10, duration_periods=1.0, amplitude=1.0, **settings).noiseless()
        assert device.spec.deterministic
        rows = np.random.default_rng(0).uniform(-1, 1, (600, 10))
        together = device.measure(rows)
        np.testing.assert_array_equal(device.measure(rows[100:437]), together[100:437])
        np.testing.assert_array_equal(device.measure(rows[511:512]), together[511:512])

    def test_readouts_are_of_one_motion(self):
        rows = np.random.default_rng(0).uniform(-1, 1, (3, 12))
        same = {"n_inputs": 12, "coupling": 0.0, "disorder": 0.0, "full_scale": 1.0, **QUIET}
        angle, velocity, energy = (
            Oscillators(readout=readout, **same).measure(rows) for readout in ("angle", "velocity", "energy")
        )
        np.testing.assert_allclose(energy, velocity**2 / 2 + 1 - np.cos(angle), rtol=1e-3, atol=1e-5)

    def test_the_response_is_not_linear_in_the_stimulus(self):
        device = Oscillators(n_inputs=8, amplitude=2.5, **QUIET)
        row = np.random.default_rng(0).uniform(-1, 1, (1, 8))
        whole, half = device.measure(row), device.measure(row / 2)
        assert np.abs(whole - 2 * half).max() > 0.3 * np.abs(whole).max()

    def test_drift_moves_the_disorder_and_continues(self):
        settings = {"n_inputs": 6, "disorder": 0.3, "drift_per_row": 0.01, **QUIET}
        row = np.random.default_rng(0).uniform(-1, 1, (1, 6))
        device, later = Oscillators(**settings), Oscillators(**settings)
        all_rows = device.measure(np.repeat(row, 400, axis=0))
        later.continue_from(300)
        np.testing.assert_array_equal(later.measure(row)[0], all_rows[300])
        assert np.abs(all_rows[300] - all_rows[0]).max() > 0.05
        np.testing.assert_allclose(all_rows[0], device.noiseless().measure(row)[0], atol=1e-6)

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"steps_per_period": 8}, r"stability.*the nearest allowed value is \d+"),
            ({"model": "duffing", "amplitude": 3.0, "hardening": 50.0}, "nearest allowed value is"),
            ({"damping": -0.1}, "nearest allowed value is 0"),
            ({"hardening": -1.0}, "nearest allowed value is 0"),
            ({"amplitude": 4.0}, "nearest allowed value is 3.1"),
            ({"neighbours": 40}, "nearest allowed value is 31"),
            ({"model": "spring"}, "unknown model 'spring'"),
            ({"torch_device": "abacus"}, "nearest allowed value is 'cpu'"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused_in_words(self, settings, said):
        with pytest.raises(ValueError, match=said):
            Oscillators(**settings)

    def test_the_fewest_steps_that_are_allowed_are_accepted(self):
        with pytest.raises(ValueError, match="nearest allowed value is") as refused:
            Oscillators(steps_per_period=1)
        fewest = int(str(refused.value).rpartition(" ")[2])
        assert np.isfinite(Oscillators(steps_per_period=fewest).measure(np.ones((1, 64)))).all()

    def test_it_is_found_by_name_and_names_itself(self):
        device = open_device("oscillators", n_inputs=5, neighbours=1)
        assert "Oscillators(n_inputs=5" in device.identify()
        assert "torch_device" not in device.identify()
