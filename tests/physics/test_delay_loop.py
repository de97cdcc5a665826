"""The delay loop against closed forms: its linear chain, fixed points, the Hopf bifurcation, memory capacity."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq

from hwloop import open_device
from hwloop.simulators.delay.line import DelayLine, Ikeda, LinearNode, MackeyGlass
from hwloop.simulators.delay.loop import DelayLoop

QUIET = {"read_noise": 0.0, "adc_bits": None, "dac_bits": None}


def run(nonlinearity, laps, spacing, injected=None, bias=0.0, nodes=None):
    """States of one row, shape (laps, nodes), in double precision; a small J starts the loop by default."""
    if injected is None:
        injected = np.zeros((laps, nodes))
        injected[0] = 0.1
    line = DelayLine(nonlinearity, injected.shape[1], spacing, dtype=torch.float64)
    return np.concatenate(list(line.laps(injected[:, np.newaxis], np.array([bias]))))


def test_the_linear_chain_is_a_product_of_matrices():
    nodes, a = 30, np.exp(-0.2)
    order = np.arange(nodes)
    low_pass = np.where(order[:, None] >= order, (1 - a) * a ** np.abs(order[:, None] - order), 0.0)
    injected = np.random.default_rng(0).normal(size=(6, nodes))
    state, expected = np.zeros(nodes), []
    for lap in injected:
        state = low_pass @ (0.7 * (state + lap)) + a ** (order + 1) * state[-1]
        expected.append(state)
    np.testing.assert_allclose(run(LinearNode(0.7), 6, 0.2, injected), expected, rtol=1e-10, atol=1e-13)


def test_the_first_two_laps_are_those_of_the_differential_equation():
    # From x = 0: x = F(J)(1 - exp(-t)) up to tau, and an integral over it in the second lap.
    tau, level, ikeda = 1.5, 0.4, lambda z: 1.3 * np.sin(z) ** 2

    def first(t):
        return ikeda(level) * (1 - np.exp(-t))

    fed, _ = quad(lambda s: np.exp(s - tau) * ikeda(first(s) + level), 0, tau)
    errors = []
    for nodes in (100, 200):
        states = run(Ikeda(1.3), 2, tau / nodes, np.full((2, nodes), level))
        assert states[0, -1] == pytest.approx(first(tau), rel=1e-12)
        errors.append(states[1, -1] - (first(tau) * np.exp(-tau) + fed))
    assert abs(errors[1]) < 2e-3
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.1)  # F is held over a node: order 1


class TestIkedaMap:
    """With nodes far apart the loop is the map x -> gain sin^2(x + bias)."""

    def settled(self, gain, bias):
        return run(Ikeda(gain), 2000, 40.0, bias=bias, nodes=1)[-8:, 0]

    @pytest.mark.parametrize("bias", [0.2, 0.6, 1.0])
    def test_fixed_point_below_the_bifurcation_two_cycle_beyond(self, bias):
        # A fixed point x = g sin^2(x + b) loses stability where its slope g sin(2 (x + b)) reaches -1.
        def slope(x):
            return x / np.sin(x + bias) ** 2 * np.sin(2 * (x + bias))

        edge = brentq(lambda x: slope(x) + 1, np.pi / 2 - bias + 1e-6, np.pi - bias - 0.2)
        critical = edge / np.sin(edge + bias) ** 2
        below, beyond = self.settled(0.98 * critical, bias), self.settled(1.02 * critical, bias)
        assert np.ptp(below) < 1e-6
        assert below[0] == pytest.approx(0.98 * critical * np.sin(below[0] + bias) ** 2, abs=1e-6)
        assert np.ptp(beyond) > 0.05
        np.testing.assert_allclose(beyond[::2], beyond[0], atol=1e-6)


class TestMackeyGlass:
    """gain 2, exponent 10: x = 1 is a fixed point, where F' = -4, so lambda = -1 - 4 exp(-lambda tau)."""

    frequency = np.sqrt(15.0)
    critical_delay = np.arccos(-0.25) / np.sqrt(15.0)  # 0.471; 4.71 with the rates 0.2 and 0.1 of the paper

    def trace(self, delay, laps, nodes=200):
        return run(MackeyGlass(2.0, 10.0), laps, delay / nodes, nodes=nodes).ravel()

    def test_settles_on_its_fixed_point_below_the_critical_delay(self):
        assert np.abs(self.trace(0.95 * self.critical_delay, 600)[-2000:] - 1).max() < 1e-3

    def test_oscillates_beyond_it_at_the_frequency_of_the_bifurcation(self):
        delay = 1.03 * self.critical_delay
        end = self.trace(delay, 800)[-40_000:] - 1
        assert np.ptp(end[-4000:]) > 0.05
        rising = np.flatnonzero((end[:-1] < 0) & (end[1:] >= 0))
        period = np.diff(rising).mean() * delay / 200
        assert 2 * np.pi / period == pytest.approx(self.frequency, rel=0.04)

    def test_is_chaotic_at_a_long_delay(self):
        # 17 with the rates of the paper (Mackey and Glass, Science 197, 287 (1977)): neighbours part.
        injected = np.zeros((2, 120, 200))
        injected[0, 0], injected[1, 0] = 0.5, 0.5 + 1e-7
        one, other = (run(MackeyGlass(2.0, 10.0), 120, 1.7 / 200, each) for each in injected)
        assert np.abs(one - other)[-20:].max() > 1e-3
        assert 0 < one.min() < one.max() < 2


