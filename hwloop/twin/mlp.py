"""A device of no known form: a small multilayer perceptron on standardised responses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device.spec import Float64Array
from hwloop.twin.candidate import HUBER_THRESHOLD, Candidate, ColumnScaling, Model

HIDDEN_WIDTHS = (64, 64)
STEPS = 800
BATCH_ROWS = 256
LEARNING_RATE = 5e-3


@dataclass(frozen=True, eq=False)
class PerceptronModel(Model):
    """Layers of ``tanh(x W + b)``, the last one affine, and the scaling back to the device's unit."""

    weights: tuple[Float64Array, ...]
    biases: tuple[Float64Array, ...]
    scaling: ColumnScaling

    def __call__(self, stimuli: Float64Array) -> Float64Array:
        """The network's response."""
        values = stimuli
        for product, bias in zip(self._products[:-1], self.biases[:-1], strict=True):
            values = np.tanh(product(values) + bias)
        return self.scaling.inverse(self._products[-1](values) + self.biases[-1])

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        layers = [stimuli]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            layers.append(np.tanh(layers[-1] @ weight + bias))
        found = (gradients * self.scaling.spread) @ self.weights[-1].T
        for weight, values in zip(self.weights[-2::-1], layers[:0:-1], strict=True):
            found = (found * (1.0 - values * values)) @ weight.T
        return np.asarray(found)

    @cached_property
    def _products(self) -> tuple[ExactProduct, ...]:
        return tuple(ExactProduct(weight) for weight in self.weights)


class Perceptron(Candidate):
    """Adam on mini-batches, Huber's loss, the learning rate falling as a half cosine to zero."""

    name = "mlp"

    def fit(self, stimuli: Float64Array, responses: Float64Array, rng: np.random.Generator) -> PerceptronModel:
        """Fit with torch, which is loaded here and not before."""
        import torch

        from hwloop.torch_state import own_torch_state

        with own_torch_state():
            generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
            scaling = ColumnScaling.fitted_to(responses)
            inputs = torch.as_tensor(stimuli, dtype=torch.float32)
            targets = torch.as_tensor(scaling.forward(responses), dtype=torch.float32)
            widths = (inputs.shape[1], *HIDDEN_WIDTHS, targets.shape[1])
            weights = [
                (torch.randn(a, b, generator=generator, dtype=torch.float32) / a**0.5).requires_grad_()
                for a, b in pairwise(widths)
            ]
            biases = [torch.zeros(b, dtype=torch.float32, requires_grad=True) for b in widths[1:]]
            _descend(weights, biases, inputs, targets, generator)
        return PerceptronModel(
            weights=tuple(w.detach().numpy().astype(np.float64) for w in weights),
            biases=tuple(b.detach().numpy().astype(np.float64) for b in biases),
            scaling=scaling,
        )


def _descend(weights: list[Any], biases: list[Any], inputs: Any, targets: Any, generator: Any) -> None:
    """Train weights and biases (torch tensors, changed in place) for ``STEPS`` steps."""
    import torch

    optimizer = torch.optim.Adam([*weights, *biases], lr=LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    batch = min(BATCH_ROWS, len(inputs))
    for _ in range(STEPS):
        chosen = torch.randint(len(inputs), (batch,), generator=generator)
        values = inputs[chosen]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            values = torch.tanh(torch.addmm(bias, values, weight))
        predicted = torch.addmm(biases[-1], values, weights[-1])
        loss = torch.nn.functional.huber_loss(predicted, targets[chosen], delta=HUBER_THRESHOLD)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
