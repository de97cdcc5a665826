"""``hwloop predict``: what a trained network says of new rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwloop.cli.command import LAST_LINE, ProgressKept, json_option, reporting
from hwloop.cli.console import new_console, plain, shown_warnings
from hwloop.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from hwloop.experiment.trained import TrainedNetwork
    from hwloop.layers import PhysicalNetwork
    from hwloop.runs.recording_folder import RecordingFolder
    from hwloop.session import Session
    from hwloop.tasks import LearningTask


@reporting
def predict(
    kept: ProgressKept,
    run: Annotated[
        Path, typer.Argument(metavar="RUN|FILE.safetensors", help="Folder of a run, or a saved classifier.")
    ],
    rows: Annotated[
        Path, typer.Argument(metavar="FILE", help="Rows of features: a table, arrays or a folder of images.")
    ],
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
    as_json: Annotated[bool, json_option(f"Print the result as one JSON object, {LAST_LINE}.")] = False,
) -> None:
    """Predict new rows with a trained network: class names and probabilities, or values in their units."""
    request = _Request(run, rows, seed, checkpoint, budget, journal, device_changed, tuple(device or ()))
    _predict(request, as_json, kept)


@dataclass(frozen=True)
class _Request:
    """What was asked for; the options of the command."""

    target: Path
    rows: Path
    seed: int | None = None
    checkpoint: str | None = None
    budget: int | None = None
    journal: Path | None = None
    device_changed: str = "refuse"
    devices: tuple[str, ...] = ()


def _predict(request: _Request, as_json: bool, kept: ProgressKept) -> None:
    """Predict, and show what the task says of each row.

    Standard output carries a line a row, or with ``as_json`` nothing but one JSON object; all else goes to
    standard error.
    """
    from hwloop.checkpoint.devices import DEVICE_CHANGED
    from hwloop.experiment.trained import TrainedNetwork
    from hwloop.experiments.own_data.new_rows import preparation_of, read_new_rows
    from hwloop.registry import nearest

    if request.device_changed not in DEVICE_CHANGED:
        raise ConfigError(f"--device-changed: {nearest(request.device_changed, DEVICE_CHANGED)}")
    errors = new_console(stderr=True)
    trained = TrainedNetwork.of(request.target, request.seed, request.checkpoint)
    who = "" if trained.seed is None else f", seed {trained.seed}"
    errors.print(f"network: {plain(str(trained.path))}{who}", highlight=False, soft_wrap=True)
    learned = trained.task
    columns = learned.columns_of_file(_columns(trained))
    new = read_new_rows(request.rows, preparation_of(trained.preparation, columns, trained.feature_names))
    inputs, said = learned.rows_of_file(new.inputs)
    for note in [*new.notes, *said]:
        errors.print(f"note: {plain(note)}", highlight=False, soft_wrap=True)
    with shown_warnings(errors), _folder(request, trained, inputs) as folder:
        try:
            devices = trained.devices(request.devices)
            network = trained.network(devices, folder, request.budget, request.device_changed)
            _announce(trained.rows_needed(network, len(inputs)), len(inputs), errors)
            task, answers = trained.predict(network, inputs)
        except BaseException:
            if folder.rows:
                kept.note = f"the {folder.rows} rows measured are kept in {folder.path}; the same command goes on"
            raise
        folder.finish()
        files = new.files if len(new.files) == len(answers) else ()  # a series is cut into other rows
        result = _result(request, trained, network, task, answers, files, folder.path)
    if as_json:
        print(json.dumps(result))
    else:
        _show(result, task)
    rows = ", ".join(f"{count} {purpose}" for purpose, count in result["rows"].items() if count) or "none"
    errors.print(
        f"device rows: {rows}, {result['device_seconds']:.3g} s; recorded in {plain(result['journal'])}",
        highlight=False,
        soft_wrap=True,
    )


def _columns(trained: TrainedNetwork) -> int:
    """Numbers in a row, before any device is opened."""
    described = trained.described
    try:
        readout = described["readout"]
        if readout is None:
            raise ConfigError(
                f"{trained.path} has no readout yet: it was saved in the middle of a fit. Take a final one"
            )
        overlay = readout.get("amplitude") is not None
        classes = readout.get("n_classes", readout.get("shape", [0])[-1])
        return int(described["n_features"]) - (int(classes) if overlay else 0)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{trained.path} is not understood ({type(error).__name__}: {error})") from error


def _folder(request: _Request, trained: TrainedNetwork, inputs: NDArray[np.float64]) -> RecordingFolder:
    """One for this network and these rows, so that what was stopped goes on and nothing else is touched."""
    from hwloop.runs.recording_folder import RecordingFolder
    from hwloop.session.kept_fit import digest_of_rows

    wanted = {
        "checkpoint": hashlib.sha256(trained.path.read_bytes()).hexdigest(),
        "rows": digest_of_rows(inputs),
        "device_changed": request.device_changed,
    }
    key = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
    base = request.journal or trained.predictions_folder()
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{base} cannot be made ({error.strerror}); choose another place with --journal"
        ) from error
    name = f"{request.rows.stem[:40]}-{key}"
    return RecordingFolder(base / name, f"prediction of {request.rows}", str(trained.path), wanted)


def _announce(needed: dict[Session, int], rows: int, errors: Any) -> None:
    """Say what the predictions will cost; refused here if the budget does not cover it."""
    for session, count in needed.items():
        session.require(count)
    first = next(iter(needed))
    errors.print(f"{rows} rows to predict: {first.forecast(sum(needed.values()))}", highlight=False)


def _result(
    request: _Request,
    trained: TrainedNetwork,
    network: PhysicalNetwork,
    task: LearningTask,
    answers: NDArray[np.float64],
    files: Sequence[str],
    journal: Path,
) -> dict[str, Any]:
    sessions = network.distinct_sessions
    rows: dict[str, int] = {}
    for session in sessions:
        for purpose, count in session.ledger.rows.items():
            rows[purpose] = rows.get(purpose, 0) + count
    return {
        "run": None if trained.run is None else str(trained.run),
        "checkpoint": str(trained.path),
        "seed": trained.seed,
        "file": str(request.rows),
        **task.outputs_in_json,
        "predictions": [
            {"row": number, **({"file": files[number - 1]} if files else {}), **task.described(each)}
            for number, each in enumerate(answers, start=1)
        ],
        "rows": rows,
        "device_seconds": sum(session.ledger.busy_seconds for session in sessions),
        "devices": [session.identity for session in sessions],
        "journal": str(journal),
    }


def _show(result: dict[str, Any], task: LearningTask) -> None:
    """A line a row: its number, its file if it has one, its class and the probabilities, or values in full."""
    places = [name for name in ("row", "file") if name in result["predictions"][0]]
    print("\t".join([*places, *map(plain, task.headings)]))
    for each in result["predictions"]:
        for fields in task.lines(each):
            print("\t".join([*(plain(str(each[name])) for name in places), *map(plain, fields)]))
