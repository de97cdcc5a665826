"""Drift figures against drift that was put in, and against noise that is none."""

from __future__ import annotations

import numpy as np
import pytest
from examples import each_row
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop.device import Device, DeviceSpec
from hwloop.errors import ConfigError
from hwloop.reference import Noise, Responses
from hwloop.reference.drift import averaged, change, fitted_correction, noise_of
from hwloop.reference.fingerprint import reference_stimuli

OUTPUTS = 40
STILL = Noise(0.0, 1.0, 4)


class Noisy(Device):
    """y = (A x)^2 with a seeded A, and noise of one kind."""

    def __init__(self, seed=0, kind="additive", noise=0.0):
        self.spec = DeviceSpec(6, OUTPUTS, input_low=-1.0)
        self.kind, self.noise = kind, noise
        self._matrix = np.random.default_rng(1).standard_normal((6, OUTPUTS))
        self._rng = np.random.default_rng(seed)

    def _measure(self, inputs):
        responses = np.square(inputs @ self._matrix)
        rows = len(inputs)
        if self.kind == "common gain":
            return responses * (1 + self.noise * self._rng.standard_normal((rows, 1)))
        if self.kind == "shot":
            return responses + self.noise * np.sqrt(responses) * self._rng.standard_normal(responses.shape)
        glitches = self.kind == "glitches" and self._rng.random() < 0.02
        return responses + self.noise * self._rng.standard_normal(responses.shape) + 100 * glitches


def watched(device, measurements, **settings):
    session = hwloop.Session(device, reference=hwloop.Reference(every_rows=1, **settings))
    session.measure(np.zeros((measurements, device.spec.n_inputs)), "repeat")
    return session.drift_curve


@pytest.mark.filterwarnings("ignore:.*too noisy")  # for this limit, it is; so any drift at all would alarm
@pytest.mark.parametrize(
    ("kind", "seeds"),
    each_row(
        [("common gain", 15), *((kind, 100) for kind in ("common gain", "additive", "shot"))], ("common gain", 15)
    ),
)
def test_a_noisy_device_at_rest_raises_no_alarm(kind, seeds):
    for seed in range(seeds):
        curve = watched(Noisy(seed, kind, noise=0.1), 20, limit=1e-6, on_drift="restandardise")
        assert [point.row for point in curve if point.drift or point.action] == []


def test_the_curve_recovers_the_drift_that_was_put_in():
    rate = 2e-4
    device = hwloop.Drifting(Noisy(noise=0.05), gain_per_row=rate)
    curve = watched(device, 100, limit=100.0)
    assert curve[0].gain == pytest.approx(1.0, abs=1e-2)
    stimuli = reference_stimuli(device.spec, 8, 0)
    clean = Noisy().measure(stimuli)
    spread = np.sqrt(np.var(clean, axis=0, ddof=1).mean())
    for point in curve[30:]:
        # From the middle of rows 0 to 31, the first measurement, to that of these 8 rows.
        since = rate * (point.row + 3.5 - 15.5) / (1 + rate * 15.5)
        assert point.gain == pytest.approx(1 + since, abs=0.01)
        assert point.drift == pytest.approx(since * np.sqrt(np.mean(clean**2)) / spread, abs=0.012)
        assert point.decorrelation == pytest.approx(0.0, abs=0.002)


def test_a_random_walk_of_the_gain_is_followed():
    device = hwloop.Drifting(Noisy(noise=0.02), gain_per_row=5e-3, kind="random-walk", seed=4)
    curve = watched(device, 50, limit=100.0)
    path = device._gain.position(0, curve[-1].row + 8)
    true = [1 + 5e-3 * path[point.row : point.row + 8].mean() for point in curve[1:]]
    start = 1 + 5e-3 * path[:32].mean()
    found = [point.gain for point in curve[1:]]
    assert np.ptp(true) > 0.1
    np.testing.assert_allclose(found, np.array(true) / start, atol=0.03)


def test_a_single_output_that_moves_is_named():
    first = np.random.default_rng(0).random((8, OUTPUTS))
    now = first.copy()
    now[:, 17] += 1.0
    found = change(Responses(first, 4), Responses(now, 1), STILL)
    assert int(np.argmax(found.by_output)) == 17
    assert np.count_nonzero(found.by_output) == 1
    assert found.by_output[17] == pytest.approx(found.drift * np.sqrt(OUTPUTS))


