"""What one seed of an experiment gave: scores on the same test rows, costs, samples of its devices' answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.events import ReferenceMeasured
from hwloop.journal import Journal
from hwloop.session import Session

NETWORK = "network"
LINEAR = "linear"
NULL_ZEROS = "null_zeros"
NULL_IDENTITY = "null_identity"
ONE_STAGE = "one_stage_readout"
BACKPROP = "backprop"
FLOORS = (LINEAR, NULL_ZEROS, NULL_IDENTITY, ONE_STAGE)
NULL_PHYSICS = (NULL_ZEROS, NULL_IDENTITY)
CEILINGS = (BACKPROP,)


@dataclass(frozen=True)
class Score:
    """A method on the test rows of one seed.

    Attributes
    ----------
    accuracy
        Share of test rows classified right, in [0, 1].
    multiply_adds
        Digital multiply-adds of one prediction.
    rows_per_train_sample, rows_per_prediction
        Rows that the method asks of a physical device; 0 where it needs none.
    """

    accuracy: float
    multiply_adds: int
    rows_per_train_sample: float = 0.0
    rows_per_prediction: float = 0.0


@dataclass(frozen=True)
class StageSparsity:
    """Of a stage's activity on training rows, as :class:`hwloop.training.history.Sparsity` says."""

    hoyer: float
    near_zero: float


@dataclass(frozen=True)
class SeedResult:
    """One seed.

    Attributes
    ----------
    scores
        By method: ``network`` and, where they were asked for, floors and ceiling.
    rows, recalled, reused
        Rows measured, recalled from memory and taken from earlier runs, by purpose, for the network itself.
    floor_rows
        Rows that the one-stage floor measured beyond those, because it could not recall them.
    busy_seconds
        Time that the device spent measuring.
    measuring_seconds
        Wall time of the measuring phases; ``None`` if nothing was measured.
    confusion
        Test rows by true class (first) and predicted class, shape (classes, classes).
    losses
        Of each stage, one an epoch.
    validation_accuracies
        After each stage; ``None`` where not known.
    drift
        Of each device, how it answered its reference stimuli; empty where it was not watched.
    sparsity
        Of each stage's activity on training rows; ``None`` where it has none.
    uses_model
        What the trainer knew of the device beyond its measured rows; empty for nothing.
    notes
        What the user should know of data and devices, in words: what of them carries nothing, a loss that rose.
    """

    seed: int
    n_train: int
    n_validation: int
    n_test: int
    scores: dict[str, Score]
    rows: dict[str, int]
    recalled: dict[str, int]
    reused: dict[str, int]
    floor_rows: int
    busy_seconds: float
    measuring_seconds: float | None
    confusion: NDArray[np.int64]
    losses: list[list[float]]
    validation_accuracies: list[float | None]
    digital_seconds: float
    wall_seconds: float
    devices: list[str] = field(default_factory=list)
    drift: list[list[ReferenceMeasured]] = field(default_factory=list)
    sparsity: list[StageSparsity | None] = field(default_factory=list)
    uses_model: str = ""
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and text, for a metrics file."""
        return asdict(self) | {"confusion": self.confusion.tolist()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> SeedResult:
        """What :meth:`as_dict` gave, equal to the last bit also after JSON.

        Raises
        ------
        KeyError, TypeError, ValueError
        """
        changed = {
            "scores": {method: Score(**score) for method, score in found["scores"].items()},
            "confusion": np.array(found["confusion"], dtype=np.int64),
            "drift": [[ReferenceMeasured(**point) for point in curve] for curve in found["drift"]],
            "sparsity": [None if stage is None else StageSparsity(**stage) for stage in found["sparsity"]],
        }
        return cls(**{**found, **changed})


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Rows by true class (first index) and predicted class."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


SAMPLE_ROWS = 512


def training_responses(journal: Journal, rows: int = SAMPLE_ROWS) -> Float64Array | None:
    """The first training rows that a journal holds, shape (rows, n_outputs); ``None`` if it has none."""
    kept: list[Float64Array] = []
    for record in journal.records():
        if record.purpose == "train":
            kept.append(record.responses)
        if sum(len(part) for part in kept) >= rows:
            break
    return np.concatenate(kept)[:rows] if kept else None


@dataclass(frozen=True)
class Sweep:
    """Responses along a straight line through the middle of the device's range.

    ``position`` (rows,) runs from -1 to 1: the most driven channel goes from one limit to the other.
    ``responses`` has shape (rows, n_outputs).
    """

    position: Float64Array
    responses: Float64Array


@dataclass(frozen=True)
class DeviceResponse:
    """What the report shows of one device."""

    spec: DeviceSpec
    identity: str
    sample: Float64Array | None
    sweep: Sweep | None


def sweep_stimuli(spec: DeviceSpec, rows: int, seed: int) -> tuple[Float64Array, Float64Array]:
    """Positions (rows,) and stimuli (rows, n_inputs) of a sweep, within the device's limits.

    Every channel moves by its own seeded share of its range, up or down, and rests at mid-range in the middle.
    """
    share = np.random.default_rng(seed).uniform(-1.0, 1.0, spec.n_inputs)
    share /= np.abs(share).max()
    position = np.linspace(-1.0, 1.0, rows)
    middle, half = (spec.low + spec.high) / 2, (spec.high - spec.low) / 2
    return position, np.clip(middle + position[:, np.newaxis] * share * half, spec.low, spec.high)


def measure_sweep(session: Session, rows: int, seed: int) -> Sweep | None:
    """Sweep a device, purpose ``calibrate``; ``None`` for 0 rows."""
    if rows == 0:
        return None
    position, stimuli = sweep_stimuli(session.device.spec, rows, seed)
    return Sweep(position, session.measure(stimuli, "calibrate"))


def effective_rank(responses: Float64Array) -> float:
    """Participation ratio of the principal variances, (sum v)^2 / sum v^2: directions that carry the signal."""
    variances = np.square(np.linalg.svd(responses - responses.mean(axis=0), compute_uv=False))
    total = float(np.sum(np.square(variances)))
    return float(np.sum(variances)) ** 2 / total if total > 0 else 0.0
