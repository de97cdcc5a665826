"""Whole calibrations: of devices whose figures are known, and through the command line."""

import json
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

from hwloop import BudgetExceeded, Device, DeviceSpec, LimitError, open_device
from hwloop.calibration import calibrate, least_rows, sweep_settling
from hwloop.calibration.figure_table import figure_lines
from hwloop.cli.app import app
from hwloop.simulators.linear_instrument import LinearInstrument
from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.toml_text import toml_text

STILL = {"gain_drift_per_row": 0.0, "offset_drift_per_row": 0.0}


class Lab(Device):
    def __init__(self, n_inputs, n_outputs, function, noise=0.01, low=-1.0, max_rows=None):
        self.spec = DeviceSpec(n_inputs, n_outputs, low, 1.0, max_rows=max_rows)
        self.function, self.noise, self.rng = function, noise, np.random.default_rng(0)
        self.rows, self.closed = 0, False

    def close(self):
        self.closed = True

    def _measure(self, inputs):
        self.rows += len(inputs)
        return self.function(inputs) + self.noise * self.rng.standard_normal((len(inputs), self.spec.n_outputs))


def hwloop_command(*arguments):
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)])


def test_a_noiseless_instrument_is_found_exactly():
    device = LinearInstrument(noise=0.0, seed=3)
    found = calibrate(device, 2000)
    drifted = 1 + device.faults.gain_drift_per_row * found.middle_row
    assert np.allclose(found.figures["small_signal_gain"].value, device.faults.gain * drifted, rtol=1e-6)
    assert np.allclose(found.figures["cubic"].value, device.faults.cubic, atol=1e-6)
    assert np.allclose(found.figures["memory"].value, 1 - device.memory_kernel(0)[0], atol=1e-6)
    expected = device.faults.gain_drift_per_row / drifted  # relative to the gain at the middle row
    assert np.allclose(found.figures["gain_drift"].value, expected, atol=1e-10)


def test_a_smaller_budget_gives_wider_intervals_and_measures_no_more():
    few, many = (calibrate(LinearInstrument(seed=1), budget) for budget in (400, 3000))
    assert (few.rows, many.rows) == (400, 3000)
    assert (few.figures["gain"].half_width > 1.5 * many.figures["gain"].half_width).all()


def test_the_least_budget_is_enough_and_one_row_less_is_refused():
    device = Lab(3, 3, lambda x: 2 * x)
    least = least_rows(device.spec)
    with pytest.raises(BudgetExceeded, match=str(least)):
        calibrate(device, least - 1)
    assert device.rows == 0
    assert calibrate(device, least).rows == least == device.rows
    assert device.closed


def test_drift_does_not_bias_the_gain():
    device = LinearInstrument(seed=2, gain_drift_per_row=2e-5, cubic=0.0, noise=1e-4)
    found = calibrate(device, 3000)
    expected = device.faults.gain * (1 + 2e-5 * found.middle_row)
    assert np.allclose(found.figures["gain"].value, expected, rtol=1e-4)


def test_the_jacobian_of_a_mixing_device():
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((30, 6))
    found = calibrate(Lab(6, 30, lambda x: x @ matrix.T), 3000)
    assert not found.pilot.paired
    norms = np.linalg.norm(matrix, axis=0)
    assert np.allclose(found.figures["gain"].value, norms, rtol=0.02)
    assert np.allclose(found.figures["line_gain"].value, norms, rtol=0.02)
    assert np.allclose(found.figures["noise"].value, 0.01, rtol=0.1)
    directions = matrix / norms
    assert np.allclose(found.figures["overlap"].value, np.abs(directions.T @ directions), atol=0.03)
    share = np.linalg.svd(matrix, compute_uv=False)
    share /= share.sum()
    assert found.figures["effective_rank"].value == pytest.approx(np.exp(-share @ np.log(share)), rel=0.01)
    assert found.recommended.correction is None


def test_memory_of_a_mixing_device_is_seen_and_taken_off():
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((30, 6))
    before = np.zeros((1, 30))

    def forgetful(x):
        signal = np.concatenate([before, x @ matrix.T])
        before[:] = signal[-1]
        return 0.8 * signal[1:] + 0.2 * signal[:-1]

    found = calibrate(Lab(6, 30, forgetful), 4000)
    assert found.figures["memory"].value[0] == pytest.approx(0.2, abs=0.01)
    assert np.allclose(found.figures["gain"].value, np.linalg.norm(matrix, axis=0), rtol=0.03)
    assert found.recommended.settling_rows == 1


def test_a_fibre_that_is_blind_to_the_sign_of_its_inputs():
    fibre = OpticalFibre(n_inputs=8, n_outputs=100, seed=4)
    found = calibrate(fibre, 2500)
    low, _ = found.pilot.stimuli
    step = 0.1  # a twentieth of the range
    still = fibre.noiseless()
    slopes = [(still.measure([low + step * e]) - still.measure([low - step * e])) / (2 * step) for e in np.eye(8)]
    norms = np.linalg.norm(np.concatenate(slopes), axis=1)
    assert np.abs(found.figures["gain"].value / norms - 1).max() < 0.03
    assert np.isnan(found.figures["settling_factor"].value).all()


