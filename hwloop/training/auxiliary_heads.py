"""Auxiliary heads: classifiers with a nonlinearity of their own, in place of the stages still to come."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.errors import ConfigError
from hwloop.layers import Stage
from hwloop.training.objectives import LocalObjective, StageObjective


class AuxiliaryHead(StageObjective):
    """A two-layer classifier on z, V relu(U z + c) + b, trained with the stage's map, then thrown away."""

    def __init__(
        self, width: int, hidden: int, n_classes: int, label_smoothing: float, rng: torch.Generator
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.inner = nn.Parameter(torch.randn(width, hidden, generator=rng, dtype=torch.float32) * width**-0.5)
        self.offset = nn.Parameter(0.5 * torch.randn(hidden, generator=rng, dtype=torch.float32))
        self.outer = nn.Parameter(
            torch.randn(hidden, n_classes, generator=rng, dtype=torch.float32) * hidden**-0.5
        )
        self.bias = nn.Parameter(torch.zeros(n_classes, dtype=torch.float32))

    def loss(self, stage: Stage, z: Tensor, labels: Tensor, before: Tensor | None = None) -> Tensor:
        """Cross-entropy of the head's prediction."""
        logits = torch.relu(z @ self.inner + self.offset) @ self.outer + self.bias
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


class AuxiliaryHeads(LocalObjective):
    """Z shall be what one more nonlinear layer can tell the classes from (Belilovsky et al., ICML 2019).

    A linear head asks that z itself separates the classes, and a linear map keeps of the responses what a readout
    could have taken from them directly: a next stage finds nothing new. A head with a nonlinearity asks for what
    the next device needs.
    """

    resumable = True

    def __init__(self, hidden: int, label_smoothing: float = 0.1) -> None:
        if isinstance(hidden, bool) or not isinstance(hidden, int) or hidden < 1:
            raise ConfigError(f"hidden must be a whole number of at least 1, not {hidden!r}")
        if not 0 <= label_smoothing <= 1:
            raise ConfigError(f"label_smoothing must lie within [0, 1], not {label_smoothing}")
        self.hidden = hidden
        self.label_smoothing = label_smoothing

    def for_stage(self, stage: Stage, n_classes: int, rng: torch.Generator) -> AuxiliaryHead:
        """A head with random weights."""
        return AuxiliaryHead(stage.width, self.hidden, n_classes, self.label_smoothing, rng)
