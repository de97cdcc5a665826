"""The commands and their options. Nothing heavy is imported until a command needs it: ``--help`` is instant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hwloop.cli.arena_command import arena
from hwloop.cli.bench_command import bench
from hwloop.cli.calibrate_command import calibrate
from hwloop.cli.check_command import check
from hwloop.cli.drift_command import drift
from hwloop.cli.exit_codes import reported
from hwloop.cli.export_command import export
from hwloop.cli.predict_command import predict
from hwloop.cli.recorded_commands import replay, resume
from hwloop.cli.runs_command import runs
from hwloop.cli.serve_command import serve
from hwloop.cli.verify_command import verify
from hwloop.cli.worker_command import worker

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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""
    context.obj = {"debug": debug}


@app.command()
def run(
    context: typer.Context,
    experiment: Annotated[
        str, typer.Argument(metavar="[NAME|FILE.toml]", help="An experiment of 'hwloop list', or a file.")
    ] = "digits-optical",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change an entry, such as device.settings.n_outputs=200."),
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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, the last line of stdout.")
    ] = False,
    floors: Annotated[
        bool | None, typer.Option("--floors/--no-floors", help="Score floors and ceiling too.", show_default=False)
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves for TensorBoard into the run's folder.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train a physical network, and show what the physics is worth."""
    with reported(debug or context.obj["debug"]) as progress_kept:
        from hwloop.cli.run_command import run_and_show

        extra = [f"seeds={seeds}"] if seeds is not None else []
        extra += ["run.tensorboard=true"] if tensorboard else []
        extra += [f"evidence.floors={str(floors).lower()}"] if floors is not None else []
        extra += [f"reuse.runs={json.dumps([str(run.absolute()) for run in reuse])}"] if reuse else []
        run_and_show(experiment, [*(settings or []), *extra], out, as_json, progress_kept)


@app.command("list")
def list_everything(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Experiments, devices, trainers, adaptation policies and datasets, each with a line."""
    with reported(debug or context.obj["debug"]):
        from hwloop.cli.list_command import show_everything

        show_everything()


for command in (arena, drift, check, calibrate, bench, serve, resume, replay, predict, runs, verify, export):
    app.command()(command)
app.add_typer(worker, name="worker")
