"""A twin of light on a camera that saturates: level and field are found, and the derivative is the model's own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hwloop.twin import fit
from hwloop.twin.modulus import Intensity, IntensityModel, ModulusModel, amplitudes_of, detected

N_INPUTS, N_OUTPUTS, ROWS = 8, 6, 600


def field(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    matrix, constant = (rng.normal(size=s) + 1j * rng.normal(size=s) for s in ((N_INPUTS, N_OUTPUTS), N_OUTPUTS))
    return 0.4 * matrix, constant


@pytest.mark.parametrize("level", [1.0, 5.0, math.inf])
def test_a_saturating_camera_is_followed_to_within_its_noise(level):
    rng = np.random.default_rng(0)
    matrix, constant = field(rng)
    stimuli = rng.normal(size=(ROWS + 200, N_INPUTS))
    true = detected(np.abs(stimuli @ matrix + constant), level)
    noisy = true + 0.01 * true.std() * rng.normal(size=true.shape)
    twin = fit(stimuli[:ROWS], noisy[:ROWS], 0, (Intensity(),))
    answer = twin.model(twin.scaling.forward(stimuli[ROWS:]))
    assert np.sqrt(np.mean((answer - true[ROWS:]) ** 2)) < 0.03 * true.std()


@pytest.mark.parametrize("level", [1.0, math.inf])
def test_the_derivative_is_that_of_the_answers(level):
    rng = np.random.default_rng(1)
    model = IntensityModel(ModulusModel(*field(rng)), level)
    stimuli, gradients = rng.normal(size=(5, N_INPUTS)), rng.normal(size=(5, N_OUTPUTS))
    found = model.pull_back(stimuli, gradients)
    for channel in range(N_INPUTS):
        moved = np.zeros(N_INPUTS)
        moved[channel] = 1e-3
        slope = (model(stimuli + moved) - model(stimuli - moved)) / 2e-3
        assert found[:, channel] == pytest.approx(np.sum(slope * gradients, axis=1), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("level", [0.7, math.inf])
def test_the_curve_and_its_inverse_belong_together(level):
    amplitudes = np.linspace(0.0, 3.0, 50)
    assert amplitudes_of(detected(amplitudes, level), level) == pytest.approx(amplitudes)


def test_readings_outside_the_curve_are_taken_as_its_ends():
    assert np.all(np.isfinite(amplitudes_of(np.array([-1.0, 0.0, 1.0, 9.0]), 1.0)))


def test_a_device_that_is_dark_or_negative_is_no_error():
    rng = np.random.default_rng(2)
    model = Intensity().fit(rng.normal(size=(40, 3)), -np.ones((40, 2)), rng)
    assert np.all(np.isfinite(model(rng.normal(size=(4, 3)))))
