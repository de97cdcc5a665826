"""From ``hwloop arena --vary`` to its table: one arena for each value of a key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from hwloop.cli.arena_run import (
    ArenaRequest,
    arena_settings,
    new_folder,
    shown_progress,
)
from hwloop.cli.console import new_console
from hwloop.cli.exit_codes import ProgressKept

if TYPE_CHECKING:
    from hwloop.experiments.arena import ArenaSettings, Standings
    from hwloop.experiments.arena.variation import Variation


def vary_and_show(
    request: ArenaRequest, vary: str, n_workers: int, scheduler: str | None, kept: ProgressKept
) -> None:
    """Run one arena a value and show one table on standard output; progress goes to standard error."""
    from hwloop.experiments.arena.jobs import workers
    from hwloop.experiments.arena.variation import parsed_variation, run_variation, write_variation

    variation = parsed_variation(vary)

    def with_setting(setting: str) -> ArenaSettings:
        return arena_settings(replace(request, settings=(*request.settings, setting)))

    first = with_setting(variation.settings[0])
    folder = request.out or new_folder(first.experiment.name)
    errors = new_console(stderr=True)
    with kept.in_folder(folder), workers(n_workers, scheduler) as where, shown_progress(errors) as progress:
        found = run_variation(variation, with_setting, folder, where, progress)
    report = write_variation(variation, found, folder)
    show_variation(variation, found, new_console())
    errors.print(f"report: {report}", highlight=False, soft_wrap=True)


def show_variation(variation: Variation, found: dict[str, Standings], console: Console) -> None:
    """A line a trainer at a budget, a column a value."""
    from hwloop.experiments.arena.variation import variation_rows

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(variation.key)
    for value in variation.values:
        table.add_column(value, justify="right")
    for name, figures in variation_rows(found):
        table.add_row(name, *figures)
    console.print(table)
