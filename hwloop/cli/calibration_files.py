"""The files of ``hwloop calibrate``: refused before the first row, or written whole, an older one kept."""

from __future__ import annotations

import datetime
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.calibration import Calibration
from hwloop.errors import ConfigError
from hwloop.experiment.toml_text import toml_text
from hwloop.journal.durable_files import atomic_write


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
    _require_writable(out, "-o")
    if request.report is not None:
        try:
            request.report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--report {request.report} cannot be made ({error.strerror})") from error
        _require_writable(request.report / "report.html", "--report")


def _require_writable(path: Path, option: str) -> None:
    """Make a file beside it, as writing it whole will; what is there already stays as it is."""
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
    kept = {f"kept from before ({path.suffix[1:]})": new for path in (out, figures) if (new := _keep_older(path))}
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


def _keep_older(path: Path) -> Path | None:
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
