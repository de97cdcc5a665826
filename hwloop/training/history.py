"""What a fit leaves behind for plots and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hwloop.training.sparsity import Sparsity


@dataclass
class StageHistory:
    """One stage's training: mean loss of each epoch; accuracies in [0, 1] and sparsity once it is trained."""

    stage: int
    losses: list[float] = field(default_factory=list)
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    sparsity: Sparsity | None = None

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
    """A whole fit; ``uses_model`` says what the trainer knew of the device beyond its measured rows."""

    stages: list[StageHistory]
    rows: int
    digital_seconds: float
    uses_model: str = ""

    @property
    def losses(self) -> list[float]:
        """Losses of all stages, one after the other."""
        return [loss for stage in self.stages for loss in stage.losses]
