"""Local objectives: what a stage's own outputs should become; no gradient comes from any other stage."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hwloop.layers import Stage
from hwloop.tasks import UNSAID, LearningTask
from hwloop.training.options import SHARE


class StageObjective(nn.Module):
    """The objective of one stage, with the parameters and fixed targets that belong to it alone."""

    @abstractmethod
    def loss(self, stage: Stage, z: Tensor, labels: Tensor, before: Tensor | None = None) -> Tensor:
        """Mean loss of the outputs z, shape (samples * rows_a_sample, width), labels (samples,).

        ``before`` is what the objective's maker carried over from the stages before, (rows, m), without gradient.
        """

    def scores(self, stage: Stage, z: Tensor) -> Tensor:
        """The stage's own log-odds of each row, shape (rows, m), each row by itself and without gradient.

        One a class, or a single one of the label that is overlaid on the row.
        """
        raise NotImplementedError(f"{type(self).__name__} has no scores")


class LocalObjective(ABC):
    """Makes the objective of each stage.

    Attributes
    ----------
    resumable
        Promises that all that training changes in a stage's objective are its parameters and buffers, so that one
        made afresh and given these is the same again.
    needs_classes
        Why it serves classifications alone, in words; empty for one that minimises :meth:`LearningTask.loss`.
    """

    @property
    def needs_classes(self) -> str:
        """By default nothing is known of it."""
        return UNSAID

    @property
    def resumable(self) -> bool:
        """Without a promise, training is executed again."""
        return False

    @abstractmethod
    def for_stage(self, stage: Stage, task: LearningTask, rng: torch.Generator) -> StageObjective:
        """A stage's objective with freshly drawn parameters."""

    def check(self, stage: Stage, task: LearningTask) -> None:
        """Refuse a stage that the objective cannot serve, before anything is measured.

        Raises
        ------
        ConfigError
        """

    def carry(self, before: Tensor | None, trained: StageObjective, stage: Stage, z: Tensor) -> Tensor | None:
        """What the next stage's loss is told of these rows, from a stage that is trained; by default nothing.

        ``before`` is what this stage was told; z is its output, (rows, width).
        """
        return None


class Collaborative(LocalObjective):
    """The loss of a stage counts the scores of the stages before it, as constants, beside its own.

    So a stage learns what those before it leave wrong. Layer collaboration (Lorberbom et al., AAAI 2024) adds the
    goodness of every other layer; where each row is measured once, later stages do not exist yet. With heads it
    is additive logistic regression, stage by stage (Friedman, Hastie and Tibshirani, Ann. Statist. 28, 337, 2000).

    Parameters
    ----------
    objective
        Whose scores add up.
    trust
        Factor on the scores of the stages before, which are those of rows they were trained on; 0 to 1.
    """

    def __init__(self, objective: LocalObjective, trust: float = 1.0) -> None:
        SHARE.check("trust", trust)
        self.objective = objective
        self.trust = trust

    @property
    def resumable(self) -> bool:
        return self.objective.resumable

    @property
    def needs_classes(self) -> str:
        return self.objective.needs_classes

    def for_stage(self, stage: Stage, task: LearningTask, rng: torch.Generator) -> StageObjective:
        return self.objective.for_stage(stage, task, rng)

    def check(self, stage: Stage, task: LearningTask) -> None:
        self.objective.check(stage, task)

    def carry(self, before: Tensor | None, trained: StageObjective, stage: Stage, z: Tensor) -> Tensor:
        """The sum of all scores so far."""
        own = self.trust * trained.scores(stage, z)
        return own if before is None else before + own
