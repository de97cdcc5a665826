"""A run's folder says by itself with what it was measured, and a device file that was edited since is noticed."""

from __future__ import annotations

import json
import shutil
import tomllib

import pytest

import hwloop
from hwloop.device import DeviceDescription
from hwloop.experiment.config import load_experiment
from hwloop.experiment.runner import replay_experiment, resume_experiment, run_experiment
from hwloop.experiments.datasets import split
from hwloop.journal import ReadOnlyJournal

pytestmark = pytest.mark.usefixtures("unpainted_figures")

EXPERIMENT = """
name = "filed"
dataset = "digits"
seeds = 2
device = "rig.toml"
[trainer]
name = "local"
[trainer.settings]
epochs = 1
min_steps = 5
[network]
stages = 1
width = 12
[evidence]
floors = false
"""
RIG = """
device = "optical-fibre"
[settings]
n_inputs = 65
n_outputs = 12
read_noise = 0.01
[[wrap]]
name = "retrying"
retries = {retries}
[[wrap]]
name = "calibrated"
correction = {{ gain = [{gain}{ones}], kind = "affine", offset = [{zeros}] }}
"""


def rig(folder, gain=1.0, retries=3):
    text = RIG.format(gain=gain, retries=retries, ones=", 1.0" * 11, zeros=", ".join(["0.0"] * 12))
    (folder / "rig.toml").write_text(text)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    base = tmp_path_factory.mktemp("filed")
    (base / "filed.toml").write_text(EXPERIMENT)
    rig(base)
    run_experiment(load_experiment(base / "filed.toml"), split, out=base / "run")
    return base


@pytest.fixture
def filed(original):
    yield original
    rig(original)


def test_a_runs_folder_says_with_what_each_seed_was_measured(filed):
    table = tomllib.loads((filed / "run" / "run.toml").read_text())["measured_with"]
    assert [(entry["seed"], entry["device"]) for entry in table] == [(0, 0), (1, 0)]
    stored = DeviceDescription.from_dict(table[1]["description"])
    here = hwloop.open_device(filed / "rig.toml", seed=1)
    assert stored == here.describe()
    assert stored.layers() == ["Calibrated", "Retrying", "OpticalFibre"]
    assert stored != hwloop.open_device(filed / "rig.toml").describe()


def test_its_file_is_an_experiment_that_repeats_it(filed, tmp_path):
    again = run_experiment(load_experiment(filed / "run" / "run.toml"), split, out=tmp_path / "again")
    for name in ("run.toml", "checkpoints/final.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (filed / "run" / name).read_bytes()
    assert again.seeds[0].devices
    assert replay_experiment(tmp_path / "again", split).differences == ()


def test_a_device_file_that_was_edited_since_is_named_with_its_key_before_the_first_row(filed, tmp_path):
    rig(filed, gain=2.0)
    with pytest.raises(hwloop.ConfigError, match=r"rig\.toml.*Calibrated\.correction\.gain: \[1, 1.*not \[2, 1"):
        run_experiment(load_experiment(filed / "run" / "run.toml"), split, out=tmp_path / "again")
    assert not (tmp_path / "again").exists()  # no folder of a run that cannot be gone on with


@pytest.mark.slow
def test_what_changes_no_answer_may_be_edited(filed, tmp_path):
    rig(filed, retries=5)
    run_experiment(load_experiment(filed / "run" / "run.toml", ["seeds=[0]"]), split, out=tmp_path / "again")


@pytest.mark.slow
def test_another_device_may_be_asked_for(filed, tmp_path):
    rig(filed, gain=2.0)
    config = load_experiment(filed / "run" / "run.toml", ["seeds=[0]", f'device="{filed / "rig.toml"}"'])
    run_experiment(config, split, out=tmp_path / "other")


def interrupted_after_one_seed(run):
    """Make it what it is when it was killed before its second seed."""
    state = json.loads((run / "state.json").read_text())
    (run / "state.json").write_text(json.dumps(state | {"state": "interrupted"}))
    text = (run / "run.toml").read_text().split("[[measured_with]]")
    (run / "run.toml").write_text("[[measured_with]]".join(text[:2]))
    shutil.rmtree(run / "journal" / "seed-1-device-0")
    for file in (*(run / "checkpoints").glob("*seed-1*"), *(run / "finished").glob("seed-1*")):
        file.unlink()


def test_resume_names_the_file_and_the_key(filed, tmp_path):
    run = tmp_path / "run"
    run_experiment(load_experiment(filed / "filed.toml"), split, out=run)
    interrupted_after_one_seed(run)
    rig(filed, gain=2.0)
    with pytest.raises(hwloop.HwloopError, match=r"rig\.toml.*Calibrated\.correction\.gain"):
        resume_experiment(run, split)
    second = run / "journal" / "seed-1-device-0"
    assert not second.is_dir() or ReadOnlyJournal(second).rows == 0


@pytest.mark.slow
def test_a_seed_that_was_not_measured_yet_is_compared_with_the_others(filed, tmp_path):
    config = load_experiment(filed / "run" / "run.toml", ["seeds=[7]"])
    run_experiment(config, split, out=tmp_path / "seed")
    rig(filed, gain=2.0)
    with pytest.raises(hwloop.ConfigError, match=r"Calibrated\.correction\.gain"):
        run_experiment(config, split, out=tmp_path / "edited")


def test_reuse_names_the_key(filed, tmp_path):
    rig(filed, gain=2.0)
    heard = []
    config = load_experiment(filed / "filed.toml", [f'reuse.runs=["{filed / "run"}"]', "seeds=[0]"])
    evidence = run_experiment(config, split, out=tmp_path / "next", listeners=[heard.append])
    assert sum(evidence.reused.values()) == 0
    different = [event.different for event in heard if type(event).__name__ == "EarlierRowsFound"]
    assert "Calibrated.correction.gain" in different[0]