def test_memory_capacity_of_a_linear_loop_is_its_number_of_nodes():
    # Jaeger, "Short term memory in echo state networks" (2001): the capacities over all lags sum to N.
    nodes, lags, rows = 5, 40, 4000
    rng = np.random.default_rng(0)
    mask, inputs = rng.uniform(-1, 1, nodes), rng.uniform(-1, 1, (rows, lags))
    line = DelayLine(LinearNode(0.9), nodes, 0.6, dtype=torch.float64)
    *_, state = line.laps((inputs[:, :, np.newaxis] * mask).swapaxes(0, 1), np.zeros(rows))
    q, _ = np.linalg.qr(state - state.mean(axis=0))
    centred = inputs - inputs.mean(axis=0)
    capacity = ((q.T @ centred) ** 2).sum(axis=0) / (centred**2).sum(axis=0)
    assert capacity.sum() == pytest.approx(nodes, abs=0.15)
    assert capacity[-1] > 0.9


def test_a_delay_longer_than_the_cycle_feeds_the_nodes_of_before():
    # Paquot et al. (2012): x_i(n) = sin(alpha x_(i-k)(n-1) + beta m_i u(n) + phi), unrolled in time.
    nodes, steps, excess, alpha = 6, 10, 2, 0.8
    device = open_device(
        "delay-loop", n_inputs=steps, sequence_length=steps, n_nodes=nodes, readout="all", laps_per_step=1,
        model="sine", node_spacing=100.0, excess_nodes=excess, gain=alpha, bias=0.2, input_scale=0.5,
        full_scale=alpha, **QUIET,
    )  # fmt: skip
    u = np.random.default_rng(0).uniform(-1, 1, steps)
    mask, x = device._drawn_mask(1)[0], []
    for value in u:
        for i in range(nodes):
            k = len(x) - nodes - excess
            x.append(np.sin((alpha * x[k] if k >= 0 else 0.0) + mask[i] * value + 0.2))
    np.testing.assert_allclose(device.measure(u[None])[0], x, atol=2e-6)


