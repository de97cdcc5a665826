"""The commands and their options. Nothing heavy is imported until a command needs it: ``--help`` is instant."""

from __future__ import annotations

import importlib
import os
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from hwloop.cli.command import BROKEN_PIPE, Debug
from hwloop.cli.stop_signals import end_process_with_command

# Every command, in the order of the help, and the module of its function.
COMMANDS = {
    "run": "run_command",
    "list": "catalogue_command",
    "info": "catalogue_command",
    "arena": "arena_command",
    "tune": "tune_command",
    "frontier": "frontier_command",
    "drift": "drift_command",
    "check": "check_command",
    "calibrate": "calibrate_command",
    "characterise": "characterise_command",
    "fit": "fit_command",
    "bench": "bench_command",
    "serve": "serve_command",
    "resume": "run_command",
    "replay": "run_command",
    "predict": "predict_command",
    "runs": "runs_command",
    "note": "runs_command",
    "verify": "runs_command",
    "export": "runs_command",
    "worker": "worker_command",
}
FUNCTIONS = {"list": "list_names"}  # what has another name than its command


class Commands(TyperGroup):
    """Imports the module of a command when it is asked for: a run loads no other command."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; ``None`` if there is none."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            module = importlib.import_module(f"hwloop.cli.{COMMANDS[cmd_name]}")
            found = getattr(module, FUNCTIONS.get(cmd_name, cmd_name))
            if not isinstance(found, typer.Typer):
                single = typer.Typer(add_completion=False)
                single.command(cmd_name)(found)
                found = single
            command = typer.main.get_command(found)
            command.name = cmd_name
            self.commands[cmd_name] = command
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=Commands,
    name="hwloop",
    help="Train neural networks whose nonlinear layers are real physical systems, or simulations of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the ``hwloop`` command."""
    # The matrices of every command are small: a second thread gains little, and on busy cores it made training six
    # times slower by waiting for the first. Read when numpy and torch are first imported; a user's value wins.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    end_process_with_command()
    try:
        app()
    except SystemExit as ended:  # help is printed by typer itself, which ends with 1 where nobody reads it
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        raise SystemExit(BROKEN_PIPE) from None


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
