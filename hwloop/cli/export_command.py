"""``hwloop export``: a run's rows for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwloop.cli.exit_codes import reported


def export(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run, running or not.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="hdf5, netcdf or parquet.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to.", show_default="beside DIR, with its name"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Write all rows of a run, with units and attributes, as HDF5, netCDF4 or Parquet."""
    with reported(debug or context.obj["debug"]):
        from hwloop.cli.recorded_in_words import console, plain, size
        from hwloop.runs.export import export_run

        done = export_run(folder, to, output, force)
        for warning in done.warnings:
            console(stderr=True).print(f"hwloop: warning: {plain(warning)}", soft_wrap=True)
        groups = f"{done.devices} group{'s' if done.devices > 1 else ''}"
        console().print(f"{done.path}: {done.rows:,} rows in {groups}, {size(done.bytes)}", soft_wrap=True)
