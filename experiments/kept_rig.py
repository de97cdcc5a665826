"""Devices whose answers are kept on disk until a piece of a comparison is done: killed, it goes on at its row."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from hwloop.device import Device
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.rigs import PlannedRig
from hwloop.journal import DiskJournal, InMemoryJournal, Journal


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
        """As the configuration says."""
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
