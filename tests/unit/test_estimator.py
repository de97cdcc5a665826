"""PhysicalClassifier as scikit-learn's tools and a lab's own device use it."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import hwloop

QUICK = {"min_steps": 40, "epochs": 2}


class MyRig(hwloop.Device):
    """A lab's own device: 20 channels of 0 to 1 V, a cable that cannot be copied."""

    spec = hwloop.DeviceSpec(n_inputs=20, n_outputs=20, input_high=1.0, input_unit="V", row_seconds=2e-3)

    def __init__(self, seed: int = 0) -> None:
        self.cable = threading.Lock()
        self.matrix = np.random.default_rng(seed).normal(size=(20, 20))
        self.rows = 0

    def _measure(self, inputs):
        with self.cable:
            self.rows += len(inputs)
        return np.tanh(inputs @ self.matrix)


def classifier(device: object = "optical-fibre", **options) -> hwloop.PhysicalClassifier:
    settings = {"stages": 1, "width": 10, "trainer_settings": QUICK, "random_state": 0} | options
    if isinstance(device, str) and not device.endswith(".toml"):
        settings.setdefault("device_settings", {"n_outputs": 30})
    return hwloop.PhysicalClassifier(device, **settings)


def blobs(samples: int = 60, features: int = 6, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(samples) % classes
    rows = np.random.default_rng(0).normal(size=(samples, features)) + 6 * np.eye(classes, features)[labels]
    return rows, labels


# Each of scikit-learn's checks with another kind of demand: types, subsets, read-only rows, names, messages.
FAST_CHECKS = {
    "check_classifiers_train",
    "check_class_weight_classifiers",
    "check_dict_unchanged",
    "check_estimators_nan_inf",
    "check_estimators_unfitted",
    "check_n_features_in_after_fitting",
    "check_parameters_default_constructible",
    "check_sample_weight_equivalence_on_dense_data",
    "check_set_params",
}


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=check.func.__name__)
        for estimator, check in estimator_checks_generator(classifier())
        if check.func.__name__ in FAST_CHECKS and "readonly_memmap" not in check.keywords
    ],
)
def test_scikit_learns_contract(estimator, check):
    check(estimator)


def not_weighed(estimator):
    """Checks that give rows different weights, which a trainer that contrasts rows refuses."""
    reason = hwloop.trainer(estimator.trainer).reason_against_weights
    checks = (
        "check_class_weight_classifiers",
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weights_not_overwritten",
    )
    return dict.fromkeys(checks, reason) if reason else {}


@pytest.mark.slow
@parametrize_with_checks(
    [
        classifier(),
        hwloop.PhysicalClassifier(),
        hwloop.PhysicalClassifier(trainer="phyll", stages=1, trainer_settings={"epochs": 10, "min_steps": 300}),
        hwloop.PhysicalClassifier(trainer="readout"),
    ],
    expected_failed_checks=not_weighed,
)
def test_scikit_learns_contract_with_the_defaults_and_with_every_trainer(estimator, check):
    check(estimator)


def test_a_labs_own_device_trains_and_its_ledger_counts_the_rows():
    rig, (rows, labels) = MyRig(), blobs(features=20)
    model = hwloop.PhysicalClassifier(rig, stages=2, width=100, trainer="local", budget=20_000, random_state=0)
    model.fit(rows[:40], labels[:40])
    assert model.ledger_["train"] == 2 * 40 == rig.rows
    assert model.score(rows[40:], labels[40:]) > 0.8
    assert model.ledger_["evaluate"] == 2 * 20
    assert model.score(rows[40:], labels[40:]) > 0.8
    assert model.ledger_["evaluate"] == 2 * 20  # remembered


@pytest.mark.parametrize("names", [["ant", "bee", "cat"], [True, False], [7, -3, 1000], [0.0, 1.0, 2.0]])
def test_labels_of_any_type_come_back_as_they_were_given(names):
    rows, labels = blobs(classes=len(names))
    targets = np.array(names)[labels]
    model = classifier().fit(rows, targets)
    predicted = model.predict(rows)
    assert predicted.dtype == targets.dtype
    np.testing.assert_array_equal(model.classes_, np.unique(targets))
    assert (predicted == targets).mean() > 0.9
    np.testing.assert_array_equal(model.classes_[model.predict_proba(rows).argmax(axis=1)], predicted)


