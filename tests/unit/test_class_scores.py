"""Objectives that score every class from one row, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import hwloop
from hwloop.layers import Stage
from hwloop.tasks import Classification
from hwloop.training.objectives import Collaborative
from hwloop.training.objectives.class_scores import ChannelCompetition, LocalHeads, Prototypes

MAKERS = {
    "heads": LocalHeads(label_smoothing=0.0),
    "channels": ChannelCompetition(slope=2.0, label_smoothing=0.0),
    "prototypes": Prototypes(slope=8.0, label_smoothing=0.0),
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_channels_take_turns_and_a_class_scores_its_groups_mean_square():
    scores = ChannelCompetition(slope=3.0, label_smoothing=0.0).for_stage(Stage(5), Classification(2), rng())
    z = torch.tensor([[1.0, 2.0, 3.0, -4.0, 5.0]])  # class 0: 1, 3, 5; class 1: 2, -4
    assert scores.logits(Stage(5), z)[0].tolist() == pytest.approx([3 * 35 / 3, 3 * 20 / 2])
    assert scores.logits(Stage(5, "relu"), z)[0].tolist() == pytest.approx([3 * 35 / 3, 3 * 4 / 2])


def test_a_class_without_a_channel_is_refused():
    with pytest.raises(hwloop.ConfigError, match=r"width 2 .* 3 classes"):
        ChannelCompetition().check(Stage(2), Classification(3))
    ChannelCompetition().check(Stage(3), Classification(3))


def test_prototypes_are_orthonormal_and_score_the_cosine():
    scores = Prototypes(slope=8.0).for_stage(Stage(20), Classification(6), rng())
    torch.testing.assert_close(scores.vectors @ scores.vectors.T, torch.eye(6), atol=1e-5, rtol=0)
    logits = scores.logits(Stage(20), 7 * scores.vectors)
    torch.testing.assert_close(logits, 8 * torch.eye(6), atol=1e-4, rtol=0)


def test_more_classes_than_channels_have_unit_prototypes_still():
    vectors = Prototypes().for_stage(Stage(3), Classification(9), rng()).vectors
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(9))


@pytest.mark.parametrize("name", MAKERS)
def test_scores_are_the_log_probabilities_that_the_loss_is_of(name):
    stage, z, labels = Stage(12, "relu"), torch.randn(7, 12, generator=rng(1)), torch.arange(7) % 3
    objective = MAKERS[name].for_stage(stage, Classification(3), rng())
    scores = objective.scores(stage, z)
    np.testing.assert_allclose(scores.exp().sum(dim=1), 1, rtol=1e-5)
    expected = functional.nll_loss(scores.float(), labels)
    assert float(objective.loss(stage, z, labels).detach()) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_known_before_adds_to_the_logits(name):
    stage, z, labels = Stage(12), torch.randn(6, 12, generator=rng(1)), torch.arange(6) % 3
    objective = MAKERS[name].for_stage(stage, Classification(3), rng())
    # Certain of the truth beforehand, nothing is left to learn; certain of an error, much is.
    certain = 100.0 * functional.one_hot(labels, 3)
    assert float(objective.loss(stage, z, labels, certain).detach()) < 1e-6
    assert float(objective.loss(stage, z, labels, certain.roll(1, dims=1)).detach()) > 50


def test_collaboration_carries_the_sum_of_all_scores():
    maker, stage, z = (
        Collaborative(LocalHeads(label_smoothing=0.0), trust=0.5),
        Stage(4),
        torch.randn(5, 4, generator=rng()),
    )
    first, second = (maker.for_stage(stage, Classification(3), rng(seed)) for seed in (1, 2))
    one = maker.carry(None, first, stage, z)
    torch.testing.assert_close(one, 0.5 * first.scores(stage, z))
    torch.testing.assert_close(maker.carry(one, second, stage, z), one + 0.5 * second.scores(stage, z))
    assert LocalHeads().carry(None, first, stage, z) is None


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_a_trust_that_is_no_share_is_refused(bad):
    with pytest.raises(hwloop.ConfigError, match="trust"):
        Collaborative(LocalHeads(), bad)


@pytest.mark.parametrize("maker", [ChannelCompetition, Prototypes])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_a_slope_that_is_not_positive_is_refused(maker, bad):
    with pytest.raises(hwloop.ConfigError, match="slope"):
        maker(bad)
