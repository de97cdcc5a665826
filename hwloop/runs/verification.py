"""Is a run's folder whole? Everything in it is read, nothing is changed, and no lock is taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hwloop.runs import layout
from hwloop.runs.checkpoint_check import CheckpointCheck, check_checkpoints
from hwloop.runs.files import UnreadableError, read_object, read_toml
from hwloop.runs.journal_check import DamageFound, JournalCheck, check_journal
from hwloop.runs.metrics import MetricsCheck, check_metrics
from hwloop.runs.state import RUNNING, RunState, read_state

T = TypeVar("T")


@dataclass
class Verification:
    """What was found in a run's folder.

    Attributes
    ----------
    state
        ``None`` if it cannot be read.
    metrics
        ``None`` if it cannot be read.
    problems
        Everything that is damaged, with its place; empty for a whole run.
    notices
        What is worth knowing, and is no damage.
    """

    folder: str
    state: RunState | None = None
    journals: list[JournalCheck] = field(default_factory=list)
    checkpoints: list[CheckpointCheck] = field(default_factory=list)
    metrics: MetricsCheck | None = None
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"is_whole": self.is_whole, **asdict(self)}


def verify_run(folder: Path) -> Verification:
    """Check a run's folder, which may be written meanwhile.

    Raises
    ------
    ConfigError
        It holds no run.
    """
    layout.require_run(folder)
    found = Verification(str(folder))
    found.state = _read(found, folder / layout.STATE, lambda _: read_state(folder))
    _read(found, folder / layout.CONFIG, read_toml)
    _read(found, folder / layout.ENVIRONMENT, read_object)
    _check_links(found, folder)
    _check_journals(found, folder)
    _check_checkpoints(found, folder)
    is_running = found.state is not None and found.state.state == RUNNING
    found.metrics = _read(found, folder / layout.METRICS, check_metrics)
    if found.metrics is not None:
        found.problems += _metrics_problems(found.metrics, is_running)
    return found


def _read(found: Verification, path: Path, reader: Callable[[Path], T]) -> T | None:
    """What a file holds, or a problem."""
    try:
        return reader(path)
    except UnreadableError as error:
        found.problems.append(f"{path.name} {error}")
        return None


def _check_links(found: Verification, folder: Path) -> None:
    for path in layout.links_in(folder):
        place = path.relative_to(folder)
        if not any(problem.startswith(f"{place} is a symbolic link") for problem in found.problems):
            found.problems.append(
                f"{place} is a symbolic link to {os.readlink(path)[:200]}, which is not followed; nor does resume "
                "write through it"
            )


def _check_journals(found: Verification, folder: Path) -> None:
    try:
        journals = layout.journal_folders(folder)
    except OSError as error:
        found.problems.append(f"{layout.JOURNAL} cannot be read ({error.strerror})")
        return
    if layout.is_own_folder(folder / layout.REUSED):
        journals.append(layout.JournalFolder(folder / layout.REUSED, None, None))
    for journal in journals:
        check = check_journal(journal)
        found.journals.append(check)
        place = f"{layout.JOURNAL}/{journal.name}" if journal.seed is not None else journal.name
        found.problems += [f"{place}: {problem}" for problem in _journal_problems(check)]
        found.notices += [f"{place}: {notice}" for notice in _journal_notices(check)]


def _journal_problems(check: JournalCheck) -> Iterator[str]:
    yield from check.problems
    yield from map(_damage_in_words, check.damage)
    for first, last in check.missing_rows:
        yield f"row {first} is missing" if first == last else f"rows {first} to {last} are missing"
    index = check.index
    if index.problem:
        yield f"index.sqlite {index.problem}; it is made again from the chunks when the run is resumed"
    if index.missing:
        yield f"index.sqlite does not know {index.missing} whole records before its last"
    if index.extra and index.first_extra is not None:
        chunk, offset = index.first_extra
        yield (
            f"index.sqlite knows {index.extra} records with {index.extra_rows} rows of which the chunks hold no "
            f"whole one, the first in {chunk:06d}.rows at byte {offset}"
        )


def _damage_in_words(damage: DamageFound) -> str:
    if damage.was_whole:
        outcome = "; the index knows a record here: measurements are lost"
    elif damage.is_torn:
        outcome = "; nothing was recorded in the index from here on, hwloop resume cuts this off"
    else:
        outcome = ""
    if not damage.bytes:
        return f"{damage.chunk}: {damage.reason}"
    place = f"{damage.chunk}, byte {damage.offset}"
    return f"{place}: {damage.bytes} bytes are no whole record ({damage.reason}){outcome}"


def _journal_notices(check: JournalCheck) -> Iterator[str]:
    if check.is_being_written:
        yield "is being written now"
    if check.bytes_in_flight:
        yield f"{check.bytes_in_flight} bytes of its newest record were there so far"
    if check.index.behind and not check.index.problem:
        yield f"index.sqlite is {check.index.behind} records behind; they are whole, and resuming enters them"


def _check_checkpoints(found: Verification, folder: Path) -> None:
    try:
        found.checkpoints = check_checkpoints(folder / layout.CHECKPOINTS)
    except OSError as error:
        found.problems.append(f"{layout.CHECKPOINTS} cannot be read ({error.strerror})")
    for checkpoint in found.checkpoints:
        place = f"{layout.CHECKPOINTS}/{checkpoint.name}"
        if checkpoint.problem:
            found.problems.append(f"{place} {checkpoint.problem}")
        elif not checkpoint.is_finished:
            found.notices.append(f"{place} is not finished: its .json was not written yet")


def _metrics_problems(metrics: MetricsCheck, is_running: bool) -> Iterator[str]:
    bad = metrics.bad
    if is_running and metrics.ends_within_a_line:
        bad = [(number, reason) for number, reason in bad if number != metrics.lines]
    for number, reason in bad:
        yield f"{layout.METRICS}, line {number} {reason}"
    if metrics.n_bad > len(metrics.bad):
        yield f"{layout.METRICS}: {metrics.n_bad - len(metrics.bad)} more lines are no JSON objects"
