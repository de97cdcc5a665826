"""What has become of a run: written as it happens, so that a killed run is never taken for a finished one."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hwloop.journal.durable_files import atomic_write
from hwloop.journal.lock import writer_of
from hwloop.runs.files import UnreadableError, read_object
from hwloop.runs.layout import STATE

RUNNING, FINISHED, INTERRUPTED, FAILED = "running", "finished", "interrupted", "failed"
STATES = (RUNNING, FINISHED, INTERRUPTED, FAILED)


@dataclass(frozen=True)
class RunState:
    """What ``state.json`` says.

    Attributes
    ----------
    state
        One of :data:`STATES`.
    since_seconds
        Unix time from which it holds.
    pid
        Of the process that set it.
    detail
        Why, in words.
    """

    state: str
    experiment: str
    device: str
    since_seconds: float
    pid: int = 0
    detail: str = ""

    @classmethod
    def now(cls, state: str, experiment: str, device: str, detail: str = "") -> RunState:
        """A state that begins now, in this process."""
        return cls(state, experiment, device, time.time(), os.getpid(), detail)

    def write(self, folder: Path) -> None:
        """Write it into a run's folder."""
        atomic_write(folder / STATE, json.dumps(asdict(self), indent=2) + "\n")


def read_state(folder: Path) -> RunState:
    """The state of a run; one that says it is running while nobody writes it was killed, and is interrupted.

    Raises
    ------
    UnreadableError
        There is no state, or it cannot be made sense of.
    """
    found = read_object(folder / STATE)
    try:
        state = RunState(
            state=found["state"],
            experiment=str(found.get("experiment", "")),
            device=str(found.get("device", "")),
            since_seconds=float(found["since_seconds"]),
            pid=int(found.get("pid", 0)),
            detail=str(found.get("detail", "")),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableError(f"lacks a usable entry ({type(error).__name__}: {error})") from error
    if state.state not in STATES:
        raise UnreadableError(f"names the unknown state {str(state.state)[:40]!r}")
    if state.state == RUNNING and writer_of(folder) is None:
        return replace(state, state=INTERRUPTED, detail="killed: nobody writes it any more")
    return state


def mark_interrupted(folder: Path, detail: str) -> bool:
    """Write down that this process stops a run which it leaves unfinished; whether there is such a run.

    For the last moment of a process that is made to end; whoever can ends the run itself.
    """
    try:
        state = read_state(folder)
        if state.pid != os.getpid():
            return False
        if state.state == RUNNING:
            replace(state, state=INTERRUPTED, since_seconds=time.time(), detail=detail).write(folder)
    except (UnreadableError, OSError):
        return False
    return state.state != FINISHED
