"""What a seed leaves of itself while it runs, and finds of itself when the run goes on."""

from __future__ import annotations

from collections.abc import Sequence

from hwloop.experiment.checkpoints import Checkpoints
from hwloop.experiment.finished import FinishedSeed, FinishedWork
from hwloop.experiment.results import Score
from hwloop.session import Session
from hwloop.session.place import Place
from hwloop.training import Trainer
from hwloop.training.state import Checkpoint, SavedState, keep_nothing


class Keeper:
    """Keeps nothing, and finds nothing: for a seed that leaves no trace, such as a replay's.

    Attributes
    ----------
    checkpoint
        The fit's.
    """

    checkpoint: Checkpoint

    def __init__(self) -> None:
        self.checkpoint = keep_nothing

    def to_go_on_from(self, trainer: Trainer) -> SavedState | None:
        """The point that the fit goes on from; its devices are open. ``None`` for its start."""
        return None

    def finished_score(self, method: str, sessions: Sequence[Session]) -> tuple[Score, tuple[Place, ...]] | None:
        """What a method scored before, and where that left each session."""
        return None

    def keep_score(self, method: str, score: Score, sessions: Sequence[Session]) -> None:
        """A floor or ceiling is finished."""


KEEPS_NOTHING = Keeper()


class SeedKeeper(Keeper):
    """Keeps checkpoints and finished scores in the run's folder.

    Parameters
    ----------
    checkpoints
        Of the seed.
    work
        Of the run.
    finished
        What is finished of the seed.
    """

    def __init__(self, checkpoints: Checkpoints, work: FinishedWork, finished: FinishedSeed) -> None:
        self.checkpoint = checkpoints
        self.checkpoints = checkpoints
        self.finished = finished
        self._work = work

    def to_go_on_from(self, trainer: Trainer) -> SavedState | None:
        """The newest checkpoint of the seed that fits."""
        return self.checkpoints.to_go_on_from(trainer)

    def finished_score(self, method: str, sessions: Sequence[Session]) -> tuple[Score, tuple[Place, ...]] | None:
        """Only if it was scored on the devices that are open now."""
        places = self.finished.places.get(method)
        if places is None or [p.settings for p in places] != [session.place().settings for session in sessions]:
            return None
        return self.finished.scores[method], places

    def keep_score(self, method: str, score: Score, sessions: Sequence[Session]) -> None:
        """The rows that it stands on are never younger than it."""
        for session in sessions:
            session.journal.sync()
        self.finished.scores[method] = score
        self.finished.places[method] = tuple(session.place() for session in sessions)
        self._work.keep(self.checkpoints.seed, self.finished)
