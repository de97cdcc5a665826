"""Heads that are thrown away: their loss in closed form, and that the readout sees responses alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import hwloop
from hwloop.layers import Stage
from hwloop.tasks import Classification
from hwloop.training.objectives.class_scores import AuxiliaryHeads


def test_the_head_is_two_layers_with_a_rectifier_between():
    head = AuxiliaryHeads(5, label_smoothing=0.0).for_stage(
        Stage(3), Classification(4), torch.Generator().manual_seed(0)
    )
    z, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4
    logits = (z @ head.inner + head.offset).clamp_min(0) @ head.outer + head.bias
    expected = functional.cross_entropy(logits, labels)
    assert float(head.loss(Stage(3), z, labels).detach()) == pytest.approx(float(expected.detach()))
    assert {tuple(p.shape) for p in head.parameters()} == {(3, 5), (5,), (5, 4), (4,)}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"hidden": 0}, "hidden"), ({"hidden": 1.5}, "hidden"), ({"label_smoothing": 2}, "smooth")],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(hwloop.ConfigError, match=message):
        hwloop.trainer("greedy", **options)


def test_nothing_of_the_head_is_left_in_the_network():
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    device = hwloop.open_device("relu-layer", n_inputs=8, n_outputs=20)
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [Stage(7), Stage(7)])
    hwloop.trainer("greedy", hidden=13, epochs=1, min_steps=5).fit(network, rng.normal(size=(60, 5)), labels)
    assert not any(13 in tensor.shape for tensor in network.state_dict().values())
    assert network.readout.weight.shape == (2 * 20, 3)  # every response of both stages, and nothing else
