"""PhysicalRegressor: scikit-learn's contract, units and shapes of targets, files."""

from __future__ import annotations

import numpy as np
import pytest
from examples import each_row
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import hwloop

RNG = np.random.default_rng(0)
ROWS = RNG.uniform(-1, 1, size=(80, 4))
PRICES = 2e5 + 1e4 * (ROWS[:, 0] * ROWS[:, 1] + ROWS[:, 2])
BOTH = np.column_stack([PRICES, 1e-3 * ROWS[:, 3] ** 2])
QUICK = {"min_steps": 40, "epochs": 2}


class Squares(hwloop.Device):
    """Squares of random projections of its input."""

    spec = hwloop.DeviceSpec(n_inputs=8, n_outputs=40, input_low=-1.0, deterministic=True)
    matrix = np.random.default_rng(1).normal(size=(8, 40))

    def __init__(self):
        self.opened = 0

    def _open(self):
        self.opened += 1

    def _measure(self, inputs):
        return np.square(inputs @ self.matrix)


def regressor(device="optical-fibre", **options):
    settings = {"stages": 1, "width": 10, "random_state": 0} | options
    if settings.setdefault("trainer", "local") == "local":
        settings.setdefault("trainer_settings", QUICK)
    if device == "optical-fibre":
        settings.setdefault("device_settings", {"n_outputs": 30})
    return hwloop.PhysicalRegressor(device, **settings)


FAST_CHECKS = {
    "check_estimators_unfitted",
    "check_fit2d_1sample",
    "check_regressor_multioutput",
    "check_regressors_int",
    "check_sample_weight_equivalence_on_dense_data",
    "check_supervised_y_2d",
}


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=check.func.__name__)
        for estimator, check in estimator_checks_generator(regressor(trainer="readout"))
        if check.func.__name__ in FAST_CHECKS
    ],
)
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([regressor(), hwloop.PhysicalRegressor(trainer="readout", stages=1)])
def test_scikit_learns_contract_with_gradient_steps_and_in_closed_form(estimator, check):
    check(estimator)


@pytest.mark.parametrize("trainer", each_row(["readout", "greedy"], "readout"))
def test_predictions_are_in_the_unit_and_the_shape_of_the_targets(trainer):
    settings = {} if trainer == "readout" else QUICK
    for targets in (PRICES, PRICES[:, None], BOTH):
        model = regressor(Squares(), trainer=trainer, trainer_settings=settings).fit(ROWS[:60], targets[:60])
        predicted = model.predict(ROWS[60:])
        assert predicted.shape == targets[60:].shape
        assert model.score(ROWS[60:], targets[60:]) > 0.95
        np.testing.assert_allclose(model.task_.mean, np.atleast_1d(targets[:60].mean(axis=0)))
    assert model.ledger_["train"] == 60


def test_the_same_in_other_units_is_the_same_model():
    plain = regressor(Squares(), trainer="readout").fit(ROWS, BOTH).predict(ROWS)
    other = regressor(Squares(), trainer="readout").fit(ROWS, 1e6 * BOTH - 5).predict(ROWS)
    np.testing.assert_allclose(other, 1e6 * plain - 5, rtol=1e-5)


@pytest.mark.slow
def test_it_stands_in_a_search_and_behind_a_column_a_model():
    search = GridSearchCV(regressor(Squares(), trainer="readout"), {"width": [5, 10]}, cv=2).fit(ROWS, PRICES)
    assert search.best_score_ > 0.9
    many = MultiOutputRegressor(regressor(Squares(), trainer="readout")).fit(ROWS, BOTH)
    assert many.score(ROWS, BOTH) > 0.9


@pytest.mark.parametrize(
    ("options", "rows", "targets", "message"),
    [
        ({}, ROWS, np.full(80, 7.0), "the same target in every row"),
        ({}, ROWS[:1], PRICES[:1], "1 sample"),
        ({"trainer": "phyll"}, ROWS, PRICES, "regression"),
        ({}, ROWS, np.ma.masked_greater(PRICES, 2e5), "mask"),
    ],
)
def test_what_cannot_be_learned_is_said_before_the_first_row(options, rows, targets, message):
    model = regressor(Squares(), trainer_settings={}, **options)
    with pytest.raises(hwloop.HwloopError, match=message):
        model.fit(rows, targets)
    assert model.device.opened == 0


@pytest.mark.parametrize("targets", [PRICES, BOTH], ids=["one", "two"])
def test_what_is_saved_predicts_the_same_bits(tmp_path, targets):
    path = tmp_path / "model.safetensors"
    quiet = {"n_outputs": 30, "read_noise": 0.0, "seed": 3}
    model = regressor(device_settings=quiet, trainer="readout").fit(ROWS, targets)
    expected = model.predict(ROWS)
    model.save(path)
    loaded = hwloop.PhysicalRegressor.load(path)
    np.testing.assert_array_equal(loaded.predict(ROWS), expected)
    assert loaded.task_ == model.task_
    assert loaded.n_features_in_ == 4
    assert loaded.get_params() == model.get_params()
    with pytest.raises(hwloop.CheckpointError, match="holds a regressor, and no classifier"):
        hwloop.PhysicalClassifier.load(path)
