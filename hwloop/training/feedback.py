"""Direct feedback: the output's error goes straight to every stage, by fixed random matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork
from hwloop.training.credit import OutputGradients
from hwloop.training.flight import Flight
from hwloop.training.output_head import OutputHead, Verdict


def one(z: Tensor) -> Tensor:
    """No nonlinearity in the feedback."""
    return torch.ones_like(z)


# What stands in the place of the activation's derivative. A device's is not known; anything fixed will do
# (augmented direct feedback alignment).
SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "none": one,
    "tanh": lambda z: 1.0 - torch.tanh(z).square(),
    "sine": lambda z: torch.cos(z),
    "step": lambda z: (z > 0).to(z.dtype),
}


class ProductFeedback(OutputGradients):
    """dL/dz_l is taken to be R_l C_l e: C_l fixed and random, R_l learned from what it sees, R -= rate z (C e)^T.

    With ``decay`` both R C and the weights that a gradient step -rate e z^T would grow forget where they began, so
    that R C comes to point along their transpose, without any weight ever being copied.

    Parameters
    ----------
    units
        Rows of C: feedback units between the output and a stage.
    rate, decay
        Of R, a batch.
    """

    resumable = True

    def __init__(self, units: int, rate: float, decay: float) -> None:
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise ConfigError(f"units must be a whole number of at least 1, not {units!r}")
        if not (0 < rate < math.inf and 0 <= decay < 1):
            raise ConfigError(f"rate must be positive and decay within [0, 1), not {rate!r} and {decay!r}")
        self._units, self._rate, self._decay = units, rate, decay

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """Draw C, (classes, units), and the first R, (units, width)."""
        self._stages = [stage for _, stage, _ in network][:-1]
        self._fixed = [
            torch.randn(n_classes, self._units, generator=rng, dtype=torch.float32) / self._units**0.5
            for _ in self._stages
        ]
        self._learned = [
            torch.randn(self._units, stage.width, generator=rng, dtype=torch.float32) / self._units**0.5
            for stage in self._stages
        ]

    def state(self) -> dict[str, Tensor]:
        """Every R."""
        return {f"learned.{number}": learned for number, learned in enumerate(self._learned)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Every R."""
        self._learned = [state[f"learned.{number}"] for number in range(len(self._learned))]

    def by_outputs(self, flight: Flight, verdict: Verdict, head: OutputHead) -> dict[int, Tensor]:
        """The error through both matrices; then R learns."""
        found = {}
        for number, stage in enumerate(self._stages):
            sent = verdict.error @ self._fixed[number]
            found[number] = sent @ self._learned[number]
            z = stage.linear(flight.features[number]).detach()
            hebbian = sent.T @ (z / z.std().clamp_min(1e-30)) / len(z)
            self._learned[number] = (1.0 - self._decay) * self._learned[number] - self._rate * hebbian
        return found


class DirectFeedback(OutputGradients):
    """dL/dz_l is taken to be (B_l e) g(z_l), e the output's error and B_l fixed, Gaussian, drawn once a fit.

    Parameters
    ----------
    slope
        g, one of :data:`SLOPES`.
    """

    resumable = True

    def __init__(self, slope: str) -> None:
        self._slope = SLOPES[slope]

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """Draw the feedback matrices, (classes, width), of variance 1 / classes."""
        self._stages = [stage for _, stage, _ in network][:-1]
        self._feedback = [
            torch.randn(n_classes, stage.width, generator=rng, dtype=torch.float32) / n_classes**0.5
            for stage in self._stages
        ]

    def by_outputs(self, flight: Flight, verdict: Verdict, head: OutputHead) -> dict[int, Tensor]:
        """The error, sent straight back."""
        return {
            number: (verdict.error @ feedback) * self._slope(stage.linear(flight.features[number]).detach())
            for number, (stage, feedback) in enumerate(zip(self._stages, self._feedback, strict=True))
        }
