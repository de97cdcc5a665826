"""How strongly each feature drives the device: the choice of scale inside the encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.registry import nearest

# The share of training values that keeps within the device's limits; the rest is clipped. Filling the range
# to the last outlier would waste the converter's bits on everybody else.
KEPT_SHARE = 0.997


class Scaling(ABC):
    """Fits, on training rows, the deviation from the mean that drives a channel to its limit."""

    @abstractmethod
    def full_scale(self, deviations: Tensor) -> Tensor:
        """Full-scale deviation of every channel, shape (channels,), from deviations (rows, channels)."""


class GlobalScaling(Scaling):
    """One scale for all channels: their relative strength is information (pixels, a trained map's outputs)."""

    def full_scale(self, deviations: Tensor) -> Tensor:
        """The same for every channel: its quantile over the channels that vary at all."""
        varying = deviations.abs().amax(dim=0) > 0
        values = deviations[:, varying].abs().flatten()
        scale = quantile(values, KEPT_SHARE) if len(values) else values.new_zeros(())
        return scale.expand(deviations.shape[1]).clone()


class ChannelScaling(Scaling):
    """Every channel fills its own range: features of different kinds and units."""

    def full_scale(self, deviations: Tensor) -> Tensor:
        """Each channel's own quantile."""
        return torch.stack([quantile(channel.abs(), KEPT_SHARE) for channel in deviations.T])


SCALINGS: dict[str, type[Scaling]] = {"global": GlobalScaling, "channel": ChannelScaling}


def scaling(name: str) -> Scaling:
    """A scaling by name."""
    if name not in SCALINGS:
        raise ConfigError(f"unknown scaling {name!r}: {nearest(name, SCALINGS)}")
    return SCALINGS[name]()


def quantile(values: Tensor, share: float) -> Tensor:
    """A quantile of any number of values (``torch.quantile`` stops at 16 million)."""
    rank = min(len(values), max(1, round(share * len(values))))
    return values.kthvalue(rank).values
