"""Blocks of stages: what is measured, what may change, and what a checkpoint holds of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.tasks import Classification
from hwloop.training.objectives.class_scores import BlockHead

CLASSES = 3
QUICK = {"min_steps": 20, "epochs": 2, "batch_samples": 16}


class Mixer(hwloop.Device):
    """|x T|, noiseless."""

    def __init__(self) -> None:
        self.spec = hwloop.DeviceSpec(12, 16, -1.0, 1.0, deterministic=True)
        self.matrix = np.random.default_rng(0).normal(size=(12, 16))
        self.rows = 0

    def _measure(self, inputs):
        self.rows += len(inputs)
        return np.abs((inputs[:, :, None] * self.matrix).cumsum(axis=1)[:, -1])


def blobs(samples: int = 45, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(samples) % CLASSES
    return np.random.default_rng(seed).normal(size=(samples, 5)) + 2.0 * np.eye(CLASSES, 5)[labels], labels


@pytest.mark.parametrize(
    ("stages", "block", "sweeps", "rows"),
    [(2, 2, 1, 2), (2, 2, 3, 4), (3, 2, 3, 5), (4, 2, 2, 6), (3, 3, 2, 5), (3, 1, 4, 3), (1, 2, 5, 1)],
)
def test_the_rows_of_blocks(stages, block, sweeps, rows):
    trainer, device, (inputs, labels) = (
        hwloop.trainer("block", stages=block, sweeps=sweeps, **QUICK),
        Mixer(),
        blobs(),
    )
    network = PhysicalNetwork(hwloop.Session(device), [Stage(8) for _ in range(stages)])
    trainer.fit(network, inputs, labels)
    assert device.rows == trainer.cost(len(inputs), CLASSES, stages) == rows * len(inputs)


def test_each_device_pays_for_its_own_stages():
    inputs, labels = blobs()
    trainer = hwloop.trainer("block", stages=2, sweeps=3, **QUICK)
    sessions = [hwloop.Session(Mixer(), budget=rows * len(inputs)) for rows in (1, 3, 1)]
    trainer.fit(PhysicalNetwork(sessions, [Stage(8) for _ in range(3)]), inputs, labels)
    assert [session.ledger["train"] for session in sessions] == [45, 135, 45]
    short = [hwloop.Session(Mixer(), budget=rows * len(inputs)) for rows in (1, 2, 1)]
    with pytest.raises(hwloop.BudgetExceeded):
        trainer.fit(PhysicalNetwork(short, [Stage(8) for _ in range(3)]), inputs, labels)


def test_the_head_of_a_block_changes_one_map_and_sees_the_others_as_they_are():
    stage, labels = Stage(4), torch.tensor([0, 1])
    head = BlockHead(stage.width + 3, Classification(2), 0.0, torch.Generator().manual_seed(0))
    z, others = torch.ones(2, 4, requires_grad=True), torch.ones(2, 3)
    head.loss(stage, z, labels, others).backward()
    assert z.grad is not None
    assert head.linear.weight.shape == (2, 7)
    logits = torch.cat([z, others], dim=1) @ head.linear.weight.T + head.linear.bias
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert float(head.loss(stage, z, labels, others).detach()) == pytest.approx(float(expected.detach()))


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
@pytest.mark.parametrize("name", ["stages", "sweeps"])
def test_counts_that_are_none_are_refused(name, bad):
    with pytest.raises(hwloop.ConfigError, match=name):
        hwloop.trainer("block", **{name: bad})
