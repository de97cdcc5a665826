"""``hwloop arena``: every trainer on one device, at the same row budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from hwloop.cli.command import ProgressKept, reporting, set_option
from hwloop.cli.console import FittedTable, Heading, new_console, with_data_read
from hwloop.errors import ConfigError

if TYPE_CHECKING:
    from hwloop.experiment.config import ExperimentConfig
    from hwloop.experiments.arena import ArenaSettings, Standings
    from hwloop.experiments.arena.variation import Variation


@reporting
def arena(
    kept: ProgressKept,
    experiment: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|FILE.toml]", help="An experiment whose device, data and network are taken."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.toml", help="The device, if another or without an experiment.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="The dataset, likewise.")] = None,
    budget: Annotated[
        str, typer.Option(metavar="R,R,…", help="Row budgets: rows a training sample, all stages together.")
    ] = "2,10,50",
    trainers: Annotated[
        str, typer.Option(metavar="NAME,NAME,…|all", help="Who takes part; see 'hwloop list'.")
    ] = "all",
    seeds: Annotated[int, typer.Option(metavar="N", help="Number of seeds.")] = 5,
    trials: Annotated[
        int, typer.Option(metavar="N", help="Settings tried for each trainer and budget; 1 for its defaults.")
    ] = 8,
    settings: Annotated[
        list[str] | None, set_option("Change an entry, such as device.settings.n_outputs=200.")
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option(metavar="KEY=V,V,…", help="One arena a value, such as device.settings.dac_bits=2,4,8."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder; the same again goes on.", metavar="DIR", show_default="runs/<time>-arena-<name>"
        ),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes; more than one needs hwloop[scale].")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A running Dask scheduler, in place of processes here.")
    ] = None,
) -> None:
    """Compare trainers at equal device rows: one table, one plot."""
    request = ArenaRequest(
        experiment, device, dataset, budget, trainers, seeds, trials, tuple(settings or ()), out
    )
    if vary is None:
        _compare(request, workers, scheduler, kept)
    else:
        _vary(request, vary, workers, scheduler, kept)


@dataclass(frozen=True)
class ArenaRequest:
    """What was asked for on the command line."""

    experiment: str | None
    device: str | None
    dataset: str | None
    budget: str
    trainers: str
    seeds: int
    trials: int
    settings: tuple[str, ...]
    out: Path | None


def _compare(request: ArenaRequest, n_workers: int, scheduler: str | None, kept: ProgressKept) -> None:
    """Run the arena and show its table on standard output; progress goes to standard error."""
    settings = _arena_settings(request)
    folder = request.out or _new_folder(settings.experiment.name)

    from hwloop.experiments.arena.jobs import workers
    from hwloop.experiments.arena.report import write_arena_report
    from hwloop.experiments.arena.run import run_arena

    errors = new_console(stderr=True)
    with kept.in_folder(folder), workers(n_workers, scheduler) as where, shown_progress(errors) as progress:
        standings = run_arena(settings, folder, where, progress)
    report = write_arena_report(standings, folder)
    _show_standings(standings, new_console())
    errors.print(f"report: {report}", highlight=False, soft_wrap=True)


@contextmanager
def shown_progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each kind of work, as ``run_arena`` reports it."""
    from rich.progress import Progress, TimeElapsedColumn

    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console) as shown:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=of)
            shown.update(tasks[what], completed=done)

        yield progress


def _arena_settings(request: ArenaRequest) -> ArenaSettings:
    """The arena that was asked for, everything in it known.

    Raises
    ------
    ConfigError
    """
    from hwloop.experiment.config import check_names
    from hwloop.experiments.arena.settings import ArenaSettings, named_trainers, parsed_budgets

    budgets, experiment = parsed_budgets(request.budget), _experiment(request)
    check_names(experiment)
    experiment = with_data_read(experiment)
    return ArenaSettings(experiment, named_trainers(request.trainers), budgets, request.trials)


