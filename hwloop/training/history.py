"""What a fit leaves behind for plots and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hwloop.training.sparsity import Sparsity


@dataclass
class StageHistory:
    """One stage's training: mean loss of each epoch, and sparsity once it is trained.

    Attributes
    ----------
    validation_accuracy
        In [0, 1], of the readout up to this stage. The last stage's is known wherever there were validation rows,
        those before it where a readout up to them comes for nothing.
    notes
        What the user should know of it, in words: features and outputs that carry nothing, a loss that rose.
    """

    stage: int
    losses: list[float] = field(default_factory=list)
    validation_accuracy: float | None = None
    sparsity: Sparsity | None = None
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> StageHistory:
        """What :meth:`as_dict` gave."""
        sparse = found["sparsity"]
        return cls(**{**found, "sparsity": None if sparse is None else Sparsity(**sparse)})


@dataclass
class History:
    """A whole fit.

    Attributes
    ----------
    rows
        Device rows that it took, validation included.
    digital_seconds
        Time in which no device was measuring.
    uses_model
        What the trainer knew of the device beyond its measured rows.
    """

    stages: list[StageHistory]
    rows: int
    digital_seconds: float
    uses_model: str = ""

    @property
    def losses(self) -> list[float]:
        """Losses of all stages, one after the other."""
        return [loss for stage in self.stages for loss in stage.losses]

    @property
    def notes(self) -> list[str]:
        """Notes on all stages, one after the other."""
        return [note for stage in self.stages for note in stage.notes]
