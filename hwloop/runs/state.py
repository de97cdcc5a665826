"""A run's state as it is now: a run that says ``running`` while nobody writes it was killed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hwloop.journal.lock import writer_of
from hwloop.runs.files import UnreadableError, read_object
from hwloop.runs.layout import STATE

RUNNING, FINISHED, INTERRUPTED, FAILED = "running", "finished", "interrupted", "failed"
STATES = (RUNNING, FINISHED, INTERRUPTED, FAILED)


@dataclass(frozen=True)
class RunState:
    """What ``state.json`` says, corrected for runs that were killed.

    Attributes
    ----------
    state
        One of :data:`STATES`.
    since_seconds
        Unix time from which it holds.
    detail
        Why, in words.
    """

    state: str
    since_seconds: float
    experiment: str
    device: str
    detail: str


def read_state(folder: Path) -> RunState:
    """The state of the run in a folder.

    Raises
    ------
    UnreadableError
        There is no state, or it cannot be made sense of.
    """
    found = read_object(folder / STATE)
    try:
        state = RunState(
            state=found["state"],
            since_seconds=float(found["since_seconds"]),
            experiment=str(found.get("experiment", "")),
            device=str(found.get("device", "")),
            detail=str(found.get("detail", "")),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableError(f"lacks a usable entry ({type(error).__name__}: {error})") from error
    if state.state not in STATES:
        raise UnreadableError(f"names the unknown state {str(state.state)[:40]!r}")
    if state.state == RUNNING and writer_of(folder) is None:
        return replace(state, state=INTERRUPTED, detail="killed: nobody writes it any more")
    return state
