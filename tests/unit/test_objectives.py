"""Goodness, its contrast, and local heads, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import hwloop
from hwloop.layers import Stage
from hwloop.tasks import Classification
from hwloop.training.objectives.class_scores import LocalHeads
from hwloop.training.objectives.goodness import TARGETS, CosineToTarget, Goodness, GoodnessContrast


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from(list(TARGETS)),
    st.sampled_from([None, "relu"]),
)
def test_goodness_is_a_cosine(z, targets, activation):
    stage = Stage(z.shape[1], activation)
    goodness = GoodnessContrast(TARGETS[targets], 4.0).for_stage(stage, Classification(3), rng())
    values = goodness.measure(stage, torch.from_numpy(z))
    assert values.shape == (len(z),)
    assert (values.abs() <= 1 + 1e-6).all()
    assert torch.linalg.vector_norm(goodness.measure.target) == pytest.approx(1, abs=1e-6)


def test_the_contrast_is_softplus_of_minus_theta_times_the_difference():
    # |z| along the axes has the target's own elements as its goodness.
    goodness = Goodness(CosineToTarget(torch.tensor([3.0, 4.0])), slope=4.0)
    z = torch.tensor([[0.0, -2.0], [5.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # goodness 0.8, 0.6; 0.6, 0.8
    loss = goodness.loss(Stage(2), z, torch.tensor([0, 1]))
    expected = (math.log1p(math.exp(-0.8)) + math.log1p(math.exp(0.8))) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_contrast_averages_over_all_wrong_labels():
    goodness = Goodness(CosineToTarget(torch.tensor([3.0, 4.0])), slope=2.0)
    z = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    loss = goodness.loss(Stage(2), z, torch.tensor([0]))
    assert float(loss) == pytest.approx((math.log1p(math.exp(-0.4)) + math.log(2)) / 2, rel=1e-6)


def test_magnitudes_reach_a_cosine_of_0_71_with_a_signed_target_and_1_with_a_nonnegative_one():
    # The best |z| is the positive part of the target: cos = |p+| / |p|, sqrt(1/2) for half of a Gaussian's power.
    best = {}
    for name, draw in TARGETS.items():
        target = draw(20_000, rng(1))
        goodness, stage = target, Stage(20_000)
        best[name] = float(goodness(stage, target.target.clamp_min(0)[None]))
        trial = torch.randn(200, 20_000, generator=rng(2)) + goodness.target * 300
        assert float(goodness(stage, trial).max()) <= best[name] + 1e-6
    assert best["signed"] == pytest.approx(math.sqrt(0.5), abs=0.01)
    assert best["nonnegative"] == pytest.approx(1.0, abs=1e-6)


def test_every_stage_draws_a_target_of_its_own():
    contrast, generator, stage = GoodnessContrast(TARGETS["signed"], 4.0), rng(), Stage(50)
    first, second = (contrast.for_stage(stage, Classification(3), generator).measure.target for _ in range(2))
    assert abs(float(first @ second)) < 0.5


def test_targets_are_fixed_and_heads_are_trained():
    stage = Stage(5)
    assert (
        list(GoodnessContrast(TARGETS["signed"], 4.0).for_stage(stage, Classification(3), rng()).parameters())
        == []
    )
    assert len(list(LocalHeads().for_stage(stage, Classification(3), rng()).parameters())) == 2


def test_a_head_without_weights_has_the_loss_of_a_guess():
    head = LocalHeads(label_smoothing=0.0).for_stage(Stage(4), Classification(7), rng())
    torch.nn.init.zeros_(head.linear.weight)
    assert float(
        head.loss(Stage(4), torch.randn(9, 4, generator=rng()), torch.arange(9) % 7).detach()
    ) == pytest.approx(math.log(7))


def test_label_smoothing_adds_the_cross_entropy_with_a_uniform_label():
    plain, smooth = (
        LocalHeads(label_smoothing=share).for_stage(Stage(4), Classification(3), rng(3)) for share in (0.0, 0.3)
    )
    z, labels = torch.randn(6, 4, generator=rng()), torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        uniform = -torch.log_softmax(plain.linear(z), dim=1).mean()
        expected = 0.7 * plain.loss(Stage(4), z, labels) + 0.3 * uniform
        assert float(smooth.loss(Stage(4), z, labels)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_label_smoothing_that_is_no_share_is_refused(share):
    with pytest.raises(hwloop.ConfigError, match="label_smoothing"):
        LocalHeads(label_smoothing=share)


@pytest.mark.parametrize("theta", [0.0, -4.0, float("nan"), float("inf")])
def test_a_theta_that_is_not_positive_is_refused(theta):
    with pytest.raises(hwloop.ConfigError, match="slope"):
        GoodnessContrast(TARGETS["signed"], theta)
