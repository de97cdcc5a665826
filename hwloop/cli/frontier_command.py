"""``hwloop frontier``: physical networks against digital models at equal digital cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from hwloop.cli.command import json_option, reporting, set_option
from hwloop.cli.console import FittedTable, Heading, new_console, with_data_read
from hwloop.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from hwloop.experiment.config import ExperimentConfig
    from hwloop.experiments.frontier.standing import Frontier


@reporting
def frontier(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FILE.toml|TASK:DEVICE]...",
            help="Experiments whose device and data are taken; none: the shipped set.",
        ),
    ] = None,
    effort: Annotated[
        int, typer.Option(metavar="N", help="Settings tried of each side at each budget, on validation rows.")
    ] = 16,
    seeds: Annotated[
        str, typer.Option(metavar="N|S,S,…", help="Number of seeds that are tested on, or the seeds.")
    ] = "5",
    multiply_adds: Annotated[
        str | None,
        typer.Option(
            metavar="M,M,…", help="Digital budgets of a prediction (a step).", show_default="the task's five"
        ),
    ] = None,
    budget: Annotated[
        float, typer.Option(metavar="ROWS", help="Device rows a training sample that --trainers may measure.")
    ] = 50.0,
    trainers: Annotated[
        str, typer.Option(metavar="NAME,…", help="Who tunes a device that has tunables; empty for nobody.")
    ] = "tune-outputs",
    fresh: Annotated[
        int, typer.Option(metavar="N", help="Search anew on so many other seeds where the physics wins.")
    ] = 0,
    settings: Annotated[
        list[str] | None, set_option("Change an entry, such as device.settings.n_outputs=200.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the page.", metavar="DIR", show_default="runs/<time>-frontier")
    ] = None,
    as_json: Annotated[bool, json_option("Print one JSON object, every point in it.")] = False,
) -> None:
    """Compare devices with the best digital models for as few multiply-adds."""
    from hwloop.experiments.frontier.report import as_json as plain
    from hwloop.experiments.frontier.report import write_frontiers
    from hwloop.experiments.frontier.run import Effort, run_frontier

    budgets = () if multiply_adds is None else _numbers("--multiply-adds", multiply_adds)
    named = tuple(name.strip() for name in trainers.split(",") if name.strip())
    asked = Effort(effort, _seeds(seeds), fresh, budgets, named, budget)
    configs = _experiments(experiments or [], settings or [])
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)  # where that fails, it fails before the search
    errors, found = new_console(stderr=True), []
    with _shown(errors) as tell:
        for number, config in enumerate(configs):

            def said(what: str, number: int = number, config: ExperimentConfig = config) -> None:
                tell(f"{number + 1}/{len(configs)} {config.name}: {what}")

            try:
                found.append(run_frontier(config, asked, said))
            except (ConfigError, DatasetError) as error:
                if len(configs) == 1:
                    raise
                errors.print(f"left out: {config.name}: {error}", highlight=False, soft_wrap=True)
    if not found:
        raise ConfigError("no experiment could be compared; the lines above say why")
    page = write_frontiers(found, out or _new_folder())
    if as_json:
        print(json.dumps(plain(found)))
    else:
        _show(found, new_console())
    errors.print(f"report: {page}", highlight=False, soft_wrap=True)


def _seeds(text: str) -> tuple[int, ...]:
    numbers = _numbers("--seeds", text)
    if "," in text:
        return numbers
    if not 1 <= numbers[0] <= 1000:
        raise ConfigError(f"--seeds {text!r} must be 1 to 1000, or several seeds such as 7,8,9")
    return tuple(range(numbers[0]))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is no list of whole numbers, such as 100,200") from error


def _experiments(names: list[str], settings: list[str]) -> list[ExperimentConfig]:
    from hwloop.experiment.config import check_names, load_experiment
    from hwloop.experiments.datasets import experiment_file
    from hwloop.experiments.frontier.shipped import shipped_pair, shipped_set

    if not names:
        if settings:
            raise ConfigError("--set changes an experiment; name one, or leave it out for the shipped set")
        return shipped_set()
    pairs = [name for name in names if ":" in name]
    if pairs and settings:
        raise ConfigError(f"--set changes an experiment, not {pairs[0]}, which is one of the shipped set")
    found = [
        shipped_pair(name) if name in pairs else load_experiment(experiment_file(name), settings) for name in names
    ]
    for config in found:
        check_names(config)
    return [with_data_read(config) for config in found]


def _new_folder() -> Path:
    from hwloop.experiment.run_folder import free_folder

    return free_folder("frontier", None)


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[str], None]]:
    """What is being done, on a terminal in one line that changes."""
    if not console.is_terminal:
        yield lambda what: None
        return
    with console.status("") as status:
        yield lambda what: status.update(Text(what))


def _show(found: list[Frontier], console: Console) -> None:
    """One device: every point. Several: the verdicts by device and task, then every win."""
    from hwloop.experiments.frontier.report import figures_of, matrix, totals
    from hwloop.experiments.frontier.standing import WIN

    first = found[0]
    seeds = f"{len(first.seeds)} seed{'' if len(first.seeds) == 1 else 's'}"
    console.print(Text(f"{seeds}, {first.trials} settings tried a side and budget on validation rows\n"))
    if len(found) > 1:
        tasks, rows = matrix(found)
        table = FittedTable([Heading("device"), *(Heading(task) for task in tasks)], elsewhere="the page has them")
        for row in rows:
            table.add_row(*row)
        table.print(console)
        console.print(
            Text("smallest budget to largest: W win, T tie, l loss, – the inputs alone cost more\n", style="dim")
        )
    points = [(each, point) for each in found for point in each.points]
    shown = points if len(found) == 1 else [pair for pair in points if pair[1].verdict == WIN]
    if shown:
        _table([figures_of(*pair) for pair in shown], len(found) > 1).print(console)
    console.print(Text(totals(found)))


def _table(lines: list[dict[str, str]], named: bool) -> FittedTable:
    headings = [Heading("task", drop=0), Heading("device", drop=0)] if named else []
    headings += [
        Heading("multiply-\nadds", right=True),
        Heading("physics", right=True),
        Heading("head", drop=4),
        Heading("digital", right=True),
        Heading("rival", drop=3, wraps=True),
        Heading("verdict"),
        Heading("advantage of the physics", drop=2, wraps=True, least=24),
    ]
    keys = ["dataset", "device"] if named else []
    keys += ["budget", "physics", "head", "digital", "rival", "verdict", "interval"]
    table = FittedTable(headings, elsewhere="the page and --json have them")
    for line in lines:
        table.add_row(*(line[key] for key in keys))
    return table
