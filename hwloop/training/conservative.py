"""Conservative weight perturbation: a step is tried in both directions before it is taken."""

from __future__ import annotations

import torch
from torch import Tensor

from hwloop.layers import Stage
from hwloop.training.flight import Flight, MapGradient
from hwloop.training.output_head import OutputHead, Verdict
from hwloop.training.weight_perturbation import Codes, WeightPerturbation

TRIED = (1.0, 0.0, -1.0)  # the step as estimated, none, and its opposite


class ConservativePerturbation(WeightPerturbation):
    """Of W - lr G, W and W + lr G, the one with the least measured loss; G is a :class:`WeightPerturbation`'s.

    Parameters
    ----------
    lr
        As the update that follows takes it: it multiplies what :meth:`gradients` gives by it.
    """

    second_variants = len(TRIED)

    def __init__(self, codes: Codes, size: float, lr: float) -> None:
        super().__init__(codes, size)
        self._lr = lr

    def outputs(self, flight: Flight, number: int, stage: Stage) -> Tensor:
        """In the second flight, z of the three candidates."""
        if flight.earlier is None:
            return super().outputs(flight, number, stage)
        z, step = stage.map(flight.features[number]), flight.steps[number]
        change = flight.features[number] @ step.weight.T + step.bias
        sizes = torch.tensor(TRIED, dtype=torch.float32).repeat_interleave(len(flight.samples))[:, None]
        return z - self._lr * sizes * change

    def second(self, flight: Flight, verdict: Verdict, head: OutputHead) -> Flight:
        """The same samples, through the three candidates."""
        second = Flight(flight.samples, flight.labels, self.second_variants, earlier=flight)
        second.steps = super().gradients(flight, verdict, head)
        second.features[0] = flight.features[0][: len(flight.samples)].repeat(self.second_variants, 1)
        return second

    def gradients(self, flight: Flight, verdict: Verdict, head: OutputHead) -> dict[int, MapGradient]:
        """The estimate, nothing, or the estimate turned round."""
        taken = TRIED[int(verdict.losses.reshape(len(TRIED), -1).mean(dim=1).argmin())]
        return {n: MapGradient(taken * step.weight, taken * step.bias) for n, step in flight.steps.items()}
