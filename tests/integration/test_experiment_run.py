"""A whole run in one process, on a small quadratic device whose responses are known."""

import json
import tomllib

import numpy as np
import pytest

import hwloop
from hwloop.errors import BudgetExceeded, ConfigError, DatasetError, DeviceError
from hwloop.experiment.config import load_experiment, validated
from hwloop.experiment.runner import run_experiment
from hwloop.experiments.datasets import Dataset, split
from hwloop.toml_text import toml_text

pytestmark = pytest.mark.usefixtures("unpainted_figures")

MEASURED = []


class Quadratic(hwloop.Device):
    """y = (A x)^2 with a seeded A; the row count of every call is noted in MEASURED."""

    def __init__(self, n_inputs=8, n_outputs=40, seed=0, fail_after=10**9):
        self.spec = hwloop.DeviceSpec(n_inputs, n_outputs, input_low=-1.0, deterministic=True, row_seconds=1e-4)
        self._matrix = np.random.default_rng(seed).standard_normal((n_inputs, n_outputs))
        self._fail_after = fail_after

    def _measure(self, inputs):
        if sum(MEASURED) + len(inputs) > self._fail_after:
            raise ConnectionError("cable pulled")
        MEASURED.append(len(inputs))
        return np.square(inputs @ self._matrix)


def rings():
    """Two classes that only the squared radius tells apart: no linear classifier beats chance by much."""
    rng = np.random.default_rng(0)
    angle, labels = rng.uniform(0, 2 * np.pi, 200), np.arange(200) % 2
    radius = (1 + labels) * rng.uniform(0.95, 1.05, 200)
    inputs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return Dataset("rings", inputs, labels, ("inner", "outer"))


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    from hwloop.registry import DATASETS, DEVICES

    MEASURED.clear()
    for registry, name, value in ((DEVICES, "quadratic", Quadratic), (DATASETS, "rings", rings)):
        load = registry.load
        monkeypatch.setattr(
            registry, "load", lambda asked, n=name, v=value, load=load: v if asked == n else load(asked)
        )


def config(**changes):
    table = {
        "name": "small",
        "dataset": "rings",
        "device": "quadratic",
        "trainer": {"name": "local", "settings": {"epochs": 5, "min_steps": 60}},
        "network": {"width": 10},
        "seeds": 2,
        "evidence": {"floors": False},
    }
    return validated({**table, **changes}, "small")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_physics_adds_what_no_linear_method_can(tmp_path):
    evidence = run_experiment(config(evidence={"floors": True, "response_rows": 7}), split, out=tmp_path / "run")
    found = evidence.as_json()
    assert found["test_accuracy"]["mean"] > 0.95  # a quadratic device measures the squared radius
    assert found["floors"]["linear"]["mean"] < 0.7
    assert found["floors"]["null_identity"]["mean"] < 0.7
    assert found["floors"]["one_stage_readout"]["mean"] > 0.95
    assert found["physics_adds_over_linear"]["mean"] > 0.25
    assert found["physics_adds_over"] == "random_features"  # which are not linear, and learn rings as well
    assert found["physics_adds"]["mean"] < 0.05
    assert found["rows_per_train_sample"] == 2.0
    assert found["rows"] == {"train": 600, "evaluate": 200, "calibrate": 7, "reference": 0, "repeat": 0}
    assert evidence.floor_rows == 0
    assert sum(MEASURED) == 807  # the ledger holds every row that reached the device, floors included
    folder = tmp_path / "run"
    recorded = load_experiment(folder / "run.toml")
    assert recorded.measured_with  # the devices, which the configuration did not name
    assert recorded.model_copy(update={"measured_with": []}) == evidence.config
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["seeds"] == [0, 1]
    assert environment["devices"] == ["Quadratic", "Quadratic"]
    events = [line["event"] for line in lines(folder)]
    assert events[0] == "RunForecast"
    assert events[-1] == "Evidence"
    assert events.count("SeedResult") == 2
    assert (folder / "report.html").stat().st_size > 10_000
    assert (folder / "checkpoints" / "final.safetensors").exists()


