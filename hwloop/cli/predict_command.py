"""``hwloop predict``: classes of new rows by a trained network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hwloop.cli.exit_codes import reported


def predict(
    context: typer.Context,
    run: Annotated[
        Path, typer.Argument(metavar="RUN|FILE.safetensors", help="Folder of a run, or a saved classifier.")
    ],
    rows: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Rows of features, with or without a header.")],
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Which seed's network.", show_default="the run's last")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another checkpoint of the run, such as final-seed-0.")
    ] = None,
    budget: Annotated[int | None, typer.Option(metavar="ROWS", help="Rows that each device may measure.")] = None,
    journal: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where measured rows are kept.", show_default="RUN/predictions"),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE.toml",
            help="The device, or one a stage, where a saved classifier cannot build it.",
            show_default="the run's",
        ),
    ] = None,
    device_changed: Annotated[
        str, typer.Option(metavar="refuse|warn", help="What to do about another device than it was trained on.")
    ] = "refuse",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, the last line of stdout.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Predict new rows with a trained network: class names and probabilities."""
    with reported(debug or context.obj["debug"]) as kept:
        # The matrices are small: a second thread gains little. It is read when numpy and torch are first imported.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        from hwloop.cli.predict_run import PredictionRequest, predict_and_show

        request = PredictionRequest(
            run, rows, seed, checkpoint, budget, journal, device_changed, tuple(device or ())
        )
        predict_and_show(request, as_json, kept)
