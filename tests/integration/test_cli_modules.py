"""A module of the user is found in the working folder and beside the TOML file that names it, by every command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import COMMANDS, app
from hwloop.experiment.config import load_experiment
from hwloop.experiment.runner import run_experiment
from hwloop.experiments.datasets import split
from hwloop.runs.layout import RunState

# What each command is given; {rig} is a device, {experiment} a TOML file that names one.
WITH_A_DEVICE = {
    "check": ["check", "{rig}"],
    "calibrate": ["calibrate", "{rig}"],
    "characterise": ["characterise", "{rig}"],
    "serve": ["serve", "{rig}", "--listen", "127.0.0.1:0"],
    "bench": ["bench", "--substrate", "{rig}"],
    "run": ["run", "--set", "device={rig}"],
    "arena": ["arena", "--device", "{rig}", "--dataset", "digits", "--out", "arena"],
    "drift": ["drift", "digits-fibre", "--set", "device={rig}", "--out", "drift"],
}
WITH_AN_EXPERIMENT = {
    "run": ["run", "{experiment}"],
    "arena": ["arena", "{experiment}", "--out", "arena"],
    "drift": ["drift", "{experiment}", "--out", "drift"],
    "frontier": ["frontier", "{experiment}", "--out", "frontier"],
    "tune": ["tune", "{experiment}", "--trials", "1", "--out", "tuned"],
    "resume": ["resume", "{run}"],
    "replay": ["replay", "{run}"],
}
# They are given no device, or what one has written.
WITHOUT = {"list", "info", "note", "runs", "verify", "export", "worker", "predict", "fit"}
LAB = "import hwloop\nraise hwloop.ConfigError('found beside')\n"
EXPERIMENT = """
device = "relu-layer"
trainer = "readout"
dataset = "{module}:data"
"""


def test_every_command_is_tried():
    assert set(COMMANDS) <= WITHOUT | set(WITH_A_DEVICE) | set(WITH_AN_EXPERIMENT)


def ended(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output + result.stderr
    return result.stderr


def module(folder, name="lab_of_mine"):
    (folder / f"{name}.py").write_text(LAB)
    return name


@pytest.mark.parametrize("command", WITH_A_DEVICE)
@pytest.mark.parametrize("place", ["working folder", "beside the file"])
def test_a_device_is_found(tmp_path, monkeypatch, command, place):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if place == "working folder":
        rig = f"{module(tmp_path / 'here')}:Rig"
    else:
        rig = "../rig.toml"
        (tmp_path / "rig.toml").write_text(f'device = "{module(tmp_path)}:Rig"\n')
    assert "found beside" in ended([each.format(rig=rig) for each in WITH_A_DEVICE[command]])


@pytest.mark.parametrize("command", WITH_AN_EXPERIMENT)
@pytest.mark.parametrize("place", ["working folder", "beside the file"])
def test_what_an_experiment_names_is_found(tmp_path, monkeypatch, command, place):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    name = module(tmp_path / "here" if place == "working folder" else tmp_path)
    (tmp_path / "mine.toml").write_text(EXPERIMENT.format(module=name))
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.toml").write_text(EXPERIMENT.format(module=name) + f'run = {{module_folders = ["{tmp_path}"]}}\n')
    if command == "replay":
        RunState.now("interrupted", "x", "x").write(run)
    given = {"experiment": tmp_path / "mine.toml", "run": run}
    assert "found beside" in ended([each.format(**given) for each in WITH_AN_EXPERIMENT[command]])


@pytest.mark.slow
def test_datasets_and_trainers_are_found_beside_an_experiment_and_from_another_folder_again(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "parts_of_mine.py").write_text(
        "import numpy as np\nimport hwloop\n"
        "def data():\n    return np.arange(60.0).reshape(20, 3) % 7, np.arange(20) % 2\n"
        "def train(seed=0):\n    return hwloop.trainer('readout', seed=seed)\n"
    )
    (tmp_path / "mine.toml").write_text(
        'dataset = "parts_of_mine:data"\ntrainer = "parts_of_mine:train"\ndevice = "relu-layer"\n'
        "network = {stages = 1, width = 4}\nevidence = {floors = false}\n"
    )
    config = load_experiment(tmp_path / "mine.toml")
    assert config.run.module_folders == [str(tmp_path)]
    run_experiment(config, split, out=tmp_path / "run")
    program = "from hwloop.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p and p != str(tmp_path))}
    done = subprocess.run(
        [sys.executable, "-c", program, "replay", str(tmp_path / "run")],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "identical to the last bit" in done.stdout, done.stderr


def test_a_module_that_is_called_like_an_installed_one_is_found_and_stands_in_no_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module(tmp_path, "xdrlib")  # of the standard library
    module(tmp_path, "zoneinfo")
    assert "found beside" in ended(["check", "xdrlib:Rig"])
    import zoneinfo

    assert zoneinfo.__file__ != str(tmp_path / "zoneinfo.py")
