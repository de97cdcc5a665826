"""What a network is compared with: floors without training, random features, and models that compare rows."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris

from hwloop.device import DeviceSpec
from hwloop.devices.null import RandomFeatures
from hwloop.experiment import digital
from hwloop.experiment.conclusion import computed_anew, differences
from hwloop.experiment.config import validated
from hwloop.experiment.floors import FLOORS
from hwloop.experiment.partition import Partition, Samples
from hwloop.experiment.results import SeedResult
from hwloop.experiment.rigs import PlannedRig
from hwloop.experiment.seed_run import prepare_seed
from hwloop.tasks import Classification, Regression

BY_KEY = {floor.key: floor for floor in FLOORS}
CONFIG = {
    "name": "small",
    "dataset": "digits",
    "device": {"name": "optical-fibre", "settings": {"n_outputs": 40}},
    "trainer": "readout",
    "network": {"stages": 1, "width": 5},
}


def part(inputs, targets, task, n_train=100):
    order = np.random.default_rng(0).permutation(len(inputs))
    train, test = order[:n_train], order[n_train:]
    rows = Samples(inputs, targets)
    return Partition(0, rows.taken(train), None, rows.taken(test), task.fitted_to(targets[train]))


IRIS = part(*load_iris(return_X_y=True), Classification(3))
DIABETES = part(*load_diabetes(return_X_y=True), Regression(("progression",)), 300)
DATA = {"iris": IRIS, "diabetes": DIABETES}


def scored(key, data, **network):
    config = validated({**CONFIG, "network": {**CONFIG["network"], **network}}, "x")
    run = prepare_seed(config, data, PlannedRig(config), None, lambda event: None)
    return BY_KEY[key].score(run.config, run.sessions, data)


def test_zeros_know_frequencies_or_the_mean_and_nothing_is_trained(monkeypatch):
    def not_called(self, *rows, task=None):
        raise AssertionError("a network was trained")

    monkeypatch.setattr("hwloop.training.Trainer.fit", not_called)
    found = scored("null_zeros", IRIS)
    most_frequent = np.bincount(IRIS.train.targets).argmax()
    assert (set(found.predicted), found.multiply_adds) == ({most_frequent}, 0)
    found = scored("null_zeros", DIABETES)
    assert found.predicted == pytest.approx(np.full(len(DIABETES.test), DIABETES.train.targets.mean()))


def test_zeros_are_trained_where_the_network_sees_its_inputs_beside_the_device():
    assert scored("null_zeros", IRIS, bypass=True).score.accuracy > 0.6


def test_random_features_are_as_many_as_outputs_and_the_same_for_a_seed():
    spec = DeviceSpec(3, 50, np.array([0.0, -1.0, 2.0]), np.array([1.0, 1.0, 6.0]))
    rows = np.random.default_rng(0).uniform(spec.low, spec.high, (40, 3))
    answers = RandomFeatures(spec, seed=4).measure(rows)
    assert (answers.shape, answers.min()) == ((40, 50), 0.0)
    assert 0.2 < (answers > 0).mean() < 0.8
    assert np.array_equal(answers[7:8], RandomFeatures(spec, seed=4).measure(rows[7:8]))
    assert not np.array_equal(answers, RandomFeatures(spec, seed=5).measure(rows))
    # In units of the limits: the same device with other limits gives the same features.
    scaled = replace(spec, input_low=-1.0, input_high=1.0)
    same = RandomFeatures(scaled, seed=4).measure(
        (rows - (spec.low + spec.high) / 2) / ((spec.high - spec.low) / 2)
    )
    assert same == pytest.approx(answers, abs=1e-12)


def test_random_features_pass_on_the_derivative():
    device = RandomFeatures(DeviceSpec(3, 20, 0.0, 4.0), seed=1)
    row, step = np.array([[1.0, 2.0, 3.0]]), 1e-2  # products are of float32
    slopes = [(device.measure(row + step * e) - device.measure(row - step * e)) / (2 * step) for e in np.eye(3)]
    weights = np.random.default_rng(0).standard_normal((1, 20))
    expected = [float((slope * weights).sum()) for slope in slopes]
    assert device.pull_back(row, weights)[0] == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("key", ["nearest_neighbours", "kernel_machine", "random_features"])
def test_every_floor_learns_every_task(key, name):
    data = DATA[name]
    constant = scored("null_zeros", data)
    assert BY_KEY[key].suits(data.task)
    score = scored(key, data).score
    assert data.task.merit(data.test.targets, scored(key, data).predicted) > data.task.merit(
        constant.targets, constant.predicted
    )
    assert score["multiply_adds"] > 0


def test_several_targets():
    both = np.column_stack([DIABETES.train.targets, -DIABETES.train.targets])
    data = replace(
        DIABETES,
        train=Samples(DIABETES.train.inputs, both),
        test=Samples(DIABETES.test.inputs, np.column_stack([DIABETES.test.targets] * 2)),
        task=Regression(n_targets=2).sized(both).fitted_to(both),
    )
    for key in ("null_zeros", "nearest_neighbours", "kernel_machine"):
        assert scored(key, data).predicted.shape == (142, 2)


def test_a_prediction_costs_a_distance_to_every_row_that_is_kept():
    models = IRIS.task.nearest_neighbours(50)
    fitted = digital.similarity_model(models, IRIS, "channel")
    neighbours = fitted.steps[-1][1].n_neighbors
    assert digital.similarity_cost(fitted) == 4 + 100 * 4 + neighbours
    fitted = digital.similarity_model(IRIS.task.kernel_machines(4), IRIS, "global")
    machine = fitted.steps[-1][1]
    kept = len(machine.support_)
    assert digital.similarity_cost(fitted) == 4 + kept * 4 + kept * 2  # two weights a row for three classes


def test_of_many_rows_some_are_used_and_it_is_said(monkeypatch):
    monkeypatch.setattr(digital, "TUNED_ON", 40)
    monkeypatch.setattr(digital, "FITTED_ON", 60)
    floor, config = BY_KEY["nearest_neighbours"], validated(CONFIG, "x")
    assert floor.note(config, IRIS) == "nearest neighbours: fitted to 60 of 100 training rows, drawn at random"
    fitted = digital.similarity_model(IRIS.task.nearest_neighbours(20), IRIS, "channel")
    assert fitted.steps[-1][1].n_samples_fit_ == 60
    monkeypatch.setattr(digital, "FITTED_ON", 100)
    assert floor.note(config, IRIS) == ""


@pytest.mark.parametrize("task", [Classification(2), Regression()])
def test_settings_are_chosen_on_groups_that_were_not_trained_on(task):
    """Rows of a group lie together and share a random target: one neighbour is right within it, none beyond."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 6)
    rows = rng.normal(size=(60, 40))[groups] + 1e-3 * rng.normal(size=(360, 40))
    drawn = (rng.permutation(60) < 18).astype(int) if task.has_classes else rng.normal(size=60)
    known, task = Samples(rows, drawn[groups], groups), task.fitted_to(drawn[groups])
    data = Partition(0, known, None, known, task)
    chosen = digital.similarity_model(task.nearest_neighbours(360), data, "channel")
    assert chosen.steps[-1][1].n_neighbors == 20
    rest, held_out = digital._held_out(known, task, 0)
    assert not set(rest.groups) & set(held_out.groups)
    assert len(rest) + len(held_out) == 360
    assert digital._folds(Samples(rows, drawn[groups], np.zeros(360)), task, 4, 0) is None


