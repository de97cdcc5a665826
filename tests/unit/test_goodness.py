"""Contrasts between goodnesses, against closed forms; emergent sparsity, against known vectors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hwloop.layers import Stage
from hwloop.training.history import sparsity
from hwloop.training.objectives import Collaborative
from hwloop.training.objectives.goodness import (
    Goodness,
    GoodnessContrast,
    SquaredActivity,
    among_all,
    each_by_itself,
    pairwise,
    squared_activity,
)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_squared_activity_is_the_mean_square_of_the_activation():
    z = torch.tensor([[3.0, -4.0]])
    assert float(SquaredActivity(2)(Stage(2), z)) == 12.5
    assert float(SquaredActivity(2)(Stage(2, "relu"), z)) == 4.5


def test_the_threshold_tells_each_row_by_itself():
    goodness = Goodness(SquaredActivity(1), slope=3.0, contrast=each_by_itself, threshold=2.0)
    z = torch.tensor([[3.0], [1.0], [0.0]])  # goodness 9, 1, 0
    expected = softplus(-21) + (softplus(-3) + softplus(-6)) / 2
    assert float(goodness.loss(Stage(1), z, torch.tensor([0]))) == pytest.approx(expected)
    assert goodness.scores(Stage(1), z)[:, 0].tolist() == [21.0, -3.0, -6.0]


def test_pairs_are_compared_and_all_are_one_cross_entropy():
    log_odds = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert float(pairwise(log_odds)) == pytest.approx((softplus(-2) + softplus(-3) + 2 * math.log(2)) / 4)
    first = -math.log(math.exp(3) / (math.exp(3) + math.exp(1) + 1))
    assert float(among_all(log_odds)) == pytest.approx((first + math.log(3)) / 2)


def test_a_goodness_counts_what_the_stages_before_found():
    stage, labels = Stage(1), torch.tensor([0])
    goodness = Goodness(SquaredActivity(1), slope=2.0)
    z, before = torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [1.0]])  # log-odds 2, 18
    assert float(goodness.loss(stage, z, labels)) == pytest.approx(softplus(16))
    assert float(goodness.loss(stage, z, labels, before)) == pytest.approx(softplus(12))
    maker = Collaborative(GoodnessContrast(squared_activity, 2.0), trust=0.5)
    assert maker.carry(None, goodness, stage, z)[:, 0].tolist() == [1.0, 9.0]


# -- sparsity ------------------------------------------------------------------------------------------


def test_sparsity_of_vectors_that_are_known():
    assert sparsity(torch.eye(9)).hoyer == pytest.approx(1)
    assert sparsity(torch.eye(9)).near_zero == pytest.approx(8 / 9)
    assert sparsity(-torch.ones(3, 16)).hoyer == pytest.approx(0)
    assert sparsity(-torch.ones(3, 16)).near_zero == 0
    assert sparsity(torch.zeros(2, 4)).hoyer == 1  # silence is sparse
    gaussian = sparsity(torch.randn(2000, 100, generator=torch.Generator().manual_seed(0)))
    assert gaussian.hoyer == pytest.approx((10 - 10 * math.sqrt(2 / math.pi)) / 9, abs=0.01)
    assert gaussian.near_zero == pytest.approx(math.erf(0.1 / math.sqrt(2)), abs=0.005)


@given(
    arrays(
        "float32",
        array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_sparsity_lies_within_0_and_1_and_does_not_see_the_scale(activity):
    rows = torch.from_numpy(activity)
    found = sparsity(rows)
    assert -1e-9 <= found.hoyer <= 1 + 1e-9
    assert 0 <= found.near_zero <= 1
    assert sparsity(4 * rows).hoyer == pytest.approx(found.hoyer)


def test_no_rows_and_a_single_channel_have_no_sparsity():
    assert sparsity(torch.empty(0, 5)) is None
    assert sparsity(torch.ones(3, 1)) is None
