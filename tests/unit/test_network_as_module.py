"""A trained network, and its stages, called as modules of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_fits import CLASSES, Mixer, blobs, small_network
from torch import nn

import hwloop
from hwloop.errors import ConfigError


@pytest.fixture(scope="module")
def trained():
    network = small_network(Mixer())
    hwloop.trainer("local", epochs=2).fit(network, *blobs())
    return network


def test_a_network_says_as_a_tensor_what_it_predicts(trained):
    inputs = torch.from_numpy(blobs()[0])
    model = nn.Sequential(nn.Identity(), trained)
    found = model(inputs.reshape(2, 12, 5))
    assert found.shape == (2, 12, CLASSES)
    assert not found.requires_grad
    np.testing.assert_array_equal(found.reshape(24, -1).numpy(), trained.predict_proba(inputs))
    assert model(inputs.float()).dtype == torch.float32


def test_a_stages_gradient_reaches_its_own_map_alone(trained):
    (_, stage, session), *_ = trained
    inputs = torch.from_numpy(blobs()[0])
    found = stage(inputs.reshape(4, 6, 5), session)
    assert found.shape == (4, 6, 6)
    found.sum().backward()
    assert stage.linear.weight.grad is not None
    before = session.ledger["evaluate"]
    with torch.no_grad():
        again = stage.eval()(inputs, session)
    assert not again.requires_grad
    torch.testing.assert_close(again.reshape(4, 6, 6), found.detach(), rtol=0, atol=0)
    assert session.ledger["evaluate"] == before  # remembered
    stage.train().zero_grad()


def test_what_asks_for_a_gradient_is_refused(trained):
    (_, stage, session), *_ = trained
    inputs = torch.from_numpy(blobs()[0]).requires_grad_()
    for call in (lambda: trained(inputs), lambda: stage(inputs, session)):
        with pytest.raises(ConfigError, match=r"hwloop\.nn\.PhysicalLayer"):
            call()


def test_what_is_not_trained_says_so():
    network = small_network(Mixer())
    inputs = torch.from_numpy(blobs()[0])
    with pytest.raises(ConfigError, match="train it first"):
        network(inputs)
    network.build(5)
    (_, stage, session), *_ = network
    for one in (stage, hwloop.Stage()):
        with pytest.raises(ConfigError, match="not fitted"):
            one(inputs, session)
