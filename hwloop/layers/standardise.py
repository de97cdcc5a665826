"""Features scaled to a device's range, and responses to zero mean and unit variance, on training rows only."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hwloop.errors import ConfigError
from hwloop.registry import nearest

# The share of training values that keeps within the device's limits; the rest is clipped. Filling the range
# to the last outlier would waste the converter's bits on everybody else.
KEPT_SHARE = 0.997
HEADROOM = 1.1  # of a range that holds every training value


class FeatureScaling(ABC):
    """Fits, on training rows, the deviation from the mean that drives a channel to its limit."""

    @abstractmethod
    def full_scale(self, deviations: Tensor) -> Tensor:
        """Full-scale deviation of every channel, shape (channels,), from deviations (rows, channels)."""


class GlobalScaling(FeatureScaling):
    """One scale for all channels: their relative strength is information (pixels, a trained map's outputs)."""

    def full_scale(self, deviations: Tensor) -> Tensor:
        """The same for every channel: its quantile over the channels that vary at all."""
        varying = deviations.abs().amax(dim=0) > 0
        values = deviations[:, varying].abs().flatten()
        scale = quantile(values, KEPT_SHARE) if len(values) else values.new_zeros(())
        return scale.expand(deviations.shape[1]).clone()


class ChannelScaling(FeatureScaling):
    """Every channel fills its own range: features of different kinds and units."""

    def full_scale(self, deviations: Tensor) -> Tensor:
        return torch.stack([quantile(channel.abs(), KEPT_SHARE) for channel in deviations.T])


class RangeScaling(FeatureScaling):
    """Every channel fits with room beside it: what leaves the range of training rows is not clipped at once."""

    def full_scale(self, deviations: Tensor) -> Tensor:
        """The largest deviation, and a tenth."""
        return HEADROOM * deviations.abs().amax(dim=0)


SCALINGS: dict[str, type[FeatureScaling]] = {
    "global": GlobalScaling,
    "channel": ChannelScaling,
    "range": RangeScaling,
}


def scaling(name: str) -> FeatureScaling:
    """A scaling by name."""
    if name not in SCALINGS:
        raise ConfigError(f"unknown scaling {name!r}: {nearest(name, SCALINGS)}")
    return SCALINGS[name]()


def quantile(values: Tensor, share: float) -> Tensor:
    """A quantile of any number of values (``torch.quantile`` stops at 16 million)."""
    rank = min(len(values), max(1, round(share * len(values))))
    return values.kthvalue(rank).values


# What varies by less than this share of its own mean has varied by rounding alone.
RESOLUTION = 2.0**-43
# A reading this many standard deviations off is a glitch; unbounded, it overflows float32 further on.
LARGEST = 1e6


class Moments:
    """Mean and variance of channels, rows by rows, so that none need be kept (Chan, Golub and LeVeque, 1983)."""

    def __init__(self, channels: int) -> None:
        self.rows = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self._squares = torch.zeros(channels, dtype=torch.float64)  # sum of squared deviations from the mean

    def add(self, values: Tensor) -> None:
        """Take in rows, shape (rows, channels), at least one."""
        values = values.to(torch.float64)
        rows, centre = len(values), values.mean(dim=0)
        deviations = values - centre
        rounding = deviations.mean(dim=0)  # of the mean, where it is much larger than the deviations
        squares = deviations.square().sum(dim=0) - rows * rounding.square()
        step, total = centre - self.mean + rounding, self.rows + rows
        self._squares = self._squares + squares + step.square() * (self.rows * rows / total)
        self.mean = self.mean + step * (rows / total)
        self.rows = total

    @property
    def std(self) -> Tensor:
        """Standard deviation of the rows taken in."""
        return (self._squares / self.rows).sqrt()


class Standardiser(nn.Module):
    """Maps responses (rows, n_outputs) to features with zero mean and unit variance on the fitted rows.

    A channel that never varied, but for rounding, carries nothing and becomes zero.
    """

    mean: Tensor
    inverse_std: Tensor

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_outputs, dtype=torch.float64))
        self.register_buffer("inverse_std", torch.ones(n_outputs, dtype=torch.float64))

    def fit(self, responses: Tensor) -> None:
        """Fit mean and standard deviation on training rows, shape (rows, n_outputs), float64."""
        self._set(responses.mean(dim=0), responses.std(dim=0, correction=0))

    def fit_to(self, moments: Moments) -> None:
        """The same from moments of training rows."""
        self._set(moments.mean, moments.std)

    def _set(self, mean: Tensor, std: Tensor) -> None:
        self.mean = mean
        floor = RESOLUTION * self.mean.abs().clamp_min(1e-30)
        self.inverse_std = torch.where(std > floor, 1.0 / std.clamp_min(1e-300), 0.0)

    def forward(self, responses: Tensor) -> Tensor:
        """Standardised features, float32, within +-LARGEST."""
        return ((responses - self.mean) * self.inverse_std).clamp(-LARGEST, LARGEST).to(torch.float32)
