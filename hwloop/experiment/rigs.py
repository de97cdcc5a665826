"""What a seed is built of: stages, trainer, and devices, or the journals that answer in their place."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hwloop.device import Device, DeviceDescription, DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError, DeviceError
from hwloop.experiment.config import ExperimentConfig, ReuseConfig
from hwloop.experiment.partition import Partition
from hwloop.experiment.run_folder import RunFolder
from hwloop.journal import DiskJournal, InMemoryJournal, Journal, Note, ReadOnlyJournal, Record
from hwloop.journal.durable_files import sync_folder
from hwloop.journal.record import DEVICE, RESTANDARDISED
from hwloop.layers import Stage
from hwloop.layers.fitting_device import open_fitting_device
from hwloop.registry import DEVICES
from hwloop.runs.layout import REUSED, journal_folder, journal_folders, require_run
from hwloop.session.known_rows import fresh
from hwloop.tasks import LearningTask
from hwloop.training import Trainer
from hwloop.training import trainer as make_trainer

DEVICE_SEED_STEP = 1000  # between the seeds of a run's devices


class Rig(ABC):
    """Gives each device of a seed, with the journal that belongs to it."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.config = config

    @abstractmethod
    def device(self, number: int, n_features: int, seed: int) -> Device:
        """The device number ``number`` (from 0) of a seed, for rows of ``n_features``."""

    @abstractmethod
    def journal(self, number: int, seed: int) -> Journal:
        """Its journal."""

    def earlier(self) -> Journal | None:
        """What earlier runs measured, if the run may use it."""
        return None


def features_of_devices(config: ExperimentConfig, planned: int) -> list[int]:
    """The widest rows that each device of a run encodes; ``planned`` are those of the first stage."""
    features = [planned, *[config.network.width] * (config.network.stages - 1)]
    return [max(features)] if len(config.device) == 1 else features


class PlannedRig(Rig):
    """The configured devices with nothing recorded: to forecast what a run will cost."""

    def device(self, number: int, n_features: int, seed: int) -> Device:
        """As the configuration says, built to fit the data where the device can be."""
        part = self.config.device[number]
        defaults = {"seed": seed + DEVICE_SEED_STEP * number, "run_seed": seed, "device_number": number}
        slots = self.config.network.reference_slots

        def one() -> Device:
            return open_fitting_device(part.name, part.settings, n_features, defaults, slots)

        if part.copies is None:
            return one()
        pool: Device = DEVICES.build("pool", [one() for _ in range(part.copies)])
        return pool

    def journal(self, number: int, seed: int) -> Journal:
        return InMemoryJournal()


class LiveRig(PlannedRig):
    """The configured devices, every answer recorded in the run's folder; what is there already is not measured."""

    def __init__(self, config: ExperimentConfig, folder: RunFolder) -> None:
        super().__init__(config)
        self.folder = folder

    def journal(self, number: int, seed: int) -> Journal:
        return self.folder.journal(seed, number)

    def earlier(self) -> Journal | None:
        """As it was copied when the run began."""
        return reused_rows(self.folder.path)


class RecordedRig(Rig):
    """The journals of a run, and no device at all."""

    def __init__(self, config: ExperimentConfig, run: Path) -> None:
        super().__init__(config)
        self.run = run

    def device(self, number: int, n_features: int, seed: int) -> Device:
        """A stand-in that knows the recorded device's channels and limits, and measures nothing."""
        journal = self.journal(number, seed)
        try:
            recorded = [note.details for note in journal.notes() if note.kind == DEVICE]
        finally:
            journal.close()
        if not recorded:
            raise ConfigError(f"{self.run}: seed {seed} has recorded no device; finish the run with hwloop resume")
        details = recorded[-1]
        stored = details.get("description")
        description = None if stored is None else DeviceDescription.from_dict(stored)
        return AbsentDevice(DeviceSpec(**details["spec"]), str(details["identity"]), description)

    def journal(self, number: int, seed: int) -> Journal:
        """The recorded one; it is only read."""
        folder = journal_folder(self.run, seed, number)
        if not folder.is_dir():
            raise ConfigError(f"{self.run}: seed {seed} has no journal; finish the run with hwloop resume")
        return ReadOnlyJournal(folder)

    def earlier(self) -> Journal | None:
        return reused_rows(self.run)


def reused_rows(run: Path) -> Journal | None:
    """What a run took from earlier ones."""
    folder = run / REUSED
    return ReadOnlyJournal(folder) if folder.is_dir() else None


