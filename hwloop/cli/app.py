"""The commands and their options. Nothing heavy is imported until a command needs it: ``--help`` is instant."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from hwloop.cli.arena_command import arena
from hwloop.cli.bench_command import bench
from hwloop.cli.calibrate_command import calibrate
from hwloop.cli.check_command import check
from hwloop.cli.command import Debug, reporting
from hwloop.cli.console import PipedConsole
from hwloop.cli.drift_command import drift
from hwloop.cli.predict_command import predict
from hwloop.cli.run_command import replay, resume, run
from hwloop.cli.runs_command import export, runs, verify
from hwloop.cli.serve_command import serve
from hwloop.cli.worker_command import worker

# The matrices of every command are small: a second thread gains little, and on busy cores it made training six
# times slower by waiting for the first. It is read when numpy and torch are first imported; a user's value wins.
os.environ.setdefault("OMP_NUM_THREADS", "1")

app = typer.Typer(
    name="hwloop",
    help="Train neural networks whose nonlinear layers are real physical systems, or simulations of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the ``hwloop`` command."""
    app()


def _show_version(asked: bool) -> None:
    if asked:
        import hwloop

        typer.echo(f"hwloop {hwloop.__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""
    context.obj = {"debug": debug}


@reporting
def list_everything() -> None:
    """Experiments, devices, trainers, adaptation policies and datasets, each with a line."""
    from hwloop.experiments.datasets import shipped_experiments
    from hwloop.registry import ADAPTERS, DATASETS, DEVICES, SCHEMES, TRAINERS, read_toml

    experiments = {
        name: str(read_toml(path).get("description", "")) for name, path in shipped_experiments().items()
    }
    console = PipedConsole(highlight=False)
    for title, described in (
        ("Experiments", experiments),
        ("Devices", DEVICES.describe()),
        ("Devices elsewhere", {f"{name}:…": line for name, line in SCHEMES.describe().items()}),
        ("Trainers", TRAINERS.describe()),
        ("Adaptation policies", ADAPTERS.describe()),
        ("Datasets", DATASETS.describe()),
    ):
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        table.add_column(no_wrap=True)
        table.add_column()
        for name, line in described.items():
            table.add_row(Text(name, style="bold"), Text(line))
        console.print(Text(title, style="bold underline"))
        console.print(table)
        console.print()


app.command()(run)
app.command("list")(list_everything)
for command in (arena, drift, check, calibrate, bench, serve, resume, replay, predict, runs, verify, export):
    app.command()(command)
app.add_typer(worker, name="worker")
