"""A device's passport: rows as planned, figures that are true, resumed, from Python and from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import hwloop
from hwloop.cli.app import app
from hwloop.errors import BudgetExceeded, ConfigError
from hwloop.experiments.time_series import narma10_sequences
from hwloop.journal import InMemoryJournal
from hwloop.passport import characterise, drive_of, plan_passport
from hwloop.registry import DATASETS
from hwloop.simulators.delay.loop import DelayLoop

LOOP = {
    "n_inputs": 120, "sequence_length": 120, "readout": "all", "n_nodes": 12, "laps_per_step": 1, "bias": 0.4,
    "gain": 0.7, "input_scale": 0.5, "node_spacing": 0.5, "read_noise": 0.002,
}  # fmt: skip


class Squares(hwloop.Device):
    """Three inputs, their squares and their sum, with noise, and a drift that can be switched on."""

    def __init__(self, drift: float = 0.0):
        self.spec = hwloop.DeviceSpec(3, 4, input_low=-1.0)
        self._drift, self._rows = drift, 0
        self._rng = np.random.default_rng(0)

    def _measure(self, inputs):
        found = np.hstack([inputs**2, inputs.sum(axis=1, keepdims=True)])
        moved = self._drift * np.arange(self._rows, self._rows + len(inputs))[:, None]
        self._rows += len(inputs)
        return found + moved + 0.01 * self._rng.standard_normal(found.shape)


def test_the_figures_of_a_device_that_is_known():
    device = Squares()
    drive = drive_of(device, reference_slots=0)
    found = characterise(device, 1500, drive=drive, degrees=3)
    by_degree = found.capacity.by_degree.value
    np.testing.assert_allclose(by_degree, [1, 3, 0], atol=0.1)
    assert found.figures["kernel_rank"].value == 4
    # Below 5 % of the range the squares move by less than their noise shows, but the sum.
    assert found.figures["generalisation_rank"].value < 5
    assert found.figures["consistency"].value > 0.99
    assert 0.01 < found.figures["noise_share"].value < 0.05
    assert found.figures["drift"].low == 0
    assert found.plan.rows <= 1500
    assert not found.remembers
    assert found.warnings == []


def test_a_drift_is_seen():
    device = Squares(drift=1e-4)
    found = characterise(device, 1500, drive=drive_of(device, reference_slots=0), degrees=2)
    assert found.figures["drift"].low > 0.02


def test_a_loop_is_driven_in_steps_and_a_task_is_predicted():
    found = characterise(DelayLoop(**LOOP), 60, degrees=2, delays=8, tasks=[narma10_sequences(6, 200, seed=3)])
    assert found.driven == "a row is 120 steps of 1 channels, read after every step"
    assert found.capacity.linear.value[0] > 0.9
    assert found.figures["memory"].value > 1.5
    (forecast,) = found.forecasts
    assert forecast.score == "NMSE"
    assert 0.1 < float(forecast.value.value) < 1
    assert "NRMSE" in forecast.shown
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_stream_is_driven_row_after_row():
    settings = {key: value for key, value in LOOP.items() if key not in ("n_inputs", "sequence_length", "readout")}
    loop = DelayLoop(n_inputs=1, streams=True, **settings)
    found = characterise(loop, 3000, degrees=1, delays=5)
    assert found.driven.startswith("a row a step of 250 a sequence, each begun by a reset, 1 channels")
    assert found.plan.rows % 250 == 0
    assert found.plan.rows <= 3000
    # As of the same loop driven within a row.
    within = characterise(DelayLoop(**LOOP), 60, degrees=1, delays=5)
    np.testing.assert_allclose(found.capacity.linear.value, within.capacity.linear.value, atol=0.15)


def test_rows_of_other_tasks_are_measured_and_counted():
    device = hwloop.open_device("optical-fibre", n_inputs=70, n_outputs=30)
    found = characterise(device, 700, degrees=1, tasks=[DATASETS.build("digits")])
    (forecast,) = found.forecasts
    assert found.plan.task_rows == 175
    assert 60 < float(forecast.value.value) < 100
    assert 0 < forecast.alignment < 1


def test_a_stopped_one_goes_on_where_it_was(monkeypatch):
    whole = characterise(DelayLoop(**LOOP), 30, degrees=1, delays=4)
    journal, calls, answers = InMemoryJournal(), [], DelayLoop._measure

    def breaks(self, inputs):
        calls.append(len(inputs))
        if len(calls) > 2:
            raise hwloop.DeviceError("the laser is off")
        return answers(self, inputs)

    with monkeypatch.context() as patched:
        patched.setattr(DelayLoop, "_measure", breaks)
        with pytest.raises(hwloop.DeviceError, match="the laser is off"):
            characterise(DelayLoop(**LOOP), 30, degrees=1, delays=4, journal=journal)
    assert 0 < journal.rows < whole.plan.rows
    recorded = journal.rows
    again = characterise(DelayLoop(**LOOP), 30, degrees=1, delays=4, journal=journal)
    assert again.interrupted_at == recorded
    assert again.as_dict() | {"interrupted_at": 0, "warnings": []} == whole.as_dict() | {"warnings": []}
    assert journal.rows == whole.plan.rows


def test_what_cannot_be_is_refused_before_a_row():
    loop, fibre = DelayLoop(**LOOP), hwloop.open_device("optical-fibre", n_inputs=70, n_outputs=40)
    with pytest.raises(
        BudgetExceeded, match=r"needs at least \d+ rows, but the budget is 3; nothing was measured"
    ):
        plan_passport(drive_of(loop), 3)
    with pytest.raises(ConfigError, match="narma10 is a series, and this device is driven without memory"):
        characterise(fibre, tasks=[narma10_sequences(4, 100)])
    with pytest.raises(ConfigError, match="the device's 120 inputs are no 7 steps"):
        drive_of(loop, steps=7)
    with pytest.raises(ConfigError, match="give one of the two"):
        drive_of(fibre, steps=2, feedback=4)


@pytest.mark.slow
def test_the_command_writes_a_page_and_keeps_its_rows(tmp_path):
    settings = [word for key, value in LOOP.items() for word in ("--set", f"{key}={value}")]
    words = ["characterise", "delay-loop", "-o", str(tmp_path / "p.html"), "--budget", "30", "--degrees", "2",
             "--delays", "4", "--json", *settings]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["rows"] <= 30
    assert said["figures"]["memory"]["value"] > 1
    assert json.loads((tmp_path / "p.json").read_text())["capacity"] == said["capacity"]
    page = (tmp_path / "p.html").read_text()
    assert "Passport" in page
    assert "data:image/png" in page
    assert (tmp_path / "p.rows" / "journal").is_dir()
    assert "forecast" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optical-fibre", "-o", "p.txt"], "give a name such as p.html"),
        (["optical-fibre", "-o", "nowhere/p.html"], "there is no folder nowhere"),
        (["optical-fibre", "--task", "digit"], "did you mean 'digits'"),
        (["optical-fibre", "--task", "digits", "--task", "digits"], "given twice"),
        (["optical-fibre", "--task", "narma10"], "is a series"),
        (["optical-fibre", "--feedback", "5000"], "feedback_channels must be"),
        (["optical-fibre", "--budget", "10"], "nothing was measured"),
    ],
)
def test_a_wrong_request_is_one_line(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["characterise", *words])
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
