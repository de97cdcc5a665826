"""From the options of ``hwloop drift`` to its table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from hwloop.cli.arena_run import shown_progress
from hwloop.cli.console import new_console
from hwloop.cli.exit_codes import ProgressKept

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as for a run: the matrices are small


def follow_and_show(
    experiment: str,
    changes: Sequence[str],
    through: str,
    policies: str,
    rows: int,
    gate: float,
    out: Path | None,
    kept: ProgressKept,
) -> None:
    """Run the drift and show its table on standard output; progress goes to standard error."""
    from hwloop.errors import ConfigError
    from hwloop.experiment.config import check_names, load_experiment
    from hwloop.experiment.run_folder import free_folder
    from hwloop.experiments.datasets import experiment_file
    from hwloop.experiments.drift.report import HEADINGS, course_line, write_drift_report
    from hwloop.experiments.drift.run import DriftSettings, parsed_positions, run_drift

    config = load_experiment(experiment_file(experiment), changes)
    check_names(config)
    names = tuple(dict.fromkeys(name.strip() for name in policies.split(",") if name.strip()))
    if not names:
        raise ConfigError("--policies names none; give at least one, such as none,recall")
    settings = DriftSettings(config, *parsed_positions(through), names, rows, gate)
    folder = out or free_folder(f"drift-{config.name}", None)
    errors = new_console(stderr=True)
    with kept.in_folder(folder), shown_progress(errors) as progress:
        result = run_drift(settings, folder, progress)
    plot = write_drift_report(result, folder)
    table = Table(*HEADINGS, box=box.SIMPLE_HEAD)
    for course in result.courses:
        table.add_row(*course_line(course))
    new_console().print(table)
    errors.print(f"plot: {plot}", highlight=False, soft_wrap=True)
