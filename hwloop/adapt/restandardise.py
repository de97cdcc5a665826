"""Undo a gain and an offset of every response channel; needs no label."""

from __future__ import annotations

import torch

from hwloop.adapt.anchors import Anchors
from hwloop.adapt.policy import Observed, Policy
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.rowwise import rows_as_tensor

FEWEST_ROWS = 4
LEAST_SLOPE = 1e-6  # a channel that anchors move less than this no longer answers


class Restandardise(Policy):
    """Fit offset and scale of every channel afresh on rows that the device has just answered.

    With anchors by least squares of their old responses on the new ones, channel by channel: a gain and an offset
    (of either sign) are taken out to rounding, and a channel that no longer follows fades. With other rows so
    that they have mean 0 and deviation 1, as training rows had (adaptive batch normalisation; Li et al.,
    Pattern Recognition 80, 109, 2018).

    Needs: rows, no labels.
    """

    def begin(self, network: PhysicalNetwork, anchors: Anchors | None, rng: torch.Generator) -> None:
        """Keep the standardisers as they were trained."""
        super().begin(network, anchors, rng)
        self._trained = [(s.standardiser.mean.clone(), s.standardiser.inverse_std.clone()) for _, s, _ in network]

    def mend_stage(self, observed: Observed) -> None:
        """One standardiser."""
        responses = rows_as_tensor(observed.responses)
        if len(responses) < FEWEST_ROWS:
            return
        if observed.anchors is None or self.anchors is None:
            observed.stage.standardiser.fit(responses)
        else:
            then = self.anchors.stages[observed.number].responses[observed.anchors]
            self._pair(observed.number, observed.stage, responses, then)

    def _pair(self, number: int, stage: Stage, now: torch.Tensor, then: torch.Tensor) -> None:
        """Standardise so that ``slope * now + offset``, fitted to ``then``, gives the features of training."""
        trained_mean, trained_scale = self._trained[number]
        middle, target = now.mean(dim=0), then.mean(dim=0)
        power = (now - middle).square().sum(dim=0).clamp_min(1e-300)
        slope = ((now - middle) * (then - target)).sum(dim=0) / power
        live = slope.abs() > LEAST_SLOPE
        slope = torch.where(live, slope, torch.ones_like(slope))
        stage.standardiser.mean = middle - (target - trained_mean) / slope
        stage.standardiser.inverse_std = torch.where(live, slope * trained_scale, 0.0)
