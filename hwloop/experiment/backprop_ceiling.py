"""The ceiling: a digital network of the same widths, trained by ordinary backpropagation, with no device."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hwloop.device.spec import Float64Array
from hwloop.experiment.partition import Labelled
from hwloop.torch_state import own_torch_state
from hwloop.training.optimiser import AdamSettings, ResponseNoise, one_cycle_adamw, shuffled_batches

# AdamW, one-cycle schedule, label smoothing and noise (here on the standardised inputs) as the local trainer has
# them, strongly and weakly regularised: which is better depends on the task, so held-out training rows choose.
STRONG = AdamSettings(epochs=100, min_steps=1000, batch_samples=128, lr=0.01, weight_decay=1.0, response_noise=0.4)
CANDIDATES = (STRONG, replace(STRONG, weight_decay=0.1, response_noise=0.2))
LABEL_SMOOTHING = 0.1
HELD_OUT = 0.2


@own_torch_state()
def backpropagated(
    train: Labelled, validation: Labelled | None, widths: Sequence[int], n_classes: int, seed: int
) -> DigitalNetwork:
    """A digital network trained to convergence on all training rows.

    Its regularisation is chosen on the validation rows, or without any on a fifth of the training rows.
    """

    def trained(settings: AdamSettings, rows: Labelled) -> DigitalNetwork:
        network = DigitalNetwork(train.inputs.shape[1], widths, n_classes, seed)
        network.fit(rows, settings)
        return network

    fitted_on, judged_on = (train, validation) if validation is not None else _held_out(train, seed)
    scores = [
        np.mean(trained(settings, fitted_on).predict(judged_on.inputs) == judged_on.labels)
        for settings in CANDIDATES
    ]
    return trained(CANDIDATES[int(np.argmax(scores))], train)


def _held_out(train: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    order = np.random.default_rng(seed).permutation(len(train))
    count = max(1, round(HELD_OUT * len(train)))
    fitted_on, judged_on = (
        Labelled(train.inputs[part], train.labels[part]) for part in (order[count:], order[:count])
    )
    return fitted_on, judged_on


class DigitalNetwork:
    """A multilayer perceptron with ReLU on inputs standardised on the training rows."""

    def __init__(self, n_features: int, widths: Sequence[int], n_classes: int, seed: int) -> None:
        self._rng = torch.Generator().manual_seed(seed)
        sizes = [n_features, *widths, n_classes]
        layers: list[nn.Module] = []
        for n_from, n_to in itertools.pairwise(sizes):
            linear = nn.Linear(n_from, n_to, dtype=torch.float32)
            with torch.no_grad():
                linear.weight.normal_(0.0, (2.0 / n_from) ** 0.5, generator=self._rng)  # He et al. 2015
                linear.bias.zero_()
            layers += [linear, nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.multiply_adds = n_features + sum(a * b for a, b in itertools.pairwise(sizes))
        self._mean, self._scale = (
            torch.zeros(n_features, dtype=torch.float32),
            torch.ones(n_features, dtype=torch.float32),
        )

    def fit(self, train: Labelled, settings: AdamSettings) -> None:
        """Train to convergence: the learning rate ends at zero."""
        raw, labels = torch.from_numpy(train.inputs), torch.from_numpy(np.array(train.labels))
        std = raw.std(dim=0, correction=0)
        self._mean, self._scale = raw.mean(dim=0), torch.where(std > 0, 1 / std.clamp_min(1e-300), 0.0)
        inputs = self._standardised(train.inputs)
        batch, steps = min(settings.batch_samples, len(labels)), settings.steps(len(labels))
        optimiser, schedule = one_cycle_adamw(list(self.model.parameters()), settings, steps)
        noise = ResponseNoise(settings.response_noise, batch * inputs.shape[1], self._rng)
        batches = shuffled_batches(len(labels), batch, self._rng)
        for part in itertools.islice(batches, steps):
            logits = self.model(noise.added_to(inputs[part]))
            loss = functional.cross_entropy(logits, labels[part], label_smoothing=LABEL_SMOOTHING)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()

    @own_torch_state()
    def predict(self, inputs: Float64Array) -> NDArray[np.int64]:
        """The most probable class of each row, shape (rows,)."""
        with torch.no_grad():
            predicted: NDArray[np.int64] = self.model(self._standardised(inputs)).argmax(dim=1).numpy()
        return predicted

    def _standardised(self, inputs: Float64Array) -> Tensor:
        return ((torch.from_numpy(inputs) - self._mean) * self._scale).to(torch.float32)
