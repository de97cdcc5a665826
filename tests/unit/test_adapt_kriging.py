"""The kriged Kalman filter against closed forms of Gaussian-process regression, and the policy built on it."""

import numpy as np
import pytest
import torch

import hwloop
from hwloop.adapt import Anchors, kriging
from hwloop.adapt.kriging import LEAST_NOISE, MEAN_VARIANCE, NUGGET, KrigedKalmanFilter
from hwloop.adapt.twin import InterferenceTwin
from hwloop.device import Device, DeviceSpec


def field(matrix, stimuli):
    """A smooth device: random Fourier features of the stimuli."""
    return np.cos(0.5 * stimuli @ matrix)


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    return rng.uniform(-1, 1, (120, 5)), rng.standard_normal((5, 9)), rng


def test_at_its_knots_it_is_gaussian_process_regression(rows):
    stimuli, matrix, rng = rows
    responses = field(matrix, stimuli)
    follower = KrigedKalmanFilter(stimuli, responses, 0.0, rng)
    squared = ((stimuli[:, None] - stimuli[None]) ** 2).sum(axis=2)
    kernel = np.exp(-squared / np.median(squared)) + MEAN_VARIANCE
    prior = kernel + NUGGET * np.eye(120)
    mean = responses.mean(axis=0)
    at_knots = prior @ np.linalg.solve(prior + LEAST_NOISE * np.eye(120), responses - mean)
    assert np.allclose(follower(stimuli), mean + kernel @ np.linalg.solve(prior, at_knots), atol=1e-9)


def test_a_device_at_rest_is_recognised_and_what_is_known_of_it_is_kept(rows):
    stimuli, matrix, rng = rows
    follower = KrigedKalmanFilter(stimuli, field(matrix, stimuli), 0.0, rng)
    before = follower(stimuli)
    follower.follow(stimuli[:20], field(matrix, stimuli[:20]))
    assert np.abs(follower(stimuli) - before).max() < 0.02


def test_many_looks_are_one_regression_where_nothing_may_move(rows, monkeypatch):
    """Kalman's update in parts is the update by all rows at once."""
    monkeypatch.setattr(kriging, "KEPT", (1.0,))
    stimuli, matrix, rng = rows
    known, shown = stimuli[:80], stimuli[80:]
    in_parts, at_once = (KrigedKalmanFilter(known, field(matrix, known), 0.0, rng) for _ in range(2))
    for part in np.split(shown, 4):
        in_parts.follow(part, field(matrix, part))
    at_once.follow(shown, field(matrix, shown))
    assert np.allclose(in_parts(stimuli), at_once(stimuli), atol=1e-6)


def test_it_follows_a_device_that_turns_into_another_one_by_steps(rows):
    stimuli, first, rng = rows
    second = first + 0.5 * rng.standard_normal(first.shape)
    judged = rng.uniform(-1, 1, (200, 5))
    follower = KrigedKalmanFilter(stimuli, field(first, stimuli), 0.0, rng)
    untouched = np.std(follower(judged) - field(second, judged))
    for share in np.linspace(0.1, 1, 10):
        now = (1 - share) * first + share * second
        shown = rng.choice(120, 25, replace=False)
        follower.follow(stimuli[shown], field(now, stimuli[shown]))
    alone = KrigedKalmanFilter(stimuli[shown], field(second, stimuli[shown]), 0.0, rng)
    truth = field(second, judged)
    assert np.std(follower(judged) - truth) < 0.5 * untouched
    assert np.std(follower(judged) - truth) < 0.9 * np.std(alone(judged) - truth)  # the earlier steps still help


def test_a_sudden_change_is_not_averaged_with_the_past(rows):
    stimuli, first, rng = rows
    other = rng.standard_normal(first.shape)
    follower = KrigedKalmanFilter(stimuli, field(first, stimuli), 0.0, rng)
    shown = np.arange(60)
    follower.follow(stimuli[shown], field(other, stimuli[shown]))
    fresh = np.std(follower(stimuli[shown]) - field(other, stimuli[shown]))
    assert fresh < 0.1 * np.std(field(first, stimuli[shown]) - field(other, stimuli[shown]))


class Turning(Device):
    """Smooth responses to 8 inputs, that :meth:`turn` moves in a way that no map of the responses undoes."""

    spec = DeviceSpec(n_inputs=8, n_outputs=30, input_low=-1.0, input_high=1.0, deterministic=True)

    def __init__(self):
        rng = np.random.default_rng(0)
        self.matrix, self._towards = rng.standard_normal((8, 30)), rng.standard_normal((8, 30))

    def turn(self, share):
        self.matrix = (1 - share) * self.matrix + share * self._towards

    def _measure(self, inputs):
        return field(2 * self.matrix, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
def test_the_network_is_kept_alive_without_a_label_of_the_rows(labelled):
    rng = np.random.default_rng(1)
    centres, labels = rng.standard_normal((4, 8)), np.arange(400) % 4
    inputs = centres[labels] + 0.4 * rng.standard_normal((400, 8))
    device = Turning()
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [hwloop.Stage(8), hwloop.Stage(8)])
    hwloop.trainer("local", epochs=3, min_steps=60).fit(network, inputs[:300], labels[:300])
    anchors = Anchors.record(network, inputs[:300], labels[:300] if labelled else None)
    adapter = hwloop.Adapter(network, "kriging", anchors, rows_a_step=80)
    trained = np.mean(network.predict(inputs[300:]) == labels[300:])
    for _ in range(6):
        device.turn(0.25)
        step = adapter.step(unlabelled=inputs[rng.choice(300, 36, replace=False)])
        assert step.acted
        assert step.rows <= 80
        assert step.uses_model
    network.sessions[0].forget()
    assert np.mean(network.predict(inputs[300:]) == labels[300:]) >= trained - 0.05


@pytest.mark.slow
def test_an_output_in_a_local_minimum_starts_afresh():
    rng = np.random.default_rng(7)
    matrix = rng.standard_normal((16, 40)) + 1j * rng.standard_normal((16, 40))
    stimuli = rng.uniform(-1, 1, (500, 15))
    intensity = np.abs(np.hstack([stimuli, np.ones((500, 1))]) @ matrix) ** 2
    twin = InterferenceTwin(stimuli, intensity / (1 + 0.02 * intensity), torch.Generator().manual_seed(0))
    missed = np.std(twin(stimuli) - intensity / (1 + 0.02 * intensity), axis=0) / np.std(intensity, axis=0)
    assert missed.max() < 0.05
