"""Trainers: compositions of a stimulus plan, a local rule, a schedule and a readout."""

from hwloop.training.history import History, StageHistory
from hwloop.training.trainer import Trainer, trainer

__all__ = ["History", "StageHistory", "Trainer", "trainer"]
