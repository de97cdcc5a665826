"""A run's folder: configuration, environment, state, journals, every event and the final evidence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from hwloop.device import Device, DeviceDescription
from hwloop.errors import ConfigError, JournalError
from hwloop.events import Event, Listener
from hwloop.experiment.about import operators
from hwloop.experiment.config import ExperimentConfig, load_experiment
from hwloop.experiment.events import TensorBoardLog, require_tensorboard
from hwloop.experiment.provenance import MeasuredDevices, environment
from hwloop.journal import DiskJournal
from hwloop.journal.durable_files import atomic_write, make_folder, refuse_links, sync_tree
from hwloop.journal.lock import WriterLock
from hwloop.runs.files import UnreadableError
from hwloop.runs.layout import (
    CONFIG,
    ENVIRONMENT,
    FINISHED,
    METRICS,
    RUNNING,
    RUNS,
    STATE,
    RunState,
    journal_folder,
    read_state,
    require_run,
)
from hwloop.toml_text import toml_text


class RunFolder:
    """Everything that a run leaves on disk; each line is written as it happens, so a killed run keeps it.

    While it is open nobody else writes it.

    Parameters
    ----------
    path
        As :func:`free_folder` gives it, made if it is not there; or an earlier run's, to go on with it.

    Raises
    ------
    ConfigError
        It cannot be written.
    JournalError
        Another process is writing it; the message names it. Or a name in it leads elsewhere.
    """

    def __init__(self, path: Path, config: ExperimentConfig) -> None:
        self.path = path
        self._config = config
        if config.run.tensorboard:
            require_tensorboard()
        self._lines = threading.Lock()  # events come from the device's thread too
        try:
            make_folder(path)
            refuse_links(path)
            make_folder(path / "plots")
            self._owner = WriterLock(path)
            self._metrics = (path / METRICS).open("a", encoding="utf-8")
            self._devices = MeasuredDevices(config.measured_with, CONFIG)
            self._write_config()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error
        # Opened last: everything before it can be refused.
        self._tensorboard = TensorBoardLog(path) if config.run.tensorboard else None
        self.write_environment([], [])
        self.write_state(RUNNING)

    @property
    def extra_listeners(self) -> list[Listener]:
        """What else listens to the run, as its configuration asks."""
        return [] if self._tensorboard is None else [self._tensorboard]

    def journal(self, seed: int, device: int) -> DiskJournal:
        """The journal of one of a seed's devices, with what an earlier run of this folder left in it."""
        return DiskJournal(journal_folder(self.path, seed, device), self._config.journal.sync_seconds)

    def __call__(self, event: Event) -> None:
        """A listener: one line an event."""
        self.write_line(event.as_dict())

    def write_line(self, entry: Mapping[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``, with the time."""
        with self._lines, self._writable():
            text = json.dumps({"time": round(time.time(), 3), **entry}, default=_plain)
            if not self._metrics.closed:
                self._metrics.write(text + "\n")
                self._metrics.flush()

    def write_environment(self, devices: list[str], device_versions: list[dict[str, str]]) -> None:
        """Write ``environment.json``: versions, commit, operator, seeds, who the devices are, what they run on."""
        found = environment() | {
            "operator": operators(self.path, self._config),
            "seeds": self._config.seeds,
            "devices": devices,
            "device_versions": device_versions,
        }
        with self._writable():
            atomic_write(self.path / ENVIRONMENT, json.dumps(found, indent=2) + "\n")

    def identified(self, seed: int, number: int, device: Device, description: DeviceDescription) -> None:
        """A device is open: write into ``run.toml`` what it is.

        Raises
        ------
        ConfigError
            It is another one than the file says that this seed was measured with.
        """
        self._devices.require_same(seed, number, device, description)
        self._devices.note(seed, number, description)
        with self._writable():
            self._write_config()

    def _write_config(self) -> None:
        config = self._config
        table = {**config.as_table(), **config.said_table(), "measured_with": self._devices.as_table()}
        atomic_write(self.path / CONFIG, toml_text({key: value for key, value in table.items() if value != []}))

    def write_state(self, state: str, detail: str = "") -> None:
        """Write ``state.json``."""
        device = ", ".join(dict.fromkeys(part.name for part in self._config.device))
        with self._writable():
            RunState.now(state, self._config.name, device, detail).write(self.path)

    def finish(self) -> None:
        """Everything is there: bring it to the disk, and then say so."""
        with self._writable():
            sync_tree(self.path)
        self.write_state(FINISHED)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """A full disk, or a folder that was removed, is one clear error."""
        try:
            yield
        except OSError as error:
            raise JournalError(
                f"{self.path} cannot be written ({error.strerror}); what its journal holds is safe. Mend the disk "
                "or free some space, then resume the run"
            ) from error

    def close(self) -> None:
        """No line after this; others may write the folder."""
        if self._tensorboard is not None:
            self._tensorboard.close()
        with self._lines, suppress(OSError):  # what could not be written was reported when it was written
            self._metrics.close()
        self._owner.release()


def recorded_state(path: Path) -> RunState:
    """What has become of the run in a folder.

    Raises
    ------
    ConfigError
        The folder holds no run, or its state cannot be read.
    """
    require_run(path)
    try:
        return read_state(path)
    except UnreadableError as error:
        raise ConfigError(f"{path / STATE} {error}; hwloop verify {path} shows what can be read") from error


def unfinished_run(path: Path) -> ExperimentConfig:
    """The configuration of a run that can go on; without a state, its power was lost before the first row.

    Raises
    ------
    ConfigError
        There is no run, or it is finished.
    """
    is_begun = (path / CONFIG).is_file() and not (path / STATE).exists()
    if not is_begun and recorded_state(path).state == FINISHED:
        raise ConfigError(f"{path} is finished; see its report.html, or run it again with hwloop replay {path}")
    return load_experiment(path / CONFIG)


def free_folder(name: str, out: str | Path | None) -> Path:
    """Where a run may write: ``out`` if it is empty or new, else a new ``runs/<time>-<name>``, which is made here.

    So two runs that begin in the same second have a folder each.

    Raises
    ------
    ConfigError
        ``out`` holds something already, or is a file: no run overwrites another. Or no folder can be made.
    """
    if out is None:
        return _new_folder(f"{time.strftime('%Y%m%d-%H%M%S')}-{name}")
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file; give --out a folder")
    if path.is_dir() and any(path.iterdir()):
        raise ConfigError(f"{path} is not empty, and no run overwrites another; give --out a new folder")
    return path


def _new_folder(base: str) -> Path:
    for number in count(1):
        path = RUNS / (base if number == 1 else f"{base}-{number}")
        try:
            RUNS.mkdir(exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if RUNS.is_dir():
                continue
            raise ConfigError(f"{RUNS} is no folder, so no run can be kept in it; give --out") from None
        except FileNotFoundError:
            continue  # another run has just removed the empty folder of all runs
        except OSError as error:
            raise ConfigError(f"{path} cannot be made ({error.strerror}); give --out") from error
        return path
    raise AssertionError("there is always another number")


@contextmanager
def run_in_free_folder(name: str, out: str | Path | None) -> Iterator[Path]:
    """A folder of :func:`free_folder`; one that was made here is removed again if nothing was begun in it."""
    path = free_folder(name, out)
    try:
        yield path
    finally:
        if out is None:
            with suppress(OSError):  # it holds something
                path.rmdir()
                path.parent.rmdir()


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays as JSON."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
