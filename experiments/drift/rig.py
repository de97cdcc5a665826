"""The devices of one seed at every position, and the journals that keep what they answer."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hwloop.device import Device
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.rigs import PlannedRig
from hwloop.experiments.drift.moving import Moving
from hwloop.journal import DiskJournal, InMemoryJournal, Journal
from hwloop.layers import PhysicalNetwork
from hwloop.session import Session
from hwloop.session.progress import nested

TRAINING = "training"


class MovingRig(PlannedRig):
    """Each device of the experiment, at every position; a killed seed finds its rows again.

    Parameters
    ----------
    config
        The experiment.
    positions
        The same at each position.
    folder
        For the journals of this seed alone, closed when the rig is. ``None``: in memory.
    """

    def __init__(
        self, config: ExperimentConfig, positions: Sequence[ExperimentConfig], folder: Path | None
    ) -> None:
        super().__init__(config)
        self.folder = folder
        self._positions = [PlannedRig(position) for position in positions]
        self._devices: list[Device] = []
        self._journals: list[Journal] = []

    def device(self, number: int, n_features: int, seed: int) -> Device:
        """One that moves."""
        device = Moving([position.device(number, n_features, seed) for position in self._positions])
        self._devices.append(device)
        return device

    def journal(self, number: int, seed: int) -> Journal:
        """Of the training, on disk."""
        return self._journal(TRAINING, number)

    def _journal(self, part: str, number: int) -> Journal:
        if self.folder is None:
            return InMemoryJournal()
        journal = DiskJournal(self.folder / part / f"device-{number}")
        self._journals.append(journal)
        return journal

    def copy_for(self, policy: str, network: PhysicalNetwork) -> PhysicalNetwork:
        """The trained network on devices as training left them, each with a journal of the policy's own."""
        sessions: dict[int, Any] = {}
        for number, session in enumerate(network.distinct_sessions):
            device = copy.deepcopy(session.device)
            progress: Mapping[str, Any] = session.journal.progress()
            if progress:  # where training was answered from its journal the device has not come so far
                device.resume(nested(progress))
            journal = self._journal(f"policy-{_file_name(policy)}", number)
            sessions[id(session)] = Session(device, journal=journal, reference=session.reference)
        return copy.deepcopy(network, sessions)

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


def _file_name(policy: str) -> str:
    return re.sub("[^A-Za-z0-9+-]", "_", policy)
