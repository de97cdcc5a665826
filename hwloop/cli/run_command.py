"""``hwloop run``: from an experiment's name to its evidence."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hwloop.cli.console import new_console
from hwloop.cli.exit_codes import ProgressKept
from hwloop.cli.shown_warnings import shown_warnings

if TYPE_CHECKING:
    from hwloop.events import Listener
    from hwloop.experiment.evidence import Evidence

# The matrices of a run are small: a second thread gains little, and on busy cores it made training six times
# slower by waiting for the first. It is read when numpy and torch are first imported; a user's value wins.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def run_and_show(name: str, settings: Sequence[str], out: Path | None, as_json: bool, kept: ProgressKept) -> None:
    """Run an experiment and show its evidence.

    Standard output carries the evidence table, or with ``as_json`` nothing but one JSON object; all else goes
    to standard error.
    """
    from hwloop.experiment.config import check_names, load_experiment
    from hwloop.experiment.run_folder import run_in_free_folder
    from hwloop.experiments.datasets import experiment_file
    from hwloop.runs.layout import require_run

    # A mistake in the configuration shows at once: torch and the rest take seconds to import.
    config = load_experiment(experiment_file(name), settings)
    check_names(config)
    for earlier in config.reuse.runs:
        require_run(Path(earlier))
    with run_in_free_folder(config.name, out) as folder:
        from hwloop.experiment.runner import run_experiment
        from hwloop.experiments.datasets import split

        kept.give_up = _giving_up(folder)
        _run_and_show(
            lambda listeners: run_experiment(config, split, out=folder, listeners=listeners), as_json, kept
        )


def resume_and_show(folder: Path, from_start: bool, as_json: bool, kept: ProgressKept) -> None:
    """Go on with a run and show its evidence; ``from_start`` executes everything again."""
    from hwloop.experiment.conclusion import concluded

    def resumed(listeners: list[Listener]) -> Evidence:
        # Where every seed is finished, only the report is left: torch takes longer to import than that takes.
        evidence = None if from_start else concluded(folder, listeners)
        if evidence is not None:
            return evidence

        from hwloop.experiment.runner import resume_experiment
        from hwloop.experiments.datasets import split

        return resume_experiment(folder, split, listeners, from_start)

    kept.give_up = _giving_up(folder)
    _run_and_show(resumed, as_json, kept)


def _giving_up(folder: Path) -> Callable[[], None]:
    """For a process that must end while its run goes on."""
    from hwloop.runs.layout import mark_interrupted

    def give_up() -> None:
        if mark_interrupted(folder, "interrupted at once"):
            message = f"hwloop: interrupted at once, kept in {folder}; go on with: hwloop resume {folder}\n"
            with contextlib.suppress(OSError):
                os.write(2, message.encode())

    return give_up


def replay_and_show(folder: Path, with_evidence: bool, as_json: bool) -> None:
    """Replay a run, show its evidence, and say whether it is what was recorded.

    Floors and ceiling are computed ``with_evidence`` alone. Standard output carries the table, or with ``as_json``
    nothing but one JSON object.

    Raises
    ------
    JournalError
        The replay differs from the recorded run.
    """
    from hwloop.cli.evidence_table import show_evidence
    from hwloop.cli.progress import RunProgress
    from hwloop.errors import JournalError
    from hwloop.experiment.runner import replay_experiment
    from hwloop.experiments.datasets import split

    errors = new_console(stderr=True)
    with shown_warnings(errors), RunProgress(errors) as progress:
        replay = replay_experiment(folder, split, [progress], with_evidence)
    shown = errors if as_json else new_console()
    show_evidence(replay.evidence, shown)
    if as_json:
        print(json.dumps(replay.evidence.as_json()))
    if replay.differences:
        raise JournalError(
            f"the replay differs from the recorded run in {'; '.join(replay.differences[:5])}; compare the "
            "versions in its environment.json with those installed"
        )
    shown.print("replayed from the journal alone: 0 rows measured, every result identical to the last bit")
    if replay.evidence.config.evidence.floors and not with_evidence:
        shown.print("floors and ceiling were not computed again; hwloop replay --evidence does", highlight=False)


def _run_and_show(run: Callable[[list[Listener]], Evidence], as_json: bool, kept: ProgressKept) -> None:
    from hwloop.cli.evidence_table import show_evidence
    from hwloop.cli.progress import RunProgress
    from hwloop.errors import TrainingDiverged
    from hwloop.events import Event
    from hwloop.experiment.events import RunStopped
    from hwloop.experiment.report import REPORT

    errors = new_console(stderr=True)

    def note_what_is_kept(event: Event) -> None:
        if isinstance(event, RunStopped) and Path(event.run_dir).is_dir():
            kept.note = f"{event.seeds_finished} of {event.n_seeds} seeds finished, kept in {event.run_dir}"
            if not event.reason.startswith(TrainingDiverged.__name__):  # resuming would only repeat it
                kept.note += f"; go on with: hwloop resume {event.run_dir}"

    with shown_warnings(errors), RunProgress(errors) as progress:
        evidence = run([progress, note_what_is_kept])
    show_evidence(evidence, errors if as_json else new_console())
    report = Path(evidence.run_dir) / REPORT
    errors.print(f"report: {report}", highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps(evidence.as_json()))