def test_what_a_device_runs_on_elsewhere_is_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(Quadratic, "versions", lambda device: {"python": "3.8.18", "numpy": "1.24.4"})
    run_experiment(config(), split, out=tmp_path / "run")
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["device_versions"] == 2 * [{"python": "3.8.18", "numpy": "1.24.4"}]


@pytest.mark.slow
def test_a_deterministic_device_gives_the_same_run_again(tmp_path):
    first, second = (run_experiment(config(), split, out=tmp_path / name) for name in ("a", "b"))
    assert first.score("network") == second.score("network")
    assert [seed.losses for seed in first.seeds] == [seed.losses for seed in second.seeds]


@pytest.mark.slow
def test_label_overlays_cost_the_floor_rows_of_its_own(tmp_path):
    trainer = {"name": "phyll", "settings": {"epochs": 2, "min_steps": 10}}
    evidence = run_experiment(
        config(trainer=trainer, seeds=1, evidence={"floors": True}), split, out=tmp_path / "run"
    )
    assert evidence.rows["train"] == 600  # 150 samples, 2 labels, 2 stages
    assert evidence.floor_rows == 200  # each sample once through one stage
    assert evidence.rows_per_train_sample == 4.0


def test_the_forecast_is_what_is_measured(tmp_path):
    events = []
    run_experiment(config(), split, out=tmp_path / "run", listeners=[events.append])
    assert events[0].rows == sum(MEASURED)
    assert events[0].text == "800 rows, about 0.1 s"


def test_a_budget_that_is_too_small_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(BudgetExceeded, match="up to 800 rows"):
        run_experiment(config(budget=799), split, out=tmp_path / "run")
    assert MEASURED == []
    assert not (tmp_path / "run").exists()
    run_experiment(config(budget=800), split, out=tmp_path / "run")


def test_a_failing_device_leaves_the_finished_seed(tmp_path):
    device = {"name": "quadratic", "settings": {"fail_after": 500}}  # a seed measures 400 rows
    with pytest.raises(DeviceError, match="cable pulled"):
        run_experiment(config(device=device), split, out=tmp_path / "run")
    kept = lines(tmp_path / "run")
    assert (kept[-1]["event"], kept[-1]["seeds_finished"]) == ("RunStopped", 1)
    assert [line["scores"]["network"]["accuracy"] > 0.9 for line in kept if line["event"] == "SeedResult"] == [
        True
    ]


def test_a_device_a_stage(tmp_path):
    devices = [
        {"name": "quadratic", "settings": {"n_outputs": 30}},
        {"name": "quadratic", "settings": {"n_outputs": 20}},
    ]
    evidence = run_experiment(config(device=devices, seeds=1), split, out=tmp_path / "run")
    assert evidence.as_json()["device"] == "quadratic, quadratic"
    assert evidence.rows_per_train_sample == 2.0


def test_validation_rows_are_apart_and_scored(tmp_path):
    evidence = run_experiment(
        config(split={"test": 0.25, "validation": 0.25}, seeds=1), split, out=tmp_path / "run"
    )
    seed = evidence.seeds[0]
    assert (seed.n_train, seed.n_validation, seed.n_test) == (100, 50, 50)
    assert seed.validation_scores[-1] is not None
    assert evidence.rows == {"train": 200, "evaluate": 200, "calibrate": 0, "reference": 0, "repeat": 0}


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "old.txt").write_text("keep me")
    with pytest.raises(ConfigError, match="not empty"):
        run_experiment(config(), split, out=tmp_path)
    assert MEASURED == []


def test_no_test_rows_is_an_error():
    with pytest.raises(DatasetError, match="no test rows"):
        run_experiment(config(split={"test": 0.0}), split)


def test_shipped_experiments_are_valid_and_written_as_they_read():
    from hwloop.experiments.datasets import shipped_experiments

    shipped = shipped_experiments()
    assert {"digits-optical", "digits-phyll", "mnist1d-optical", "vowels-acoustic", "digits-fibre"} <= set(shipped)
    for name, path in shipped.items():
        loaded = load_experiment(path)
        assert loaded.name == name
        assert loaded.description
        assert tomllib.loads(toml_text(loaded.as_table())) == loaded.as_table()
