"""Zero mean and unit variance per response channel, fitted on training rows only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# A reading this many standard deviations off is a glitch; unbounded, it overflows float32 further on.
LARGEST = 1e6


class Standardiser(nn.Module):
    """Maps responses (rows, n_outputs) to features with zero mean and unit variance on the fitted rows.

    A channel that never varied carries nothing and becomes zero.
    """

    mean: Tensor
    inverse_std: Tensor

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_outputs, dtype=torch.float64))
        self.register_buffer("inverse_std", torch.ones(n_outputs, dtype=torch.float64))

    def fit(self, responses: Tensor) -> None:
        """Fit mean and standard deviation on training rows, shape (rows, n_outputs), float64."""
        self.mean = responses.mean(dim=0)
        std = responses.std(dim=0, correction=0)
        floor = 1e-9 * self.mean.abs().clamp_min(1e-30)
        self.inverse_std = torch.where(std > floor, 1.0 / std.clamp_min(1e-300), 0.0)

    def forward(self, responses: Tensor) -> Tensor:
        """Standardised features, float32, within +-LARGEST."""
        return ((responses - self.mean) * self.inverse_std).clamp(-LARGEST, LARGEST).to(torch.float32)
