"""The sequence task: its scores, its washout, its symbols, its series, and that no step of a split is shuffled."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwloop.errors import DatasetError
from hwloop.experiments.dataset import Dataset, split
from hwloop.experiments.own_data.series import series_dataset
from hwloop.experiments.time_series import (
    LEVELS,
    channel_sequences,
    mackey_glass_sequences,
    narma10_sequences,
    nonlinear_channel,
)
from hwloop.tasks import SequenceOfSymbols, SequenceOfValues, kind_of
from hwloop.tasks.sequence import normalised_mse, normalised_rmse, symbol_error_rate

RNG = np.random.default_rng(7)


def test_the_mean_scores_one_and_the_root_is_the_root():
    target = RNG.normal(3.0, 5.0, (400, 2))
    assert normalised_mse(target, np.tile(target.mean(axis=0), (400, 1))) == pytest.approx(1.0, abs=1e-12)
    off = target + 0.5 * target.std(axis=0) * np.where(np.arange(400) % 2, 1.0, -1.0)[:, None]
    assert normalised_mse(target, off) == pytest.approx(0.25)
    assert normalised_rmse(target, off) == pytest.approx(0.5)
    with pytest.raises(DatasetError, match="does not vary"):
        normalised_mse(np.ones(5), np.zeros(5))


@given(steps=st.integers(2, 9), washout=st.integers(0, 8), values=st.integers(1, 3), rows=st.integers(2, 4))
def test_washout_steps_are_never_counted(steps, washout, values, rows):
    if washout >= steps:
        with pytest.raises(DatasetError, match="nothing to score"):
            SequenceOfValues(steps, washout)
        return
    rng = np.random.default_rng(steps)
    task = SequenceOfValues(steps, washout, names=tuple("abc"[:values]))
    targets = rng.normal(size=(rows, steps * values))
    predicted = targets + rng.normal(size=targets.shape)
    score = task.score(targets, predicted)
    spoilt = predicted.copy()
    spoilt[:, : washout * values] = 1e6
    assert task.score(targets, spoilt) == score
    loss, gradient = task.judge(torch.from_numpy(spoilt), torch.from_numpy(targets))
    assert bool((gradient[:, : washout * values] == 0).all())
    assert float(loss.max()) < 1e6
    assert task.scored(targets, predicted)[0].shape == (rows * (steps - washout), values)


def test_symbols_are_the_nearest_codes_and_unordered_ones_the_largest():
    task = SequenceOfSymbols(3, names=("low", "middle", "high"), codes=((-1.0,), (0.0,), (2.0,)))
    np.testing.assert_array_equal(task.predictions(np.array([[-3.0, 0.9, 1.1]])), [[0, 1, 2]])
    np.testing.assert_array_equal(task.encode(np.array([[2, 0, 1]])), [[2.0, -1.0, 0.0]])
    plain = SequenceOfSymbols(2, names=("a", "b", "c"))
    np.testing.assert_array_equal(plain.predictions(np.array([[0.1, 0.2, 0.0, -1, -3, -2.0]])), [[1, 0]])
    targets = RNG.integers(0, 3, (4, 2))
    np.testing.assert_array_equal(plain.predictions(plain.encode(targets)), targets)
    assert symbol_error_rate(np.array([0, 1, 2, 0]), np.array([0, 1, 1, 0])) == 0.25
    for codes in (((1.0,), (1.0,), (2.0,)), ((1.0,), (2.0, 3.0), (4.0,))):
        with pytest.raises(DatasetError, match="codes"):
            SequenceOfSymbols(3, names=("a", "b", "c"), codes=codes)


@pytest.mark.parametrize(
    "task",
    [
        SequenceOfValues(7, 2, True, names=("x", "y")),
        SequenceOfSymbols(5, 1, names=("a", "b"), codes=((-1.0,), (1.0,))),
        SequenceOfSymbols(5, 1, names=("a", "b")),
    ],
)
def test_a_task_comes_back_from_a_file(task):
    assert kind_of(task.as_dict()).from_dict(task.as_dict()) == task
    assert kind_of(task.sizes()).of_sizes(task.sizes()) == task


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (np.zeros((3, 5)), r"needs targets \(rows, 6\)"),
        (np.array([[0.0, 1, 2, 3, 4, np.nan]] * 2), "in row 0, step 5"),
        (np.array([[5.0, 9, 1, 1, 1, 1]] * 2), "never vary"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused_in_words(targets, said):
    with pytest.raises(DatasetError, match=said):
        Dataset("series", np.zeros((len(targets), 6)), targets, task=SequenceOfValues(6, 2))


def test_one_series_is_split_into_stretches_with_a_washout_between_and_never_shuffled():
    times = np.arange(1000.0)
    made = series_dataset("ramp", np.stack([times, -times], axis=1), ("up", "down"), "up", steps=50, washout=10)
    assert made.inputs.shape == (19, 100)
    np.testing.assert_array_equal(made.inputs[:, ::2].ravel(), times[:950])
    np.testing.assert_array_equal(made.targets.ravel(), times[1:951])
    for seed in (0, 1):
        parts = split(made, seed, test=0.2, validation=0.1)
        np.testing.assert_array_equal(np.concatenate([parts.train, parts.validation, parts.test]), np.arange(19))
        assert (len(parts.train), len(parts.validation), len(parts.test)) == (13, 2, 4)
        scored = [
            made.task.after_washout(made.targets[rows]) for rows in (parts.train, parts.validation, parts.test)
        ]
        assert scored[1].min() - scored[0].max() == scored[2].min() - scored[1].max() == 11  # a washout between


def test_a_series_says_what_is_wrong_with_it():
    table = np.arange(300.0)[:, None]
    for asked, said in (
        ({"target": "b"}, "nearest|a"),
        ({"target": "a", "steps": 200}, "too few"),
        ({"target": "a", "horizon": 0}, "nothing is left"),
        ({"target": "a", "horizon": -1}, "negative"),
    ):
        with pytest.raises(DatasetError, match=said):
            series_dataset("s", table, ("a",), **asked)
    both = np.concatenate([table, table**2], axis=1)
    same_step = series_dataset("s", both, ("a", "b"), "b", horizon=0, steps=50, washout=5)
    assert same_step.inputs.shape == (6, 50)  # the target is not given away
    np.testing.assert_array_equal(same_step.targets.ravel(), same_step.inputs.ravel() ** 2)


def test_whole_sequences_are_drawn_where_each_stands_by_itself():
    made = narma10_sequences(10, 60, 20)
    first, second = split(made, 0, 0.3, 0.2), split(made, 1, 0.3, 0.2)
    assert not np.array_equal(first.test, second.test)
    assert sorted([*first.train, *first.validation, *first.test]) == list(range(10))


def test_mackey_glass_is_asked_for_several_steps_ahead():
    made = mackey_glass_sequences(2, 30, 5, ahead=[1, 3])
    x = made.inputs
    targets = made.targets.reshape(2, 30, 2)
    np.testing.assert_array_equal(targets[:, :-1, 0], x[:, 1:])
    np.testing.assert_array_equal(targets[:, :-3, 1], x[:, 3:])
    assert made.task.names == ("x(t+1)", "x(t+3)")
    with pytest.raises(DatasetError, match="ahead"):
        mackey_glass_sequences(2, 30, 5, ahead=0)


def test_the_channel_is_its_equation_and_its_noise_is_as_loud_as_was_asked_for():
    u, sent = nonlinear_channel(1, 50, None, seed=3)
    d = np.array(LEVELS)[sent[0]]  # d(n-2) at step n
    n = 30
    q = sum(
        weight * d[n + 2 + ahead]
        for ahead, weight in zip(
            range(2, -8, -1), (0.08, -0.12, 1.0, 0.18, -0.1, 0.091, -0.05, 0.04, 0.03, 0.01), strict=True
        )
    )
    assert u[0, n, 0] == pytest.approx(q + 0.036 * q**2 - 0.011 * q**3, rel=1e-12)
    clean, _ = nonlinear_channel(4, 5000, None, seed=1)
    noisy, _ = nonlinear_channel(4, 5000, 16.0, seed=1)
    assert 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2)) == pytest.approx(16.0, abs=0.2)


def test_a_long_equaliser_finds_every_symbol_of_the_channel_without_noise():
    made = channel_sequences(4, 2500, 20, snr_db=None)
    task = made.task

    def features(u):
        taps = np.stack([np.roll(u, k, axis=1) for k in range(18)], axis=2)
        return np.concatenate([taps, taps**2, taps**3], axis=2).reshape(len(u), -1)

    train, test = features(made.inputs[:2]), features(made.inputs[2:])
    kept = np.column_stack([task.after_washout(train), np.ones(2 * 2480)])
    weights = np.linalg.lstsq(kept, task.after_washout(task.encode(made.targets[:2])), rcond=None)[0]
    found = np.column_stack([test.reshape(5000, -1), np.ones(5000)]) @ weights
    assert task.score(made.targets[2:], task.predictions(found.reshape(2, -1))) == 0.0


def test_a_shift_register_solves_a_linear_filter_and_no_floor_sees_the_future():
    from types import SimpleNamespace

    from hwloop.experiment.partition import Partition, Samples
    from hwloop.experiment.series_floors import DigitalEchoState, PolynomialMemory, ShiftRegister

    task, rng = SequenceOfValues(60, 20), np.random.default_rng(0)
    inputs = rng.normal(size=(8, 60))
    padded = np.pad(inputs, ((0, 0), (4, 0)))
    filtered = sum(w * padded[:, 4 - k : 64 - k] for k, w in enumerate((0.5, -0.2, 0.0, 0.1, 0.7)))
    device = SimpleNamespace(device=SimpleNamespace(spec=SimpleNamespace(n_outputs=60 * 10, streams=False)))
    for targets, solved in ((filtered, True), (np.roll(inputs, -1, axis=1), False)):
        train, test = Samples(inputs[:6], targets[:6]), Samples(inputs[6:], targets[6:])
        data = Partition(0, train, None, test, task)
        for floor in (ShiftRegister(), PolynomialMemory(), DigitalEchoState()):
            error = floor.score(None, [device], data).score["nmse"]
            assert floor.suits(task)
            if not solved:
                assert error > 0.8  # the next value of noise
            elif not isinstance(floor, DigitalEchoState):
                assert error < 1e-10
