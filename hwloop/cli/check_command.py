"""``hwloop check``: can this driver be trusted?"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.text import Text

from hwloop.cli.command import (
    BROKEN_PROMISE,
    DeviceTarget,
    ProgressKept,
    device_settings,
    json_option,
    reporting,
    set_option,
)
from hwloop.cli.console import FittedTable, Heading, PipedConsole, plain, recorded_console

if TYPE_CHECKING:
    from hwloop.conformance import Report
    from hwloop.session import Forecast

STYLES = {"pass": "green", "fail": "bold red", "note": "yellow"}


@reporting
def check(
    kept: ProgressKept,
    target: DeviceTarget,
    settings: Annotated[
        list[str] | None, set_option("A setting of the device, such as port=/dev/ttyUSB0.")
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
    as_json: Annotated[bool, json_option("Print one JSON object.")] = False,
) -> int:
    """Check what a device promises, with evidence. Exit code 0 if it keeps all promises, 1 if it breaks any.

    Nothing beyond the device's limits is sent to it. Within them, outputs are driven to their limits.
    """
    report = _checked(target, settings or [], rows, only or [], seed, timeout, out, kept)
    if as_json:
        print(json.dumps({"target": target, **report.as_dict()}, allow_nan=False))
    else:
        _show_report(target, report)
    return 0 if report.passed else BROKEN_PROMISE


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
    from hwloop.conformance import check_device
    from hwloop.experiment.run_folder import run_in_free_folder
    from hwloop.registry import device_factory
    from hwloop.runs.recording_folder import RecordingFolder

    make_device = device_factory(target, device_settings(settings))
    name = f"check-{re.sub('[^A-Za-z0-9_-]+', '-', target).strip('-')[-40:]}"
    request = {"check": target, "settings": settings, "rows": rows, "only": only, "seed": seed}
    with (
        run_in_free_folder(name, out) as path,
        _CheckProgress() as progress,
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


class _CheckProgress:
    """The forecast on a line of its own; on a terminal also which promise is being checked."""

    def __init__(self) -> None:
        from rich.status import Status

        self._console = PipedConsole(stderr=True, highlight=False, markup=False)
        self._status = Status("opening the device", console=self._console)

    def forecast(self, forecast: Forecast) -> None:
        """Say what the check will take."""
        self._console.print(f"checking: {forecast}, more where a result has to be confirmed", soft_wrap=True)

    def promise(self, question: str, number: int, count: int) -> None:
        """Say what is being checked."""
        self._status.update(f"{number}/{count} {question}")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()


def _show_report(target: str, report: Report) -> None:
    """Print a line a promise with its evidence, then what to do about those that are broken or noted."""
    from hwloop.conformance import Status

    out = recorded_console()
    out.print(Text(f"{plain(target)}: {plain(report.identity)}", style="bold"), soft_wrap=True)
    promises_table(report).print(out)
    for status, heading in ((Status.FAIL, "To do"), (Status.NOTE, "Worth knowing")):
        advice: dict[str, list[str]] = {}  # several promises may come with the same advice
        for result in report.results:
            if result.finding.status is status and result.finding.next_step:
                advice.setdefault(result.finding.next_step, []).append(result.promise)
        if advice:
            out.print(Text(heading, style="bold"))
        for step, promises in advice.items():
            out.print(Text.assemble("  ", (", ".join(promises), "bold"), f": {plain(step)}"), soft_wrap=True)
    out.print(_verdict(report), soft_wrap=True)


def promises_table(report: Report) -> FittedTable:
    """A line a promise, with its evidence."""
    table = FittedTable(
        [
            Heading("promise"),
            Heading("", name="outcome"),
            Heading("evidence", wraps=True, least=20),
            Heading("p", right=True, drop=1),
        ],
        elsewhere="--json has it",
    )
    for result in report.results:
        finding = result.finding
        table.add_row(
            result.promise,
            Text(str(finding.status), style=STYLES[str(finding.status)]),
            plain(finding.summary),
            "" if finding.p_value is None else f"{finding.p_value:.2g}",
        )
    return table


def _verdict(report: Report) -> Text:
    from hwloop.conformance import Status

    counts = {status: sum(r.finding.status is status for r in report.results) for status in Status}
    notes = f", {counts[Status.NOTE]} noted or not checked" if counts[Status.NOTE] else ""
    cost = f" ({report.rows:,} rows, {report.seconds:.1f} s)"
    if report.passed:
        return Text(f"no promise broken: {counts[Status.PASS]} kept{notes}{cost}", style="green")
    return Text(f"broken: {', '.join(report.broken)}; {counts[Status.PASS]} kept{notes}{cost}", style="bold red")
