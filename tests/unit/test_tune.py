"""A search of settings: what may be searched, its budget, its test rows, and that it goes on where it stopped."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest

from hwloop.device.declared import DeclaredDevice
from hwloop.errors import BudgetExceeded, ConfigError
from hwloop.experiment.config import load_experiment, validated
from hwloop.experiment.runner import run_experiment
from hwloop.experiments import datasets
from hwloop.experiments.arena import jobs
from hwloop.experiments.arena.cell import CellResult
from hwloop.experiments.arena.settings import TEST_SEED
from hwloop.experiments.datasets import split
from hwloop.experiments.draws import new_study, told_of
from hwloop.experiments.tune import TuneSettings, default_space, parsed_search, run_tune
from hwloop.experiments.tune.report import write_tune
from hwloop.experiments.tune.search import TrialStore
from hwloop.experiments.tune.space import own_values
from hwloop.registry import DATASETS, DEVICES
from hwloop.tasks import Regression
from hwloop.training.tuning import Choice, LogRange, Range, Tuning

SMALL = {
    "name": "small",
    "dataset": "few",
    "device": {"name": "relu-layer", "settings": {"n_outputs": 4}},
    "trainer": "readout",
    "network": {"stages": 1},
    "split": {"validation": 0.3},
}
SPACE = {"device.settings.n_outputs": Choice((2, 8, 12, 16))}


@functools.cache
def few():
    """300 digits."""
    whole = datasets.digits()
    return replace(whole, inputs=whole.inputs[:300], labels=whole.labels[:300], targets=None)


def with_other_test_rows():
    """The same, but for those that a search puts aside: they are replaced by something else."""
    aside, inputs = split(few(), TEST_SEED, 0.25, 0.0).test, few().inputs.copy()
    inputs[aside] = np.random.default_rng(0).uniform(0, 16, inputs[aside].shape)
    return replace(few(), inputs=inputs)


@pytest.fixture
def settings(monkeypatch):
    load = DATASETS.load
    monkeypatch.setattr(DATASETS, "load", lambda name: few if name == "few" else load(name))
    return TuneSettings(validated(SMALL, "test"), SPACE, trials=5, seeds=2)


def test_a_search_is_written_in_three_ways():
    assert parsed_search(["device.x=1:2", "network.width=1e-3:1:log", "trainer=local,greedy"]) == {
        "device.x": Range(1, 2),
        "network.width": LogRange(1e-3, 1),
        "trainer": Choice(("local", "greedy")),
    }
    assert parsed_search(["device.x=1:2"])["device.x"].whole
    assert not parsed_search(["device.x=1.0:2"])["device.x"].whole


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("device.x", "no key"),
        ("device.x=", "no key"),
        ("=1:2", "no key"),
        ("device.x=2:1", "low < high"),
        ("device.x=1:2:lin", "can only be log"),
        ("device.x=-1:2:log", "0 < low"),
        ("device.x=3", "two values"),
        ("device.x=3,3", "two values"),
        ("device.x=1:inf", "two values"),
        ("dataset.name=digits,wine", "stays"),
        ("split.test=0.1:0.2", "stays"),
        ("seeds=1,2", "stays"),
    ],
)
def test_what_is_no_search_is_refused_in_one_line(text, why):
    with pytest.raises(ConfigError, match=why) as caught:
        parsed_search([text])
    assert "\n" not in str(caught.value)


def test_trainers_and_devices_declare_what_is_searched():
    experiment = validated({**SMALL, "device": "delay-loop", "trainer": "local"}, "test")
    found = default_space(experiment)
    assert found["device.settings.input_scale"] == LogRange(0.05, 4.0)
    assert any(key.startswith("trainer.settings.") for key in found)


def test_the_sampler_starts_from_what_the_experiment_has():
    experiment = validated(
        {**SMALL, "trainer": "local", "device": {"name": "delay-loop", "settings": {"gain": 0.7}}}, "test"
    )
    space = parsed_search(["device.settings.gain=0.2:1", "trainer.settings.lr=1e-3:1:log", "network.stages=1,2"])
    own = own_values(experiment, space)
    assert own == {"device.settings.gain": 0.7, "trainer.settings.lr": 0.01, "network.stages": 1}
    study = new_study(0, higher_is_better=False)
    assert told_of(study, own, space, 0.25)
    assert study.best_params == {**own, "network.stages": 0}
    assert not told_of(study, own, parsed_search(["device.settings.gain=1:2"]), 0.25)
    assert len(study.trials) == 1


@pytest.mark.parametrize("name", sorted(DEVICES.entries()))
def test_what_a_device_declares_lies_within_what_it_takes(name):
    device = DEVICES.load(name)
    if isinstance(device, type) and issubclass(device, DeclaredDevice):
        for setting, (low, high, *_) in device.searched.items():
            assert [device.declarations.settings[setting].checked(setting, end) for end in (low, high)] == [
                low,
                high,
            ]


@pytest.mark.slow
def test_no_trial_looks_at_a_test_row(settings, tmp_path, monkeypatch):
    found = run_tune(settings, tmp_path / "plain")
    monkeypatch.setattr(DATASETS, "load", lambda name: with_other_test_rows)
    other = run_tune(settings, tmp_path / "scrambled")
    assert other.tried == found.tried
    assert other.best.settings == found.best.settings
    assert other.best.summary("accuracy").mean < found.best.summary("accuracy").mean - 0.2


@pytest.mark.slow
def test_the_best_of_the_validation_rows_is_tested_beside_the_defaults_and_runs(settings, tmp_path):
    said = []
    found = run_tune(settings, tmp_path / "tune", say=said.append)
    scores = {tried.settings: tried.score for tried in found.tried}
    assert scores[found.best.settings] == max(scores.values()) > scores[()]
    assert found.settings.search_seed not in found.settings.fresh_seeds
    assert len(found.best.results) == len(found.defaults.results) == 2
    assert "5 trials" in said[0]
    path = write_tune(found, tmp_path / "tune")
    config = load_experiment(path, ["evidence.floors=false"])
    assert config.device[0].settings["n_outputs"] in SPACE["device.settings.n_outputs"].values
    assert config.split.validation == 0.3
    assert run_experiment(config, split, out=tmp_path / "run").score("network").mean > 0.3
    told = json.loads((tmp_path / "tune" / "tune-result.json").read_text())
    assert [trial["score"] for trial in told["trials"]] == list(scores.values())
    assert "tuning adds" in (tmp_path / "tune" / "table.md").read_text()


@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on_and_ends_the_same(settings, tmp_path, monkeypatch):
    whole = run_tune(settings, tmp_path / "whole")

    def cut(what, done, of):
        if (what, done) == ("tried", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tune(settings, tmp_path / "cut", cut)
    kept = (tmp_path / "cut" / TrialStore.lines_file).read_bytes()
    assert run_tune(settings, tmp_path / "cut").tried == whole.tried
    now = (tmp_path / "cut" / TrialStore.lines_file).read_bytes()
    assert now.startswith(kept)
    assert kept.count(b"\n") >= 2
    with pytest.raises(ConfigError, match="holds a search"):
        run_tune(replace(settings, experiment=validated({**SMALL, "trainer": "local"}, "t")), tmp_path / "cut")


@pytest.mark.slow
def test_the_budget_is_never_passed(settings, tmp_path):
    unlimited = run_tune(settings, tmp_path / "unlimited")
    budget = unlimited.rows - 1
    found = run_tune(replace(settings, rows=budget), tmp_path / "limited")
    assert found.rows <= budget
    assert "rows" in found.stopped
    assert len(found.tried) < len(unlimited.tried)
    with pytest.raises(BudgetExceeded, match="nothing was measured"):
        run_tune(replace(settings, rows=100), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_key_that_nobody_takes_is_refused_before_a_row_and_a_value_is_only_passed_over(settings, tmp_path):
    with pytest.raises(ConfigError, match=r"--search device\.settings\.n_output: "):
        run_tune(replace(settings, space={"device.settings.n_output": Range(1, 2)}), tmp_path / "wrong")
    found = run_tune(replace(settings, space={"device.settings.n_outputs": Choice((6, -1))}), tmp_path / "some")
    assert {tried.settings: tried.score is None for tried in found.tried}[("device.settings.n_outputs=-1",)]


def test_errors_are_made_small_where_the_arena_searches_too(monkeypatch):
    """It took the largest: a score of which less is better had been maximised."""
    results = {lr: CellResult({"network": abs(lr - 0.03)}, kind=Regression) for lr in (0.01, 0.03, 0.1)}
    monkeypatch.setattr(jobs, "tuning_space", lambda trainer: Tuning({"lr": Choice((0.01, 0.03, 0.1))}))
    monkeypatch.setattr(jobs, "options_within", lambda trainer, options, task, budget: {"lr": 0.1, **options})
    monkeypatch.setattr(jobs, "run_cell", lambda experiment, cell, rows: results[cell.options["lr"]])
    monkeypatch.setattr(jobs.FitSize, "of", lambda data, n_stages: None)
    monkeypatch.setattr(jobs, "cell_data", lambda config, cell: None)
    experiment = validated({**SMALL, "dataset": "diabetes", "trainer": "local"}, "test").as_table()
    found = jobs.searched(jobs.Search(experiment, "local", 2, 12, 0))
    assert found.options == {"lr": 0.03}