@pytest.mark.parametrize(
    "device",
    [
        Lab(3, 3, lambda x: 0 * x),
        Lab(2, 2, lambda x: 2 * x + 1, noise=0.0),
        Lab(2, 2, lambda x: x**2),
        Lab(1, 1, lambda x: np.clip(-3 * x, -1, 1)),
        Lab(5, 1, lambda x: np.tanh(x.sum(axis=1, keepdims=True)), max_rows=1),
    ],
    ids=["dead", "exact", "turns round", "saturates", "one output, one row a call"],
)
def test_odd_devices_have_figures_and_a_device_file(device):
    found = calibrate(device, 400)
    json.dumps(found.as_dict(), allow_nan=False)
    text = toml_text(found.device_table({"device": "linear-instrument"}))
    assert tomllib.loads(text)["wrap"][-1]["name"] == "calibrated"
    assert figure_lines(found.figures)


@pytest.mark.slow
@pytest.mark.parametrize("function", [lambda x: 0 * x, lambda x: 2 * x + 1, lambda x: x[:, ::-1]])
def test_odd_devices_have_a_report(function, tmp_path):
    from hwloop.calibration.report import write_report

    for noise in (0.0, 0.01):
        found = calibrate(Lab(2, 2, function, noise), 300)
        assert write_report(found, "", tmp_path / "r.html").stat().st_size > 1e5


def test_a_saturated_range_is_narrowed():
    found = calibrate(Lab(2, 2, lambda x: np.clip(x, -0.5, 2.0)), 2000)
    assert np.allclose(found.recommended.input_low, -0.5, atol=0.13)
    assert np.allclose(found.recommended.input_high, 1.0)


def test_the_settling_sweep_finds_time_constant_and_floor():
    quiet = {"noise": 1e-4, "time_constant": 5e-4, "memory": 0.03}
    sweep = sweep_settling(
        lambda seconds: LinearInstrument(hold_seconds=seconds, **quiet, **STILL),
        "hold_seconds",
        [5e-4, 1e-3, 2e-3, 4e-3],
    )
    assert sweep.time_constant.value == pytest.approx(5e-4, rel=0.02)
    assert sweep.floor.value == pytest.approx(0.03, abs=2e-3)
    assert sweep.recommended == 4e-3


@pytest.mark.slow
def test_the_command_writes_a_device_that_answers_rightly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rig.toml").write_text(
        toml_text({"device": "linear-instrument", "settings": {"seed": 5, **STILL}})
    )
    done = hwloop_command("rig.toml", "-o", "new.toml", "--report", "report", "--json", "--set", "n_channels=3")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == 5004
    assert json.loads((tmp_path / "new.json").read_text())["figures"].keys() == found["figures"].keys()
    assert (tmp_path / "report" / "report.html").stat().st_size > 1e5
    assert {path.stem for path in (tmp_path / "report" / "plots").iterdir()} >= {
        "transfer",
        "noise",
        "drift",
        "pace",
    }
    assert "forecast: 5,004 rows" in done.stderr
    device = open_device("new.toml")
    stimuli = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    raw = open_device("rig.toml", n_channels=3)
    off = np.sqrt(np.mean(np.square(raw.measure(stimuli) - stimuli)))
    corrected = np.sqrt(np.mean(np.square(device.measure(stimuli) - stimuli)))
    assert corrected < 0.1 * off  # what is left is noise and cross-talk
    with pytest.raises(LimitError):
        device.measure([[1.5, 0, 0]])


@pytest.mark.slow
def test_a_calibrated_device_is_calibrated_again_to_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hwloop_command("linear-instrument", "-o", "a.toml", "--budget", 3000).exit_code == 0
    again = calibrate(open_device("a.toml"), 2000)
    assert np.allclose(again.figures["gain"].value, 1.0, atol=0.01)
    assert (again.figures["inl_max"].value < 0.003).all()
    assert (np.abs(again.figures["memory"].value) < 0.005).all()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.toml"], 2, "no such file"),
        (["linear-instrumen"], 2, "did you mean 'linear-instrument'"),
        (["linear-instrument", "--budget", "50"], 2, "at least 181 rows"),
        (["linear-instrument", "-o", "new.txt"], 2, "TOML file"),
        (["linear-instrument", "-o", "nowhere/new.toml"], 2, "no folder"),
        (["linear-instrument", "--set", "gainn=2"], 2, "did you mean 'gain'"),
        (["linear-instrument", "--settling", "hold_seconds=1e-3"], 2, "two different times"),
        (["linear-instrument", "--settling", "hold_seconds", "--budget", "800"], 2, "--budget 901"),
        (["optical-fibre", "--settling", "auto"], 2, "settling_setting"),
    ],
)
def test_a_mistake_is_one_line_before_any_row(arguments, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = hwloop_command(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