def test_the_new_settings_leave_the_loop_that_was_the_same_device():
    # The words by which journals of before know it.
    device = DelayLoop(n_inputs=3, n_nodes=4)
    assert "excess_nodes" not in device.identify() + str(device.describe().as_dict())
    other = DelayLoop(n_inputs=3, n_nodes=4, excess_nodes=1)
    assert "excess_nodes=1" in other.identify()
    assert other.describe().digest() != device.describe().digest()


class TestDevice:
    @pytest.mark.parametrize(
        "settings", [{}, {"model": "mackey-glass", "sequence_length": 4, "readout": "all"}, {"mask": "uniform"}]
    )
    def test_a_row_is_the_same_in_every_batch(self, settings):
        device = DelayLoop(n_inputs=12, n_nodes=30, **settings).noiseless()
        assert device.spec.deterministic
        rows = np.random.default_rng(0).uniform(-1, 1, (600, 12))
        together = device.measure(rows)
        np.testing.assert_array_equal(device.measure(rows[100:437]), together[100:437])
        np.testing.assert_array_equal(device.measure(rows[511:512]), together[511:512])

    def test_a_sequence_is_read_at_the_end_of_its_steps(self):
        same = {"n_inputs": 6, "n_nodes": 20, "laps_per_step": 3, **QUIET}
        rows = np.random.default_rng(0).uniform(-1, 1, (4, 6))
        last, all_steps = (DelayLoop(sequence_length=3, readout=r, **same).measure(rows) for r in ("last", "all"))
        np.testing.assert_array_equal(all_steps[:, -20:], last)
        changed = rows.copy()
        changed[:, 4:] = 0.0  # the third step cannot be felt before it
        np.testing.assert_array_equal(
            DelayLoop(sequence_length=3, readout="all", **same).measure(changed)[:, :40], all_steps[:, :40]
        )

    def test_single_precision_is_enough_where_the_loop_is_not_chaotic(self):
        device = DelayLoop(n_inputs=10, n_nodes=50, laps_per_step=4, **QUIET)
        rows = np.random.default_rng(0).uniform(-1, 1, (8, 10))
        masked = np.repeat((rows @ device._drawn_mask(10))[np.newaxis], 4, axis=0)
        *_, expected = DelayLine(Ikeda(1.0), 50, 0.2, dtype=torch.float64).laps(masked, np.full(8, 0.3))
        np.testing.assert_allclose(device.measure(rows), expected, atol=2e-5)

    def test_the_bias_creeps(self):
        row = np.full((1, 4), 0.3)
        device = DelayLoop(n_inputs=4, n_nodes=10, bias_drift_per_row=1e-3, **QUIET)
        crept = device.measure(np.repeat(row, 301, axis=0))[300]
        moved = DelayLoop(n_inputs=4, n_nodes=10, bias=0.3 + 0.3, **QUIET).measure(row)[0]
        np.testing.assert_allclose(crept, moved, atol=1e-6)
        np.testing.assert_allclose(
            device.noiseless().measure(row)[0], DelayLoop(n_inputs=4, n_nodes=10, **QUIET).measure(row)[0]
        )

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"sequence_length": 5, "n_inputs": 12}, "nearest allowed value is 4"),
            ({"sequence_length": 20, "n_inputs": 12}, "nearest allowed value is 12"),
            ({"excess_nodes": 3, "n_nodes": 2}, "nearest allowed value is 2"),
            ({"node_spacing": 0.0}, "nearest allowed value is 1e-06"),
            ({"exponent": 0.5}, "nearest allowed value is 1"),
            ({"model": "makey-glass"}, "did you mean 'mackey-glass'"),
            ({"mask": "ternary"}, "unknown mask 'ternary'"),
            ({"laps_per_step": 0}, "nearest allowed value is 1"),
            ({"read_noise": -1.0}, "nearest allowed value is 0"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused_in_words(self, settings, said):
        with pytest.raises(ValueError, match=said):
            DelayLoop(**settings)

    def test_it_is_found_by_name(self):
        assert open_device("delay-loop", n_inputs=5).spec.n_inputs == 5