def _experiment(request: ArenaRequest) -> ExperimentConfig:
    """The experiment that is named, with what the options change; or one of a device and a dataset alone."""
    from hwloop.experiment.config import load_experiment, validated
    from hwloop.experiment.headline import named_without_trainer, run_name
    from hwloop.experiments.arena.settings import with_validation
    from hwloop.experiments.datasets import experiment_file

    changes = [
        f"{key}={value}" for key, value in (("device", request.device), ("dataset", request.dataset)) if value
    ]
    changes += [f"seeds={request.seeds}", *request.settings]
    if request.experiment is not None:
        config = load_experiment(experiment_file(request.experiment), changes)
        return validated(with_validation(named_without_trainer(config).as_table()), config.name)
    if request.device is None or request.dataset is None:
        raise ConfigError("name an experiment, or give both --device and --dataset; see hwloop list")
    from hwloop.toml_text import with_overrides

    name = run_name(f"{Path(request.dataset).stem}-{Path(request.device).stem}")
    table = {"name": name, "trainer": "local"}
    return validated(with_validation(with_overrides(table, changes)), "arena")


def _new_folder(name: str) -> Path:
    """``runs/<time>-arena-<name>``."""
    from hwloop.experiment.run_folder import free_folder

    return free_folder(f"arena-{name}", None)


def _show_standings(standings: Standings, console: Console) -> None:
    """What was compared, then the table: the best first, floors and digital methods below."""
    from hwloop.experiment.headline import parts_line

    experiment = standings.settings.experiment
    dataset, device, _ = parts_line(experiment)
    console.print(Text(experiment.name, style="bold"))
    console.print(Text(f"{dataset}, {device}, {len(experiment.seeds)} seeds, mean ± sd\n"))
    standings_table(standings).print(console)
    if definitions := standings.kind.definitions_in_words():
        console.print(definitions, highlight=False, soft_wrap=True)
    for line in standings.as_json()["refused"]:
        console.print(
            f"{line['trainer']} at {line['budget']:g}: {line['reason']}", highlight=False, soft_wrap=True
        )


def standings_table(standings: Standings) -> FittedTable:
    """A line an entry, then a line a floor or ceiling."""
    from hwloop.experiments.arena.report import entry_line, reference_lines

    columns = standings.columns
    headings = [Heading("trainer", wraps=True, least=20)]
    headings += [
        Heading(column.heading or column.title, right=True, drop=number) for number, column in enumerate(columns)
    ]
    headings.append(Heading("", drop=len(columns), name="who is on the Pareto front"))
    table = FittedTable(headings, elsewhere="the report has them")
    for entry in standings.ranking:
        line = entry_line(entry, standings)
        table.add_row(line["trainer"], *line["figures"], "Pareto front" if line["front"] else "")
    table.add_section()
    for reference in reference_lines(standings):
        table.add_row(reference["method"], reference["score"], *[""] * len(columns))
    return table


def _vary(request: ArenaRequest, vary: str, n_workers: int, scheduler: str | None, kept: ProgressKept) -> None:
    """Run one arena a value and show one table on standard output; progress goes to standard error."""
    from hwloop.experiments.arena.jobs import workers
    from hwloop.experiments.arena.variation import parsed_variation, run_variation, write_variation

    variation = parsed_variation(vary)

    def with_setting(setting: str) -> ArenaSettings:
        return _arena_settings(replace(request, settings=(*request.settings, setting)))

    first = with_setting(variation.settings[0])
    folder = request.out or _new_folder(first.experiment.name)
    errors = new_console(stderr=True)
    with kept.in_folder(folder), workers(n_workers, scheduler) as where, shown_progress(errors) as progress:
        found = run_variation(variation, with_setting, folder, where, progress)
    report = write_variation(variation, found, folder)
    _show_variation(variation, found, new_console())
    errors.print(f"report: {report}", highlight=False, soft_wrap=True)


def _show_variation(variation: Variation, found: dict[str, Standings], console: Console) -> None:
    """A line a trainer at a budget, a column a value."""
    from hwloop.experiments.arena.variation import variation_rows

    # The first and the last value say most of how a trainer depends on the setting; those between go first.
    values = list(variation.values)
    headings = [Heading(variation.key, wraps=True, least=20)]
    for number, value in enumerate(values):
        headings.append(Heading(value, right=True, drop=0 if number in (0, len(values) - 1) else number))
    table = FittedTable(headings, elsewhere="the report has them")
    for name, figures in variation_rows(found):
        table.add_row(name, *figures)
    table.print(console)
