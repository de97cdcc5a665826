"""A new run on the same device takes the rows of an earlier one, and stands on its own afterwards."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest

import hwloop
from hwloop.experiment.config import load_experiment
from hwloop.experiment.runner import replay_experiment, resume_experiment, run_experiment
from hwloop.experiments.datasets import split
from hwloop.journal import InMemoryJournal, ReadOnlyJournal, Record
from hwloop.session.same_device import settings_hash

pytestmark = pytest.mark.usefixtures("unpainted_figures")

EXPERIMENT = """
name = "again"
dataset = "digits"
seeds = [0]
[device]
name = "optical-fibre"
[device.settings]
n_outputs = 40
[trainer]
name = "local"
[trainer.settings]
epochs = 1
min_steps = 20
[network]
width = 12
[evidence]
floors = false
"""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    base = tmp_path_factory.mktemp("earlier")
    (base / "again.toml").write_text(EXPERIMENT)
    return base, run_experiment(load_experiment(base / "again.toml"), split, out=base / "first")


def reusing(earlier, out, *settings):
    base, _ = earlier
    config = load_experiment(base / "again.toml", [f'reuse.runs=["{base / "first"}"]', *settings])
    return run_experiment(config, split, out=out)


def rows_in(folder):
    return sum(ReadOnlyJournal(path).rows for path in (folder / "journal").iterdir())


def test_the_same_run_again_measures_nothing_and_ends_the_same(earlier, tmp_path):
    first = earlier[1]
    again = reusing(earlier, tmp_path / "again")
    assert sum(again.rows.values()) == 0
    assert again.reused == {**first.rows, "calibrate": 0}
    assert again.rows_per_train_sample == first.rows_per_train_sample  # a row costs what it costs
    np.testing.assert_array_equal(again.details["confusion"], first.details["confusion"])
    assert (tmp_path / "again/checkpoints/final.safetensors").read_bytes() == (
        earlier[0] / "first/checkpoints/final.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_another_width_measures_only_its_second_stage(earlier, tmp_path):
    again = reusing(earlier, tmp_path / "wider", "network.width=14")
    samples = again.seeds[0].n_train
    assert again.rows["train"] == samples
    assert again.reused["train"] == samples
    assert again.rows_per_train_sample == 2.0


@pytest.mark.slow
def test_a_run_that_reused_rows_replays_and_resumes_without_the_earlier_one(earlier, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(earlier[0] / "first", moved)
    config = load_experiment(earlier[0] / "again.toml", [f'reuse.runs=["{moved}"]', "network.width=14"])
    folder = tmp_path / "wider"
    run_experiment(config, split, out=folder)
    shutil.rmtree(moved)
    assert replay_experiment(folder, split).differences == ()
    before, rows = (folder / "checkpoints/final.safetensors").read_bytes(), rows_in(folder)
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"state": "interrupted"}))
    resume_experiment(folder, split)
    assert (folder / "checkpoints/final.safetensors").read_bytes() == before
    assert rows_in(folder) == rows


def test_another_device_reuses_nothing(earlier, tmp_path):
    again = reusing(earlier, tmp_path / "other", "device.settings.read_noise=0.02")
    assert sum(again.reused.values()) == 0
    assert again.rows_per_train_sample == 2.0


def test_rows_that_are_too_old_are_refused_in_words(earlier, tmp_path):
    time.sleep(0.01)
    with pytest.raises(hwloop.ConfigError, match=r"no rows younger than 0\.001 s to reuse"):
        reusing(earlier, tmp_path / "late", "reuse.max_age_seconds=0.001")


def test_a_missing_run_is_one_clear_error(earlier, tmp_path):
    config = load_experiment(earlier[0] / "again.toml", ['reuse.runs=["nowhere"]'])
    with pytest.raises(hwloop.ConfigError, match="nowhere does not exist"):
        run_experiment(config, split, out=tmp_path / "run")


class Doubling(hwloop.Device):
    spec = hwloop.DeviceSpec(2, 2, deterministic=True)

    def identify(self):
        return "doubling no. 7"

    def _measure(self, inputs):
        return 2 * inputs


@pytest.mark.parametrize("purpose", ["calibrate", "reference", "repeat"])
def test_what_is_measured_for_its_own_sake_is_never_reused(purpose):
    device = Doubling()
    stimuli = np.array([[0.25, 0.5]])
    journal = InMemoryJournal()
    settings = settings_hash(device.identify(), device.spec)
    journal.append(Record("train", settings, 0, time.time(), 0.0, stimuli, 7 * stimuli))  # tells the two apart
    session = hwloop.Session(device, earlier=journal)
    np.testing.assert_array_equal(session.measure(stimuli), 7 * stimuli)
    np.testing.assert_array_equal(session.measure(stimuli, purpose), 2 * stimuli)
    np.testing.assert_array_equal(session.measure(stimuli, fresh=True), 2 * stimuli)
    assert session.ledger.total == 2
    assert session.ledger.reused["train"] == 1
