"""When a run was, who ran it, and what was noted of it: what a report says beside the figures."""

from __future__ import annotations

import getpass
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwloop.experiment import columns as words
from hwloop.runs.files import UnreadableError, read_events, read_object
from hwloop.runs.layout import ENVIRONMENT, FINISHED, METRICS, read_state
from hwloop.runs.notes import later_notes

if TYPE_CHECKING:
    from hwloop.experiment.config import ExperimentConfig

OPERATOR = "HWLOOP_OPERATOR"
BEGINS = "RunForecast"  # the first event of every process that takes a run up


def operator_of(config: ExperimentConfig) -> str:
    """Who runs it, empty for nobody: what ``[about]`` says, or the variable ``HWLOOP_OPERATOR``, or user@host."""
    told = config.about.operator
    if told is None:
        told = os.environ.get(OPERATOR)
    if told is not None:
        return told.strip()
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        user = str(os.getuid())
    return f"{user}@{platform.node()}"


@dataclass(frozen=True)
class About:
    """What is known of a run beside its figures.

    Attributes
    ----------
    began_seconds, ended_seconds
        Unix times; ``began_seconds`` is that of the first process.
    resumed
        How often it was taken up after it was stopped.
    operator
        Who ran it; empty where nobody shall be named.
    notes, tags
        Of the beginning, and those that were added.
    """

    began_seconds: float
    ended_seconds: float
    resumed: int = 0
    operator: str = ""
    notes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """From the beginning to the end, pauses included."""
        return max(0.0, self.ended_seconds - self.began_seconds)

    def as_json(self) -> dict[str, Any]:
        """Plain values; times with their zone."""
        return {
            "began": iso(self.began_seconds),
            "ended": iso(self.ended_seconds),
            "resumed": self.resumed,
            "operator": self.operator or None,
            "notes": list(self.notes),
            "tags": list(self.tags),
        }


def took(about: About | None, seconds: float) -> str:
    """How long a run of one process took, ``seconds``; or all of it, where it was stopped in between."""
    if about is None or not about.resumed:
        return words.seconds(seconds)
    times = "once" if about.resumed == 1 else f"{about.resumed} times"
    return f"{words.seconds(about.seconds)} from beginning to end, resumed {times}"


def iso(seconds: float) -> str:
    """A Unix time as local date and time with its zone, ISO 8601."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def about_run(path: Path, config: ExperimentConfig) -> About:
    """What a run's folder says of it; a file that cannot be read counts as one that says nothing."""
    starts = _events(path, BEGINS)
    began = [entry["time"] for entry in starts if isinstance(entry.get("time"), int | float)]
    now = time.time()
    notes, tags = later_notes(path)
    return About(
        began_seconds=began[0] if began else now,
        ended_seconds=_ended(path, now),
        resumed=max(0, len(starts) - 1),
        operator=str(_environment(path).get("operator") or ""),
        notes=(*config.about.notes, *notes),
        tags=tuple(dict.fromkeys([*config.about.tags, *tags])),
    )


def _ended(path: Path, now: float) -> float:
    try:
        state = read_state(path)
    except UnreadableError:
        return now
    return state.since_seconds if state.state == FINISHED else now


def _events(path: Path, kind: str) -> list[dict[str, Any]]:
    try:
        return list(read_events(path / METRICS, kind))
    except UnreadableError:
        return []


def _environment(path: Path) -> Mapping[str, Any]:
    try:
        return read_object(path / ENVIRONMENT)
    except UnreadableError:
        return {}


def operators(path: Path, config: ExperimentConfig) -> str | None:
    """Who ran it so far and who runs it now, for ``environment.json``; ``None`` for nobody."""
    earlier = _environment(path).get("operator")
    known = earlier.split(", ") if isinstance(earlier, str) and earlier else []
    return ", ".join(dict.fromkeys(name for name in [*known, operator_of(config)] if name)) or None
