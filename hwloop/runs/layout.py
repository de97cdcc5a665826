"""Names in a run's folder, and the state of the run: a killed run is never taken for a finished one."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hwloop.errors import ConfigError
from hwloop.journal.chunk import chunk_numbers
from hwloop.journal.durable_files import atomic_write
from hwloop.journal.lock import writer_of
from hwloop.runs.files import UnreadableError, read_object

STATE, CONFIG, ENVIRONMENT, METRICS = "state.json", "run.toml", "environment.json", "metrics.jsonl"
NOTES = "notes.jsonl"  # what was noted after the beginning
RUNNING, FINISHED, INTERRUPTED, FAILED = "running", "finished", "interrupted", "failed"
STATES = (RUNNING, FINISHED, INTERRUPTED, FAILED)
JOURNAL, CHECKPOINTS, REUSED, FINISHED_WORK = "journal", "checkpoints", "reused", "finished"
RUNS = Path("runs")  # where runs are kept, unless their folder is given
_JOURNAL_NAME = re.compile(r"seed-([0-9]{1,19})-device-([0-9]{1,9})")


@dataclass(frozen=True)
class JournalFolder:
    """The journal of one device of one seed; both are ``None`` where the folder's name does not say."""

    path: Path
    seed: int | None
    device_number: int | None

    @classmethod
    def at(cls, path: Path) -> JournalFolder:
        """The journal in a folder, by the folder's name."""
        match = _JOURNAL_NAME.fullmatch(path.name)
        return cls(path, int(match[1]), int(match[2])) if match else cls(path, None, None)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name


def journal_folder(run: Path, seed: int, device: int) -> Path:
    """Where a run keeps what one of a seed's devices answered; devices count from 0."""
    return run / JOURNAL / f"seed-{seed}-device-{device}"


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, be it damaged."""
    return folder.is_dir() and any((folder / name).exists() for name in (STATE, CONFIG, JOURNAL))


def require_run(folder: Path) -> None:
    """Refuse a folder that is no run's.

    Raises
    ------
    ConfigError
    """
    try:
        found = is_run(folder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} cannot be read ({error}); check the path and its rights") from error
    if not found:
        what = "holds no run" if folder.is_dir() else "is no folder" if folder.exists() else "does not exist"
        raise ConfigError(f"{folder} {what}; give the folder of a run, hwloop runs lists them")


def is_own_folder(path: Path) -> bool:
    """Whether there is a folder, and no link to one that lies elsewhere.

    Raises
    ------
    OSError
    """
    return path.is_dir() and not path.is_symlink()


def links_in(run: Path) -> list[Path]:
    """Every symbolic link in a run's folder: none of them is followed.

    Raises
    ------
    OSError
    """
    found = []
    for place, folders, names in os.walk(run):
        found += [path for name in (*folders, *names) if (path := Path(place, name)).is_symlink()]
    return sorted(found)


def journal_folders(run: Path) -> list[JournalFolder]:
    """The journals of a run, by seed and device; what lies behind a symbolic link is none of the run's.

    Raises
    ------
    OSError
    """
    parent = run / JOURNAL
    if not is_own_folder(parent):
        return []
    found = [JournalFolder.at(path) for path in parent.iterdir() if is_own_folder(path)]
    return sorted(found, key=lambda j: (j.seed is None, j.seed or 0, j.device_number or 0, j.name))


def chosen_journal(path: str | Path, run_seed: int | None = None, device_number: int | None = None) -> Path:
    """The folder of a journal.

    Parameters
    ----------
    path
        Of a journal, or of a run.
    run_seed, device_number
        Which of a run's journals; ``None`` where there is no choice. A journal's own folder needs neither.

    Raises
    ------
    ConfigError
        There is no such journal, or more than one.
    """
    path = Path(path)
    try:
        if chunk_numbers(path):
            return path
        inside = sorted((path / JOURNAL).iterdir()) if (path / JOURNAL).is_dir() else []
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); give the folder of a run or of a journal") from error
    numbered = [journal for journal in map(JournalFolder.at, inside) if journal.seed is not None]
    found = {(journal.seed, journal.device_number): journal.path for journal in numbered}
    if not found:
        raise ConfigError(f"{path} holds no journal; give the folder of a run (hwloop runs lists them)")
    chosen = [key for key in sorted(found) if run_seed in (None, key[0]) and device_number in (None, key[1])]
    if len(chosen) == 1:
        return found[chosen[0]]
    held = ", ".join(f"run_seed={seed} device_number={number}" for seed, number in sorted(found)[:10])
    asked = f"run_seed={run_seed}, device_number={device_number}"
    which = "several journals, choose one" if chosen else f"no journal of {asked}"
    raise ConfigError(f"{path} holds {which}: {held}{', ...' if len(found) > 10 else ''}")


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
