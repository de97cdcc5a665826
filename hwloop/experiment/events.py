"""What happens in a run above the level of a fit; the same stream as :mod:`hwloop.events`."""

from __future__ import annotations

from dataclasses import dataclass

from hwloop.events import Event


@dataclass(frozen=True)
class RunForecast(Event):
    """What the whole run may measure at most, before its first row; ``text`` says it in words."""

    rows: int
    seconds: float | None
    n_seeds: int
    text: str


@dataclass(frozen=True)
class SeedStarted(Event):
    """A seed begins; ``number`` counts from 1. ``rows`` is what it may measure at most."""

    seed: int
    number: int
    n_seeds: int
    rows: int


@dataclass(frozen=True)
class SeedTakenUp(Event):
    """A seed was finished before the run was stopped: ``rows`` measured, test ``accuracy`` in [0, 1]."""

    seed: int
    number: int
    n_seeds: int
    rows: int
    accuracy: float


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """What is trained so far is on disk; ``after`` says what had ended, such as ``stage-1``."""

    seed: int
    after: str
    path: str


@dataclass(frozen=True)
class CheckpointSetAside(Event):
    """A checkpoint is used no more: it was made of rows that the journal does not hold (``reason`` in words)."""

    seed: int
    path: str
    reason: str


@dataclass(frozen=True)
class MethodScored(Event):
    """A method was tested on the test rows of a seed; accuracy in [0, 1]."""

    seed: int
    method: str
    accuracy: float


@dataclass(frozen=True)
class SeedFinished(Event):
    """A seed is done, with all its floors."""

    seed: int
    number: int
    n_seeds: int


@dataclass(frozen=True)
class RunStopped(Event):
    """The run ended before it was done: interrupted, or an error with its message; ``run_dir`` keeps the rest."""

    reason: str
    seeds_finished: int
    n_seeds: int
    run_dir: str
