"""Which rows are measured for a sample: label overlays that are honest about wrong labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

import hwloop
from hwloop.training.plans import LabelOverlay, PlainRows


def overlaid(plan: LabelOverlay, labels: torch.Tensor, n_classes: int, seed: int = 0) -> torch.Tensor:
    """Labels in the order of the planned rows, shape (samples, rows_a_sample)."""
    rows = plan.rows(torch.zeros(len(labels), 2), labels, n_classes, torch.Generator().manual_seed(seed))
    return rows[:, 2:].argmax(dim=1).reshape(len(labels), -1)


def test_plain_rows_are_the_samples_themselves():
    inputs = torch.arange(12.0).reshape(4, 3)
    plan = PlainRows()
    assert plan.rows_a_sample(7) == 1
    assert plan.n_features(3, 7) == 3
    assert torch.equal(plan.rows(inputs, torch.zeros(4, dtype=torch.int64), 7, torch.Generator()), inputs)


@given(n_classes=st.integers(2, 12), data=st.data(), samples=st.integers(1, 20), seed=st.integers(0, 2**31 - 1))
def test_the_true_label_comes_first_and_wrong_ones_are_distinct_and_never_true(n_classes, data, samples, seed):
    wrong = data.draw(st.one_of(st.none(), st.integers(1, n_classes - 1)))
    labels = torch.tensor(data.draw(st.lists(st.integers(0, n_classes - 1), min_size=samples, max_size=samples)))
    plan = LabelOverlay(wrong)
    shown = overlaid(plan, labels, n_classes, seed)
    assert shown.shape == (samples, plan.rows_a_sample(n_classes))
    assert torch.equal(shown[:, 0], labels)
    assert all(len(set(row.tolist())) == len(row) for row in shown)


@pytest.mark.parametrize("wrong", [1, 3])
def test_wrong_labels_are_uniform_over_the_others(wrong):
    shown = overlaid(LabelOverlay(wrong), torch.full((20_000,), 4), 10, seed=1)
    for column in range(1, 1 + wrong):
        counts = np.bincount(shown[:, column], minlength=10)
        assert counts[4] == 0
        assert chisquare(np.delete(counts, 4)).pvalue > 1e-3


def test_pairs_of_wrong_labels_are_uniform_too():
    shown = overlaid(LabelOverlay(2), torch.zeros(24_000, dtype=torch.int64), 5, seed=2)
    pairs = np.bincount(5 * shown[:, 1] + shown[:, 2], minlength=25)
    assert chisquare(pairs[pairs > 0]).pvalue > 1e-3
    assert (pairs > 0).sum() == 4 * 3


def test_wrong_labels_are_drawn_anew_from_the_generator():
    rng, plan, labels = torch.Generator().manual_seed(0), LabelOverlay(1), torch.zeros(50, dtype=torch.int64)
    first, second = (plan.rows(torch.zeros(50, 1), labels, 10, rng) for _ in range(2))
    assert not torch.equal(first, second)


def test_the_amplitude_is_fixed_by_the_training_inputs_and_no_batch_moves_it():
    plan = LabelOverlay()
    plan.fit(torch.tensor([[0.5, -3.0], [1.0, 2.0]]))
    rows = plan.with_labels(torch.full((2, 2), 100.0), torch.tensor([1, 0]), 3)
    np.testing.assert_array_equal(rows[:, 2:], [[0, 3, 0], [3, 0, 0]])
    neutral = plan.without_label(torch.zeros(1, 2), 3)
    np.testing.assert_allclose(neutral[:, 2:], [[1, 1, 1]])


def test_inputs_that_are_all_zero_still_get_a_visible_label():
    plan = LabelOverlay()
    plan.fit(torch.zeros(3, 2))
    assert plan.amplitude == 1.0


@pytest.mark.parametrize("wrong", [-1, 0, 1.5])
def test_a_number_of_wrong_labels_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(hwloop.ConfigError, match="wrong_labels"):
        LabelOverlay(wrong)


def test_more_wrong_labels_than_there_are_is_refused():
    with pytest.raises(hwloop.ConfigError, match="3 classes have 2 wrong labels, not 3"):
        LabelOverlay(3).rows_a_sample(3)
