"""Derivatives that simulations and twins tell, against differences of what they answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop
from hwloop.device.spec import Differentiable
from hwloop.devices.null import LinearProjection, Zeros
from hwloop.layers import Encoder
from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.simulators.relu_layer import ReluLayer
from hwloop.simulators.relu_units import ReluUnits
from hwloop.twin import fit
from hwloop.twin.fitting import default_candidates

SPEC = hwloop.DeviceSpec(6, 9, -1.0, 1.0)
IDEAL = {"n_inputs": 6, "n_outputs": 9, "dac_bits": None, "adc_bits": None, "read_noise": 0.0}
DEVICES = {
    "fibre": OpticalFibre(**IDEAL),
    "fibre, phase": OpticalFibre(**IDEAL, encoding="phase"),
    "fibre, hard": OpticalFibre(**IDEAL, saturation="hard"),
    "relu": ReluLayer(n_inputs=6, n_outputs=9),
    "relu units": ReluUnits(n_inputs=6),
    "zeros": Zeros(SPEC),
    "projection": LinearProjection(SPEC),
}


def differences(answer, stimuli: np.ndarray, gradients: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Central differences of sum(gradients * answer) by every stimulus; exact products keep 24 bits of it."""
    found = np.empty_like(stimuli)
    for channel in range(stimuli.shape[1]):
        change = np.zeros(stimuli.shape[1])
        change[channel] = step
        slope = (answer(stimuli + change) - answer(stimuli - change)) / (2 * step)
        found[:, channel] = (gradients * slope).sum(axis=1)
    return found


@pytest.mark.parametrize("name", DEVICES)
def test_a_devices_derivative_is_that_of_its_response(name):
    device, rng = DEVICES[name], np.random.default_rng(0)
    assert isinstance(device, Differentiable)
    stimuli = rng.uniform(0.1, 0.8, (7, 6))
    gradients = rng.normal(size=(7, device.spec.n_outputs))
    expected = differences(device.measure, stimuli, gradients)
    np.testing.assert_allclose(device.pull_back(stimuli, gradients), expected, rtol=2e-3, atol=2e-3)


def test_a_black_box_has_none():
    assert not isinstance(hwloop.open_device("oscillators", n_inputs=16), Differentiable)


@pytest.mark.parametrize("candidate", default_candidates(), ids=lambda candidate: candidate.name)
def test_a_twins_derivative_is_that_of_its_model(candidate):
    rng = np.random.default_rng(1)
    stimuli = rng.uniform(-1, 1, (60, 4))
    matrix = rng.normal(size=(2, 4, 3))
    twin = fit(stimuli, np.hypot(stimuli @ matrix[0] + 0.3, stimuli @ matrix[1]), 0, (candidate,)).noiseless()
    inside, gradients = 0.8 * stimuli[:5], rng.normal(size=(5, 3))
    expected = differences(twin.measure, inside, gradients)
    np.testing.assert_allclose(twin.pull_back(inside, gradients), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("n_features", [3, 20])
def test_an_encoders_derivative_stops_at_the_limits(n_features):
    rng = np.random.default_rng(2)
    encoder = Encoder(SPEC, n_features, reference_slots=1)
    features = torch.from_numpy(rng.normal(size=(50, n_features)))
    encoder.fit(features)
    features = 1.3 * features  # some beyond the limits
    gradients = rng.normal(size=(50, 6))
    stimuli = encoder(features)
    assert (np.abs(stimuli[:, : encoder.n_data]) == 1).any()
    expected = differences(lambda rows: encoder(torch.from_numpy(rows)), features.numpy(), gradients, 1e-4)
    found = encoder.pull_back(stimuli, torch.from_numpy(gradients)).numpy()
    near = (np.abs(np.abs(stimuli) - 1) < 1e-3)[:, : encoder.n_data]  # within a step of the limit, or beyond it
    plain = ~(near & (np.abs(stimuli) < 1)[:, : encoder.n_data]).any(axis=1)
    assert plain.sum() > 20
    np.testing.assert_allclose(found[plain], expected[plain], atol=2e-3)