def test_a_device_that_has_become_another_is_decorrelated():
    rng = np.random.default_rng(0)
    found = change(Responses(rng.random((50, 200)), 1), Responses(rng.random((50, 200)), 1), STILL)
    assert found.decorrelation == pytest.approx(1.0, abs=0.05)
    assert found.drift == pytest.approx(np.sqrt(2), abs=0.05)


def test_noise_is_known_from_repeated_passes():
    rng = np.random.default_rng(0)
    signal = rng.random((8, 300))
    independent = noise_of(signal + 0.1 * rng.standard_normal((6, 8, 300)))
    assert independent.power == pytest.approx(0.01, rel=0.05)
    assert independent.freedom > 0.8 * 8 * 300
    common = noise_of(signal * (1 + 0.1 * rng.standard_normal((6, 8, 1))))
    assert 2 < common.freedom < 12  # one value a stimulus


def test_a_glitch_is_neither_signal_nor_noise():
    rng = np.random.default_rng(0)
    passes = rng.random((8, 30)) + 0.01 * rng.standard_normal((5, 8, 30))
    clean_mean, clean_noise = averaged(passes), noise_of(passes)
    passes[3, 2] += 1e6
    np.testing.assert_allclose(averaged(passes).mean, clean_mean.mean, atol=0.02)
    assert noise_of(passes).power == pytest.approx(clean_noise.power, rel=0.1)


def test_a_glitch_in_one_pass_has_no_consequence():
    with_glitches = [
        point
        for seed in range(20)
        for point in watched(Noisy(seed, "glitches", noise=0.1), 20, limit=0.3, on_drift="restandardise")
    ]
    assert sum(point.passes > 1 for point in with_glitches) > 20  # the starts, and what was measured again
    assert not any(point.action for point in with_glitches)


@given(st.floats(0.5, 2.0), st.floats(-3.0, 3.0), st.integers(0, 100))
def test_a_correction_undoes_gain_and_offset_exactly_without_noise(gain, offset, seed):
    rng = np.random.default_rng(seed)
    first = rng.random((8, 5))
    gains = gain * rng.uniform(0.9, 1.1, 5)
    correction = fitted_correction(Responses(first, 4), Responses(gains * first + offset, 4), STILL)
    others = rng.random((20, 5))
    np.testing.assert_allclose(correction.apply(gains * others + offset), others, atol=1e-9)


def test_an_output_without_signal_shares_the_common_slope():
    rng = np.random.default_rng(0)
    first = rng.random((8, 20))
    first[:, 3] = 0.5
    noise = Noise(1e-4, 160.0, 4)
    measured = first / 1.25 + 0.005 * rng.standard_normal((8, 20))
    correction = fitted_correction(Responses(first, 4), Responses(measured, 4), noise)
    np.testing.assert_allclose(correction.slope, 1.25, rtol=0.05)
    assert np.isfinite(correction.offset).all()


@given(st.integers(1, 8), st.integers(2, 40), st.integers(0, 2**40))
def test_the_stimuli_keep_the_limits_and_fill_the_range(n_inputs, stimuli, seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(-5, 0, n_inputs)
    spec = DeviceSpec(n_inputs, 3, input_low=low, input_high=low + rng.uniform(0.1, 9, n_inputs))
    found = reference_stimuli(spec, stimuli, seed)
    assert found.shape == (stimuli, n_inputs)
    assert (found >= spec.low).all()
    assert (found <= spec.high).all()
    np.testing.assert_allclose(found.mean(axis=0), (spec.low + spec.high) / 2)
    np.testing.assert_array_equal(found, reference_stimuli(spec, stimuli, seed))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"every_rows": -1}, "every_rows"),
        ({"every_rows": 1.5}, "every_rows"),
        ({"stimuli": 3}, "stimuli"),
        ({"passes": 3}, "passes"),
        ({"seed": True}, "seed"),
        ({"limit": 0}, "limit"),
        ({"limit": float("nan")}, "limit"),
        ({"on_drift": "paus"}, "did you mean 'pause'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings, named):
    with pytest.raises(ConfigError, match=named):
        hwloop.Reference(**settings)
