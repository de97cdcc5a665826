"""A run that goes on from what it has finished ends like one that was never stopped, and like one run again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import hwloop
from hwloop.events import EpochFinished, StageFinished
from hwloop.experiment import digital, runner
from hwloop.experiment.conclusion import COMPARED, concluded, recorded_results
from hwloop.experiment.config import load_experiment
from hwloop.experiment.events import CheckpointSaved, MethodScored, SeedStarted, SeedTakenUp
from hwloop.experiment.runner import replay_experiment, resume_experiment, run_experiment
from hwloop.experiments.datasets import split
from hwloop.journal import ReadOnlyJournal
from hwloop.tasks import classification

pytestmark = pytest.mark.usefixtures("unpainted_figures")

EXPERIMENT = """
name = "kept"
dataset = "few_digits:few_digits"
seeds = 2
trainer = {{ name = "{trainer}", settings = {{ {settings} }} }}
[device]
name = "optical-fibre"
settings = {{ n_outputs = 30 }}
[network]
width = 12
[split]
validation = 0.2
[evidence]
response_rows = 9
[reference]
every_rows = 60
"""
FEW_DIGITS = """
from sklearn.datasets import load_digits
from hwloop.experiments.dataset import Dataset

def few_digits():
    X, y = load_digits(n_class=3, return_X_y=True)
    return Dataset("few digits", X[:90], y[:90], ("0", "1", "2"))
"""
STRANGER = """
import hwloop
from hwloop.training.schedules.stage_by_stage import StageByStage
from hwloop.training.objectives.class_scores import LocalHeads
from hwloop.training.optimiser import AdamSettings
from hwloop.training.plans import PlainRows
from hwloop.training.readouts import HeadSumBuilder
from hwloop.training.rules import GradientRule

class Heads(LocalHeads):
    resumable = False  # as the base class has it

def strange(seed=0):
    rule = GradientRule(Heads(), AdamSettings(epochs=1, min_steps=15))
    return hwloop.Trainer(PlainRows(), StageByStage(rule), HeadSumBuilder, seed)
