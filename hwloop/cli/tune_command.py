"""``hwloop tune``: settings searched on validation rows within a budget, and tested once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwloop.cli.command import LAST_LINE, ProgressKept, json_option, reporting, set_option
from hwloop.cli.console import FittedTable, Heading, new_console, plain, with_data_read

if TYPE_CHECKING:
    from rich.console import Console

    from hwloop.experiments.tune import TuneResult, TuneSettings


@reporting
def tune(
    kept: ProgressKept,
    experiment: Annotated[str, typer.Argument(metavar="NAME|FILE.toml", help="The experiment to start from.")],
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=LOW:HIGH[:log]|KEY=A,B,C",
            help="What to search, such as device.settings.gain=0.2:1.6.",
            show_default="what trainer and device declare",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(metavar="N", help="Settings to try, the experiment's own first.")] = 20,
    rows: Annotated[
        int | None,
        typer.Option(metavar="N", help="Device rows that search and test may take.", show_default="no limit"),
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Fresh seeds of the test at the end.")] = 5,
    settings: Annotated[list[str] | None, set_option("Change an entry before the search.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder; the same again goes on.", show_default="runs/<time>-tune-<name>"
        ),
    ] = None,
    as_json: Annotated[bool, json_option(f"Print the result as one JSON object, {LAST_LINE}.")] = False,
) -> None:
    """Search settings on validation rows within a row budget; test the best once, beside the defaults."""
    request = _settings(experiment, search or [], trials, rows, seeds, settings or [])
    from hwloop.cli.arena_command import shown_progress
    from hwloop.experiment.run_folder import free_folder
    from hwloop.experiments.tune import run_tune
    from hwloop.experiments.tune.report import as_json as figures
    from hwloop.experiments.tune.report import write_tune
    from hwloop.experiments.tune.space import in_words

    errors = new_console(stderr=True)
    folder = out or free_folder(f"tune-{request.experiment.name}", None)
    for line in in_words(request.space):
        errors.print(f"searched: {plain(line)}", highlight=False, soft_wrap=True)

    def say(text: str) -> None:
        errors.print(text, highlight=False, markup=False, soft_wrap=True)

    with kept.in_folder(folder), shown_progress(errors) as progress:
        result = run_tune(request, folder, progress, say)
    path = write_tune(result, folder)
    if as_json:
        print(json.dumps(figures(result)))
    else:
        _show(result, new_console())
    errors.print(f"experiment: {plain(str(path))}; run it with: hwloop run {plain(str(path))}", soft_wrap=True)


def _settings(
    experiment: str, search: list[str], trials: int, rows: int | None, seeds: int, settings: list[str]
) -> TuneSettings:
    """What was asked for, every name in it known."""
    from hwloop.experiment.config import check_names, load_experiment, validated
    from hwloop.experiments.arena.settings import with_validation
    from hwloop.experiments.datasets import experiment_file
    from hwloop.experiments.tune import TuneSettings, default_space, parsed_search

    asked = parsed_search(search)
    config = load_experiment(experiment_file(experiment), settings)
    check_names(config)
    config = with_data_read(validated(with_validation(config.as_table()), config.name))
    return TuneSettings(config, asked or default_space(config), trials, rows, seeds)


def _show(result: TuneResult, console: Console) -> None:
    """The table, and what follows from it."""
    from hwloop.experiments.tune.report import sentences, table_of

    headings, lines = table_of(result)
    columns = [Heading(headings[0], wraps=True, least=12)]
    columns += [Heading(each, right=True, drop=number) for number, each in enumerate(headings[1:])]
    table = FittedTable(columns, elsewhere="table.md has them")
    for line in lines:
        table.add_row(*line)
    table.print(console)
    for sentence in sentences(result):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
