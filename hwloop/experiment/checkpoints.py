"""A run's checkpoints and finished scores: written while a seed runs, found again when the run goes on."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hwloop.checkpoint import (
    network_tensors,
    read_checkpoint,
    read_description,
    read_tensors,
    read_training,
    save_network,
)
from hwloop.checkpoint.network import TRAINING
from hwloop.errors import CheckpointError, HwloopWarning
from hwloop.events import Event
from hwloop.experiment.columns import Score
from hwloop.experiment.events import CheckpointSaved, CheckpointSetAside
from hwloop.experiment.finished import FinishedSeed, FinishedWork, set_aside
from hwloop.experiment.provenance import unlike
from hwloop.layers import PhysicalNetwork
from hwloop.runs.layout import CHECKPOINTS
from hwloop.session import Session
from hwloop.session.account import Place
from hwloop.training import Trainer
from hwloop.training.state import Checkpoint, SavedState, TrainingState, keep_no_checkpoint

PREPARATION = "preparation"  # of a checkpoint's details: what makes features of a table
FINAL = "final.safetensors"  # of the last seed
KEPT = 2
LOST_ROWS = "it was made of more rows than the journal holds; those are measured again"
EPOCH_SECONDS = 30.0  # between checkpoints of a schedule whose stages advance together


def final_of_seed(seed: int) -> str:
    """The file that holds the trained network of a seed."""
    return f"final-seed-{seed}.safetensors"


@dataclass(frozen=True, order=True)
class _Place:
    """Where in a run a checkpoint was made: places of one run can be compared."""

    seed_number: int
    point: int
    path: Path
    rows: tuple[int, ...] = ()  # that each device's journal held; empty if it does not say


class Checkpoints:
    """Keeps what one seed has trained so far.

    A run that goes on does so from the newest checkpoint that fits. Where it comes past a place at which another
    was made, it must hold the very same tensors, or it is no longer the same run. A checkpoint that was made of
    more rows than the journals hold, as a loss of power may leave it, is set aside: those rows are measured again.

    Parameters
    ----------
    run
        The run's folder.
    seed, number
        The seed, and its place among the run's seeds.
    made
        What the run's bits depend on, see :func:`hwloop.experiment.provenance.made_with`.
    from_start
        Go on from none.
    about
        What else a checkpoint says of itself, such as how its table was prepared.
    """

    def __init__(
        self,
        run: Path,
        seed: int,
        number: int,
        network: PhysicalNetwork,
        emit: Callable[[Event], None],
        made: Mapping[str, Any],
        from_start: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = run / CHECKPOINTS
        self.seed = seed
        self.number = number
        self.network = network
        self.emit = emit
        self._rows_recorded = self._rows()
        self._made = dict(made)
        self._about = dict(about or {})
        self._from_start = from_start
        self._saved_seconds = time.monotonic()
        self._look_round()

    def _look_round(self) -> None:
        self._earlier = {(place.seed_number, place.point): place for place in self._places()}
        for here, place in list(self._earlier.items()):
            lost = any(made > held for made, held in zip(place.rows, self._rows_recorded, strict=False))
            if place.seed_number == self.number and lost:
                self._set_aside(self._earlier.pop(here).path, LOST_ROWS)
        self._reached = max(self._earlier, default=(-1, -1))

    def resume_point(self, trainer: Trainer) -> SavedState | None:
        """The newest checkpoint of this seed that the fit can go on from; the devices are open.

        One that does not fit is set aside with a warning. ``None`` to execute the fit again from its start.
        """
        if self._from_start:
            return None
        paths = sorted(self.folder.glob(f"seed-{self.seed}-*.json"), key=_point, reverse=True)
        for path in paths:
            try:
                saved = self._fitting(path.with_suffix(".safetensors"))
            except CheckpointError as unfit:
                self._set_aside(path, f"{unfit}; the run goes on from what was kept before it")
                self._look_round()
                continue
            if saved.resumable and trainer.resumable:
                return saved
        if paths and not trainer.resumable:
            warnings.warn(
                "this trainer offers no state to go on from; its fit is executed again from the start, and the "
                "journal answers",
                HwloopWarning,
                stacklevel=2,
            )
        return None

    def _fitting(self, path: Path) -> SavedState:
        details = read_description(path).get("details", {})
        if reason := unlike(details.get("made_with"), self._made):
            raise CheckpointError(reason)
        saved = read_training(path)
        sessions = self.network.distinct_sessions
        if len(saved.places) != len(sessions):
            raise CheckpointError(f"it has {len(saved.places)} devices, the run {len(sessions)}")
        for place, session in zip(saved.places, sessions, strict=True):
            if place.settings != session.place().settings:
                raise CheckpointError(f"it was made with another device or other settings than {session.identity}")
            if place.rows > session.journal.rows:
                raise CheckpointError(
                    f"it stands on {place.rows} rows, and the journal holds {session.journal.rows}"
                )
        return saved

    def __call__(self, state: TrainingState) -> None:
        """Save, or compare with what was saved here before.

        Raises
        ------
        CheckpointError
            It cannot be written, or the run has come here with other tensors than it did before.
        """
        here = (self.number, state.point)
        if here in self._earlier:
            self._compare(here, state)
        elif here > self._reached and self._is_due(state):
            self._save(state)

    def finish(self) -> None:
        """Save the trained network of this seed as the final one."""
        details = {"seed": self.seed, **self._about}
        save_network(self.network, self.folder / final_of_seed(self.seed), details)
        save_network(self.network, self.folder / FINAL, details)

    def _is_due(self, state: TrainingState) -> bool:
        return state.epoch is None or state.is_last or time.monotonic() - self._saved_seconds >= EPOCH_SECONDS

    def _save(self, state: TrainingState) -> None:
        path = self.folder / f"seed-{self.seed}-{state.name}.safetensors"
        details = {
            "seed": self.seed,
            "seed_number": self.number,
            "point": state.point,
            "rows": self._rows(),
            "made_with": self._made,
            **self._about,
        }
        save_network(self.network, path, details, state)
        for old in sorted(self._places())[:-KEPT]:
            old.path.with_suffix(".json").unlink(missing_ok=True)
            old.path.unlink(missing_ok=True)
        self._saved_seconds = time.monotonic()
        self.emit(CheckpointSaved(self.seed, state.name, str(path)))

    def _compare(self, here: tuple[int, int], state: TrainingState) -> None:
        path = self._earlier[here].path
        saved, now = read_tensors(path), network_tensors(self.network, state)
        # An earlier version kept less of the training.
        missing = [name for name in now if name not in saved and not name.startswith(TRAINING)]
        changed = [*missing, *(name for name in now if name in saved and not torch.equal(saved[name], now[name]))]
        if changed and self._rows() != self._rows_recorded:  # some of the rows before this place were lost
            self._set_aside(self._earlier.pop(here).path, LOST_ROWS)
            self._save(state)
        elif changed:
            raise CheckpointError(
                f"the run has left its recorded path: after {state.name} of seed {self.seed}, {changed[0]} is not "
                f"what {path} holds. Versions or configuration have changed (environment.json, run.toml); go back "
                "to those, or start a new run that takes the measured rows: hwloop run --reuse"
            )

    def _set_aside(self, path: Path, reason: str) -> None:
        """Keep a checkpoint that cannot be come back to, under another name, and say so."""
        aside = set_aside(path, reason)
        self.emit(CheckpointSetAside(self.seed, str(aside), reason))

    def _rows(self) -> list[int]:
        """Rows that the journals of this seed hold now."""
        return [session.journal.rows for session in self.network.distinct_sessions]

    def _places(self) -> list[_Place]:
        """Every whole checkpoint in the folder but the final one."""
        return [place for path in self.folder.glob("seed-*.json") if (place := _place(path)) is not None]


def _place(description: Path) -> _Place | None:
    """Where a checkpoint was made; ``None`` for one that cannot be read: it is made again."""
    try:
        path = description.with_suffix(".safetensors")
        details = read_checkpoint(path)[0]["details"]
        rows = tuple(int(count) for count in details.get("rows", []))
        return _Place(int(details["seed_number"]), int(details["point"]), path, rows)
    except (OSError, ValueError, KeyError, TypeError, CheckpointError):
        return None


def _point(description: Path) -> float:
    """Which point of its fit a checkpoint holds; one that cannot be read counts as the newest."""
    try:
        return int(read_description(description)["details"]["point"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return math.inf


class Keeper:
    """Keeps nothing, and finds nothing: for a seed that leaves no trace, such as a replay's.

    Attributes
    ----------
    checkpoint
        The fit's.
    """

    checkpoint: Checkpoint

    def __init__(self) -> None:
        self.checkpoint = keep_no_checkpoint

    def resume_point(self, trainer: Trainer) -> SavedState | None:
        """The point that the fit goes on from; its devices are open. ``None`` for its start."""
        return None

    def finished_score(self, method: str, sessions: Sequence[Session]) -> tuple[Score, tuple[Place, ...]] | None:
        """What a method scored before, and where that left each session."""
        return None

    def keep_score(self, method: str, score: Score, sessions: Sequence[Session]) -> None:
        """A floor is finished."""


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

    def resume_point(self, trainer: Trainer) -> SavedState | None:
        """The newest checkpoint of the seed that fits."""
        return self.checkpoints.resume_point(trainer)

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
