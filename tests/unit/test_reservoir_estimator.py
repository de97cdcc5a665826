"""PhysicalReservoir: series in, predictions and free-running forecasts out, at a cost that is said before."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

import hwloop
from hwloop.experiment.trained import TrainedNetwork
from hwloop.experiments.time_series import mackey_glass

TIME = np.arange(400)
TWO_TONES = np.sin(0.3 * TIME) + 0.5 * np.sin(0.11 * TIME + 1)


class Register(hwloop.Device):
    """Remembers within a row: after every step it answers the last ``depth`` inputs."""

    def __init__(self, steps, depth=6, fails_after=None):
        self.depth, self.left, self.rows, self.opened = depth, fails_after, 0, 0
        self.spec = hwloop.DeviceSpec(
            n_inputs=steps, n_outputs=steps * depth, input_low=-1.0, deterministic=True, row_seconds=1e-3
        )

    harmless_settings = {"fails_after": "a fault"}  # noqa: RUF012

    def open(self):
        self.opened += 1

    def _measure(self, inputs):
        if self.left is not None:
            self.left -= len(inputs)
            if self.left < 0:
                self.left = None
                raise TimeoutError("no answer")
        self.rows += len(inputs)
        delayed = [np.pad(inputs, ((0, 0), (k, 0)))[:, : inputs.shape[1]] for k in range(self.depth)]
        return np.stack(delayed, axis=2).reshape(len(inputs), -1)


class Crystal(hwloop.Device):
    """No memory: a fixed linear map."""

    spec = hwloop.DeviceSpec(n_inputs=40, n_outputs=60, input_low=-1.0, deterministic=True)
    matrix = np.random.default_rng(0).standard_normal((40, 60)) / 10

    def __init__(self):
        self.rows = 0

    def _measure(self, inputs):
        self.rows += len(inputs)
        return inputs @ self.matrix


class Numbered(Crystal):
    """One that says who it is."""

    def identify(self):
        return "crystal 7"


def physical(device=None, **options):
    return hwloop.PhysicalReservoir(device or Register(30), **{"window": 30, "random_state": 0} | options)


def digital(device=None, **options):
    settings = {"memory": "digital", "feedback_channels": 20, "input_gain": 0.2, "random_state": 0} | options
    return hwloop.PhysicalReservoir(device or Crystal(), **settings)


def test_the_forecast_of_a_linear_system_is_exact_with_either_memory():
    tone = np.sin(0.3 * TIME)
    for model, rows_of_fit in ((physical(), 10), (digital(), 120 + 81)):
        forecast = model.fit(tone[:120], washout=20).forecast(40)
        np.testing.assert_allclose(forecast, tone[120:160], atol=1e-5)  # least squares by the Gram matrix
        assert model.device.rows == rows_of_fit + 39  # one row a step after the first
        assert model.ledger_["evaluate"] == 39 == model.forecast_rows(40)
        model.forecast(40)
        assert model.ledger_["evaluate"] == 39  # remembered


def test_another_series_is_followed_to_its_end_first():
    for each, rows in ((physical(), 1), (digital(), 50)):
        each.fit(TWO_TONES[:120], washout=10)
        np.testing.assert_allclose(each.forecast(5, TWO_TONES[251:301]), TWO_TONES[301:306], atol=1e-3)
        assert each.forecast_rows(5, TWO_TONES[251:301]) == rows + 4
        assert each.ledger_["evaluate"] == rows + 4


def test_many_series_of_several_features_go_together():
    many = np.stack([np.stack([np.sin(0.2 * TIME + k), np.cos(0.2 * TIME + k)], axis=1) for k in range(3)])
    model = physical(Register(60, depth=6), window=30).fit(many[:, :300], washout=10)
    forecast = model.forecast(20)
    assert forecast.shape == (3, 20, 2)
    np.testing.assert_allclose(forecast, many[:, 300:320], atol=1e-4)
    assert model.n_features_in_ == 2
    alone = model.forecast(20, many[1, :300])
    assert alone.shape == (20, 2)
    np.testing.assert_allclose(alone, forecast[1], atol=1e-6)


@pytest.mark.parametrize("values", [False, True])
def test_targets_come_back_in_their_shape(values):
    targets = np.roll(TWO_TONES, 2)
    given = targets[:, None] if values else targets
    model = physical().fit(TWO_TONES, given, washout=10)
    found = model.predict(TWO_TONES[:100])
    assert found.shape == given[:100].shape
    np.testing.assert_allclose(found[10:], given[10:100], atol=1e-6)
    assert model.score(TWO_TONES[:100], given[:100]) > 0.999
    many = physical().fit(np.stack([TWO_TONES] * 2)[..., None], np.stack([given] * 2), washout=10)
    assert many.predict(TWO_TONES[None, :100, None]).shape == (1, *given[:100].shape)


def test_windows_cover_every_step_and_overlap_by_the_washout():
    device = Register(30)
    model = physical(device).fit(TWO_TONES, np.roll(TWO_TONES, 3), washout=10)
    assert device.rows == 20  # 30 steps, then 20 new ones a row, the last ending with the series
    whole = physical(Register(400), window=None).fit(TWO_TONES, np.roll(TWO_TONES, 3), washout=10)
    assert whole.device.rows == 1
    expected = whole.predict(TWO_TONES)[10:]
    for steps in (30, 31, 49, 50, 51, 400):
        found = model.predict(TWO_TONES[:steps])
        assert found.shape == (steps,)
        np.testing.assert_allclose(found[10:], expected[: steps - 10], atol=1e-6)


def test_what_would_be_fed_back_must_be_the_series():
    model = physical().fit(TWO_TONES, np.roll(TWO_TONES, 3))
    with pytest.warns(hwloop.HwloopWarning, match="not the series one step later"):
        model.forecast(2)
    several = physical().fit(TWO_TONES, np.stack([TWO_TONES, TWO_TONES], axis=1))
    with pytest.warns(hwloop.HwloopWarning), pytest.raises(hwloop.ConfigError, match="1 features and 2 predicted"):
        several.forecast(2)


def test_a_forecast_that_leaves_the_range_says_so():
    model = physical().fit(np.exp(0.01 * TIME), washout=10)
    with pytest.warns(hwloop.HwloopWarning, match=r"from step \d+ on the forecast leaves"):
        model.forecast(40)


def test_a_budget_that_does_not_cover_all_steps_measures_none():
    model = physical(budget=50).fit(TWO_TONES, washout=10)
    rows = model.device.rows
    with pytest.raises(hwloop.BudgetExceeded):
        model.forecast(60)
    assert model.device.rows == rows
    with pytest.raises(hwloop.BudgetExceeded):
        physical(budget=5).fit(TWO_TONES, washout=10)


def test_the_cost_is_said_before_the_first_row(capsys):
    physical(verbose=1).fit(TWO_TONES, washout=10).forecast(11)
    assert capsys.readouterr().out == "fit: 20 rows, about 0.0 s\nforecast: 10 rows, about 0.0 s\n"


@pytest.mark.parametrize("seed", [0, None])
def test_a_failure_loses_no_row(seed):
    device = Register(30, fails_after=12)
    model = physical(device, random_state=seed)
    with pytest.raises(hwloop.DeviceTimeout):
        model.fit(TWO_TONES, washout=10)
    model.fit(TWO_TONES, washout=10)
    device.left = 7
    with pytest.raises(hwloop.DeviceTimeout):
        model.forecast(20)
    before = device.rows
    model.forecast(20)
    assert device.rows == before + 19 - 7
    assert model.ledger_["train"] == 20


def test_with_keeps_the_device_open_and_closes_it_whatever_happens():
    model = physical()
    model.fit(TWO_TONES, washout=10)
    opened = model.device.opened
    with model:
        model.predict(TWO_TONES[:60])
        model.forecast(3)
        model.fit(TWO_TONES[:200], washout=10).predict(TWO_TONES[5:65])
    assert model.device.opened == opened + 1
    with pytest.raises(RuntimeError, match="mine"), model:
        raise RuntimeError("mine")
    model.predict(TWO_TONES[7:67])
    assert model.device.opened == opened + 3


@pytest.mark.parametrize(
    ("options", "fit", "message"),
    [
        ({"memory": "none"}, {}, 'memory must be "physical" or "digital", not \'none\''),
        ({"window": 1.5}, {}, "window must be None or a whole number of steps"),
        ({"window": 500}, {}, "400 steps are shorter than the window of 500"),
        ({}, {"washout": 30}, "is all washout"),
        ({}, {"washout": -1}, "washout must be a whole number"),
        ({"ridge": 0}, {}, "ridge must be None or a positive number, not 0"),
        ({"memory": "digital"}, {}, "a window is of physical memory"),
        ({"device": "optical-fibre"}, {}, 'optical-fibre keeps no memory within a row; memory="digital"'),
        ({"device": ["delay-loop"]}, {}, "a reservoir is one device"),
        ({"device": 3}, {}, "device must be a name of hwloop list"),
        ({}, {"targets": TWO_TONES[:-1]}, r"targets must have shape \(400,\) or \(400, values\), not \(399,\)"),
        ({}, {"series": "tone"}, "table of real numbers"),
        ({}, {"series": [[1.0, 2.0], [1.0]]}, "equal lengths"),
        ({}, {"series": np.full(400, np.nan)}, "step 0, value 0 of the series is nan"),
        ({}, {"series": [1.0]}, "with two steps or more"),
    ],
)
def test_what_cannot_be_is_said_in_words_before_the_first_row(options, fit, message):
    model = physical(**options)
    with pytest.raises(hwloop.HwloopError, match=message):
        model.fit(**{"series": TWO_TONES} | fit)
    if isinstance(model.device, Register):
        assert model.device.rows == 0


@pytest.mark.parametrize(
    ("washout", "message"),
    [(-5, "from 0, not -5"), (True, "not True"), (1.5, "not 1.5"), (400, "none of 400 steps")],
)
def test_a_score_has_steps_to_score(washout, message):
    model = physical().fit(TWO_TONES[:30], washout=10)
    measured = model.device.rows
    with pytest.raises(hwloop.ConfigError, match=message):
        model.score(TWO_TONES, TWO_TONES, washout=washout)
    assert model.device.rows == measured


@pytest.mark.parametrize("seed", [0, None])
def test_a_finished_fit_is_found_again_by_the_same_object_and_by_another_one(tmp_path, seed):
    model = digital(Numbered(), journal=tmp_path, random_state=seed).fit(TWO_TONES[:60], washout=10)
    found, measured = model.predict(TWO_TONES[:60]), model.device.rows
    assert measured > 0
    for _ in range(2):
        again = model.fit(TWO_TONES[:60], washout=10).predict(TWO_TONES[:60])
        np.testing.assert_array_equal(again, found)
        assert model.device.rows == measured
        model = clone(model)
    assert len(list(tmp_path.iterdir())) == 1


def test_clones_share_the_rig_and_every_option():
    model = digital(ridge=0.5)
    twin = clone(model)
    assert twin.device is model.device
    assert twin.get_params() == model.get_params()


LOADS = """
import sys, numpy, hwloop
model = hwloop.PhysicalReservoir.load(sys.argv[1])
series = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], numpy.concatenate([model.predict(series), model.forecast(5)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["physical", "digital"])
def test_another_process_predicts_and_forecasts_the_same_bits(tmp_path, memory):
    quiet = {"read_noise": 0.0, "dac_bits": None, "adc_bits": None}
    name, more = {
        "physical": ("delay-loop", {"window": 40, "device_settings": quiet | {"n_nodes": 20}}),
        "digital": ("optical-fibre", {"feedback_channels": 10, "device_settings": quiet | {"n_outputs": 30}}),
    }[memory]
    model = hwloop.PhysicalReservoir(name, memory=memory, random_state=1, **more)
    model.fit(TWO_TONES[:80], washout=10)
    model.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "series.npy", TWO_TONES[100:160])
    paths = [str(tmp_path / each) for each in ("model.safetensors", "series.npy", "found.npy")]
    subprocess.run([sys.executable, "-W", "ignore", "-c", LOADS, *paths], check=True, timeout=300)
    with np.errstate(all="ignore"):
        expected = np.concatenate([model.predict(TWO_TONES[100:160]), model.forecast(5)])
    np.testing.assert_array_equal(np.load(paths[2]), expected)


