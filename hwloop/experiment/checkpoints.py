"""A run's checkpoints: written at every stage, the last two kept, and held against a run that goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from hwloop.checkpoint import network_tensors, read_checkpoint, read_tensors, save_network
from hwloop.errors import CheckpointError
from hwloop.events import Event
from hwloop.experiment.events import CheckpointSaved
from hwloop.layers import PhysicalNetwork
from hwloop.training.state import TrainingState

FOLDER = "checkpoints"
FINAL = "final.safetensors"  # of the last seed
KEPT = 2
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


class Checkpoints:
    """Keeps what one seed has trained so far.

    A run that goes on is executed again from its start, so it comes past the places at which checkpoints were
    made. There it must hold the very same tensors, or it is no longer the same run.

    Parameters
    ----------
    run
        The run's folder.
    seed, number
        The seed, and its place among the run's seeds.
    """

    def __init__(
        self, run: Path, seed: int, number: int, network: PhysicalNetwork, emit: Callable[[Event], None]
    ) -> None:
        self.folder = run / FOLDER
        self.seed = seed
        self.number = number
        self.network = network
        self.emit = emit
        self._earlier = {(place.seed_number, place.point): place for place in self._places()}
        self._reached = max(self._earlier, default=(-1, -1))
        self._saved_seconds = time.monotonic()

    def __call__(self, state: TrainingState) -> None:
        """Save, or compare with what was saved here before.

        Raises
        ------
        CheckpointError
            It cannot be written, or the run has come here with other tensors than it did before.
        """
        here = (self.number, state.point)
        if here in self._earlier:
            self._compare(self._earlier[here].path, state)
        elif here > self._reached and self._is_due(state):
            self._save(state)

    def finish(self) -> None:
        """Save the trained network of this seed as the final one."""
        self._sync()
        details = {"seed": self.seed}
        save_network(self.network, self.folder / final_of_seed(self.seed), details)
        save_network(self.network, self.folder / FINAL, details)

    def _is_due(self, state: TrainingState) -> bool:
        return state.epoch is None or time.monotonic() - self._saved_seconds >= EPOCH_SECONDS

    def _save(self, state: TrainingState) -> None:
        self._sync()  # the rows that a checkpoint stands on are never younger than it
        path = self.folder / f"seed-{self.seed}-{state.name}.safetensors"
        details = {"seed": self.seed, "seed_number": self.number, "point": state.point}
        save_network(self.network, path, details, state)
        for old in sorted(self._places())[:-KEPT]:
            old.path.with_suffix(".json").unlink(missing_ok=True)
            old.path.unlink(missing_ok=True)
        self._saved_seconds = time.monotonic()
        self.emit(CheckpointSaved(self.seed, state.name, str(path)))

    def _compare(self, path: Path, state: TrainingState) -> None:
        saved, now = read_tensors(path), network_tensors(self.network, state)
        changed = [name for name in now if name not in saved or not torch.equal(saved[name], now[name])]
        if changed:
            raise CheckpointError(
                f"the run has left its recorded path: after {state.name} of seed {self.seed}, {changed[0]} is not "
                f"what {path} holds. Versions or configuration have changed (environment.json, run.toml); go back "
                "to those, or start a new run that takes the measured rows: hwloop run --reuse"
            )

    def _sync(self) -> None:
        for session in self.network.distinct_sessions:
            session.journal.sync()

    def _places(self) -> list[_Place]:
        """Every whole checkpoint in the folder but the final one."""
        return [place for path in self.folder.glob("seed-*.json") if (place := _place(path)) is not None]


def _place(description: Path) -> _Place | None:
    """Where a checkpoint was made; ``None`` for one that cannot be read: it is made again."""
    try:
        path = description.with_suffix(".safetensors")
        details = read_checkpoint(path)[0]["details"]
        return _Place(int(details["seed_number"]), int(details["point"]), path)
    except (OSError, ValueError, KeyError, TypeError, CheckpointError):
        return None