def test_one_scale_takes_columns_of_any_size():
    rows = 1e150 * np.random.default_rng(0).standard_normal((20, 3))
    scaled = digital.OneScale().fit(rows).transform(rows)
    assert scaled.var(axis=0).mean() == pytest.approx(1.0)
    assert np.all(digital.OneScale().fit(np.ones((4, 2))).transform(np.ones((4, 2))) == 0.0)


def test_a_replay_says_which_floors_an_earlier_version_computed_otherwise(tmp_path):
    """Zeros were trained then, and random features are new: neither is a difference; another accuracy is."""
    result = _result({"network": 0.9, "null_zeros": 0.1, "random_features": 0.8, "linear": 0.7})
    then = result.as_dict()
    then["scores"]["null_zeros"] = {"accuracy": 0.11, "multiply_adds": 2000}
    del then["scores"]["random_features"]
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"event": "SeedResult", **then}) + "\n")
    assert computed_anew(tmp_path, [result]) == ("null_zeros", "random_features")
    assert differences(tmp_path, [result], with_references=True) == ()
    other = _result({"network": 0.9, "null_zeros": 0.1, "random_features": 0.8, "linear": 0.6})
    assert differences(tmp_path, [other], with_references=True) == ("seed 0: scores",)


def _result(accuracies):
    from hwloop.experiment.columns import Score

    sizes = {"n_train": 10, "n_validation": 0, "n_test": 5, "floor_rows": 0, "busy_seconds": 0.0}
    return SeedResult(
        seed=0,
        scores={method: Score({"accuracy": value, "multiply_adds": 5}) for method, value in accuracies.items()},
        rows={},
        recalled={},
        reused={},
        measuring_seconds=None,
        details={"confusion": np.zeros((2, 2))},
        losses=[],
        validation_scores=[],
        digital_seconds=0.0,
        wall_seconds=0.0,
        **sizes,
    )
