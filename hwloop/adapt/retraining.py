"""Re-training on predicted responses: every anchor's of today, from a few that were measured."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hwloop.adapt.anchors import Anchors
from hwloop.adapt.local_heads import RecursiveLeastSquares, fine_tune, set_matrix, with_constant
from hwloop.adapt.policy import Observed, Policy
from hwloop.device.spec import Float64Array
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.training.optimiser import AdamSettings


class Follower(Protocol):
    """Predicts a device's responses, and follows it."""

    def __call__(self, stimuli: Float64Array) -> Float64Array:
        """Responses, shape (rows, n_outputs), to stimuli (rows, n_inputs)."""

    def next_step(self) -> None:
        """The device may have moved since the last rows."""

    def follow(self, stimuli: Float64Array, responses: Float64Array) -> None:
        """Learn from rows that were measured now."""


class PredictedRetraining(Policy):
    """A model of each device follows it; stages are re-trained on what it predicts for all anchors.

    Stage by stage: the model learns from the rows just measured; the stage's map is fitted to give the outputs of
    training time on the predicted responses, and then, where the anchors have labels, trained on by its own local
    rule. The next stage measures what the mended one gives. The forward pass stays the device's.

    Needs: rows, no labels of them; anchors recorded from the whole training set.

    Parameters
    ----------
    train_steps, lr
        Of the local rule, see :class:`hwloop.training.optimiser.AdamSettings`.
    response_noise
        Added to predicted responses while training, in units of a channel's deviation: how far they may miss.
    """

    uses_model = True

    def __init__(self, *, train_steps: int = 150, lr: float = 0.003, response_noise: float = 0.4) -> None:
        self.response_noise = response_noise
        self.settings = AdamSettings(1, train_steps, lr=lr, response_noise=response_noise)

    @abstractmethod
    def follower(self, stimuli: Float64Array, responses: Float64Array, noise: float) -> Follower:
        """A model of a device from what it answered to the anchors; ``noise`` is the variance of a reading."""

    def begin(self, network: PhysicalNetwork, anchors: Anchors | None, rng: torch.Generator) -> None:
        """Learn what every device was like; nothing is measured.

        Raises
        ------
        ConfigError
            The model does not describe a device.
        """
        super().begin(network, anchors, rng)
        assert anchors is not None
        self._followers = {}
        for session in network.distinct_sessions:
            served = [(part, stage) for part, (_, stage, own) in zip(anchors.stages, network, strict=True)
                      if own is session]  # fmt: skip
            stimuli = np.concatenate([stage.encoder(part.inputs) for part, stage in served])
            responses = np.concatenate([part.responses.numpy() for part, _ in served])
            self._followers[session] = self.follower(stimuli, responses, served[0][0].noise.power)

    def mend_stage(self, observed: Observed) -> None:
        """Let the model learn, then re-train the stage on what it says."""
        assert self.anchors is not None
        if observed.number == 0:
            self._inputs = self.anchors.stages[0].inputs
            for each in self._followers.values():
                each.next_step()
        follower = self._followers[self.network.sessions[observed.number]]
        follower.follow(observed.stage.encoder(observed.inputs), observed.responses)
        self._inputs = self._retrained(observed.number, observed.stage, follower, self.anchors)

    def _retrained(self, number: int, stage: Stage, follower: Follower, anchors: Anchors) -> Tensor:
        """A stage trained on the responses predicted for all anchors; returns its outputs for them."""
        features = stage.features(self._inputs, follower(stage.encoder(self._inputs)))
        held = max(1e-6, self.response_noise**2) * len(anchors)
        recalled = RecursiveLeastSquares(
            torch.zeros(features.shape[1] + 1, stage.width, dtype=torch.float32), held
        )
        recalled.update(with_constant(features), anchors.stages[number].outputs)
        set_matrix(stage.linear, recalled.weights)
        if anchors.labels is not None:
            fine_tune(stage, self.head(number), features, anchors.labels, self.settings, self.rng)
        return stage.map(features)
