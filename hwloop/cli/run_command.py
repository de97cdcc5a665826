"""``hwloop run``, ``resume`` and ``replay``: from an experiment, or a recorded run, to its evidence."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwloop.cli.command import LAST_LINE, ExperimentName, ProgressKept, json_option, reporting, set_option
from hwloop.cli.console import new_console, shown_warnings

if TYPE_CHECKING:
    from hwloop.events import Listener
    from hwloop.experiment.evidence import Evidence

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the run.")]
AsJson = Annotated[bool, json_option("Print the evidence as one JSON object.")]
FromStart = Annotated[
    bool, typer.Option("--from-start", help="Execute everything again from the journal; take nothing as it is.")
]
WithEvidence = Annotated[bool, typer.Option("--evidence", help="Compute and compare floors and ceiling too.")]


@reporting
def run(
    kept: ProgressKept,
    experiment: ExperimentName = "digits-optical",
    settings: Annotated[
        list[str] | None, set_option("Change an entry, such as device.settings.n_outputs=200.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds.", metavar="N")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; new or empty.", metavar="DIR", show_default="runs/<time>-<name>"),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(help="Earlier run on the same device, whose rows are not measured again.", metavar="DIR"),
    ] = None,
    as_json: Annotated[bool, json_option(f"Print the result as one JSON object, {LAST_LINE}.")] = False,
    floors: Annotated[
        bool | None, typer.Option("--floors/--no-floors", help="Score floors and ceiling too.", show_default=False)
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves for TensorBoard into the run's folder.")
    ] = False,
) -> None:
    """Train a physical network, and show what the physics is worth."""
    extra = [f"seeds={seeds}"] if seeds is not None else []
    extra += ["run.tensorboard=true"] if tensorboard else []
    extra += [f"evidence.floors={str(floors).lower()}"] if floors is not None else []
    extra += [f"reuse.runs={json.dumps([str(run.absolute()) for run in reuse])}"] if reuse else []
    from hwloop.experiment.config import check_names, load_experiment
    from hwloop.experiment.run_folder import run_in_free_folder
    from hwloop.experiments.datasets import experiment_file
    from hwloop.runs.layout import require_run

    # A mistake in the configuration shows at once: torch and the rest take seconds to import.
    config = load_experiment(experiment_file(experiment), [*(settings or []), *extra])
    check_names(config)
    for earlier in config.reuse.runs:
        require_run(Path(earlier))
    with run_in_free_folder(config.name, out) as folder:
        from hwloop.experiment.runner import run_experiment
        from hwloop.experiments.datasets import split

        kept.give_up = _giving_up(folder)
        with _shown(as_json, kept) as shown:
            shown.evidence = run_experiment(config, split, out=folder, listeners=shown.listeners)


@reporting
def resume(
    kept: ProgressKept,
    folder: Folder,
    from_start: FromStart = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped; nothing is measured or finished twice."""
    from hwloop.experiment.conclusion import concluded

    kept.give_up = _giving_up(folder)
    with _shown(as_json, kept) as shown:
        # Where every seed is finished, only the report is left: torch takes longer to import than that takes.
        evidence = None if from_start else concluded(folder, shown.listeners)
        if evidence is None:
            from hwloop.experiment.runner import resume_experiment
            from hwloop.experiments.datasets import split

            evidence = resume_experiment(folder, split, shown.listeners, from_start)
        shown.evidence = evidence


@reporting
def replay(
    folder: Folder,
    with_evidence: WithEvidence = False,
    as_json: AsJson = False,
) -> None:
    """Run a recorded experiment again from its journal alone, without the device."""
    from hwloop.cli.run_display import RunProgress, show_evidence
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


def _giving_up(folder: Path) -> Callable[[], None]:
    """For a process that must end while its run goes on."""
    from hwloop.runs.layout import mark_interrupted

    def give_up() -> None:
        if mark_interrupted(folder, "interrupted at once"):
            message = f"hwloop: interrupted at once, kept in {folder}; go on with: hwloop resume {folder}\n"
            with contextlib.suppress(OSError):
                os.write(2, message.encode())

    return give_up


@dataclass
class _Shown:
    """A run's listeners, and what it gave."""

    listeners: list[Listener]
    evidence: Evidence | None = None


@contextlib.contextmanager
def _shown(as_json: bool, kept: ProgressKept) -> Iterator[_Shown]:
    """Show the progress of what runs inside, and then its evidence.

    Standard output carries the evidence table, or with ``as_json`` nothing but one JSON object; all else goes to
    standard error.
    """
    from hwloop.cli.run_display import RunProgress, show_evidence
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
        shown = _Shown([progress, note_what_is_kept])
        yield shown
    evidence = shown.evidence
    assert evidence is not None
    show_evidence(evidence, errors if as_json else new_console())
    report = Path(evidence.run_dir) / REPORT
    errors.print(f"report: {report}", highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps(evidence.as_json()))
