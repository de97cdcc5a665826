"""``hwloop drift``: a trained network on a device that moves, and what each adaptation policy makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hwloop.cli.arena_command import shown_progress
from hwloop.cli.command import ExperimentName, ProgressKept, reporting, set_option
from hwloop.cli.console import FittedTable, Heading, new_console, with_data_read
from hwloop.errors import ConfigError


@reporting
def drift(
    kept: ProgressKept,
    experiment: ExperimentName = "digits-fibre",
    through: Annotated[
        str,
        typer.Option(metavar="KEY=FIRST..LAST|KEY=A,B,…", help="The setting that moves, and its values."),
    ] = "device.settings.position=0..26",
    policies: Annotated[
        str,
        typer.Option(metavar="NAME,NAME,…", help="none, or as in 'hwloop list'; A+B; NAME:unlabelled."),
    ] = "none,restandardise,recall,twin",
    rows: Annotated[int, typer.Option(metavar="N", help="Device rows a step, all stages, at most.")] = 200,
    gate: Annotated[float, typer.Option(metavar="X", help="Measured drift up to which nothing is done.")] = 0.1,
    seeds: Annotated[int, typer.Option(metavar="N", help="Number of seeds.")] = 3,
    settings: Annotated[list[str] | None, set_option("Change an entry, such as network.width=50.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder; the same again goes on.", metavar="DIR", show_default="runs/<time>-drift-<name>"
        ),
    ] = None,
) -> None:
    """Train once, let the device move, and keep the network alive: one table, one plot."""
    from hwloop.experiment.config import check_names, load_experiment
    from hwloop.experiment.headline import parts_line
    from hwloop.experiment.run_folder import free_folder
    from hwloop.experiments.datasets import experiment_file
    from hwloop.experiments.drift.report import HEADINGS, course_line, write_drift_report
    from hwloop.experiments.drift.run import DriftSettings, parsed_positions, run_drift

    config = load_experiment(experiment_file(experiment), [f"seeds={seeds}", *(settings or [])])
    check_names(config)
    names = tuple(dict.fromkeys(name.strip() for name in policies.split(",") if name.strip()))
    if not names:
        raise ConfigError("--policies names none; give at least one, such as none,recall")
    asked = DriftSettings(with_data_read(config), *parsed_positions(through), names, rows, gate)
    folder = out or free_folder(f"drift-{config.name}", None)
    errors = new_console(stderr=True)
    with kept.in_folder(folder), shown_progress(errors) as progress:
        result = run_drift(asked, folder, progress)
    plot = write_drift_report(result, folder)
    lines = [course_line(course, result.metric) for course in result.courses]
    table = courses_table(HEADINGS, lines, f"{', '.join(parts_line(config))}, through {through}\n")
    table.print(new_console())
    errors.print(f"plot: {plot}", highlight=False, soft_wrap=True)


def courses_table(titles: Sequence[str], lines: Sequence[Sequence[str]], title: str = "") -> FittedTable:
    """A line a policy; the first columns say most."""
    headings = [
        Heading(title, wraps=not number, least=20, right=number > 0, drop=max(0, number - 1))
        for number, title in enumerate(titles)
    ]
    table = FittedTable(headings, title, elsewhere="the table in the folder has them")
    for line in lines:
        table.add_row(*line)
    return table