class AbsentDevice(Device):
    """Stands for a recorded device; every answer is expected to come from the journal."""

    simulated = True

    identity_states_settings: ClassVar[bool] = True
    self_described: ClassVar = frozenset({"description"})

    def __init__(self, spec: DeviceSpec, identity: str, description: DeviceDescription | None = None) -> None:
        self.spec = spec
        self._identity = identity
        self._description = description

    def describe(self, identity: str = "") -> DeviceDescription:
        """The recorded device; nobody can mistake another for it, for none will answer."""
        return replace(self._description or super().describe(identity), vouched=True)

    def identify(self) -> str:
        """What the recorded device said of itself."""
        return self._identity

    def _measure(self, inputs: Float64Array) -> Float64Array:
        raise DeviceError(
            f"the replay asks for {len(inputs)} rows that the journal does not hold: the run was stopped before "
            "it measured them; finish it with hwloop resume"
        )


def take_earlier_rows(run: Path, reuse: ReuseConfig) -> None:
    """Copy every row of the earlier runs that is fresh enough into ``run``, once; there is nothing to do twice.

    Which of them a device may use is decided when it is opened: those that were measured on the same device
    under the same settings.

    Raises
    ------
    ConfigError
        An earlier run is not there, or none of its rows is fresh enough.
    JournalError
        The copy cannot be written.
    """
    whole = run / REUSED
    if not reuse.runs or whole.is_dir():
        return
    part = run / f"{REUSED}.part"
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed while it copied
    journal = DiskJournal(part)
    try:
        for note in _devices(_journals(reuse.runs)):
            journal.note(note)
        for record in _fresh(_journals(reuse.runs), reuse.max_age_seconds):
            journal.append(replace(record, first_row=journal.rows))
        rows = journal.rows
    finally:
        journal.close()
    if not rows:
        shutil.rmtree(part)
        limit = "" if reuse.max_age_seconds is None else f" younger than {reuse.max_age_seconds:g} s"
        raise ConfigError(
            f"{', '.join(reuse.runs)}: no rows{limit} to reuse; give a run that has measured some, a larger "
            "reuse.max_age_seconds, or no --reuse"
        )
    part.rename(whole)
    sync_folder(run)


def _journals(runs: Sequence[str]) -> list[Path]:
    """The journals of earlier runs, what they took from still earlier ones first: what is newer wins."""
    found = []
    for run in map(Path, runs):
        require_run(run)
        if (run / REUSED).is_dir():
            found.append(run / REUSED)
        found += [journal.path for journal in journal_folders(run)]
    return found


def _devices(journals: Sequence[Path]) -> Iterator[Note]:
    """The notes that say which devices the rows are of, each once."""
    seen = set()
    for path in journals:
        journal = ReadOnlyJournal(path)
        try:
            for note in journal.notes():
                if note.kind == DEVICE and note.details.get("settings") not in seen:
                    seen.add(note.details.get("settings"))
                    yield note
        finally:
            journal.close()


def _fresh(journals: Sequence[Path], max_age_seconds: float | None) -> Iterator[Record]:
    limit = float("inf") if max_age_seconds is None else max_age_seconds
    now = time.time()
    for path in journals:
        journal = ReadOnlyJournal(path)
        # From the first correction on that run took the device for another than the one it had begun with.
        corrected = [note.details["row"] for note in journal.notes() if note.kind == RESTANDARDISED]
        end = min(corrected, default=float("inf"))
        try:
            rows = np.arange(journal.rows)
            rows = rows[journal.readable(rows)]
            is_fresh = fresh(journal.started_seconds(rows), now, limit)
            for record in journal.records():
                if is_fresh[np.searchsorted(rows, record.first_row)] and record.first_row < end:
                    yield record
        finally:
            journal.close()


def build_stages(
    config: ExperimentConfig, trainer: Trainer, task: LearningTask, count: int | None = None
) -> list[Stage]:
    """The first ``count`` stages of an experiment's network, by default all, as the trainer has them."""
    network = config.network

    def settings(number: int) -> dict[str, Any]:
        return {
            "width": network.width,
            "activation": None if network.activation == "none" else network.activation,
            "bypass": network.bypass,
            "reference_slots": network.reference_slots,
            "scaling": network.input_scaling if number == 0 else "global",
            "weights": network.weights,
            "steps": network.sequence_steps if number == 0 else 1,
            **({"controls": tuple(network.controls)} if network.controls else {}),
        }

    stages = range(network.stages if count is None else count)
    return [trainer.new_stage(settings(number), number, task) for number in stages]


def build_trainer(config: ExperimentConfig, seed: int) -> Trainer:
    """The experiment's trainer, seeded unless its settings hold a seed."""
    return make_trainer(config.trainer.name, **{"seed": seed, **config.trainer.settings})


def network_rows(trainer: Trainer, data: Partition, n_layers: int) -> int:
    """Rows that training and testing a network through ``n_layers`` stages needs at most."""
    held_out = len(data.test) + (len(data.validation) if data.validation else 0)
    n_outputs, of_task = data.task.n_outputs, data.task.cost_options()
    return trainer.cost(len(data.train), n_outputs, n_layers, **of_task) + trainer.predict_cost(
        held_out, n_outputs, n_layers, **of_task
    )
