"""The extreme learning machine: random interfaces, one closed-form readout."""

from __future__ import annotations

from hwloop.training.cached import Cached
from hwloop.training.plans import PlainRows
from hwloop.training.readouts import RidgeBuilder
from hwloop.training.rules import RandomInterface
from hwloop.training.trainer import Trainer


def readout(*, seed: int = 0) -> Trainer:
    """Extreme learning machine: random maps, ridge readout on all responses; 1 row a sample a stage.

    The ridge strength is chosen by leave-one-out on the training rows.

    Rows: 1 a sample a stage to train, 1 a stage to predict. Needs nothing of the device.

    Source: Huang, Zhu and Siew, Neurocomputing 70, 489 (2006).
    """
    return Trainer(PlainRows(), Cached(RandomInterface()), RidgeBuilder, seed)
