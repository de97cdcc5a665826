"""The trained network of a run, or of a checkpoint by itself, opened to predict new rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.checkpoint import load_network, read_checkpoint
from hwloop.checkpoint.devices import built_sessions, compare_devices, require_known_entries
from hwloop.checkpoint.estimators import feature_names
from hwloop.checkpoint.file import require_network
from hwloop.checkpoint.network import stored_fingerprints, warn_of_difference
from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.errors import CheckpointError, ConfigError
from hwloop.experiment.checkpoints import FINAL, PREPARATION, final_of_seed
from hwloop.experiment.config import load_experiment
from hwloop.experiment.rigs import PlannedRig, features_of_devices
from hwloop.layers import PhysicalNetwork
from hwloop.registry import open_device
from hwloop.runs.checkpoints import UNSEALED
from hwloop.runs.layout import CHECKPOINTS, CONFIG, require_run
from hwloop.runs.recording_folder import RecordingFolder
from hwloop.session import Session
from hwloop.tasks import LearningTask, task_in, task_of_outputs

PREDICTIONS = "predictions"


@dataclass(frozen=True)
class TrainedNetwork:
    """Which trained network is asked for, as its checkpoint describes it; nothing is opened yet.

    Attributes
    ----------
    path
        Of the checkpoint.
    run
        The run's folder that it lies in; ``None`` for a checkpoint by itself.
    described
        What the checkpoint says of itself.
    """

    path: Path
    run: Path | None
    described: Mapping[str, Any]

    @classmethod
    def of(cls, target: Path, seed: int | None = None, checkpoint: str | None = None) -> TrainedNetwork:
        """Of a run's folder, by default its last seed's final network, or of a checkpoint's file.

        Raises
        ------
        ConfigError
            There is no run and no checkpoint, or the run has none of that seed or name.
        CheckpointError
            It is damaged.
        """
        if target.suffix == ".safetensors" or target.is_file():
            if seed is not None or checkpoint is not None:
                raise ConfigError(f"{target} is one checkpoint; give --seed or --checkpoint with a run's folder")
            path = target.with_suffix(".safetensors") if target.suffix == ".json" else target
            described = read_checkpoint(path)[0]
            require_network(described, path)
            return cls(path, None, described)
        require_run(target)
        if seed is not None and checkpoint is not None:
            raise ConfigError("--seed names a seed's final network, --checkpoint a file; give one of them")
        folder = target / CHECKPOINTS
        name = FINAL if seed is None else final_of_seed(seed)
        if checkpoint is not None:
            name = checkpoint if checkpoint.endswith(".safetensors") else f"{checkpoint}.safetensors"
        if Path(name).name != name or not (folder / name).is_file():
            known = ", ".join(sorted(path.stem for path in folder.glob("*.safetensors"))) or "none"
            raise ConfigError(
                f"{folder} holds no {name}; it has: {known}. A run that was stopped is finished by hwloop resume"
            )
        return cls(folder / name, target, read_checkpoint(folder / name)[0])

    @property
    def seed(self) -> int | None:
        """Of the run, if it was one's."""
        found = (self.described.get("details") or {}).get("seed")
        return found if type(found) is int else None

    @property
    def task(self) -> LearningTask:
        """What it has learned.

        Raises
        ------
        CheckpointError
            The checkpoint's task is not understood.
        """
        try:
            # Where no task is named it is a classification, whose size nobody asks here.
            return task_in(self.described) or task_of_outputs(2)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.path} is not understood ({type(error).__name__}: {error})") from error

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Of the columns, where they are known."""
        return feature_names(self.described, self.path)

    @property
    def preparation(self) -> Any:
        """How its table was prepared, as the checkpoint says; ``None`` where features were taken as they are."""
        return (self.described.get("details") or {}).get(PREPARATION)

    def predictions_folder(self) -> Path:
        """Where its predictions' rows are kept by default."""
        return self.path.with_suffix("") / PREDICTIONS if self.run is None else self.run / PREDICTIONS

    def devices(self, named: Sequence[str] = ()) -> list[Device]:
        """One a stage: those that are named, or the run's, or what the checkpoint builds by itself.

        A run's folder is trusted: what its configuration names is imported.

        Parameters
        ----------
        named
            As :func:`hwloop.open_device` takes them: none, one for all stages, or one a stage.
        """
        require_known_entries(self.described, self.path)
        n_stages = len(self.described["stages"])
        if named:
            if len(named) not in (1, n_stages):
                raise ConfigError(f"{len(named)} devices for {n_stages} stages; give one, or one a stage")
            given = [open_device(name) for name in named]
            return given * n_stages if len(given) == 1 else given
        if self.run is None:
            if self.described["format"] == UNSEALED:
                raise CheckpointError(f"{self.path} names no device; open it in Python with hwloop.load_network")
            return [session.device for session in built_sessions(self.described)]
        config, seed = load_experiment(self.run / CONFIG), self.seed
        planned = self.described.get("n_features")
        if seed is None or type(planned) is not int or n_stages != config.network.stages:
            raise CheckpointError(
                f"{self.path} is not of the run in {self.run}; give the checkpoint's file by itself"
            )
        rig = PlannedRig(config)
        features = features_of_devices(config, planned)
        devices = [rig.device(number, each, seed) for number, each in enumerate(features)]
        return devices * n_stages if len(devices) == 1 else devices

    def network(
        self, devices: Sequence[Device], folder: RecordingFolder, budget: int | None, device_changed: str
    ) -> PhysicalNetwork:
        """The network, on devices (one a stage) that are compared; every row that it measures is recorded.

        Nothing is measured yet.

        Raises
        ------
        CheckpointError
            The device is another one than it was trained on.
        DeviceError
            It cannot be opened.
        """
        by_device: dict[int, Session] = {}
        for device in devices:
            if id(device) not in by_device:
                journal = folder.journal(f"seed-{self.seed or 0}-device-{len(by_device)}")
                by_device[id(device)] = Session(device, journal=journal, budget=budget)
        sessions = [by_device[id(device)] for device in devices]
        if self.described["format"] != UNSEALED:
            compare_devices(self.described["devices"], sessions, device_changed, self.path)
        return load_network(self.path, sessions, compare_device=False)

    def predict(self, network: PhysicalNetwork, inputs: Float64Array) -> tuple[LearningTask, NDArray[np.float64]]:
        """What was learned, and what the network says of each row, (rows, n_outputs).

        First, watched devices are held against their fingerprints.
        """
        with network.opened():
            for stored, session in stored_fingerprints(network, self.described):
                warn_of_difference(stored, session)
            return network.answers(inputs)

    def rows_needed(self, network: PhysicalNetwork, rows: int) -> dict[Session, int]:
        """Device rows that predicting so many needs, at most, with those of the reference, by session."""
        needed = network.prediction_rows(rows)
        for stored, session in stored_fingerprints(network, self.described):
            needed[session] += len(stored.responses.mean)
        return needed
