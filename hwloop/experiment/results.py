"""What one seed of an experiment gave: scores on the same test rows, costs, samples of its devices' answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.events import ReferenceMeasured
from hwloop.experiment.columns import Score
from hwloop.journal import Journal
from hwloop.session import Session
from hwloop.tasks import Classification, LearningTask, kind_of

NETWORK = "network"


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
        By method: ``network`` and, where they were asked for, floors.
    rows, recalled, reused
        Rows measured, recalled from memory and taken from earlier runs, by purpose, for the network itself.
    writes
        Writes of tunables by purpose, of those that had some.
    floor_rows
        Rows that the one-stage floor measured beyond those, because it could not recall them.
    busy_seconds
        Time that the device spent measuring.
    measuring_seconds
        Wall time of the measuring phases; ``None`` if nothing was measured.
    details
        What the task counts of the test rows beside its scores, such as the confusion matrix of a classification.
    losses
        Of each stage, one an epoch.
    validation_scores
        After each stage; ``None`` where not known.
    drift
        Of each device, how it answered its reference stimuli; empty where it was not watched.
    sparsity
        Of each stage's activity on training rows; ``None`` where it has none.
    uses_model
        What the trainer knew of the device beyond its measured rows; empty for nothing.
    notes
        What the user should know of data and devices, in words: what of them carries nothing, a loss that rose.
    kind
        Of the task.
    input_scaling
        Of the first stage, as it was trained; empty in files of versions that did not say.
    own_test_rows
        Whether all seeds share the test rows: the dataset chose them, or they are the last stretch of a series in
        time. Without it seeds split it anew.
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
    details: dict[str, NDArray[Any]]
    losses: list[list[float]]
    validation_scores: list[float | None]
    digital_seconds: float
    wall_seconds: float
    devices: list[str] = field(default_factory=list)
    drift: list[list[ReferenceMeasured]] = field(default_factory=list)
    sparsity: list[StageSparsity | None] = field(default_factory=list)
    uses_model: str = ""
    notes: list[str] = field(default_factory=list)
    kind: type[LearningTask] = Classification
    input_scaling: str = ""
    own_test_rows: bool = False
    writes: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and text, for a metrics file."""
        plain: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "scores":
                plain["scores"] = {method: score.as_dict() for method, score in value.items()}
            elif each.name == "details":
                plain |= {name: counts.tolist() for name, counts in value.items()}
            elif each.name == "validation_scores":
                plain[self.kind.validation_key] = list(value)
            elif each.name == "kind":
                plain |= (
                    {} if value is Classification else {"task": value.kind}
                )  # files never named the first kind
            elif each.name != "writes" or value:  # files of devices without tunables never named them
                plain[each.name] = value
        return plain | {
            "drift": [[asdict(point) for point in curve] for curve in self.drift],
            "sparsity": [None if stage is None else asdict(stage) for stage in self.sparsity],
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> SeedResult:
        """What :meth:`as_dict` gave, equal to the last bit also after JSON.

        Raises
        ------
        KeyError, TypeError, ValueError
        """
        kind = kind_of(found)
        details = kind.from_details(found)
        changed = {
            "scores": {method: Score(dict(score)) for method, score in found["scores"].items()},
            "details": details,
            "validation_scores": found[kind.validation_key],
            "kind": kind,
            "drift": [[ReferenceMeasured(**point) for point in curve] for curve in found["drift"]],
            "sparsity": [None if stage is None else StageSparsity(**stage) for stage in found["sparsity"]],
        }
        known = {
            name: value for name, value in found.items() if name not in (*details, kind.validation_key, "task")
        }
        return cls(**{**known, **changed})


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
