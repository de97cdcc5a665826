"""Runs on a device that drifts: what each policy does, in the folder, in the report and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import hwloop
from hwloop.cli.app import app
from hwloop.errors import DeviceDrifted
from hwloop.experiment.config import ReuseConfig, load_experiment
from hwloop.experiment.rigs import take_earlier_rows
from hwloop.experiment.runner import replay_experiment, resume_experiment, run_experiment
from hwloop.experiments.datasets import split
from hwloop.journal import ReadOnlyJournal
from hwloop.runs.layout import REUSED, read_state

pytestmark = pytest.mark.usefixtures("unpainted_figures")

DEVICE = """
device = "optical-fibre"
[settings]
n_outputs = 80
[[wrap]]
name = "drifting"
gain_per_row = {rate}
offset_per_row = {rate}
"""
EXPERIMENT = """
name = "drift"
dataset = "digits"
trainer = "readout"
[device]
name = "device.toml"
[network]
stages = 1
width = 20
[evidence]
floors = false
"""
ROWS = 1347 + 450


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "device.toml").write_text(DEVICE.format(rate=1e-4))
    (tmp_path / "drift.toml").write_text(EXPERIMENT)

    def configured(**reference):
        return load_experiment(tmp_path / "drift.toml", [f"reference.{k}={v}" for k, v in reference.items()])

    return configured


def events(folder, name):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


@pytest.mark.filterwarnings("ignore:.*has drifted")
def test_the_drift_is_in_the_folder_and_the_report_and_replays(tmp_path, experiment):
    for policy in ("warn", "restandardise"):
        folder = tmp_path / policy
        config = experiment(every_rows=100, on_drift=policy)
        evidence = run_experiment(config, split, out=folder)
        curve = evidence.seeds[0].drift[0]
        assert curve[-1].gain == pytest.approx((1 + 1e-4 * curve[-1].row) / (1 + 1e-4 * 16), abs=0.02)
        assert [event["drift"] for event in events(folder, "ReferenceMeasured")] == [p.drift for p in curve]
        assert evidence.rows["train"] + evidence.rows["evaluate"] == ROWS
        html = (folder / "report.html").read_text()
        assert "<h2>Drift</h2>" in html
        assert "common gain of 1.1" in html or "common gain of 1.2" in html
        assert replay_experiment(folder, split).differences == ()


class MovesLater(hwloop.DeviceWrapper):
    """A fibre that begins to move when something in the room changes: no setting of it says when."""

    rests = True

    def __init__(self, device):
        super().__init__(device)
        self._measured = 0

    def _measure(self, inputs):
        rows = (0 if self.rests else 1) * (self._measured + np.arange(len(inputs))[:, np.newaxis])
        self._measured += len(inputs)
        return self.device.measure(inputs) * (1 + 1e-4 * rows) + 2e-4 * rows


@pytest.mark.filterwarnings("ignore:.*has drifted")
def test_a_trained_network_stays_accurate_on_a_drifting_device_that_is_restandardised():
    X, y = load_digits(return_X_y=True)
    accuracy = {}
    for policy in ("warn", "restandardise"):
        device = MovesLater(hwloop.open_device("optical-fibre", n_inputs=71, n_outputs=80))
        session = hwloop.Session(device, reference=hwloop.Reference(every_rows=50, on_drift=policy))
        network = hwloop.PhysicalNetwork(session, [hwloop.Stage(20)])
        hwloop.trainer("readout").fit(network, X[:1000], y[:1000])
        device.rests = False
        predicted = network.predict(X[1000:1500])
        accuracy[policy] = np.mean(predicted == y[1000:1500])
    assert accuracy["restandardise"] > accuracy["warn"] + 0.1
    assert accuracy["restandardise"] > 0.85


def test_the_forecast_holds_the_reference_rows(tmp_path, experiment):
    (tmp_path / "device.toml").write_text(DEVICE.format(rate=0.0))
    evidence = run_experiment(experiment(every_rows=100), split, out=tmp_path / "run")
    [forecast] = events(tmp_path / "run", "RunForecast")
    assert forecast["rows"] == ROWS + (5 + 17) * 8
    assert sum(evidence.rows.values()) == forecast["rows"]
    assert not any(point.drift for point in evidence.seeds[0].drift[0])


@pytest.mark.slow
def test_a_paused_run_is_interrupted_and_goes_on_where_it_was(tmp_path, experiment):
    folder = tmp_path / "run"
    with pytest.raises(DeviceDrifted):
        run_experiment(experiment(every_rows=500, on_drift="pause"), split, out=folder)
    state = read_state(folder)
    assert state.state == "interrupted"
    assert "has drifted" in state.detail
    text = (folder / "run.toml").read_text()
    (folder / "run.toml").write_text(text.replace('on_drift = "pause"', 'on_drift = "restandardise"'))
    evidence = resume_experiment(folder, split)
    assert evidence.rows["train"] + evidence.rows["evaluate"] == ROWS
    assert replay_experiment(folder, split).differences == ()


def test_rows_measured_after_a_correction_are_not_reused(tmp_path, experiment):
    run_experiment(experiment(every_rows=500, on_drift="restandardise"), split, out=tmp_path / "run")
    journal = ReadOnlyJournal(tmp_path / "run" / "journal" / "seed-0-device-0")
    corrected = next(note.details["row"] for note in journal.notes() if note.kind == "restandardised")
    journal.close()
    take_earlier_rows(tmp_path / "next", ReuseConfig(runs=[str(tmp_path / "run")]))
    reused = ReadOnlyJournal(tmp_path / "next" / REUSED)
    assert 500 < reused.rows == corrected < ROWS
    reused.close()


def test_the_command_line_says_how_to_go_on_and_exits_with_4(tmp_path, experiment):
    experiment()
    folder = str(tmp_path / "run")
    settings = ["--set", "reference.every_rows=300", "--set", "reference.on_drift=pause"]
    done = CliRunner().invoke(app, ["run", str(tmp_path / "drift.toml"), "--out", folder, *settings])
    assert done.exit_code == 4
    assert "paused: " in done.stderr
    assert f"hwloop resume {folder}" in done.stderr


def test_a_run_that_is_not_watched_measures_no_reference_row(tmp_path, experiment):
    evidence = run_experiment(experiment(), split, out=tmp_path / "run")
    assert sum(evidence.rows.values()) == ROWS
    assert evidence.rows["reference"] == 0
    assert "<h2>Drift</h2>" not in (tmp_path / "run" / "report.html").read_text()
    described = json.loads((tmp_path / "run" / "checkpoints" / "final.json").read_text())
    assert [sorted(entry) for entry in described["devices"]] == [["built_as", "description", "stages"]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*has drifted")
def test_the_final_checkpoint_holds_the_fingerprint_of_the_end(tmp_path, experiment):
    evidence = run_experiment(experiment(every_rows=0), split, out=tmp_path / "run")
    described = json.loads((tmp_path / "run" / "checkpoints" / "final.json").read_text())
    [entry] = described["devices"]
    assert entry["stages"] == [0]
    assert entry["fingerprint"]["identity"] == evidence.seeds[0].devices[0]
    assert np.shape(entry["fingerprint"]["responses"]) == (8, 80)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("reference.every_row=5", "did you mean 'every_rows'"),
        ("reference.on_drift=paus", "on_drift"),
        ("reference.limit=0", "limit"),
        ("reference.stimuli=1", "stimuli"),
    ],
)
def test_a_mistake_in_the_table_is_one_clear_line(tmp_path, experiment, setting, message):
    experiment()
    done = CliRunner().invoke(app, ["run", str(tmp_path / "drift.toml"), "--set", setting])
    assert done.exit_code == 2
    assert message in done.stderr
