"""Sequences: every step encoded alike and in order, devices with memory, and a digital recurrence."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop.device import Device, DeviceSpec
from hwloop.errors import ConfigError
from hwloop.experiments.time_series import mackey_glass, narma10, nmse
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.encode import SequenceEncoder
from hwloop.training.echo_state import EchoState
from hwloop.training.optimiser import fit_ridge
from hwloop.training.reservoir import DigitalRecurrence, PhysicalMemory

WASHOUT = 50


class Register(Device):
    """Remembers within a row: after every step it answers the last ``depth`` inputs and their products."""

    def __init__(self, steps, depth):
        self.depth = depth
        pairs = depth * (depth + 1) // 2
        self.spec = DeviceSpec(
            n_inputs=steps, n_outputs=steps * (depth + pairs), input_low=-1.0, deterministic=True
        )

    def _measure(self, inputs):
        delayed = [np.pad(inputs, ((0, 0), (k, 0)))[:, : inputs.shape[1]] for k in range(self.depth)]
        products = [a * b for k, a in enumerate(delayed) for b in delayed[k:]]
        return np.stack([*delayed, *products], axis=2).reshape(len(inputs), -1)


class Crystal(Device):
    """No memory: a fixed linear map, so that a loop around it is a linear system with known eigenvalues."""

    def __init__(self, n_inputs, n_outputs, seed=0):
        self.spec = DeviceSpec(n_inputs=n_inputs, n_outputs=n_outputs, input_low=-1.0, deterministic=True)
        self.matrix = np.random.default_rng(seed).standard_normal((n_inputs, n_outputs)) / 10

    def _measure(self, inputs):
        return inputs @ self.matrix


def encoder(steps, features, channels, **limits):
    spec = DeviceSpec(n_inputs=steps * channels, n_outputs=1, input_low=-1.0, **limits)
    made = SequenceEncoder(spec, steps * features, steps)
    rows = np.random.default_rng(1).normal(size=(50, steps * features))
    made.fit(torch.from_numpy(rows))
    return made, rows


@given(steps=st.integers(1, 7), features=st.integers(1, 3), spare=st.integers(0, 2), roll=st.integers(0, 6))
def test_steps_in_another_order_are_the_same_stimuli_in_that_order(steps, features, spare, roll):
    made, rows = encoder(steps, features, features + spare)
    stimuli = made(torch.from_numpy(rows)).reshape(len(rows), steps, -1)
    turned = np.roll(rows.reshape(len(rows), steps, features), roll, axis=1).reshape(rows.shape)
    np.testing.assert_array_equal(
        made(torch.from_numpy(turned)).reshape(stimuli.shape), np.roll(stimuli, roll, axis=1)
    )
    assert np.abs(stimuli).max() <= 1
    np.testing.assert_array_equal(stimuli[:, :, features:], 0.0)  # spare channels rest at mid-range


def test_a_device_that_is_no_whole_number_of_steps_is_refused():
    with pytest.raises(ConfigError, match="n_inputs"):
        SequenceEncoder(DeviceSpec(n_inputs=10, n_outputs=1), 12, 4)
    with pytest.raises(ConfigError, match="no 5 steps"):
        SequenceEncoder(DeviceSpec(n_inputs=10, n_outputs=1), 12, 5)
    uneven = DeviceSpec(n_inputs=4, n_outputs=1, input_high=np.array([1.0, 1.0, 1.0, 2.0]))
    with pytest.raises(ConfigError, match="differ"):
        SequenceEncoder(uneven, 4, 2)


def test_a_stage_of_steps_needs_the_memory_that_its_device_has():
    """Is the sum of neighbouring products positive? Products of steps in time order say it exactly."""
    rng = np.random.default_rng(3)
    inputs = rng.uniform(-1, 1, (600, 8))
    labels = (np.sum(inputs[:, 1:] * inputs[:, :-1], axis=1) > 0).astype(int)

    def accuracy(depth):
        network = PhysicalNetwork(hwloop.Session(Register(8, depth)), [Stage(10, steps=8)], seed=0)
        hwloop.trainer("readout").fit(network, inputs[:400], labels[:400])
        return (network.predict(inputs[400:]) == labels[400:]).mean()

    assert accuracy(2) > 0.9
    assert accuracy(1) < 0.7


def test_narma_is_its_recursion_and_a_shift_register_scores_what_is_published():
    inputs, targets = narma10(8, 800, seed=4)
    u, y = inputs[0, :, 0], targets[0, :, 0]
    for t in (20, 799):
        old, recent = y[t - 1], y[t - 10 : t].sum()
        assert y[t] == pytest.approx(0.3 * old + 0.05 * old * recent + 1.5 * u[t - 9] * u[t] + 0.1, rel=1e-12)
    delayed = np.concatenate([np.roll(inputs, k, axis=1) for k in range(20)], axis=2)[:, 20:]
    ridge = fit_ridge(delayed[:4].reshape(-1, 20), targets[:4, 20:].reshape(-1, 1))
    # Appeltant et al. (2011): a linear shift register has a normalised root mean square error of 0.4.
    assert nmse(delayed[4:] @ ridge.weight + ridge.bias, targets[4:, 20:]) ** 0.5 == pytest.approx(0.4, abs=0.04)


def test_mackey_glass_obeys_its_equation_and_rests_at_its_fixed_point():
    x = mackey_glass(1, 300, delay=17.0)[0, :, 0]
    t = np.arange(60, 290)
    slope = (x[t - 2] - 8 * x[t - 1] + 8 * x[t + 1] - x[t + 2]) / 12
    flow = 0.2 * x[t - 17] / (1 + x[t - 17] ** 10) - 0.1 * x[t]
    assert np.abs(slope - flow).max() < 2e-3
    assert 0.2 < x.std() < 0.26  # chaotic; the attractor's standard deviation is 0.23
    still = mackey_glass(1, 50, delay=2.0)[0, :, 0]
    np.testing.assert_allclose(still, 1.0, atol=1e-6)


def test_a_register_of_ten_steps_and_their_products_knows_narma():
    inputs, targets = narma10(3, 300, seed=5)
    model = EchoState(PhysicalMemory(hwloop.Session(Register(300, 12))), WASHOUT)
    model.fit(inputs[:2], targets[:2])
    session = model.reservoir.session
    assert session.ledger["train"] == 2  # one row a sequence
    assert nmse(model.predict(inputs[2:])[:, WASHOUT:], targets[2:, WASHOUT:]) < 0.1  # a linear one has 0.16
    np.testing.assert_array_equal(model.predict(inputs[2:])[0], model.predict(inputs[1:])[1])


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.1])
def test_the_loop_has_the_spectral_radius_that_was_asked_for(radius):
    device = Crystal(30, 40)
    loop = DigitalRecurrence(hwloop.Session(device), feedback_channels=20, spectral_radius=radius, seed=1)
    with loop.session:
        loop.fit(np.random.default_rng(2).uniform(size=(4, 30, 1)))
    eigenvalues = np.linalg.eigvals(device.matrix[7:27] @ loop.matrix)
    assert np.abs(eigenvalues).max() == pytest.approx(radius, rel=0.01)


@pytest.mark.parametrize(("radius", "forgets"), [(0.5, True), (0.8, True), (1.3, False)])
def test_below_a_radius_of_one_two_pasts_end_in_one_state(radius, forgets):
    loop = DigitalRecurrence(
        hwloop.Session(Crystal(30, 40)), feedback_channels=20, spectral_radius=radius, input_gain=0.1, seed=1
    )
    rng = np.random.default_rng(2)
    sequences = rng.uniform(size=(2, 80, 1))
    sequences[1, 20:] = sequences[0, 20:]
    with loop.session:
        loop.fit(sequences)
        states = loop.states(sequences, "evaluate")
    apart = np.abs(states[0] - states[1]).max(axis=1)
    assert (apart[-1] < 1e-4 * apart[:20].max()) == forgets


def test_a_device_without_memory_remembers_through_the_recurrence_at_one_row_a_step():
    rng = np.random.default_rng(6)
    inputs = rng.uniform(-1, 1, (4, 120, 1))
    targets = np.roll(inputs, 3, axis=1)
    loop = DigitalRecurrence(hwloop.Session(Crystal(40, 60)), feedback_channels=30, input_gain=0.2, seed=1)
    model = EchoState(loop, washout=20).fit(inputs[:3], targets[:3])
    assert loop.session.ledger["train"] == 3 * 120
    assert loop.session.ledger["calibrate"] == 121
    assert nmse(model.predict(inputs[3:])[:, 20:], targets[3:, 20:]) < 0.01


@pytest.mark.parametrize("given", [{"feedback_channels": 0}, {"feedback_channels": 28}, {"spectral_radius": 0.0},
                                   {"input_gain": 1.5}])  # fmt: skip
def test_a_recurrence_that_cannot_be_is_refused(given):
    with pytest.raises(ConfigError):
        DigitalRecurrence(hwloop.Session(Crystal(30, 40)), **{"feedback_channels": 20, **given})


def test_shapes_that_do_not_fit_are_refused_before_anything_is_measured():
    session = hwloop.Session(Register(30, 2))
    model = EchoState(PhysicalMemory(session), washout=5)
    with pytest.raises(ConfigError, match="not trained"):
        model.predict(np.zeros((1, 30, 1)))
    for shape, target in (((2, 30), (2, 30, 1)), ((2, 30, 1), (2, 29, 1)), ((2, 5, 1), (2, 5, 1))):
        with pytest.raises(ConfigError):
            model.fit(np.zeros(shape), np.zeros(target))
    assert session.ledger.total == 0


def test_a_fit_that_fails_leaves_no_readout_of_an_earlier_one():
    session = hwloop.Session(Register(40, 3), budget=6)
    tones = np.sin(0.3 * np.arange(40) + np.arange(4)[:, None])[:, :, None]
    model = EchoState(PhysicalMemory(session), washout=5).fit(tones)
    with pytest.raises(hwloop.BudgetExceeded):
        model.fit(10 * tones + 3)
    with pytest.raises(hwloop.ConfigError, match="not trained yet; call fit first"):
        model.predict(tones)
