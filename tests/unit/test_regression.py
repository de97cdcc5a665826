"""Regression as a task: values in their own units through a trainer, a dataset and a split."""

import numpy as np
import pytest
from examples import each_row
from sklearn.linear_model import RidgeCV
from small_fits import Mixer, each_trainer, options, small_network

import hwloop
from hwloop.adapt import Adapter, Anchors, policy
from hwloop.errors import ConfigError, DatasetError
from hwloop.experiments.dataset import Dataset, split
from hwloop.registry import ADAPTERS
from hwloop.tasks import Classification, Regression, SequenceOfValues, kind_of
from hwloop.tasks.regression import mean_absolute_error, nmse, nrmse, r2


def cone(samples=160, seed=0):
    """Values in their own unit that a plane alone does not give: the height of a tilted cone above five inputs."""
    X = np.random.default_rng(seed).uniform(-1, 1, size=(samples, 5))
    return X, 700.0 + 40.0 * (0.3 * X[:, 0] + np.linalg.norm(X, axis=1))


@pytest.mark.parametrize("name", ["local", "readout"])
def test_a_trained_network_predicts_values_in_the_unit_of_the_targets(name):
    (X, y), (rows, values) = cone(), cone(60, seed=1)
    network = small_network(Mixer())
    hwloop.trainer(name).fit(network, X, y, (rows, values), task=Regression("height"))
    predicted = network.predict(rows)
    assert predicted.shape == (60,)
    assert predicted.dtype == np.float64
    linear = nrmse(values, RidgeCV().fit(X, y).predict(rows))
    assert linear > 0.7  # the linear floor
    assert nrmse(values, predicted) < 0.8 * linear
    np.testing.assert_array_equal(network.predict(rows[:1]), predicted[:1])
    with pytest.raises(ConfigError, match="no probabilities; call predict"):
        network.predict_proba(rows)


NOT_SERVED = {
    "all-labels": "overlays right and wrong classes",
    "channel-competition": "compete for a class each",
    "collaboration": "overlays right and wrong classes",
    "ff": "overlays right and wrong classes",
    "ff-unsupervised": "readout is a softmax",
    "phyll": "overlays right and wrong classes",
    "prototypes": "a fixed vector for each class",
    "scff": "readout is a softmax",
    "symba": "overlays right and wrong classes",
}
QUICK_LOCAL = {"epochs": 4, "min_steps": 100}
QUICK = {"epochs": 4, "min_steps": 100, "twin": "linear"}


@pytest.mark.parametrize("name", each_trainer("collab", "block", "greedy", "lookahead", "dfa", *NOT_SERVED))
def test_every_trainer_learns_values_or_says_before_the_first_row_why_it_cannot(name):
    (X, y), (rows, values), device = cone(), cone(60, seed=1), Mixer()
    trainer, network = hwloop.trainer(name, **options(name, **QUICK)), small_network(device)
    assert ("regression" in trainer.serves) == (name not in NOT_SERVED)
    if name in NOT_SERVED:
        with pytest.raises(
            ConfigError, match=f"cannot learn a regression: .*{NOT_SERVED[name]}.*Take one that can"
        ):
            trainer.fit(network, X, y, task=Regression())
        assert device.rows == 0
        return
    linear = RidgeCV().fit(X, y).score(rows, values)
    assert linear < 0.15  # the linear floor, R2; the mean of the rows has 0
    history = trainer.fit(network, X, y, (rows, values), task=Regression())
    assert r2(values, network.predict(rows)) > 0.35
    assert nrmse(values, network.predict(rows)) == history.stages[-1].validation_accuracy


def test_several_targets_come_back_as_columns_each_in_its_unit():
    X, y = cone()
    both = np.stack([y, 1e-6 * X[:, 3]], axis=1)
    network = small_network(Mixer())
    hwloop.trainer("readout").fit(network, X, both, task=Regression(("height", "slope")))
    predicted = network.predict(X)
    assert predicted.shape == both.shape
    assert all(nrmse(both[:, target], predicted[:, target]) < 0.5 for target in (0, 1))
    assert network.task.output_names == ("height", "slope")


