"""Anchors: rows whose way through the network is known from when it was trained."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from hwloop.device import DeviceDescription
from hwloop.errors import CheckpointError, ConfigError, HwloopWarning
from hwloop.journal.durable_files import atomic_write
from hwloop.layers import PhysicalNetwork
from hwloop.layers.network import as_rows
from hwloop.layers.rowwise import plain_array, rows_as_tensor
from hwloop.reference import Noise
from hwloop.reference.drift import averaged, noise_of
from hwloop.runs.checkpoints import metadata_of, sum_of_arrays
from hwloop.tasks import LearningTask, task_of_outputs
from hwloop.torch_state import own_torch_state

WATCHED = 8  # anchors that tell whether the device has moved
SEAL = "sha256"  # of all tensors, among the file's metadata
PASSES = 4  # measurements of each of them, which tell the noise


@dataclass(frozen=True, eq=False)
class StageAnchors:
    """What a stage did with the anchors when it was trained.

    Attributes
    ----------
    inputs
        What it encoded, shape (anchors, n_features).
    responses
        What its device answered, shape (anchors, n_outputs), float64.
    outputs
        z = W f + b, shape (anchors, width).
    watched
        Mean responses to the first anchors, which tell whether the device has moved.
    noise
        Of one such reading.
    device
        What answered; ``None`` in files from before devices were described.
    """

    inputs: Tensor
    responses: Tensor
    outputs: Tensor
    watched: Tensor
    noise: Noise
    device: DeviceDescription | None = None

    def features(self, stage: Any) -> Tensor:
        """The standardised responses, as the stage standardised them when it was trained."""
        return torch.as_tensor(stage.features(self.inputs, self.responses.numpy()))


@dataclass(frozen=True, eq=False)
class Anchors:
    """Rows with what every stage answered to them while the device was as it was trained.

    Anchors need no label: an adapter shows them to the device again, and knows what should come out.

    Attributes
    ----------
    stages
        One a stage.
    labels
        Classes, shape (anchors,), or ``None``.
    """

    stages: tuple[StageAnchors, ...]
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.stages[0].inputs)

    @classmethod
    @own_torch_state()
    def record(cls, network: PhysicalNetwork, inputs: Any, labels: Any = None) -> Anchors:
        """Take the training rows, or some of them, right after training.

        What the sessions remember of them is not measured again; :data:`WATCHED` of them are measured
        :data:`PASSES` times in each stage (purpose ``reference``) to learn the noise.

        Parameters
        ----------
        inputs, labels
            Rows (anchors, n_features), at least 8; their targets, which only some policies need.

        Raises
        ------
        ConfigError
            Too few rows.
        """
        rows = as_rows(inputs)
        if len(rows) < WATCHED:
            raise ConfigError(f"anchors are at least {WATCHED} rows, not {len(rows)}; give training rows")
        targets = None
        if labels is not None:
            targets = torch.from_numpy(learned(network).further(plain_array(labels, "labels"), len(rows)))
        recorded = []
        with network.opened():
            for _, stage, session in network:
                stimuli = stage.encoder(rows)
                responses = session.measure(stimuli, "train", tuning=stage.tuning)
                passes = session.measure(np.tile(stimuli[:WATCHED], (PASSES, 1)), "reference", tuning=stage.tuning)
                passes = passes.reshape(PASSES, WATCHED, -1)
                outputs = stage.map(stage.features(rows, responses))
                watched = torch.from_numpy(averaged(passes).mean)
                answers, noise = rows_as_tensor(responses), noise_of(passes)
                recorded.append(StageAnchors(rows, answers, outputs, watched, noise, session.description))
                rows = outputs
        return cls(tuple(recorded), targets)

    @own_torch_state()
    def save(self, path: str | Path) -> None:
        """Write them as safetensors, beside the network's checkpoint.

        Raises
        ------
        CheckpointError
        """
        tensors = {} if self.labels is None else {"labels": self.labels}
        for number, stage in enumerate(self.stages):
            parts = {name: getattr(stage, name) for name in ("inputs", "responses", "outputs", "watched")}
            noise = torch.tensor([stage.noise.power, stage.noise.freedom, stage.noise.passes], dtype=torch.float64)
            # Clones: what one stage gives is what the next encodes, and safetensors refuses shared memory.
            parts["noise"] = noise
            if stage.device is not None:
                parts["device"] = torch.from_numpy(stage.device.as_bytes().copy())
            tensors |= {f"{number}.{name}": part.clone() for name, part in parts.items()}
        try:
            sealed = {SEAL: sum_of_arrays({name: tensor.numpy() for name, tensor in tensors.items()})}
            atomic_write(Path(path), save(tensors, metadata=sealed))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be written ({error}); check the path and its rights") from error

    @classmethod
    @own_torch_state()
    def load(cls, path: str | Path) -> Anchors:
        """The anchors that :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            The file is absent, damaged, or holds something else.
        """
        try:
            content = Path(path).read_bytes()
            tensors = load(content)
            _check_seal(Path(path), tensors, metadata_of(content).get(SEAL))
            count = len({name.partition(".")[0] for name in tensors} - {"labels"})
            stages = tuple(_stage(tensors, number) for number in range(count))
            labels = tensors.get("labels")
            _check(stages, labels)
        except (OSError, SafetensorError, ConfigError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(f"{path} cannot be read as anchors ({type(error).__name__}: {error})") from error
        return cls(stages, labels)


def _check_seal(path: Path, tensors: dict[str, Tensor], seal: str | None) -> None:
    """Refuse what is not what was written; an older file cannot tell, and that is said.

    Raises
    ------
    ValueError
    """
    if seal is None:
        warnings.warn(
            f"{path} was written before anchors carried a checksum: whether a bit has changed is not known",
            HwloopWarning,
            stacklevel=4,
        )
    elif seal != sum_of_arrays({name: tensor.numpy() for name, tensor in tensors.items()}):
        raise ValueError("it is damaged: the checksum that was written with it is another")


def _stage(tensors: dict[str, Tensor], number: int) -> StageAnchors:
    inputs, responses, outputs, watched, noise = (
        tensors[f"{number}.{name}"] for name in ("inputs", "responses", "outputs", "watched", "noise")
    )
    power, freedom, passes = noise.tolist()
    described = tensors.get(f"{number}.device")
    device = None if described is None else DeviceDescription.from_bytes(described.numpy())
    return StageAnchors(inputs, responses, outputs, watched, Noise(power, freedom, int(passes)), device)


def _check(stages: tuple[StageAnchors, ...], labels: Tensor | None) -> None:
    """Every part holds the same anchors, as finite numbers.

    Raises
    ------
    ValueError
    """
    if not stages:
        raise ValueError("it holds no stage")
    rows = len(stages[0].inputs)
    for stage in stages:
        for part in (stage.inputs, stage.responses, stage.outputs, stage.watched):
            if part.ndim != 2 or not part.dtype.is_floating_point or not bool(torch.isfinite(part).all()):
                raise ValueError("a table of it is none, or holds a value that is not finite")
        if any(len(part) != rows for part in (stage.responses, stage.outputs)) or rows < WATCHED:
            raise ValueError("its tables differ in rows")
        if stage.watched.shape != (WATCHED, stage.responses.shape[1]) or stage.noise.passes < 2:
            raise ValueError("it lacks the rows that tell a drift")
    if (labels is not None and not (_are_classes(labels) or _are_values(labels))) or (
        labels is not None and len(labels) != rows
    ):
        raise ValueError("its labels are no classes, and no values")


def _are_classes(labels: Tensor) -> bool:
    return labels.ndim == 1 and labels.dtype == torch.int64 and int(labels.min()) >= 0


def _are_values(labels: Tensor) -> bool:
    return labels.ndim == 2 and labels.dtype == torch.float32 and bool(torch.isfinite(labels).all())


def learned(network: PhysicalNetwork) -> LearningTask:
    """What a trained network has learned, also where its checkpoint names no task."""
    if network.task is not None or network.readout is None:
        return network.task or task_of_outputs(0)
    known = network.readout.settings()
    return task_of_outputs(known["n_classes"] if "n_classes" in known else known["shape"][-1])