def test_what_is_saved_is_loaded_on_the_same_device_alone(tmp_path):
    path = tmp_path / "model.safetensors"
    series = TWO_TONES[:100]
    for model in (physical(), digital()):
        model.fit(series, washout=10).save(path)
        same = hwloop.PhysicalReservoir.load(path, type(model.device)(*([30] if model.window else [])))
        np.testing.assert_array_equal(same.forecast(5), model.forecast(5))
        np.testing.assert_array_equal(same.predict(series), model.predict(series))
        assert {k: v for k, v in same.get_params().items() if k != "device"} == {
            k: v for k, v in model.get_params().items() if k != "device"
        }
    with pytest.raises(hwloop.CheckpointError, match="another device"):
        hwloop.PhysicalReservoir.load(path, Register(30))
    for load in (hwloop.load_network, hwloop.PhysicalRegressor.load, TrainedNetwork.of):
        with pytest.raises(hwloop.CheckpointError, match=r"holds a reservoir; open it with hwloop.PhysicalRes"):
            load(path)
    with pytest.raises(hwloop.ConfigError, match="by its name"):
        hwloop.PhysicalReservoir.load(3)


@pytest.mark.slow
def test_mackey_glass_stays_on_its_attractor_in_closed_loop():
    series = mackey_glass(1, 2500)[0, :, 0]
    quiet = {"read_noise": 0.0, "dac_bits": None, "adc_bits": None}
    model = hwloop.PhysicalReservoir(
        "optical-fibre", memory="digital", input_gain=0.1, ridge=1e-3, device_settings=quiet, random_state=3
    )
    forecast = model.fit(series[:2000], washout=100).forecast(500)
    error = np.abs(forecast - series[2000:]) / series.std()
    assert error[:50].max() < 0.15  # of a standard deviation
    assert error[:100].max() < 0.5
    assert 0.2 < forecast.min() < forecast.max() < 1.45  # after which it is another orbit of the same attractor
    assert forecast[250:].std() == pytest.approx(series.std(), rel=0.15)
    assert model.ledger_["evaluate"] == 499