@pytest.mark.parametrize("name", each_row(["collab", "block", "readout"], "collab"))
def test_a_saved_network_predicts_the_same_values(name, tmp_path):
    (X, y), path = cone(), tmp_path / "net.safetensors"
    network = small_network(Mixer())
    trainer = hwloop.trainer(name, **options(name, **QUICK))
    trainer.fit(network, X, np.stack([y, X[:, 0]], axis=1), task=Regression(("height", "slope")))
    hwloop.save_network(network, path)
    again = hwloop.load_network(path, hwloop.Session(Mixer()))
    assert again.task == network.task
    assert again.class_names == ()
    np.testing.assert_array_equal(again.predict(X), network.predict(X))


def test_targets_are_standardised_on_the_training_rows_alone():
    task, numbers = Regression().fitted(np.array([1.0, 3.0, 5.0]), 3)
    assert (task.mean, task.scale) == ((3.0,), (pytest.approx(np.std([1, 3, 5])),))
    assert numbers.dtype == np.float32
    assert numbers.shape == (3, 1)
    np.testing.assert_allclose(task.numbers(np.array([3.0, 100.0]))[:, 0], [0.0, 97.0 / task.scale[0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.full(160, 7.0), "the training rows have the same target in every row .7.; there is nothing to learn"),
        (np.array([np.nan, *range(159)]), "row 0 is nan; leave the row out"),
        (np.array([np.inf, *range(159)]), "row 0 is inf"),
        (np.array([1e200, *range(159)]), "take another unit"),
        (np.arange(160) * 1e-172, "values of target that differ by 1.59e-170 at most.*take another unit"),
        (np.array(["tall"] * 160), "must be numbers"),
        (np.ones((160, 2, 2)), "must have shape"),
        (np.ones(3), "must have shape"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused_before_the_first_row(targets, message):
    device = Mixer()
    with pytest.raises(DatasetError, match=message):
        hwloop.trainer("readout").fit(small_network(device), cone()[0], targets, task=Regression())
    assert device.rows == 0


def test_a_dataset_of_targets_that_hardly_differ_is_refused():
    with pytest.raises(DatasetError, match=r"'tiny' has values of target.*take another unit"):
        Dataset("tiny", cone()[0], targets=np.arange(160) * 1e-172, task=Regression())
    Dataset("small", cone()[0], targets=np.arange(160) * 1e-140, task=Regression())


def test_scores_are_those_of_the_textbook():
    targets, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 6.0])
    assert nrmse(targets, predicted) == pytest.approx(np.sqrt(1.0) / np.sqrt(1.25))
    assert r2(targets, predicted) == pytest.approx(1 - 1.0 / 1.25)
    assert mean_absolute_error(targets, predicted) == 0.5
    assert nrmse(targets, np.full(4, 2.5)) == 1.0
    pairs = np.stack([targets, 10 * targets], axis=1)
    assert nrmse(pairs, 1.1 * pairs) == pytest.approx(nrmse(targets, 1.1 * targets))
    assert nmse(targets, predicted) == pytest.approx(nrmse(targets, predicted) ** 2)
    uneven = np.stack([predicted, 10 * targets], axis=1)  # exact in one of two targets
    assert nmse(pairs, uneven) == pytest.approx(1 - r2(pairs, uneven)) == pytest.approx(1.0 / 1.25 / 2)


@pytest.mark.parametrize("task", [Regression, SequenceOfValues])
def test_both_errors_stand_by_their_names_and_say_what_they_are(task):
    assert task.in_short({"nrmse": 0.4, "nmse": 0.16, "mae": 3.0}) == "NRMSE 0.400, NMSE 0.1600"
    assert task.in_short({"nrmse": 0.4}) == "0.400"  # of a run that an earlier version made
    assert {"nrmse", "nmse"} <= task.definitions().keys()
    assert all(f"{name}: " in task.definitions_in_words() for name in ("NRMSE", "NMSE"))
    assert Classification.in_short({"accuracy": 0.5}) == "50.0 %"
    assert Classification.definitions_in_words() == ""


def test_a_table_of_targets_has_both_also_where_an_earlier_version_kept_one():
    task = Regression(("height", "tilt"))
    kept = {"target_scores": np.array([[0.5, 0.75, 3.0], [1.0, 0.0, 4.0]])}
    assert task.tabled(kept) == [
        ["target", "NRMSE", "NMSE", "R2", "MAE"],
        ["height", "0.500", "0.2500", "0.750", "3.000"],
        ["tilt", "1.000", "1.0000", "0.000", "4.000"],
    ]


def test_huber_is_the_squared_error_up_to_one_deviation_and_linear_beyond():
    import torch

    outputs, targets = torch.tensor([[0.5], [3.0]]), torch.zeros(2, 1)
    losses, slopes = Regression(error="huber").judge(outputs, targets)
    assert losses.tolist() == [0.125, 2.5]
    assert slopes.tolist() == [[0.5], [1.0]]
    assert Regression().judge(outputs, targets)[0].tolist() == [0.125, 4.5]
    with pytest.raises(ValueError, match="unknown error 'cubic'"):
        Regression(error="cubic")


def test_a_dataset_of_values_splits_by_their_quantiles_and_keeps_them_as_they_are():
    X, y = cone(200)
    dataset = Dataset("cone", X, targets=y, task=Regression("height"))
    assert dataset.targets is dataset.labels
    assert dataset.task.n_outputs == 1
    for seed in range(5):
        parts = split(dataset, seed, test=0.25)
        assert len(parts.test) == 50
        assert abs(dataset.targets[parts.test].mean() - y.mean()) < 0.05 * y.std()
    with pytest.raises(DatasetError, match="'flat' has the same target in every row"):
        Dataset("flat", X, targets=np.ones(200), task=Regression())
    with pytest.raises(DatasetError, match=r"needs targets .rows,. or .rows, targets."):
        Dataset("short", X, targets=y[:3], task=Regression())
    with pytest.raises(DatasetError, match="says neither class_names nor a task"):
        Dataset("unsaid", X, y)


def test_a_fitted_task_comes_back_from_a_file_to_the_last_bit():
    task = Regression(("a", "b"), "huber").fitted(np.random.default_rng(0).normal(size=(20, 2)), 20)[0]
    assert kind_of(task.as_dict()).from_dict(task.as_dict()) == task


class Moving(Mixer):
    """A device whose gain and offset can be moved."""

    moved = 0.0

    def _measure(self, inputs):
        return super()._measure(inputs) * (1.0 + self.moved) + self.moved


def unremembered(network):
    for session in network.distinct_sessions:
        session.forget()
    return network


@pytest.mark.parametrize("name", each_row(ADAPTERS.entries(), "restandardise", "heads", "hebbian"))
def test_a_policy_mends_a_regression_or_says_why_it_cannot(name):
    (X, y), device = cone(), Moving()
    network = small_network(device)
    hwloop.trainer("local", **QUICK_LOCAL).fit(network, X, y, task=Regression())
    anchors = Anchors.record(network, X, y)
    device.moved = 0.4
    broken = nrmse(y, unremembered(network).predict(X))
    if policy(name).needs_classes:
        with pytest.raises(ConfigError, match="cannot mend a regression: it learns from the class"):
            Adapter(network, name, anchors)
        return
    adapter = Adapter(network, name, anchors)
    for _ in range(4):
        unremembered(network)
        adapter.step() if adapter.policy.needs_anchors else adapter.step(labelled=(X[:90], y[:90]))
    assert nrmse(y, unremembered(network).predict(X)) < 0.6 * broken
