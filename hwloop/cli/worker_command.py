"""``hwloop worker``: the environments in which devices live that want another Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hwloop.cli.command import BROKEN_PROMISE, json_option, reporting

worker = typer.Typer(
    no_args_is_help=True, help="Build and check the environments of devices that want another Python."
)


@worker.command("install")
@reporting
def install_environment(
    name: Annotated[str, typer.Argument(metavar="lava|NAME", help="A known environment, or a name for one.")],
    python: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Interpreter to build it with.", show_default="one that fits"),
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What pip installs, for a name that is not known.")
    ] = None,
) -> None:
    """Build an environment, unless it is there and whole."""
    from hwloop.devices.worker.installing import install, recipe_for

    recipe = recipe_for(name, requirements)
    environment, built = install(name, recipe, python, tell=lambda line: typer.echo(line, err=True))
    state, detail = environment.state()
    typer.echo(f"{name}  {state}{'' if built else ', as it was'}  {detail}  {environment.python}")


@worker.command("list")
@reporting
def list_installed(
    as_json: Annotated[bool, json_option("Print one JSON array.")] = False,
) -> int:
    """Every environment, and whether it works; ends with 1 if one does not."""
    from hwloop.devices.worker.environments import State, environments_folder, list_environments

    found = [(environment, *environment.state()) for environment in list_environments()]
    if as_json:
        rows = [
            {"name": environment.name, "state": state, "detail": detail, "python": str(environment.python)}
            for environment, state, detail in found
        ]
        typer.echo(json.dumps(rows))
    elif not found:
        where = environments_folder()
        typer.echo(f"no environment in {where}; hwloop worker install lava builds one", err=True)
    else:
        width = max(len(environment.name) for environment, *_ in found)
        for environment, state, detail in found:
            typer.echo(f"{environment.name:{width}}  {state:10}  {detail}  {environment.python}")
    return BROKEN_PROMISE if any(state is not State.WHOLE for _, state, _ in found) else 0


@worker.command("remove")
@reporting
def remove_environment(
    name: Annotated[str, typer.Argument(help="One of 'hwloop worker list'.")],
) -> None:
    """Delete an environment and its log."""
    from hwloop.devices.worker.installing import remove

    remove(name)
