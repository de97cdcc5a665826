"""Schedules: in which order rows are measured and stages are trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwloop.layers import PhysicalNetwork
from hwloop.training.plans import StimulusPlan
from hwloop.training.readouts import ReadoutBuilder
from hwloop.training.state import Checkpoint, SavedState


@dataclass
class Task:
    """What a schedule works on.

    ``epoch_done(stage, epoch, epochs, loss)`` and ``stage_done(stage, activity)`` report progress;
    activity is that of the trained stage on training rows, (rows, width). ``checkpoint(state)`` is called where
    the fit could go on from later.

    ``saved`` is the point that a resumable schedule goes on from; ``None`` to begin at the beginning. Where it has
    put everything as it stood there, it calls :meth:`take_up`.
    """

    network: PhysicalNetwork
    inputs: Tensor
    labels: Tensor
    n_classes: int
    plan: StimulusPlan
    readout: ReadoutBuilder
    rng: torch.Generator
    stage_begins: Callable[[int], None]
    epoch_done: Callable[[int, int, int, float], None]
    stage_done: Callable[[int, Tensor], None]
    checkpoint: Checkpoint
    saved: SavedState | None = None

    def take_up(self, saved: SavedState) -> None:
        """Go past the rows that were measured before a saved point, and draw at random what followed it."""
        for session, place in zip(self.network.distinct_sessions, saved.places, strict=True):
            session.pass_over(place)
        saved.restore_rng(self.rng)


class Schedule(ABC):
    """Trains every stage of a network."""

    @property
    def uses_model(self) -> str:
        """What it knows of the device beyond its measured rows, in words; empty if nothing."""
        return ""

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """By the name of the trainer's option; empty for a schedule without."""
        return {}

    @property
    def clients(self) -> int:
        """How many clients can have a device each; 0 for a schedule without clients."""
        return 0

    @property
    def resumable(self) -> bool:
        """Whether :meth:`run` goes on from ``task.saved``; by default it knows of no such thing."""
        return False

    @abstractmethod
    def measurements(self, stage: int, n_stages: int) -> int:
        """How often each planned row is measured in a stage, from 0, of a network of so many stages."""

    def check(self, network: PhysicalNetwork, n_classes: int) -> None:
        """Refuse a network, built but not measured yet, that cannot be trained like this.

        Raises
        ------
        ConfigError
        """

    @abstractmethod
    def run(self, task: Task) -> None:
        """Measure and train; leaves the stages trained and the readout builder filled."""
