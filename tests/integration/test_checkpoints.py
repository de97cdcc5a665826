"""What a run leaves of its training, and that a run which goes on must agree with it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

import hwloop
from hwloop.experiment.config import load_experiment
from hwloop.experiment.events import CheckpointSaved
from hwloop.experiment.runner import resume_experiment, run_experiment
from hwloop.experiments.datasets import split
from hwloop.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("unpainted_figures")

EXPERIMENT = """
name = "kept"
dataset = "digits"
seeds = 2
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
stages = 3
[evidence]
floors = false
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    base = tmp_path_factory.mktemp("kept")
    (base / "kept.toml").write_text(EXPERIMENT)
    events = []
    folder = base / "run"
    run_experiment(load_experiment(base / "kept.toml"), split, out=folder, listeners=[events.append])
    return folder, [event for event in events if isinstance(event, CheckpointSaved)]


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run", finished[1]


def make_unfinished(folder):
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"state": "interrupted"}))


def test_every_stage_is_saved_and_the_last_two_are_kept(run):
    folder, saved = run
    assert [(event.seed, event.after) for event in saved] == [
        (seed, f"stage-{stage}") for seed in (0, 1) for stage in (1, 2, 3)
    ]
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == sorted(
        name + ending
        for name in ("final", "final-seed-0", "final-seed-1", "seed-1-stage-2", "seed-1-stage-3")
        for ending in (".json", ".safetensors")
    )
    described = json.loads((folder / "checkpoints" / "seed-1-stage-2.json").read_text())
    assert (described["training"]["stage"], described["training"]["epoch"]) == (2, None)


def test_a_stage_checkpoint_opens_as_a_network(run):
    folder, _ = run
    device = hwloop.open_device("optical-fibre", n_inputs=spec_inputs(folder), n_outputs=40, seed=1)
    early, final = (
        hwloop.load_network(folder / "checkpoints" / f"{name}.safetensors", hwloop.Session(device))
        for name in ("seed-1-stage-2", "final")
    )
    for number in (0, 1):
        assert torch.equal(early.stages[number].linear.weight, final.stages[number].linear.weight)
    with pytest.raises(hwloop.ConfigError, match="no readout"):
        early.predict(np.zeros((1, 64)))


def spec_inputs(folder):
    from hwloop.journal import ReadOnlyJournal

    notes = ReadOnlyJournal(folder / "journal" / "seed-1-device-0").notes()
    return next(note.details["spec"]["n_inputs"] for note in notes if note.kind == "device")


def test_a_run_that_goes_on_agrees_with_its_checkpoints(run):
    folder, _ = run
    before = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    make_unfinished(folder)
    resume_experiment(folder, split, from_start=True)
    assert {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()} == before


@pytest.mark.slow
def test_a_run_that_comes_to_other_weights_is_stopped(run, reseal):
    folder, _ = run
    path = folder / "checkpoints" / "seed-1-stage-2.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("linear.weight"))
    tensors[name][0, 0] += 1e-6
    save_file(tensors, path)
    reseal(path)
    make_unfinished(folder)
    with pytest.raises(hwloop.CheckpointError, match=r"after stage-2 of seed 1.*--reuse"):
        resume_experiment(folder, split, from_start=True)


def test_a_damaged_checkpoint_does_not_stop_a_run_from_going_on(run):
    folder, _ = run
    path = folder / "checkpoints" / "seed-1-stage-3.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    (folder / "finished" / "seed-1.json").unlink()
    make_unfinished(folder)
    with pytest.warns(hwloop.HwloopWarning, match=r"seed-1-stage-3.*was set aside"):
        resume_experiment(folder, split)
    assert path.read_bytes() == whole


def test_an_online_fit_keeps_random_state_and_optimisers(tmp_path):
    X, y = load_digits(return_X_y=True)
    device = hwloop.open_device("optical-fibre", n_inputs=80, n_outputs=20)
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [hwloop.Stage(8), hwloop.Stage(8)])
    trainer = hwloop.trainer("phyll", schedule="online", epochs=2)
    states: list[TrainingState] = []

    def keep(state):
        states.append(state)
        hwloop.save_network(network, tmp_path / f"{state.name}.safetensors", training=state)

    trainer.fit(network, X[:60], y[:60], checkpoint=keep)
    assert [state.name for state in states] == ["epoch-1", "epoch-2"]
    first, second = (load_file(tmp_path / f"epoch-{epoch}.safetensors") for epoch in (1, 2))
    for tensors in (first, second):
        assert tensors["training.rng"].dtype == torch.uint8
        for stage in (0, 1):
            assert tensors[f"training.optimiser.{stage}.0.exp_avg"].shape == (8, 20)
    assert float(second["training.optimiser.0.0.step"]) == 2 * float(first["training.optimiser.0.0.step"])
    assert not torch.equal(first["training.rng"], second["training.rng"])
