"""What a floor is: a method that a run's network is compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from hwloop.experiment.columns import Trial
from hwloop.experiment.config import ExperimentConfig
from hwloop.tasks import LearningTask

if TYPE_CHECKING:
    from hwloop.experiment.partition import Partition
    from hwloop.session import Session


class Floor(ABC):
    """A method that a network is compared with, on the same split.

    Attributes
    ----------
    key
        Its name in files and in ``--json``.
    method
        Its name in the evidence table; a prefix says what it is: a floor that any network must beat, or a digital
        method that does the task without physics. ``{linear}`` stands for what the task calls its linear models.
    standing
        Its name in the arena's table, likewise.
    regime
        What its nonlinearity is; ``None`` for the network's own regime.
    digital
        Whether it does the task without physics, at its own cost, and is no floor.
    json_group
        Under which key ``--json`` holds its score.
    null
        Whether it is the same network with no physics in the place of its devices.
    linear_null
        Whether nothing in that place is nonlinear.
    turn
        What measures runs first, while the devices remember the network's rows; what needs none runs last.
    """

    key: str
    method: str
    standing: str
    regime: str | None = None
    digital: bool = False
    json_group: str = "floors"
    null: bool = False
    linear_null: bool = False
    turn: int = 2

    def method_of(self, kind: type[LearningTask]) -> str:
        """Its name in the evidence table of such a task."""
        return self.method.format(linear=kind.linear_name)

    def standing_of(self, kind: type[LearningTask]) -> str:
        """Its name in the arena's table of such a task."""
        return self.standing.format(linear=kind.linear_name)

    def meant_for(self, kind: type[LearningTask]) -> bool:
        """Whether it is a floor of such tasks; by default of those with one target a row.

        What sees a whole sequence at once would know the future of its steps.
        """
        return kind.steps == 1

    def suits(self, task: LearningTask) -> bool:
        """Whether it can learn such a task; by default every one that it is meant for."""
        return self.meant_for(type(task))

    def note(self, config: ExperimentConfig, data: Partition) -> str:
        """What the user should know of how it was trained on these data; empty mostly."""
        return ""

    @abstractmethod
    def score(self, config: ExperimentConfig, sessions: list[Session], data: Partition) -> Trial:
        """Train it and predict the test rows; ``sessions`` are the network's, one a stage."""

    def rows(self, config: ExperimentConfig, data: Partition) -> int:
        """Device rows that it measures at most beyond those of the network."""
        return 0
