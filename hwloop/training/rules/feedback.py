"""Feedback rules: the output's error goes to every stage by fixed or learned random matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwloop.layers import PhysicalNetwork
from hwloop.tasks import LearningTask
from hwloop.training.options import COUNT, POSITIVE, WithOptions, one_of, option, real_number
from hwloop.training.plans import largest_spread
from hwloop.training.rules.output_error import BatchPass, OutputGradients, OutputHead, Verdict


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


@dataclass(eq=False)
class ProductFeedback(WithOptions, OutputGradients):
    """dL/dz_l is taken to be R_l C_l e: C_l fixed and random, R_l learned from what it sees, R -= rate z (C e)^T.

    With ``decay`` both R C and the weights that a gradient step -rate e z^T would grow forget where they began, so
    that R C comes to point along their transpose, without any weight ever being copied.

    Attributes
    ----------
    units
        Feedback units between the output and a stage, the inner size of the product.
    rate
        Learning rate of R, a batch, with z in units of its standard deviation.
    decay
        Share of R that is forgotten, a batch.
    """

    units: int = option(100, COUNT)
    rate: float = option(0.1, POSITIVE)
    decay: float = option(0.01, real_number("lie within [0, 1)", lambda value: 0 <= value < 1))

    resumable = True

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        """Draw C, (classes, units), and the first R, (units, width)."""
        self._stages = [stage for _, stage, _ in network][:-1]
        self._fixed = [
            torch.randn(task.n_outputs, self.units, generator=rng, dtype=torch.float32) / self.units**0.5
            for _ in self._stages
        ]
        self._learned = [
            torch.randn(self.units, stage.width, generator=rng, dtype=torch.float32) / self.units**0.5
            for stage in self._stages
        ]

    def state(self) -> dict[str, Tensor]:
        return {f"learned.{number}": learned for number, learned in enumerate(self._learned)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._learned = [state[f"learned.{number}"] for number in range(len(self._learned))]

    def by_outputs(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> dict[int, Tensor]:
        """The error through both matrices; then R learns."""
        found = {}
        for number, stage in enumerate(self._stages):
            sent = verdict.error @ self._fixed[number]
            found[number] = sent @ self._learned[number]
            z = stage.linear(batch.features[number]).detach()
            hebbian = sent.T @ (z / z.std().clamp_min(1e-30)) / len(z)
            self._learned[number] = (1.0 - self.decay) * self._learned[number] - self.rate * hebbian
        return found


@dataclass(eq=False)
class DirectFeedback(WithOptions, OutputGradients):
    """dL/dz_l is taken to be (B_l e) g(z_l), e the output's error and B_l fixed, Gaussian, drawn once a fit.

    Attributes
    ----------
    slope
        g, fixed, in place of the device's derivative: 'none' (1), 'tanh', 'sine' or 'step'.
    """

    slope: str = option("none", one_of(SLOPES))

    resumable = True

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        """Draw the feedback matrices, (classes, width), of variance 1 / classes."""
        self._stages = [stage for _, stage, _ in network][:-1]
        self._feedback = [
            torch.randn(task.n_outputs, stage.width, generator=rng, dtype=torch.float32) / task.n_outputs**0.5
            for stage in self._stages
        ]

    def by_outputs(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> dict[int, Tensor]:
        slope = SLOPES[self.slope]
        return {
            number: (verdict.error @ feedback) * slope(stage.linear(batch.features[number]).detach())
            for number, (stage, feedback) in enumerate(zip(self._stages, self._feedback, strict=True))
        }


@dataclass(eq=False)
class InputModulation(WithOptions, OutputGradients):
    """dL/dz_l is taken to be what the error, added to the input, changes about the activity a(z_l).

    Attributes
    ----------
    size
        Root mean square of an entry of F, so of the modulation F e for an error of length 1, in units of the
        largest input's magnitude, or the widest range of a feature where that is less.
    """

    size: float = option(0.1, POSITIVE)

    second_variants = 1
    second_from_the_start = True

    resumable = True

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        self._stages = [stage for _, stage, _ in network]
        size = (task.n_outputs, network.n_features)
        self._feedback = self.size * torch.randn(*size, generator=rng, dtype=torch.float64)

    def see_inputs(self, inputs: Tensor) -> None:
        self._largest = max(1e-30, largest_spread(inputs))

    def second(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> BatchPass:
        """The same samples, each with F e added."""
        second = BatchPass(batch.samples, batch.labels, stage=-1, earlier=batch)
        inputs, error = batch.inputs[0], verdict.error.to(torch.float64)
        scale = inputs.abs().max().clamp(1e-30, self._largest)
        second.inputs[0] = inputs - scale * error @ self._feedback
        return second

    def by_outputs(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> dict[int, Tensor]:
        """Activity in the plain pass minus that in the modulated one, in units of its standard deviation."""
        assert batch.earlier is not None
        found = {}
        for number, stage in enumerate(self._stages[:-1]):
            plain, modulated = (
                stage.activate(stage.linear(f.features[number])).detach() for f in (batch.earlier, batch)
            )
            found[number] = (plain - modulated) / plain.std().clamp_min(1e-30)
        return found
