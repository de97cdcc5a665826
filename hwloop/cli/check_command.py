"""``hwloop check``: can this driver be trusted?"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwloop.cli.exit_codes import BROKEN_PROMISE, ProgressKept, reported

if TYPE_CHECKING:
    from hwloop.conformance import Report
    from hwloop.device import Device

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is first imported; a user's value wins


def check(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A device's TOML file, a device of 'hwloop list', or package.module:Class."
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the device, such as port=/dev/ttyUSB0."),
    ] = None,
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="Rows that the check may measure.")] = 1000,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="PROMISE", help="Check this promise; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Draws stimuli and their order.")] = 0,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="A call that takes longer counts as hung.")
    ] = 60.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for the measured rows.", show_default="runs/<time>-check-<device>"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Check what a device promises, with evidence. Exit code 0 if it keeps all promises, 1 if it breaks any.

    Nothing beyond the device's limits is sent to it. Within them, outputs are driven to their limits.
    """
    with reported(debug or context.obj["debug"]) as kept:
        report = _checked(target, settings or [], rows, only or [], seed, timeout, out, kept)
        if as_json:
            import json

            print(json.dumps({"target": target, **report.as_dict()}, allow_nan=False))
        else:
            from hwloop.cli.check_report import show_report

            show_report(target, report)
    if not report.passed:
        raise typer.Exit(BROKEN_PROMISE)


def _checked(
    target: str,
    settings: list[str],
    rows: int,
    only: list[str],
    seed: int,
    timeout: float,
    out: Path | None,
    kept: ProgressKept,
) -> Report:
    from hwloop.cli.check_progress import CheckProgress
    from hwloop.conformance import check_device
    from hwloop.experiment.run_folder import run_in_free_folder
    from hwloop.runs.recording_folder import RecordingFolder

    make_device = device_factory(target, settings)
    name = f"check-{re.sub('[^A-Za-z0-9_-]+', '-', target).strip('-')[-40:]}"
    request = {"check": target, "settings": settings, "rows": rows, "only": only, "seed": seed}
    with (
        run_in_free_folder(name, out) as path,
        CheckProgress() as progress,
        _kept_rows_named(path, kept),
        contextlib.ExitStack() as stack,
    ):

        @functools.cache
        def folder() -> RecordingFolder:  # made when the device is: a mistake in its settings leaves none
            return stack.enter_context(RecordingFolder(path, f"check of {target}", target, request))

        report = check_device(
            make_device,
            rows=rows,
            seed=seed,
            timeout_seconds=timeout,
            only=only,
            journal_of=lambda name: folder().journal(name),
            on_forecast=progress.forecast,
            on_promise=progress.promise,
        )
        folder().finish()
    typer.echo(f"measured rows: {path}", err=True)
    return report


@contextlib.contextmanager
def _kept_rows_named(path: Path, kept: ProgressKept) -> Iterator[None]:
    """Say after an interruption where the rows are that were measured, if there are any."""
    try:
        yield
    finally:
        if path.is_dir() and any(path.iterdir()):
            kept.note = f"what was measured is kept in {path}"


def device_factory(target: str, settings: list[str]) -> Callable[[], Device]:
    """What makes the device, in any of the three forms; modules in the working folder are found too.

    Raises
    ------
    ConfigError
        From the call: the target is unknown, its module cannot be imported, or its class cannot be called.
    """
    import sys

    from hwloop.errors import ConfigError, HwloopError
    from hwloop.experiment.toml_text import parse_setting
    from hwloop.registry import open_device

    chosen: dict[str, Any] = {}
    for setting in settings:
        path, value = parse_setting(setting)
        if len(path) > 1:
            raise ConfigError(f"--set {setting!r}: a device's setting is one word, such as n_inputs=16")
        chosen[path[0]] = value
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)

    def make_device() -> Device:
        try:
            return open_device(target, **chosen)
        except HwloopError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise ConfigError(
                f"the device {target!r} cannot be made ({what}); look there first: --debug shows the line"
            ) from error

    return make_device
