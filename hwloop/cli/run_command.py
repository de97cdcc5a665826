"""``hwloop run``, ``resume`` and ``replay``: from an experiment, or a recorded run, to its evidence."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwloop.cli.command import LAST_LINE, ExperimentName, ProgressKept, json_option, reporting, set_option
from hwloop.cli.console import new_console, shown_warnings
from hwloop.cli.running import DEFAULT_EXPERIMENT, ConsoleView

if TYPE_CHECKING:
    from hwloop.experiment.evidence import Evidence

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the run.")]
AsJson = Annotated[bool, json_option("Print the evidence as one JSON object.")]
FromStart = Annotated[
    bool, typer.Option("--from-start", help="Execute everything again from the journal; take nothing as it is.")
]
WithEvidence = Annotated[bool, typer.Option("--evidence", help="Compute and compare floors too.")]


@reporting
def run(
    kept: ProgressKept,
    experiment: ExperimentName = DEFAULT_EXPERIMENT,
    data: Annotated[
        str | None,
        typer.Option(help="Your own table, arrays, folder of images, or module:function.", metavar="FILE"),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Column to learn; several times for several.", metavar="NAME", show_default="the last"),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="classification, regression, sequence, symbols.", show_default="as it looks"
        ),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="Column to leave out; may be repeated.", metavar="NAME")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Column whose rows of one value stay on one side of the split.", metavar="NAME"),
    ] = None,
    test_file: Annotated[Path | None, typer.Option(help="A file of test rows.", metavar="FILE")] = None,
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
        bool | None, typer.Option("--floors/--no-floors", help="Score floors too.", show_default=False)
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves for TensorBoard into the run's folder.")
    ] = False,
    notes: Annotated[
        list[str] | None, typer.Option("--note", metavar="TEXT", help="What should be remembered of it.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A word to find it by.")] = None,
) -> None:
    """Train a physical network, and show what the physics is worth."""
    from hwloop.cli.running import run as run_experiment

    said = {"file": data, "target": target, "task": task, "drop": drop, "group": group}
    run_experiment(
        experiment,
        data=said | {"test_file": None if test_file is None else str(test_file.absolute())},
        settings=settings or (),
        seeds=seeds,
        out=out,
        reuse=reuse or (),
        floors=floors,
        tensorboard=tensorboard,
        notes=notes or (),
        tags=tags or (),
        show=CommandView(as_json, kept),
    )


@reporting
def resume(
    kept: ProgressKept,
    folder: Folder,
    from_start: FromStart = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped; nothing is measured or finished twice."""
    from hwloop.experiment.conclusion import concluded

    view = CommandView(as_json, kept)
    view.begun(folder)
    with view.running() as listeners:
        # Where every seed is finished, only the report is left: torch takes longer to import than that takes.
        evidence = None if from_start else concluded(folder, listeners)
        if evidence is None:
            from hwloop.experiment.runner import resume_experiment
            from hwloop.experiments.datasets import split

            evidence = resume_experiment(folder, split, listeners, from_start)
    view.finished(evidence)


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
    if replay.computed_anew:
        anew = ", ".join(replay.computed_anew)
        shown.print(f"not compared, for the run's version computed them otherwise or not: {anew}", highlight=False)
    shown.print("replayed from the journal alone: 0 rows measured, every result identical to the last bit")
    if replay.evidence.config.evidence.floors and not with_evidence:
        shown.print("floors were not computed again; hwloop replay --evidence does", highlight=False)


def _giving_up(folder: Path) -> Callable[[], None]:
    """For a process that must end while its run goes on."""
    from hwloop.runs.layout import mark_interrupted

    def give_up() -> None:
        if mark_interrupted(folder, "interrupted at once"):
            message = f"hwloop: interrupted at once, kept in {folder}; go on with: hwloop resume {folder}\n"
            with contextlib.suppress(OSError):
                os.write(2, message.encode())

    return give_up


class CommandView(ConsoleView):
    """As in a terminal; what is kept of a run that stops stands in the one line of its error.

    With ``as_json`` standard output carries nothing but one JSON object.
    """

    def __init__(self, as_json: bool, kept: ProgressKept) -> None:
        super().__init__()
        self._as_json, self._kept = as_json, kept

    def begun(self, folder: Path) -> None:
        self._kept.give_up = _giving_up(folder)

    def said(self, kept: str) -> None:
        self._kept.note = kept

    def finished(self, evidence: Evidence) -> None:
        if not self._as_json:
            super().finished(evidence)
            return
        from hwloop.cli.run_display import show_evidence

        show_evidence(evidence, self.errors)
        self.named(evidence)
        print(json.dumps(evidence.as_json()))
