"""Ridge regression against scikit-learn, and leave-one-out against leaving one out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from hwloop.training.optimiser import STRENGTHS, fit_ridge

SHAPES = {"tall": (60, 8), "wide": (15, 40), "square": (20, 20)}


def problem(shape: tuple[int, int], seed: int = 0, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(3.0, 1.0, size=shape) @ np.diag(rng.uniform(0.2, 3, shape[1]))
    truth = rng.normal(size=(shape[1], 3))
    return features, features @ truth + noise * rng.normal(size=(shape[0], 3)) + 7.0


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("strength", [1e-2, 1.0, 1e3])
def test_coefficients_are_those_of_scikit_learn(shape, strength):
    features, targets = problem(shape)
    ours = fit_ridge(features, targets, np.array([strength]))
    theirs = Ridge(alpha=strength).fit(features, targets)
    np.testing.assert_allclose(ours.weight, theirs.coef_.T, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.bias, theirs.intercept_, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("noise", [0.01, 0.5, 20.0])
def test_the_strength_is_the_one_that_scikit_learn_chooses_by_leave_one_out(shape, noise):
    features, targets = problem(shape, seed=1, noise=noise)
    ours = fit_ridge(features, targets)
    theirs = RidgeCV(alphas=STRENGTHS).fit(features, targets)
    assert ours.strength == pytest.approx(theirs.alpha_)
    assert ours.leave_one_out_error == pytest.approx(-theirs.best_score_, rel=1e-6)


@pytest.mark.parametrize("shape", [(9, 3), (6, 10)], ids=["tall", "wide"])
def test_the_leave_one_out_error_is_that_of_leaving_each_row_out(shape):
    features, targets = problem(shape, seed=2)
    errors = []
    for row in range(len(features)):
        rest = np.arange(len(features)) != row
        left_out = Ridge(alpha=0.7).fit(features[rest], targets[rest])
        errors.append(np.square(targets[row] - left_out.predict(features[[row]])[0]))
    ours = fit_ridge(features, targets, np.array([0.7]))
    assert ours.leave_one_out_error == pytest.approx(np.mean(errors), rel=1e-8)


def test_features_that_say_nothing_leave_the_mean():
    targets = np.random.default_rng(3).normal(size=(12, 2))
    ridge = fit_ridge(np.zeros((12, 5)), targets)
    np.testing.assert_array_equal(ridge.weight, 0)
    np.testing.assert_allclose(ridge.bias, targets.mean(axis=0))


def test_repeated_columns_share_the_weight():
    features, targets = problem((30, 4), seed=4)
    single, double = fit_ridge(features, targets), fit_ridge(np.hstack([features, features]), targets)
    assert np.isfinite(double.weight).all()
    np.testing.assert_allclose(double.weight[:4], double.weight[4:], atol=1e-9)
    predicted = [f @ r.weight + r.bias for f, r in ((features, single), (np.hstack([features] * 2), double))]
    np.testing.assert_allclose(*predicted, rtol=0.05)