"""


class PowerCut(BaseException):
    """Ends a run from inside."""


@pytest.fixture(scope="module", autouse=True)
def small_references():
    """Digital network and linear floor in a hundredth of their steps."""
    with pytest.MonkeyPatch.context() as patch:
        small = replace(digital.STRONG, epochs=1, min_steps=12)
        patch.setattr(digital, "CANDIDATES", (small,))
        patch.setattr(classification, "INVERSE_STRENGTHS", (0.03,))
        yield


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "few_digits.py").write_text(FEW_DIGITS)
    (tmp_path / "stranger.py").write_text(STRANGER)
    return tmp_path


def experiment(lab, trainer="local", settings="epochs = 1, min_steps = 15"):
    (lab / "kept.toml").write_text(EXPERIMENT.format(trainer=trainer, settings=settings))
    return load_experiment(lab / "kept.toml")


def cut_at(folder, config, kind, times):
    """Run until the event of a kind has come so many times."""
    seen = 0

    def listener(event):
        nonlocal seen
        seen += isinstance(event, kind)
        if seen == times:
            raise PowerCut

    with pytest.raises(PowerCut):
        run_experiment(config, split, out=folder, listeners=[listener])


def outcome(folder):
    """All that must be the same to the last bit."""
    results = recorded_results(folder)
    kept = {seed: {name: result.get(name) for name in COMPARED} for seed, result in results.items()}
    rows = {}
    for path in sorted(folder.glob("journal/*")):
        journal = ReadOnlyJournal(path)
        rows[path.name] = [array.tobytes() for array in journal.read_rows(np.arange(journal.rows))]
        journal.close()
    return kept, rows, (folder / "checkpoints" / "final.safetensors").read_bytes()


def numbers(evidence):
    """What does not depend on when, and how often, a run was taken up."""
    of_time = ("wall_seconds", "run_dir", "duty_cycle", "began", "ended", "resumed")
    return {key: value for key, value in evidence.as_json().items() if key not in of_time}


def make_unfinished(folder):
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"state": "interrupted"}))


def never(*_, **__):
    raise AssertionError("what is finished was computed again")


CUTS = {
    "after-a-stage": (CheckpointSaved, 3),
    "within-a-stage": (EpochFinished, 50),
    "after-the-test": (MethodScored, 10),
    "after-the-first-floor": (MethodScored, 11),
    "before-the-last-floor": (MethodScored, 17),
    "between-seeds": (SeedStarted, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_every_cut_ends_the_same_as_no_cut_and_as_executing_again(lab, cut_run, cut):
    config, folder, again = experiment(lab), lab / "cut", lab / "again"
    cut_at(folder, config, *CUTS[cut])
    shutil.copytree(folder, again)
    events = []
    resumed = resume_experiment(folder, split, [events.append])
    executed = resume_experiment(again, split, from_start=True)
    assert outcome(folder) == outcome(again) == cut_run[1]
    assert numbers(resumed) == numbers(executed)
    assert sum(isinstance(event, SeedTakenUp) for event in events) == 1
    if cut == "after-a-stage":
        assert not [event for event in events if isinstance(event, EpochFinished) and event.stage == 0]
    assert replay_experiment(folder, split, with_references=True).differences == ()


@pytest.mark.slow
def test_floors_that_are_finished_are_not_computed_again(lab, monkeypatch):
    config = experiment(lab)
    cut_at(lab / "run", config, MethodScored, 17)  # all but the last floor of the second seed
    for name in ("RidgeReadoutFloor", "LinearFloor", "NullPhysics"):
        monkeypatch.setattr(f"hwloop.experiment.floors.{name}.score", never)
    evidence = resume_experiment(lab / "run", split)
    assert evidence.score("backprop") is not None


def test_a_run_whose_seeds_are_finished_needs_neither_device_nor_training(lab, monkeypatch):
    config = experiment(lab)
    first = run_experiment(config, split, out=lab / "run")
    make_unfinished(lab / "run")
    (lab / "run" / "report.html").unlink()
    monkeypatch.setattr(runner, "_Run", never)
    again = resume_experiment(lab / "run", split)
    assert numbers(again) == numbers(first)
    assert "few_digits" in (lab / "run" / "report.html").read_text()
    environment = json.loads((lab / "run" / "environment.json").read_text())
    assert len(environment["devices"]) == 2
    with pytest.raises(hwloop.ConfigError, match="is finished"):
        concluded(lab / "run")


@pytest.mark.slow
def test_replay_computes_floors_only_when_asked(lab, monkeypatch):
    run_experiment(experiment(lab), split, out=lab / "run")
    asked = replay_experiment(lab / "run", split, with_references=True)
    assert asked.differences == ()
    assert asked.evidence.score("backprop") is not None
    monkeypatch.setattr("hwloop.experiment.seed_run.SeedRun._reference", never)
    replay = replay_experiment(lab / "run", split)
    assert replay.differences == ()
    assert replay.evidence.as_json().keys() == asked.evidence.as_json().keys()
    assert replay.evidence.as_json()["ceiling"]["backprop"] is None


def edit(path, change):
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


def other_torch(described):
    described["details"]["made_with"]["torch"] = "0.9"


def of_more_rows(described):
    described["training"]["places"][0]["rows"] = 10**6


def of_another_device(described):
    described["training"]["places"][0]["settings"] = "0123456789abcdef"


def of_an_earlier_version(described):
    del described["details"]["made_with"]


def without_its_state(described):
    described["training"] = {"stage": 2, "epoch": None}


MISFITS = {
    "another version": (other_torch, "torch 0.9"),
    "more rows than the journal": (of_more_rows, "stands on 1000000 rows"),
    "another device": (of_another_device, "another device"),
    "an earlier version of hwloop": (of_an_earlier_version, "earlier version"),
    "no state": (without_its_state, "does not hold where its fit stood"),
}


@pytest.fixture(scope="module")
def cut_run(tmp_path_factory):
    """A run that was stopped in the floors of its second seed, and how it ends."""
    folder = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        (folder / "few_digits.py").write_text(FEW_DIGITS)
        config = experiment(folder)
        run_experiment(config, split, out=folder / "whole")
        cut_at(folder / "cut", config, MethodScored, 10)
    return folder / "cut", outcome(folder / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("misfit", MISFITS)
def test_a_checkpoint_that_does_not_fit_is_set_aside(lab, cut_run, reseal, misfit):
    shutil.copytree(cut_run[0], lab / "run")
    change, words = MISFITS[misfit]
    newest = lab / "run" / "checkpoints" / "seed-1-stage-2.json"
    edit(newest, change)
    reseal(newest.with_suffix(".safetensors"))
    events = []
    with pytest.warns(hwloop.HwloopWarning, match=rf"seed-1-stage-2.*set aside.*{words}"):
        resume_experiment(lab / "run", split, [events.append])
    assert outcome(lab / "run") == cut_run[1]
    trained = {event.stage for event in events if isinstance(event, EpochFinished)}
    assert trained == {1}  # it went on from the one before
    assert list(newest.parent.glob(f"set-aside-*-{newest.name}"))


@pytest.mark.slow
def test_what_is_finished_and_does_not_fit_is_computed_again(lab, cut_run):
    shutil.copytree(cut_run[0], lab / "run")
    path = lab / "run" / "finished" / "seed-0.json"
    path.write_bytes(path.read_bytes().replace(b'"accuracy": 0.', b'"accuracy": 1.', 1))
    with pytest.warns(hwloop.HwloopWarning, match=r"seed-0\.json was set aside.*damaged"):
        resume_experiment(lab / "run", split)
    assert outcome(lab / "run") == cut_run[1]


@pytest.mark.slow
def test_a_journal_that_lost_rows_is_noticed(lab, cut_run):
    shutil.copytree(cut_run[0], lab / "run")
    chunk = lab / "run" / "journal" / "seed-0-device-0" / "000000.rows"
    chunk.write_bytes(chunk.read_bytes()[:-1000])
    with pytest.warns(hwloop.HwloopWarning, match=r"seed-0\.json was set aside.*stands on"):
        resume_experiment(lab / "run", split)
    assert recorded_results(lab / "run")[0]["rows"] == cut_run[1][0][0]["rows"]


def test_other_settings_in_the_runs_file_are_noticed(lab, cut_run):
    shutil.copytree(cut_run[0], lab / "run")
    path = lab / "run" / "run.toml"
    path.write_text(path.read_text().replace("min_steps = 15", "min_steps = 16"))
    assert concluded(lab / "run") is None
    with (
        pytest.warns(hwloop.HwloopWarning, match=r"set aside.*other settings in run\.toml"),
        pytest.raises(hwloop.JournalError, match="left its recorded path"),
    ):
        resume_experiment(lab / "run", split)


@pytest.mark.slow
def test_a_trainer_that_offers_no_state_is_executed_again(lab):
    config = experiment(lab, "stranger:strange", "")
    run_experiment(config, split, out=lab / "whole")
    cut_at(lab / "cut", config, StageFinished, 4)
    with pytest.warns(hwloop.HwloopWarning, match="offers no state to go on from"):
        resume_experiment(lab / "cut", split)
    assert outcome(lab / "cut") == outcome(lab / "whole")


def test_a_fit_refuses_a_state_that_it_cannot_go_on_from(lab):
    from stranger import strange

    from hwloop.training.state import SavedState

    device = hwloop.open_device("optical-fibre", n_inputs=8, n_outputs=6)
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [hwloop.Stage(3)])
    saved = SavedState(1, 1, None, True, {}, {}, {}, (), ())
    with pytest.raises(hwloop.ConfigError, match="no state to go on from"):
        strange().fit(network, np.eye(4), [0, 1, 0, 1], saved=saved)
