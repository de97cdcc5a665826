"""A long comparison kept on disk piece by piece: its finished results, and the rows of the piece in progress."""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from hwloop.device import Device, DeviceDescription
from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.provenance import beyond_the_seed
from hwloop.experiment.rigs import PlannedRig
from hwloop.journal import DiskJournal, InMemoryJournal, Journal
from hwloop.journal.durable_files import atomic_write, make_folder, refuse_links, sync_folder
from hwloop.journal.lock import WriterLock
from hwloop.session.same_device import joined

Piece = TypeVar("Piece")
Result = TypeVar("Result")
DEVICES = "devices"


Progress = Callable[[str, int, int], None]


def no_progress(what: str, done: int, of: int) -> None:
    """For those who want to see none: what is done, how many and of how many."""


class Campaign(ABC, Generic[Piece, Result]):
    """A long comparison in a folder of its own: settings, then a finished piece of work and its result a line.

    A line is written whole and brought to the disk before the next piece begins; a line that a power cut tore
    is dropped, and its piece runs again. While it is open nobody else writes it.

    Parameters
    ----------
    folder
        New, empty, or of the same kind and on the same settings.
    settings
        As plain values; written down.
    devices
        What every piece is measured with, as far as closed devices can say; written down beside the settings.

    Attributes
    ----------
    kind
        Of comparison, in words, for messages: ``"arena"``.
    settings_file, lines_file
        Names of its files.

    Raises
    ------
    ConfigError
        The folder holds work on other settings, or something else.
    JournalError
        Another process is writing it.
    """

    kind: ClassVar[str]
    settings_file: ClassVar[str]
    lines_file: ClassVar[str]

    @abstractmethod
    def deciding(self, settings: Mapping[str, Any]) -> Any:
        """The part of the settings that a piece depends on beside its key: what may not differ."""

    @abstractmethod
    def key(self, piece: Piece) -> str:
        """Names a piece in the file."""

    @abstractmethod
    def line(self, piece: Piece, result: Result) -> dict[str, Any]:
        """What is written of a finished piece."""

    @abstractmethod
    def read(self, line: Mapping[str, Any]) -> Result:
        """The result in a line; raises ``ValueError``, ``KeyError`` or ``TypeError`` where there is none."""

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], devices: Sequence[DeviceDescription] = ()
    ) -> None:
        kind, deciding = self.kind, self.deciding
        recorded, self._lines = folder / self.settings_file, folder / self.lines_file
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file; give the {kind} a folder")
        if folder.is_dir() and any(folder.iterdir()) and not recorded.is_file():
            raise ConfigError(f"{folder} is not empty and holds no {kind}; give a new folder")
        make_folder(folder)
        refuse_links(folder)
        self._lock = WriterLock(folder)
        try:
            if recorded.is_file() and deciding(self._settings(recorded)) != deciding(_as_json(settings)):
                raise ConfigError(
                    f"{folder} holds a {kind} on another device, dataset or network, or with other settings, "
                    f"see {recorded.name} there; give another folder"
                )
            if recorded.is_file():
                self._require_same(devices, self._settings(recorded).get(DEVICES), recorded)
            # A mapping in a description keeps its order, so nothing is sorted.
            described = [device.as_dict() for device in devices]
            atomic_write(recorded, json.dumps({**settings, DEVICES: described}, indent=1))
            self._done = self._taken_up()
            self._file = self._lines.open("ab")
            sync_folder(folder)
        except BaseException:
            self._lock.release()
            raise

    @property
    def rows_folder(self) -> Path:
        """Where the rows of a piece in progress are kept, each in a folder of its own."""
        return self.folder.absolute() / "rows"

    def find(self, piece: Piece) -> Result | None:
        """What a piece gave, if it is finished."""
        return self._done.get(self.key(piece))

    def results(self) -> dict[str, Result]:
        """Every finished piece by its key."""
        return dict(self._done)

    def keep(self, piece: Piece, result: Result) -> None:
        """Write a finished piece down."""
        key = self.key(piece)
        self._done[key] = result
        self._file.write(json.dumps({"key": key, **self.line(piece, result)}).encode("utf-8") + b"\n")
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def __len__(self) -> int:
        return len(self._done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._lock.release()

    def _require_same(self, devices: Sequence[DeviceDescription], stored: Any, path: Path) -> None:
        """Refuse pieces of another device: its file may have been edited, though its name is the same."""
        known = [DeviceDescription.from_dict(entry) for entry in stored] if isinstance(stored, list) else []
        for before, now in zip(known, devices, strict=False):
            different = beyond_the_seed(before.differences(now))
            if different:
                raise ConfigError(
                    f"{self.folder} holds a {self.kind} on another device, see {path.name} there; what was "
                    f"recorded, and what is: {joined(different)}. Set that back, or give another folder"
                )

    def _settings(self, path: Path) -> Mapping[str, Any]:
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path} cannot be read ({error}); give the {self.kind} another folder") from error
        return table if isinstance(table, dict) else {}

    def _taken_up(self) -> dict[str, Result]:
        """The whole lines of the file, which is cut after the last of them."""
        done: dict[str, Result] = {}
        if not self._lines.is_file():
            return done
        kept = 0
        for line in self._lines.read_bytes().splitlines(keepends=True):
            try:
                if not line.endswith(b"\n"):
                    break
                table = json.loads(line)
                done[str(table["key"])] = self.read(table)
            except (ValueError, KeyError, TypeError):
                break
            kept += len(line)
        os.truncate(self._lines, kept)
        return done


def without(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The experiment in the settings, but for some entries."""
    return {name: value for name, value in settings.get("experiment", {}).items() if name not in names}


def _as_json(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """As they will be read back: a tuple becomes a list."""
    table: Mapping[str, Any] = json.loads(json.dumps(settings))
    return table


class KeptRig(PlannedRig):
    """The configured devices; their journals are closed when it is.

    Parameters
    ----------
    folder
        For the journals of this piece of work alone; what is in them already is not measured again. ``None``: in
        memory.
    """

    def __init__(self, config: ExperimentConfig, folder: Path | None) -> None:
        super().__init__(config)
        self.folder = folder
        self._devices: list[Device] = []
        self._journals: list[Journal] = []

    def device(self, number: int, n_features: int, seed: int) -> Device:
        device = self._built(number, n_features, seed)
        self._devices.append(device)
        return device

    def _built(self, number: int, n_features: int, seed: int) -> Device:
        return super().device(number, n_features, seed)

    def journal(self, number: int, seed: int) -> Journal:
        """On disk, where there is a folder."""
        return self._journal(f"device-{number}")

    def _journal(self, name: str) -> Journal:
        if self.folder is None:
            return InMemoryJournal()
        journal = DiskJournal(self.folder / name)
        self._journals.append(journal)
        return journal

    def drop_reproducible(self) -> None:
        """Remove the rows if every device is a simulation that would give them again."""
        if self.folder is not None and all(device.reproducible for device in self._devices):
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for journal in self._journals:
            journal.close()
