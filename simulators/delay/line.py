"""A nonlinear node with delayed feedback and its virtual nodes, for many rows at once in torch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwloop.device.spec import Float64Array
from hwloop.simulators.torch_devices import torch_device
from hwloop.torch_state import own_torch_state

FORGOTTEN = 2.0**-40  # what a node keeps of one so far back is below single precision


class Nonlinearity(ABC):
    """The node's answer F to the sum z of feedback, masked input and bias."""

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """F(z)."""


@dataclass(frozen=True)
class Ikeda(Nonlinearity):
    """F(z) = gain sin^2 z: an electro-optic modulator (Larger et al., Optics Express 20, 3241 (2012))."""

    gain: float

    def __call__(self, z: Tensor) -> Tensor:
        """F(z)."""
        return torch.sin(z).square_().mul_(self.gain)


@dataclass(frozen=True)
class MackeyGlass(Nonlinearity):
    """F(z) = gain z / (1 + abs(z)^exponent): an analogue circuit (Appeltant et al., Nat. Commun. 2, 468, 2011)."""

    gain: float
    exponent: float

    def __call__(self, z: Tensor) -> Tensor:
        """F(z)."""
        return self.gain * z / (1 + z.abs().pow(self.exponent))


@dataclass(frozen=True)
class LinearNode(Nonlinearity):
    """F(z) = gain z: the same loop without its nonlinearity."""

    gain: float

    def __call__(self, z: Tensor) -> Tensor:
        """F(z)."""
        return self.gain * z


class DelayLine:
    """x' = -x + F(x(t - tau) + J(t) + bias), with time in units of the node's response time.

    The delay holds ``n_nodes`` virtual nodes, ``spacing`` apart. Over the interval of one node F is constant,
    so the low-pass is integrated exactly: x_i = a x_(i-1) + (1 - a) F_i with a = exp(-spacing) and x_0 the last
    node of the lap before (Appeltant et al. 2011, equation 3). Before the first lap x = 0 everywhere.

    Parameters
    ----------
    nonlinearity
        F.
    n_nodes, spacing
        The delay tau is their product.
    device, dtype
        Where and how torch computes.
    """

    @own_torch_state()
    def __init__(
        self,
        nonlinearity: Nonlinearity,
        n_nodes: int,
        spacing: float,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._nonlinearity, self._n_nodes = nonlinearity, n_nodes
        self._device, self._dtype = torch_device(device), dtype
        self._kept = math.exp(-spacing)
        along = np.exp(-spacing * np.arange(1, n_nodes + 1))
        self._from_last = self._tensor(along[:, np.newaxis])

    def laps(self, injected: Float64Array, bias: Float64Array) -> Iterator[Float64Array]:
        """States after every lap, shape (rows, nodes).

        Parameters
        ----------
        injected
            The masked input J of each lap, shape (laps, rows, nodes).
        bias
            Of each row, shape (rows,).
        """
        # Rows last: a node is then a whole line, and rows fill the vector units.
        offset = self._tensor(bias)
        state = torch.zeros((self._n_nodes, len(bias)), dtype=self._dtype, device=self._device)
        for lap in injected:
            state = self._low_pass(self._nonlinearity(state + self._tensor(lap.T) + offset), state[-1])
            yield np.ascontiguousarray(state.T.cpu().numpy(), dtype=np.float64)

    def _low_pass(self, driven: Tensor, last: Tensor) -> Tensor:
        """The recursion over nodes in log2(nodes) passes: each doubles how far back a node has summed."""
        state, reach = (1 - self._kept) * driven, 1
        while reach < self._n_nodes and self._kept**reach > FORGOTTEN:
            further = state[reach:] + self._kept**reach * state[:-reach]
            state = torch.cat([state[:reach], further])
            reach *= 2
        return state + self._from_last * last

    def _tensor(self, values: Float64Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=self._dtype, device=self._device)
