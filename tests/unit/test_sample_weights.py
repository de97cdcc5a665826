"""Weights of rows: what they mean to trainers, to readouts in closed form, and to the estimators."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from examples import each_row
from small_fits import Mixer

import hwloop
from hwloop.estimator.base import PhysicalEstimator
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.registry import TRAINERS, accepted_settings
from hwloop.tasks import Classification, Regression
from hwloop.tasks.weighted import Weighted
from hwloop.training.optimiser import fit_ridge

RNG = np.random.default_rng(0)
ROWS, LABELS = RNG.normal(size=(40, 6)), np.arange(40) % 2
CONTRASTS = {"all-labels", "collaboration", "ff", "ff-unsupervised", "phyll", "scff", "symba"}
CLASSES_ONLY = CONTRASTS | {"channel-competition", "prototypes"}
NEED_MORE = {"eqprop", "exact-gradient", "reservoir", "tune-memory"}  # than a device's answers, or a target a row


class Squares(hwloop.Device):
    """Squares of random projections."""

    spec = hwloop.DeviceSpec(n_inputs=8, n_outputs=24, input_low=-1.0, deterministic=True)
    matrix = np.random.default_rng(1).normal(size=(8, 24))

    def __init__(self):
        self.rows = 0

    def _measure(self, inputs):
        self.rows += len(inputs)
        return np.square(inputs @ self.matrix)


def quick(name):
    """Options of a trainer for a short fit."""
    options = {"epochs": 2, "min_steps": 20}
    return {key: value for key, value in options.items() if key in accepted_settings(TRAINERS.load(name))}


def classifier(device=None, *, trainer="local", **options):
    settings = {"stages": 2, "width": 6, "trainer": trainer, "trainer_settings": quick(trainer)}
    settings |= {"random_state": 0} | options
    return hwloop.PhysicalClassifier(device or Squares(), **settings)


def test_whole_numbers_are_rows_and_a_tenth_of_all_weights_changes_nothing_but_the_strength():
    features, targets = RNG.normal(size=(30, 5)), RNG.normal(size=(30, 2))
    counts = RNG.integers(1, 5, size=30)
    for strength in (1e-3, 1.0, 100.0):
        repeated = fit_ridge(np.repeat(features, counts, 0), np.repeat(targets, counts, 0), np.array([strength]))
        for scale in (1.0, 0.1):
            weighted = fit_ridge(features, targets, np.array([strength * scale]), scale * counts)
            np.testing.assert_allclose(weighted.weight, repeated.weight, atol=1e-12)
            np.testing.assert_allclose(weighted.bias, repeated.bias, atol=1e-12)


def test_the_leave_one_out_error_is_that_of_leaving_every_row_out_in_turn():
    features, targets, weights = RNG.normal(size=(9, 3)), RNG.normal(size=(9, 1)), RNG.uniform(0.2, 5, size=9)
    strength = np.array([0.7])
    errors = []
    for row in range(9):
        others = np.arange(9) != row
        fit = fit_ridge(features[others], targets[others], strength, weights[others])
        errors.append((features[row] @ fit.weight + fit.bias - targets[row]) ** 2)
    error = weights @ np.array(errors)[:, 0] / weights.sum()
    assert fit_ridge(features, targets, strength, weights).leave_one_out_error == pytest.approx(error)


@pytest.mark.parametrize(
    ("task", "targets"),
    [(Classification(3), np.arange(12) % 3), (Regression(), RNG.normal(size=12)),
     (Regression(error="huber"), 3 * RNG.normal(size=(12, 2)))],
)  # fmt: skip
def test_a_weight_multiplies_the_loss_and_its_gradient(task, targets):
    task, numbers = task.fitted(targets, 12)
    weights = RNG.uniform(0.5, 2.0, size=12)
    weighted, carried = Weighted.of(task, numbers, weights)
    outputs = torch.randn(12, task.n_outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs.requires_grad_()
    loss = weighted.loss(outputs, torch.from_numpy(carried), 0.1)
    loss.backward()
    each, slopes = task.judge(outputs.detach(), torch.from_numpy(numbers), 0.1)
    share = torch.from_numpy(weights / weights.mean())
    assert float(loss.detach()) == pytest.approx(float((share * each).mean()))
    np.testing.assert_allclose(outputs.grad, share[:, None] * slopes / 12, rtol=1e-6)
    np.testing.assert_array_equal(weighted.encode(carried), task.encode(numbers))
    assert weighted.sizes() == task.sizes()


@pytest.mark.parametrize(
    "name", each_row(sorted(set(TRAINERS.entries()) - NEED_MORE), "local", "phyll", "readout")
)
def test_every_trainer_weighs_or_says_before_the_first_row_that_it_cannot(name):
    weights = np.where(LABELS == 0, 1e4, 1e-4)
    trainer = hwloop.trainer(name, **quick(name))
    device = Mixer() if trainer.writes(len(ROWS), 2) else Squares()
    network = PhysicalNetwork(hwloop.Session(device), [Stage(6), Stage(6)], seed=0)
    assert bool(trainer.reason_against_weights) == (name in CLASSES_ONLY)
    if name in CLASSES_ONLY:
        with pytest.raises(hwloop.ConfigError, match="cannot weight rows"):
            trainer.fit(network, ROWS, LABELS, sample_weight=weights)
        with pytest.raises(hwloop.ConfigError, match=f"the trainer '{name}' cannot weight rows"):
            classifier(trainer=name, device=device).fit(ROWS, LABELS, weights)
        assert device.rows == 0
        return
    history = trainer.fit(network, ROWS, LABELS, sample_weight=weights)
    assert type(network.task) is Classification
    unweighted = hwloop.trainer(name, **quick(name))
    assert history.rows <= unweighted.cost(40, 2, 2)  # a weight costs no row
    # A readout that is trained to the end beside a tuned device still tells some new rows apart.
    rows = ROWS if trainer.writes(len(ROWS), 2) else RNG.normal(size=(50, 6))
    assert (network.predict(rows) == 0).mean() > 0.85


@pytest.mark.parametrize(
    ("trainer", "scales"), [("readout", (1e-6,)), ("readout", (1e-300, 5e306)), ("local", (3e-14,))]
)
def test_a_constant_factor_of_all_weights_changes_nothing_and_equal_weights_are_none(trainer, scales):
    rows, wanted = np.random.default_rng(3).normal(size=(60, 6)), {}
    values = rows[:, 0] + np.square(rows[:, 1])
    weights = np.random.default_rng(4).integers(1, 4, size=60).astype(float)
    settings = {"trainer": trainer, "stages": 1, "width": 6, "random_state": 0}
    for base in (None, weights):
        for scale in (None, *scales):
            given = base if scale is None else scale * (np.ones(60) if base is None else base)
            network = PhysicalNetwork(hwloop.Session(Squares()), [Stage(6)], seed=0)
            options = Regression().fit_options() | {"sample_weight": given}
            hwloop.trainer(trainer, **quick(trainer)).fit(network, rows, values, **options)
            found = [network.predict(rows)]
            if trainer == "readout":
                found += [hwloop.PhysicalRegressor(Squares(), **settings).fit(rows, values, given).predict(rows)]
            was = wanted.setdefault(base is None, found)
            np.testing.assert_allclose(found, was, rtol=0, atol=0 if base is None else 1e-4)


def test_weights_that_add_up_to_no_number_are_told_from_each_other_all_the_same():
    heavy = np.where(LABELS == 0, 1.5e308, 1e300)
    assert (classifier(trainer="readout").fit(ROWS, LABELS, heavy).predict(ROWS) == 0).all()
    twice = classifier(trainer="readout").fit(np.vstack([ROWS, ROWS]), np.tile(LABELS, 2), np.full(80, 1.5e308))
    plain = classifier(trainer="readout").fit(ROWS, LABELS)
    np.testing.assert_array_equal(twice.predict_proba(ROWS), plain.predict_proba(ROWS))


@pytest.mark.parametrize("light", [(1e6, 1e-9), (1e9, 1e-20)])
def test_a_row_that_hardly_counts_does_not_set_the_scale_of_the_targets(light):
    rows = np.random.default_rng(3).normal(size=(60, 6))
    values, weights = rows[:, 0] + rows[:, 1], np.ones(60)
    values[0], weights[0] = light
    model = hwloop.PhysicalRegressor(Squares(), stages=1, trainer="readout", random_state=0)
    others = model.fit(rows[1:], values[1:]).predict(rows[1:])
    np.testing.assert_allclose(model.fit(rows, values, weights).predict(rows[1:]), others, atol=0.1)


def test_targets_are_standardised_as_if_a_row_stood_there_as_often_as_it_weighs():
    values, counts = RNG.normal(size=(20, 2)) * [1.0, 1e-120] + [1e3, 0.0], RNG.integers(1, 5, size=20)
    weighted, numbers = Regression().fitted_to_weighted(values, 20, counts.astype(float))
    repeated, _ = Regression().fitted(np.repeat(values, counts, axis=0), counts.sum())
    np.testing.assert_allclose(weighted.mean, repeated.mean)
    np.testing.assert_allclose(weighted.scale, repeated.scale)
    np.testing.assert_array_equal(numbers, weighted.numbers(values))
    still = np.column_stack([values[:, 0], np.eye(20)[0]])
    with pytest.raises(hwloop.DatasetError, match="a row that hardly counts has the target 1 1, too far"):
        Regression().fitted_to_weighted(still, 20, np.where(np.arange(20) == 0, 1e-200, 1.0))


def test_a_reservoir_has_no_weights_of_its_steps():
    assert "every step" in hwloop.trainer("reservoir").reason_against_weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1.0] * 39, "shape"), ([0.0] + [1.0] * 39, "row 0 is 0"), ([np.nan] * 40, "nan"), (["x"] * 40, "numbers")],
)
def test_a_trainer_refuses_weights_that_are_none(weights, message):
    network = PhysicalNetwork(hwloop.Session(Squares()), [Stage(6)])
    with pytest.raises(hwloop.DatasetError, match=message):
        hwloop.trainer("readout").fit(network, ROWS, LABELS, sample_weight=weights)


@pytest.mark.parametrize("trainer", each_row(["readout", "local", "spsa"], "readout", "local"))
def test_a_weight_of_two_is_the_row_twice_and_one_of_nothing_no_row_in_any_order(trainer):
    weights, order = RNG.integers(0, 4, size=40), RNG.permutation(40)
    weighted = classifier(trainer=trainer).fit(ROWS[order], LABELS[order], weights[order])
    repeated = classifier(trainer=trainer).fit(np.repeat(ROWS, weights, 0), np.repeat(LABELS, weights))
    np.testing.assert_array_equal(weighted.predict_proba(ROWS), repeated.predict_proba(ROWS))
    assert weighted.ledger_ == repeated.ledger_
    if trainer == "readout":
        assert weighted.ledger_["train"] == 2 * np.count_nonzero(weights)


def test_balanced_classes_weigh_the_same_and_named_ones_what_is_said():
    rows, labels = ROWS[:30], np.array(["cat"] * 24 + ["dog"] * 6)
    balanced = classifier(trainer="readout", class_weight="balanced").fit(rows, labels)
    by_hand = classifier(trainer="readout", class_weight={"cat": 30 / 48, "dog": 30 / 12}).fit(rows, labels)
    by_rows = classifier(trainer="readout").fit(rows, labels, np.where(labels == "cat", 30 / 48, 30 / 12))
    for other in (by_hand, by_rows):
        np.testing.assert_array_equal(balanced.predict_proba(rows), other.predict_proba(rows))
    plain = classifier(trainer="readout").fit(rows, labels)
    assert (balanced.predict(ROWS) == "dog").sum() > (plain.predict(ROWS) == "dog").sum()


@pytest.mark.parametrize(
    ("options", "weights", "message"),
    [
        ({"class_weight": {"x": 2}}, None, "class_weight names 'x', and the classes are 0, 1"),
        ({"class_weight": "even"}, None, 'class_weight must be "balanced"'),
        ({"class_weight": {0: -1}}, None, "class_weight of 0 must be a finite number above 0, not -1"),
        ({}, np.where(LABELS, 0, -1), "sample_weight of row 0 is -1"),
        ({}, np.where(LABELS, np.inf, 1), "sample_weight of row 1 is inf"),
        ({}, np.zeros(40), "every sample_weight is zero"),
        ({}, LABELS, "1 class only"),
        ({}, "heavy", "sample_weight must be numbers"),
    ],
)
def test_weights_that_make_no_sense_are_refused_in_words(options, weights, message):
    model = classifier(**options)
    with pytest.raises(hwloop.HwloopError, match=message):
        model.fit(ROWS, LABELS, weights)
    assert model.device.rows == 0


def test_the_classifier_takes_every_option_of_the_base_with_its_default():
    own = inspect.signature(hwloop.PhysicalClassifier).parameters
    assert {k: v for k, v in own.items() if k != "class_weight"} == dict(
        inspect.signature(PhysicalEstimator).parameters
    )
