"""The simulated instrument does what its equations say, whatever a call carries."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from hwloop.simulators.linear_instrument import LinearInstrument

CLEAN = {
    "gain": 1.0,
    "offset": 0.0,
    "cubic": 0.0,
    "noise": 0.0,
    "time_constant": 0.0,
    "memory": 0.0,
    "crosstalk": 0.0,
    "gain_drift_per_row": 0.0,
    "offset_drift_per_row": 0.0,
}


def instrument(**settings):
    return LinearInstrument(**{"n_channels": 2, **CLEAN, **settings})


def test_without_faults_it_answers_the_stimulus():
    x = np.random.default_rng(0).uniform(-1, 1, (7, 2))
    assert np.allclose(instrument().measure(x), x, atol=1e-12)


def test_gain_offset_and_cubic_by_hand():
    device = instrument(gain=[2.0, 1.0], offset=0.1, cubic=[0.05, 0.0], range_volts=2.0)
    expected = [2 * (2 + 0.05 * 8 / 4) + 0.1, -1 + 0.1]
    assert np.allclose(device.measure([[2.0, -1.0]]), [expected], atol=1e-12)


def test_crosstalk_goes_from_column_to_row():
    device = instrument(crosstalk=[[0.0, 0.1], [0.0, 0.0]])
    assert np.allclose(device.measure([[0.0, 1.0]]), [[0.1, 1.0]], atol=1e-12)


def test_a_step_settles_exponentially():
    device = instrument(time_constant=1e-3, hold_seconds=0.5e-3)
    answers = device.measure(np.ones((5, 2)))[:, 0]
    assert np.allclose(1 - answers, np.exp(-0.5 * np.arange(1, 6)), atol=1e-12)


def test_memory_is_of_the_row_before():
    device = instrument(memory=0.2)
    answers = device.measure([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert np.allclose(answers[:, 0], [0.8, 0.2, 0.0], atol=1e-12)


def test_an_impulse_shows_the_memory_kernel():
    device = instrument(memory=0.1, time_constant=1e-3)
    impulse = np.zeros((8, 2))
    impulse[0] = 1.0
    assert np.allclose(device.measure(impulse), device.memory_kernel(7), atol=1e-12)
    assert np.allclose(device.memory_kernel(200).sum(axis=0), 1.0, atol=1e-12)


def test_drift_is_linear_in_the_row():
    device = instrument(gain_drift_per_row=1e-3, offset_drift_per_row=1e-2)
    answers = device.measure(np.full((11, 2), 0.5))
    assert np.allclose(answers[10], 0.5 * 1.01 + 0.1, atol=1e-12)


@examples(20)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 50))
def test_calls_of_any_size_give_the_same_rows(sizes, seed):
    rows = np.random.default_rng(seed).uniform(-1, 1, (sum(sizes), 3))
    at_once = LinearInstrument(n_channels=3, seed=seed).measure(rows)
    device = LinearInstrument(n_channels=3, seed=seed)
    parts = [device.measure(part) for part in np.split(rows, np.cumsum(sizes)[:-1])]
    assert np.allclose(np.concatenate(parts), at_once, rtol=0, atol=1e-13)


def test_noise_has_the_standard_deviation_of_its_setting():
    answers = instrument(noise=[0.01, 0.1]).measure(np.zeros((4000, 2)))
    assert np.allclose(answers.std(axis=0), [0.01, 0.1], rtol=0.05)


def test_a_call_waits_for_latency_and_rows():
    class Stopwatch:
        slept = 0.0

        def sleep(self, seconds):
            self.slept += seconds

    watch = Stopwatch()
    device = LinearInstrument(latency_seconds=0.5, row_seconds=0.25, clock=watch)
    device.measure(np.zeros((4, 4)))
    assert watch.slept == pytest.approx(1.5)


@pytest.mark.parametrize(
    "bad",
    [{"gain": [1.0, 2.0, 3.0]}, {"memory": 0.9}, {"noise": -1.0}, {"n_channels": 0}, {"gain": float("nan")},
     {"crosstalk": [0.1, 0.2]}, {"hold_seconds": 0.0}],
)  # fmt: skip
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        LinearInstrument(**{"n_channels": 2, **bad})
