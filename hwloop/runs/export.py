"""Write a run's rows for other tools, whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from hwloop._version import __version__
from hwloop.errors import ConfigError, JournalError
from hwloop.runs import layout
from hwloop.runs.files import UnreadableError, read_text
from hwloop.runs.layout import read_state
from hwloop.runs.recorded_rows import ExportedDevice, ExportedRows, JournalContents, row_blocks, survey

Writer = Callable[[Path, Mapping[str, str], Sequence[ExportedDevice], Iterable[ExportedRows]], None]


@dataclass(frozen=True)
class Format:
    """A kind of file: how it ends, and what writes it (imported when it is asked for)."""

    suffix: str
    writer: Callable[[], Writer]


def _netcdf() -> Writer:
    from hwloop.runs.netcdf_file import write_netcdf

    return write_netcdf


def _parquet() -> Writer:
    from hwloop.runs.parquet_file import write_parquet

    return write_parquet


# A netCDF4 file is an HDF5 file with rules; the two differ in nothing but the name.
FORMATS: dict[str, Format] = {
    "hdf5": Format(".h5", _netcdf),
    "netcdf": Format(".nc", _netcdf),
    "parquet": Format(".parquet", _parquet),
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    warnings
        What of the run is not in the file, in words.
    """

    path: Path
    rows: int
    devices: int
    bytes: int
    warnings: list[str]


def export_run(run: Path, to: str, target: Path | None = None, force: bool = False) -> Exported:
    """Write every row of a run, which may be running, into one file.

    Parameters
    ----------
    to
        One of :data:`FORMATS`.
    target
        By default beside the run's folder, with its name.
    force
        Overwrite what is there.

    Raises
    ------
    ConfigError
        There is no run or no row, a package is missing, the format is unknown, or the file is there already or
        cannot be written; what was there before is untouched.
    JournalError
        A journal could not be read.
    """
    layout.require_run(run)
    if to not in FORMATS:
        raise ConfigError(f"unknown format {to!r}; choose one of {', '.join(FORMATS)}")
    writer = _writer(to)
    path = target or _beside(run, FORMATS[to].suffix)
    _require_free(path, force)
    try:
        surveys = [survey(journal) for journal in layout.journal_folders(run)]
    except (OSError, ValueError) as error:
        raise JournalError(f"{run} cannot be read ({error}); hwloop verify {run} shows what is whole") from error
    devices = [device for found in surveys for device in found.devices.values()]
    if not devices:
        raise ConfigError(f"{run} holds no rows yet; hwloop verify {run} shows what it holds")
    _write_aside(path, lambda part: writer(part, _attributes(run, surveys), devices, _blocks(surveys)))
    rows = sum(device.rows for device in devices)
    return Exported(path, rows, len(devices), path.stat().st_size, list(_warnings(surveys)))


def _writer(to: str) -> Writer:
    try:
        return FORMATS[to].writer()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"export to {to} needs the package {error.name}, which is not installed; "
            "install it with: pip install 'hwloop[export]'"
        ) from error


def _beside(run: Path, suffix: str) -> Path:
    """The run's name with another ending; ``.`` and ``..`` have none of their own."""
    named = run if run.name not in ("", "..") else run.resolve()
    return named.with_name(named.name + suffix)


def _require_free(path: Path, force: bool) -> None:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give --output a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent} is no folder; make it, or give another --output")
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; give --force to overwrite it, or another --output")


def _blocks(surveys: Iterable[JournalContents]) -> Iterator[ExportedRows]:
    return chain.from_iterable(row_blocks(found) for found in surveys)


def _write_aside(path: Path, write: Callable[[Path], None]) -> None:
    """Write to a new file first, then rename it: nobody sees half a file, and a failure costs nothing."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(path)
    except (OSError, RuntimeError) as error:  # HDF5 says the second of a full disk
        raise ConfigError(
            f"{path} cannot be written ({error}); free some space, or give another --output"
        ) from error
    except (ValueError, KeyError) as error:
        raise JournalError(
            f"the run changed while it was read ({error}); hwloop verify shows what is whole"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _attributes(run: Path, surveys: Iterable[JournalContents]) -> dict[str, str]:
    """What belongs to the whole run, as texts; what cannot be read is left out."""
    attributes = {
        "source": f"hwloop {__version__}",
        "history": f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} exported from {run.resolve().name}",
        "missing_rows": str(sum(found.missing_rows for found in surveys)),
    }
    for name, file in (("run_toml", layout.CONFIG), ("environment_json", layout.ENVIRONMENT)):
        try:
            attributes[name] = read_text(run / file)
        except UnreadableError:
            continue
    try:
        now = read_state(run)
        attributes |= {"title": now.experiment, "state": now.state}
    except UnreadableError:
        pass
    return attributes


def _warnings(surveys: Iterable[JournalContents]) -> Iterator[str]:
    for found in surveys:
        if found.damaged:
            yield f"{found.journal.name}: {found.damaged} damaged places were left out; hwloop verify lists them"
        if found.missing_rows:
            yield f"{found.journal.name}: {found.missing_rows} rows are missing between those that are whole"
