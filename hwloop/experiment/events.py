"""Events of a run above the level of a fit, and their copy for TensorBoard."""

from __future__ import annotations

import importlib.util
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from hwloop.errors import ConfigError
from hwloop.events import DeviceFault, EpochFinished, Event, RowsMeasured, ScoreTold, ValidationScored


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
class SeedTakenUp(ScoreTold):
    """A seed was finished before the run was stopped: ``rows`` measured, and the network's main test score."""

    seed: int
    number: int
    n_seeds: int
    rows: int
    score: float
    shown: str = ""
    metric: str = "accuracy"


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
class MethodScored(ScoreTold):
    """A method was tested on the test rows of a seed: its main score."""

    seed: int
    method: str
    score: float
    shown: str = ""
    metric: str = "accuracy"


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


FOLDER = "tensorboard"
PERIOD_SECONDS = 1.0  # between two points of a curve over rows: a run of a million blocks keeps a small file


def require_tensorboard() -> None:
    """Refuse before anything is measured.

    Raises
    ------
    ConfigError
        The extra is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "run.tensorboard needs the package tensorboard, which is not installed; "
            'install it with pip install "hwloop[tensorboard]", or run without --tensorboard'
        )


class TensorBoardLog:
    """A listener that writes ``tensorboard/`` in a run's folder; events may come from any thread.

    Losses are drawn over epochs, validation scores over stages (from 1), the rest over the rows measured in this
    run: rows themselves, rows a second, faults so far, and the drift of the reference stimuli. A run that goes on
    draws on from where its curves ended.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._drawn = _last_steps(folder / FOLDER)
        self._writer = SummaryWriter(str(folder / FOLDER))
        self._lock = threading.Lock()
        self._seed = 0
        self._rows = 0
        self._faults = 0
        self._point = (time.monotonic(), 0)  # when the curves over rows were drawn last, and at which row
        self._closed = False

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        with self._lock:
            if not self._closed:
                self._take(event)

    def close(self) -> None:
        """Write what is left; safe to call twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._draw_rows(time.monotonic())
                self._writer.close()

    def _take(self, event: Event) -> None:
        match event:
            case SeedStarted():
                self._seed = event.seed
            case SeedTakenUp():  # its curves were drawn before
                self._rows += event.rows
            case RowsMeasured():
                self._rows += event.rows
                now = time.monotonic()
                if self._rows <= self._drawn.get("device/rows", -1):  # measured by an earlier process
                    self._point = (now, self._rows)
                elif now - self._point[0] >= PERIOD_SECONDS:
                    self._draw_rows(now)
            case EpochFinished():
                self._draw(f"{self._stage(event.stage)}/loss", event.loss, event.epoch)
            case ValidationScored():
                self._draw(f"seed-{self._seed}/validation_{event.metric}", event.score, event.stage + 1)
            case MethodScored():
                self._draw(f"test_{event.metric}/{event.method}", event.score, event.seed)
            case DeviceFault():
                self._faults += 1
                self._draw("device/faults", self._faults, self._rows)
            case _:
                drift = event.as_dict().get("drift")
                if isinstance(drift, float):
                    self._draw("device/drift", drift, self._rows)

    def _stage(self, stage: int) -> str:
        return f"seed-{self._seed}/stage-{stage + 1}"

    def _draw_rows(self, now: float) -> None:
        then, rows = self._point
        if self._rows > rows and now > then:
            self._draw("device/rows", self._rows, self._rows)
            self._draw("device/rows_per_second", (self._rows - rows) / (now - then), self._rows)
        self._point = (now, self._rows)

    def _draw(self, tag: str, value: float, step: int) -> None:
        """A point, unless the curve has come so far before: a run that goes on comes past its old points again."""
        if step > self._drawn.get(tag, -1):
            self._writer.add_scalar(tag, value, step)


def _last_steps(folder: Path) -> dict[str, int]:
    """How far each curve was drawn by earlier processes of this run, perhaps killed while they wrote."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    steps: dict[str, int] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                steps[value.tag] = max(steps.get(value.tag, -1), event.step)
    return steps
