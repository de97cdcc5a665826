"""A softmax readout on the measured features of all stages, trained with the device's noise and more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwloop.layers import PhysicalNetwork
from hwloop.layers.network import Readout
from hwloop.training.optimiser import AdamSettings, ResponseNoise, one_cycle_adamw, shuffled_batches
from hwloop.training.output_head import OutputHead
from hwloop.training.readouts import LinearReadout, ReadoutBuilder, measured_features


class FeatureSoftmaxBuilder(ReadoutBuilder):
    """A linear classifier on all responses: cross-entropy by AdamW, its noise standing for the device's.

    Parameters
    ----------
    settings
        Of the training, see :class:`hwloop.training.optimiser.AdamSettings`.
    seed
        Of batches and noise.
    """

    def __init__(self, settings: AdamSettings, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self._features: list[Tensor] = []

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Keep the features of the training rows."""
        self._features.append(features)

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """Train it."""
        features = torch.cat(self._features, dim=1)
        settings, rng = self._settings, torch.Generator().manual_seed(self._seed)
        head = OutputHead([features.shape[1]], n_classes)
        steps = settings.steps(len(labels))
        optimiser, rate = one_cycle_adamw(list(head.parameters()), settings, steps)
        batches = shuffled_batches(len(labels), settings.batch_samples, rng)
        largest = min(settings.batch_samples, len(labels)) * features.shape[1]
        noise = ResponseNoise(settings.response_noise, largest, rng)
        for _ in range(steps):
            batch = next(batches)
            noisy = noise.added_to(features[batch])
            head.set_gradient(noisy, head.judge(noisy, labels[batch]))
            optimiser.step()
            rate.step()
        weight, bias = head.weight.detach().T.contiguous(), head.bias.detach()
        return LinearReadout(weight, bias, measured_features)
