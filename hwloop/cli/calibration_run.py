"""From the options of ``hwloop calibrate`` to its files."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from hwloop.calibration import Plan, calibrate, least_rows, plan_rows, sweep_settling
from hwloop.calibration.settling_sweep import ROWS_PER_VALUE
from hwloop.cli.calibration_files import CalibrationRequest, check_output, rows_folder, write_files
from hwloop.cli.calibration_table import show_calibration
from hwloop.cli.console import new_console
from hwloop.cli.exit_codes import ProgressKept
from hwloop.device import Device, DeviceWrapper
from hwloop.errors import BudgetExceeded, ConfigError
from hwloop.events import Event, RowsMeasured
from hwloop.experiment.toml_text import parse_setting
from hwloop.registry import open_device, paths_beside, read_toml
from hwloop.runs.recording_folder import RecordingFolder
from hwloop.session import Forecast

SWEEP_FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0)  # of the setting's present value


def calibrate_and_show(request: CalibrationRequest, as_json: bool, kept: ProgressKept) -> None:
    """Calibrate, write TOML, JSON and report, and show the figures.

    Standard output carries the figures, or with ``as_json`` nothing but one JSON object; all else goes to standard
    error.
    """
    check_output(request)
    table = _device_table(request)
    device = _open(request.target, table)
    errors = new_console(stderr=True)
    sweep = _Sweep.of(request, table, device)
    budget = _main_budget(request, sweep, device)
    plan_rows(device.spec, budget)  # a budget that is too small shows before a folder is made
    asked = {
        "calibrate": table,
        "budget": request.budget,
        "seed": request.seed,
        "settling": None if sweep is None else [sweep.setting, *sweep.seconds],
    }
    what = f"calibration of {request.target}"
    with (
        RecordingFolder(rows_folder(request.out), what, str(table.get("device", request.target)), asked) as folder,
        _RowsProgress(errors, kept, folder) as progress,
    ):
        found = None
        if sweep is not None:
            # First: what it recommends is what is calibrated.
            progress.announce_sweep(sweep.setting, sweep.seconds)
            found = sweep_settling(
                sweep.open_with,
                sweep.setting,
                sweep.seconds,
                request.seed,
                [progress],
                lambda number: folder.journal(f"settling-{number}"),
            )
            if found.recommended is not None:
                device, table = sweep.open_with(found.recommended), sweep.table_with(found.recommended)
        journal = folder.journal("calibration")
        calibration = calibrate(
            device,
            budget,
            seed=request.seed,
            listeners=[progress],
            announce=progress.announce,
            journal=journal,
        )
        calibration = replace(calibration, sweep=found)
        files = write_files(calibration, table, request)
        folder.finish()
    kept.note = ""
    show_calibration(calibration, errors if as_json else new_console())
    for what, path in {**files, "measured rows": folder.path}.items():
        errors.print(f"{what}: {path}", highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps({**calibration.as_dict(), "files": {what: str(path) for what, path in files.items()}}))


def _device_table(request: CalibrationRequest) -> dict[str, Any]:
    """The device file's table with the settings of the command, or one for a name."""
    if request.target.endswith(".toml"):
        table = read_toml(Path(request.target))
    else:
        table = {"device": request.target}
    settings, name = table.get("settings", {}), table.get("device")
    if not isinstance(settings, dict):
        raise ConfigError(f"{request.target}: [settings] must be a table")
    if isinstance(name, str):
        settings = paths_beside(Path(request.target).parent, name, settings)
    given = {}
    for text in request.settings:
        path, value = parse_setting(text)
        if len(path) != 1:
            raise ConfigError(f"--set {text!r}: name a setting of the device, such as seed=1")
        given[path[0]] = value
    return {**table, "settings": {**settings, **given}}


def _open(target: str, table: dict[str, Any]) -> Device:
    """The device, with wrappers if it comes from a file."""
    return open_device(target, **table["settings"])


