"""Warm local re-training: the trainer's own rule from the weights that are there, on a few labelled rows."""

from __future__ import annotations

import torch
from torch import Tensor

from hwloop.adapt.policy import Observed, Policy
from hwloop.layers import Stage
from hwloop.training.objectives.class_scores import Head
from hwloop.training.optimiser import AdamSettings, ResponseNoise, one_cycle_adamw, shuffled_batches


def train_on(
    stage: Stage, head: Head, features: Tensor, labels: Tensor, settings: AdamSettings, rng: torch.Generator
) -> None:
    """Adam steps on a stage's map and head from where they are: cross-entropy on measured features (rows, n)."""
    steps = settings.steps(len(labels))
    parameters = [*stage.linear.parameters(), *head.parameters()]
    optimiser, schedule = one_cycle_adamw(parameters, settings, steps)
    batch = min(settings.batch_samples, len(labels))
    noise = ResponseNoise(settings.response_noise, batch * features.shape[1], rng)
    batches = shuffled_batches(len(labels), batch, rng)
    for _ in range(steps):
        rows = next(batches)
        loss = head.loss(stage, stage.linear(noise.added_to(features[rows])), labels[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


class WarmLocal(Policy):
    """Local heads (Mono-Forward) go on training on each step's labelled rows, from the weights that are there.

    Needs: labels, and local heads.
    """

    needs_labels = True

    def __init__(
        self, *, steps: int = 60, lr: float = 0.001, weight_decay: float = 0.1, response_noise: float = 0.4
    ) -> None:
        self.settings = AdamSettings(1, steps, AdamSettings.batch_samples, lr, weight_decay, response_noise)

    def mend_stage(self, observed: Observed) -> None:
        """One map and its head."""
        assert observed.labels is not None
        head = self.head(observed.number)
        train_on(observed.stage, head, observed.features, observed.labels, self.settings, self.rng)
