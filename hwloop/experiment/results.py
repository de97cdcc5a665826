"""What one seed of an experiment gave: every method's accuracy on the same test rows, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.events import ReferenceMeasured

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
    """Of a stage's activity on training rows, as :class:`hwloop.training.sparsity.Sparsity` says."""

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