@dataclass(frozen=True)
class _Sweep:
    """A settling sweep that was asked for."""

    setting: str
    seconds: Sequence[float]
    target: str
    table: dict[str, Any]

    @property
    def rows(self) -> int:
        return ROWS_PER_VALUE * len(self.seconds)

    def open_with(self, seconds: float) -> Device:
        return _open(self.target, self.table_with(seconds))

    def table_with(self, seconds: float) -> dict[str, Any]:
        return {**self.table, "settings": {**self.table["settings"], self.setting: seconds}}

    @classmethod
    def of(cls, request: CalibrationRequest, table: dict[str, Any], device: Device) -> _Sweep | None:
        """From ``KEY=S,S,...``; ``KEY`` for multiples of its value, ``auto`` for the device's own choice."""
        if request.settling is None:
            return None
        innermost = _innermost(device)
        key, _, text = request.settling.partition("=")
        if key == "auto":
            key = getattr(innermost, "settling_setting", "")
            if not key:
                raise ConfigError(
                    f"--settling auto: {type(innermost).__name__} names no settling_setting; give the name of the "
                    "setting, in seconds, that gives each row more time"
                )
        try:
            seconds = [float(part) for part in text.split(",") if part.strip()]
        except ValueError:
            raise ConfigError(
                f"--settling {request.settling!r}: give times such as {key}=1e-4,2e-4,4e-4"
            ) from None
        if not seconds:
            parameter = inspect.signature(type(innermost)).parameters.get(key)
            default = None if parameter is None else parameter.default
            present = table["settings"].get(key, getattr(innermost, key, default))
            if not isinstance(present, int | float) or not present > 0:
                raise ConfigError(f"--settling {key}: its present value is not known; give {key}=1e-4,2e-4,4e-4")
            seconds = [float(present) * factor for factor in SWEEP_FACTORS]
        if len(set(seconds)) < 2:
            raise ConfigError(f"--settling {request.settling!r}: give two different times or more, better four")
        sweep = cls(key, seconds, request.target, table)
        for value in seconds:  # a value that the device refuses shows before rows are spent
            sweep.open_with(value)
        return sweep


def _innermost(device: Device) -> Device:
    """The device inside all wrappers."""
    while isinstance(device, DeviceWrapper):
        device = device.device
    return device


def _main_budget(request: CalibrationRequest, sweep: _Sweep | None, device: Device) -> int | None:
    """What the settling sweep leaves of the budget.

    Raises
    ------
    BudgetExceeded
        The rest does not cover a calibration.
    """
    if request.budget is None or sweep is None:
        return request.budget
    least = sweep.rows + least_rows(device.spec)
    if request.budget < least:
        raise BudgetExceeded(
            f"the settling sweep and a calibration need at least {least:,} rows, {sweep.rows:,} of them for the "
            f"sweep, but the budget is {request.budget:,}; nothing was measured. Give --budget {least} or more"
        )
    return request.budget - sweep.rows


class _RowsProgress:
    """Rows measured of those planned, on standard error; where that is no terminal the forecast alone."""

    def __init__(self, console: Console, kept: ProgressKept, folder: RecordingFolder) -> None:
        self._console, self._kept, self._folder = console, kept, folder
        self._measured, self._before = 0, 0
        self._bar = Progress(
            TextColumn("calibrating"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> _RowsProgress:
        if self._folder.set_aside is not None:
            self._say(f"what an earlier calibration measured is kept in {self._folder.set_aside}")
        self._bar.start()
        return self

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def announce_sweep(self, setting: str, seconds: Sequence[float]) -> None:
        rows = ROWS_PER_VALUE * len(seconds)
        self._say(f"settling sweep: {rows:,} rows, {len(seconds)} values of {setting}")
        self._bar.update(self._task, total=rows)
        self._before = rows

    def announce(self, plan: Plan, forecast: Forecast) -> None:
        text = (
            f"forecast: {forecast} ({plan.first_look:,} to look first, "
            f"{plan.main - plan.reference:,} of stimuli in random order, {plan.reference:,} of "
            "references between them)"
        )
        self._say(text)
        recorded = self._folder.journal("calibration").rows
        if recorded:
            self._say(f"goes on with {recorded:,} rows that were measured before it was interrupted")
        self._bar.update(self._task, total=self._before + plan.rows)

    def __call__(self, event: Event) -> None:
        if isinstance(event, RowsMeasured):
            self._measured += event.rows
            self._kept.note = (
                f"{self._measured:,} rows are kept in {self._folder.path}: the same command goes on with them"
            )
            self._bar.update(self._task, completed=self._measured)
