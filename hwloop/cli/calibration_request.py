"""What ``hwloop calibrate`` was asked for: its device, its settling sweep, and its files, an older one kept."""

from __future__ import annotations

import datetime
import inspect
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.calibration import Calibration, least_rows
from hwloop.calibration.settling_sweep import ROWS_PER_VALUE
from hwloop.device import Device, DeviceWrapper
from hwloop.errors import BudgetExceeded, ConfigError
from hwloop.journal.durable_files import atomic_write
from hwloop.registry import open_device, paths_beside, read_toml
from hwloop.toml_text import parse_setting, toml_text

SWEEP_FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0)  # of the setting's present value


@dataclass(frozen=True)
class CalibrationRequest:
    """What was asked for; the options of the command."""

    target: str
    out: Path
    budget: int | None
    report: Path | None
    settings: tuple[str, ...]
    settling: str | None
    seed: int


def device_table(target: str, changed: Sequence[str]) -> dict[str, Any]:
    """The device file's table with the settings of the command, or one for a name."""
    table: dict[str, Any] = read_toml(Path(target)) if target.endswith(".toml") else {"device": target}
    settings, name = table.get("settings", {}), table.get("device")
    if not isinstance(settings, dict):
        raise ConfigError(f"{target}: [settings] must be a table")
    if isinstance(name, str):
        settings = paths_beside(Path(target).parent, name, settings)
    given: dict[str, Any] = {}
    for text in changed:
        path, value = parse_setting(text)
        if len(path) != 1:
            raise ConfigError(f"--set {text!r}: name a setting of the device, such as seed=1")
        given[path[0]] = value
    return {**table, "settings": {**settings, **given}}


def open_as_asked(target: str, table: dict[str, Any]) -> Device:
    """The device, with wrappers if it comes from a file."""
    return open_device(target, **table["settings"])


@dataclass(frozen=True)
class SettlingOption:
    """A settling sweep that was asked for."""

    setting: str
    seconds: Sequence[float]
    target: str
    table: dict[str, Any]

    @property
    def rows(self) -> int:
        """Rows that the whole sweep measures."""
        return ROWS_PER_VALUE * len(self.seconds)

    def open_with(self, seconds: float) -> Device:
        """The device with this much time."""
        return open_as_asked(self.target, self.table_with(seconds))

    def table_with(self, seconds: float) -> dict[str, Any]:
        """The device file's table with this much time."""
        return {**self.table, "settings": {**self.table["settings"], self.setting: seconds}}

    @classmethod
    def of(cls, request: CalibrationRequest, table: dict[str, Any], device: Device) -> SettlingOption | None:
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


def main_budget(request: CalibrationRequest, sweep: SettlingOption | None, device: Device) -> int | None:
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


def rows_folder(out: Path) -> Path:
    """Where the rows of a calibration are kept, beside the file that it writes."""
    return out.with_suffix(".rows")


def check_output(request: CalibrationRequest) -> None:
    """Refuse what could not be written, before rows are spent.

    Raises
    ------
    ConfigError
    """
    out = request.out
    if out.suffix != ".toml":
        raise ConfigError(f"-o {out}: the calibrated device is a TOML file; give a name such as {out.stem}.toml")
    if not out.resolve().parent.is_dir():
        raise ConfigError(f"-o {out}: there is no folder {out.parent}; make it first")
    if out.is_dir() or (out.exists() and Path(request.target).exists() and out.samefile(request.target)):
        raise ConfigError(f"-o {out}: would replace what is to be calibrated; give another name")
    if request.report is not None and request.report.exists() and not request.report.is_dir():
        raise ConfigError(f"--report {request.report}: this is a file, not a folder")
    require_writable(out, "-o")
    if request.report is not None:
        try:
            request.report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--report {request.report} cannot be made ({error.strerror})") from error
        require_writable(request.report / "report.html", "--report")


def require_writable(path: Path, option: str) -> None:
    """Refuse a place before rows are spent: a file is made beside it, as writing it whole will make one.

    Raises
    ------
    ConfigError
    """
    probe = path.with_name(f"{path.name}.part")
    try:
        probe.open("wb").close()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{option} {path}: cannot be written ({error.strerror}); choose another place. Nothing was measured"
        ) from error


def write_files(calibration: Calibration, table: dict[str, Any], request: CalibrationRequest) -> dict[str, Path]:
    """Write the device file, the figures and the report, older ones kept; returns their paths by what they are.

    Raises
    ------
    ConfigError
        What would be written is no TOML that gives the same device back.
    """
    from hwloop.calibration.report import write_report

    out, device_table = request.out, calibration.device_table(table)
    written = toml_text(device_table)
    document = _comment(calibration) + written
    _require_same_table(document, device_table, out)
    figures, page = out.with_suffix(".json"), out.with_suffix(".html")
    kept = {f"kept from before ({path.suffix[1:]})": new for path in (out, figures) if (new := keep_older(path))}
    atomic_write(out, document)
    atomic_write(figures, json.dumps(calibration.as_dict(), indent=1) + "\n")
    if request.report is None:
        report = write_report(calibration, written, page)
    else:
        report = write_report(calibration, written, request.report / "report.html", request.report / "plots")
    return {"calibrated device": out, "figures": figures, "report": report, **kept}


def _require_same_table(document: str, table: dict[str, Any], out: Path) -> None:
    try:
        read_back = toml_text(tomllib.loads(document))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{out} would be no valid TOML ({error}); please report it with the device file"
        ) from error
    if read_back != toml_text(table):
        raise ConfigError(f"{out} would not give the same device back; please report it with the device file")


def keep_older(path: Path) -> Path | None:
    """Give an older file a number behind its name; ``None`` if there is none."""
    if not path.exists():
        return None
    kept = next(free for n in range(1, 10**6) if not (free := path.with_name(f"{path.name}.{n}")).exists())
    path.rename(kept)
    return kept


def _comment(calibration: Calibration) -> str:
    """Where the file comes from; an instrument may answer ``*IDN?`` with characters that TOML allows nowhere."""
    written = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    lines = [f"Written by hwloop calibrate, {written}, from {calibration.rows:,} rows of", calibration.identity]
    lines += [f"{setting}: {reason}" for setting, reason in calibration.recommended.reasons.items()]
    return "".join(f"# {_printable(line)}\n" for line in lines) + "\n"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in " ".join(text.split()))
