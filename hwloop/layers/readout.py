"""How a trained network's activity becomes class scores; a trainer leaves one on the network."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from hwloop.layers.network import PhysicalNetwork


class Readout(nn.Module):
    """Base of all readouts.

    Attributes
    ----------
    passes
        How often a row is sent through every stage for one prediction.
    """

    passes: int = 1

    @property
    def label_channels(self) -> int:
        """Features that it adds to an input row, for the label that is tried."""
        return 0

    @abstractmethod
    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """Unnormalised log-probabilities (rows, classes) for input rows (rows, n_features)."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Kind and sizes as plain JSON values: what a checkpoint needs beside the tensors."""

    @property
    @abstractmethod
    def multiply_adds(self) -> int:
        """Digital multiply-adds of the readout itself for one prediction."""
