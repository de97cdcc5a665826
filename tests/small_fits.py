"""A device that every trainer can use, and networks and data so small that a fit takes a moment."""

from __future__ import annotations

from typing import Any

import numpy as np
from examples import each_row

import hwloop
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.registry import TRAINERS, accepted_settings

CLASSES = 3
GAINS = (hwloop.Tunable("gains", 16, 0.0, 4.0, rest=1.0),)
# Trainers that learn classes: all but those that want a target at every step.
CLASSIFYING = {n: e for n, e in TRAINERS.entries().items() if "classification" in TRAINERS.build(n).serves}


def each_trainer(*always: str, daily: bool = False) -> list[Any]:
    """Parameters for all trainers of classes; those not named run among the slow tests, see :func:`each_row`."""
    return each_row(CLASSIFYING, *always, daily=CLASSIFYING if daily else ())


def options(name: str, **wanted: Any) -> dict[str, Any]:
    """Those of the options that a trainer takes."""
    accepted = accepted_settings(TRAINERS.load(name)) or wanted.keys()
    return {key: value for key, value in wanted.items() if key in accepted}


class Mixer(hwloop.Device):
    """|x T| g and the nudges, with derivatives, so that every trainer can use it; the gains g are its tunables."""

    simulated = True
    tuning_frequencies = 1.0  # of no sinusoid, but so a trainer of such devices can be tried

    def __init__(self) -> None:
        self.rows = 0
        self.spec = hwloop.DeviceSpec(12 + 16, 16, -1.0, 1.0, deterministic=True, n_nudges=16, tunables=GAINS)
        self.matrix = np.random.default_rng(0).normal(size=(12, 16))

    def _measure(self, inputs):
        self.rows += len(inputs)
        drives, nudges = np.split(inputs, [len(self.matrix)], axis=1)
        return np.abs((drives[:, :, None] * self.matrix).sum(axis=1)) * self.tuning + nudges

    def pull_back(self, stimuli, gradients):
        by_drives = (self.tuning * gradients * np.sign(stimuli[:, :12] @ self.matrix)) @ self.matrix.T
        return np.hstack([by_drives, gradients])

    def pull_back_tuning(self, stimuli, gradients):
        return (gradients * np.abs(stimuli[:, :12] @ self.matrix)).sum(axis=0)


def blobs(samples=24):
    rng = np.random.default_rng(0)
    labels = np.arange(samples) % CLASSES
    return rng.normal(size=(samples, 5)) + 2.0 * np.eye(CLASSES, 5)[labels], labels


def small_network(device: hwloop.Device, stages: int = 2, width: int = 6, **session: Any) -> PhysicalNetwork:
    """Stages that share a device."""
    return PhysicalNetwork(hwloop.Session(device, **session), [Stage(width) for _ in range(stages)], seed=1)