@pytest.mark.parametrize("trainer", ["local", "readout", "phyll"])
def test_the_same_seed_gives_the_same_probabilities(trainer):
    rows, labels = blobs()
    settings = {} if trainer == "readout" else QUICK
    first, same, other = (
        classifier(trainer=trainer, trainer_settings=settings, random_state=seed)
        .fit(rows, labels)
        .predict_proba(rows)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_it_works_in_a_pipeline_a_search_and_cross_validation():
    rows, labels = blobs()
    pipeline = make_pipeline(StandardScaler(), classifier())
    assert cross_val_score(pipeline, rows, labels, cv=3).mean() > 0.8
    search = GridSearchCV(pipeline, {"physicalclassifier__width": [5, 10]}, cv=2).fit(rows, labels)
    assert search.best_score_ > 0.8
    assert search.best_estimator_[-1].ledger_["train"] == len(rows)


def test_a_device_object_is_shared_by_clones_because_a_rig_cannot_be_copied():
    rig, (rows, labels) = MyRig(), blobs()
    for device in (rig, [rig], [rig, rig]):
        model = classifier(device, stages=2 if isinstance(device, list) and len(device) == 2 else 1)
        twin = clone(model)
        assert twin.device is model.device
        assert {k: v for k, v in twin.get_params().items() if k != "device"} == {
            k: v for k, v in model.get_params().items() if k != "device"
        }
    search = GridSearchCV(classifier(rig), {"width": [5, 10]}, cv=2).fit(rows, labels)
    assert search.best_score_ > 0.8
    assert rig.rows == 2 * 2 * 60 + 60  # two widths, two folds, and the final fit


def test_a_clone_is_not_fitted_and_shares_no_settings():
    model = classifier().fit(*blobs())
    twin = clone(model)
    assert not hasattr(twin, "network_")
    assert twin.trainer_settings is not model.trainer_settings
    assert hasattr(model, "network_")


def test_a_list_gives_each_stage_its_device_and_a_device_that_stands_twice_is_one():
    rows, labels = blobs()
    rigs = [MyRig(0), MyRig(1)]
    model = classifier(rigs, stages=2).fit(rows, labels)
    assert [rig.rows for rig in rigs] == [60, 60]
    assert model.ledger_["train"] == 120
    rig = MyRig()
    shared = classifier([rig, rig], stages=2).fit(rows, labels)
    assert len(shared.network_.distinct_sessions) == 1
    mixed = classifier([MyRig(), "optical-fibre"], stages=2).fit(rows, labels)
    assert mixed.network_.sessions[1].device.spec.n_outputs == 200


def test_a_device_by_name_is_built_to_fit_the_data_the_label_and_the_width():
    rows, labels = blobs(features=25)
    for trainer, n_features in (("local", 25), ("phyll", 28)):
        model = classifier(trainer=trainer, width=20).fit(rows, labels)
        encoder = model.network_.stages[0].encoder
        assert encoder.is_direct
        assert encoder.n_features == n_features
    assert classifier(width=40, stages=2).fit(rows, labels).network_.stages[1].encoder.is_direct


def test_a_toml_file_is_a_device(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text('device = "optical-fibre"\n[settings]\nn_inputs = 12\nn_outputs = 40\n')
    model = classifier(str(path), device_settings={"seed": 4}).fit(*blobs())
    spec = model.network_.sessions[0].device.spec
    assert (spec.n_inputs, spec.n_outputs) == (12, 40)
    assert model.network_.sessions[0].device.seed == 4


def test_a_budget_that_is_too_small_says_how_much_is_needed_and_measures_nothing():
    rig = MyRig()
    with pytest.raises(hwloop.BudgetExceeded, match=r"this needs 120 rows, about 0\.2 s.*at least 120"):
        classifier(rig, stages=2, budget=119).fit(*blobs())
    assert rig.rows == 0


def test_the_budget_holds_for_predictions_too():
    model = classifier(budget=65).fit(*blobs())
    with pytest.raises(hwloop.BudgetExceeded):
        model.predict(np.zeros((6, 6)) + np.arange(6)[:, None])
    assert sum(model.ledger_.values()) == 60


@pytest.mark.parametrize("failing", [{"budget": 1}, {"trainer": "loca"}, {"device": "optical-fiber"}])
def test_a_fit_that_fails_leaves_an_unfitted_classifier_unfitted(failing):
    model = classifier().set_params(**failing)
    with pytest.raises(hwloop.HwloopError):
        model.fit(*blobs())
    with pytest.raises(NotFittedError):
        model.predict(blobs()[0])
    with pytest.raises(NotFittedError):
        _ = model.ledger_


@pytest.mark.parametrize("kind", [hwloop.PhysicalClassifier, hwloop.PhysicalRegressor])
def test_a_fit_of_other_columns_that_fails_leaves_the_fitted_one_able_to_predict(kind):
    inputs, labels = blobs()
    named = pd.DataFrame(inputs, columns=list("abcdef"))
    model = kind(MyRig(), stages=1, width=6, trainer="readout", random_state=0).fit(named, labels)
    found = model.predict(named)
    for failing in ({"budget": 1}, {"trainer": "loca"}):
        with pytest.raises(hwloop.HwloopError):
            model.set_params(**failing).fit(inputs[:, :3], labels)
        assert model.n_features_in_ == 6
        np.testing.assert_array_equal(model.predict(named), found)
    unfitted = clone(model)
    with pytest.raises(hwloop.HwloopError):
        unfitted.fit(inputs, labels)
    assert not hasattr(unfitted, "n_features_in_")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "optical-fiber"}, hwloop.ConfigError, "did you mean 'optical-fibre'"),
        ({"trainer": "locl"}, hwloop.ConfigError, "did you mean 'local'"),
        ({"trainer_settings": {"epoch": 1}}, hwloop.ConfigError, "did you mean 'epochs'"),
        ({"device_settings": {"n_output": 1}}, hwloop.ConfigError, "did you mean 'n_outputs'"),
        ({"stages": 0}, hwloop.ConfigError, "at least one stage"),
        ({"stages": "two"}, hwloop.ConfigError, "stages must be a whole number, at least one stage, not 'two'"),
        ({"width": 2.5}, hwloop.ConfigError, "width must be a whole number"),
        ({"budget": "much"}, hwloop.ConfigError, "budget must be None or a whole number of rows"),
        ({"trainer": 5}, hwloop.ConfigError, "trainer must be the name of a trainer"),
        ({"trainer_settings": [1]}, hwloop.ConfigError, "trainer_settings must be None or a dict"),
        ({"device": 3}, hwloop.ConfigError, "device must be a name of hwloop list"),
        ({"device": []}, hwloop.ConfigError, "device must be a name of hwloop list"),
        ({"random_state": "x"}, hwloop.ConfigError, "random_state must be None, a whole number"),
        ({"journal": 5}, hwloop.ConfigError, "journal must be None or a folder"),
        ({"device": ["optical-fibre"] * 3}, hwloop.ConfigError, "3 devices for 1 stages"),
        ({"activation": "tanh"}, hwloop.ConfigError, "unknown activation 'tanh'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        classifier(**options).fit(*blobs())


def test_settings_beside_a_device_object_are_refused():
    with pytest.raises(hwloop.ConfigError, match="device_settings need a device given by name"):
        classifier(MyRig(), device_settings={"seed": 1}).fit(*blobs())


def test_one_class_is_no_problem_to_learn():
    with pytest.raises(hwloop.DatasetError, match="1 class only"):
        classifier().fit(blobs()[0], np.zeros(60))


def test_verbose_says_what_the_fit_will_cost_before_it_starts(capsys):
    classifier(MyRig(), verbose=1).fit(*blobs())
    first, second = capsys.readouterr().out.splitlines()
    assert first == "fit: 60 rows, about 0.1 s"
    assert second.startswith("input scaling: one scale for all columns: ")


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("trainer", ["local", "readout", "phyll"])
def test_a_fitted_classifier_can_be_copied_and_predicts_the_same(duplicate, trainer):
    rows, labels = blobs()
    settings = {} if trainer == "readout" else QUICK
    model = classifier(trainer=trainer, trainer_settings=settings).fit(rows, labels)
    expected = model.predict_proba(rows)
    np.testing.assert_array_equal(duplicate(model).predict_proba(rows), expected)


def test_the_documented_example_holds():
    rows, labels = load_iris(return_X_y=True)
    model = hwloop.PhysicalClassifier(stages=1, random_state=0).fit(rows, labels)
    assert model.ledger_["train"] == 149  # two of the 150 flowers are alike
    assert model.score(rows, labels) > 0.9


def test_masked_values_are_refused_not_taken_for_data():
    X, y = load_iris(return_X_y=True)
    classifier = hwloop.PhysicalClassifier(MyRig(), stages=1, width=5, trainer_settings=QUICK, random_state=0)
    for features, labels in ((np.ma.masked_greater(X, 6), y), (X, np.ma.masked_equal(y, 2))):
        with pytest.raises(hwloop.DatasetError, match="mask"):
            classifier.fit(features, labels)
    classifier.fit(np.ma.masked_invalid(X), y)  # nothing is masked
    with pytest.raises(hwloop.DatasetError, match="mask"):
        classifier.predict(np.ma.masked_greater(X, 6))


def test_with_keeps_the_device_open_between_predictions_and_closes_it_whatever_happens():
    rig, (rows, labels) = MyRig(), blobs()
    opened, model = [], classifier(rig)
    rig.open = lambda: opened.append(1)
    with model:
        model.fit(rows, labels)
        for row in rows[:5] + 1:
            model.predict([row])
        with model:  # within itself
            model.predict(rows + 2)
        assert copy.deepcopy(model).predict(rows[:1]) == model.predict(rows[:1])
    assert len(opened) == 1
    with pytest.raises(RuntimeError, match="mine"), model:
        raise RuntimeError("mine")
    model.predict(rows + 3)
    assert len(opened) == 3


def test_a_fit_does_not_depend_on_the_order_of_its_rows():
    rows, labels = blobs()
    order = np.random.default_rng(2).permutation(len(rows))
    first, other = (classifier().fit(rows[at], labels[at]).predict_proba(rows) for at in (slice(None), order))
    np.testing.assert_array_equal(first, other)


def test_names_of_columns_are_kept_and_saved(tmp_path):
    frame = load_iris(as_frame=True)
    model = classifier().fit(frame.data, frame.target)
    np.testing.assert_array_equal(model.feature_names_in_, frame.data.columns)
    model.save(tmp_path / "model.safetensors")
    loaded = hwloop.PhysicalClassifier.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.feature_names_in_, frame.data.columns)
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame.data[frame.data.columns[::-1]])
