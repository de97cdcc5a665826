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
class Sine(Nonlinearity):
    """F(z) = gain sin z: a modulator biased at half its swing (Paquot et al., Sci. Rep. 2, 287 (2012))."""

    gain: float

    def __call__(self, z: Tensor) -> Tensor:
        """F(z)."""
        return torch.sin(z).mul_(self.gain)


@dataclass(frozen=True)
class LinearNode(Nonlinearity):
    """F(z) = gain z: the same loop without its nonlinearity."""

    gain: float

    def __call__(self, z: Tensor) -> Tensor:
        """F(z)."""
        return self.gain * z


@dataclass(frozen=True)
class LineState:
    """The nodes during the last lap and the one before, each of shape (nodes, rows)."""

    last: Tensor
    before: Tensor


class DelayLine:
    """x' = -x + F(x(t - tau) + J(t) + bias), with time in units of the node's response time.

    A lap, the clock's cycle, holds ``n_nodes`` virtual nodes, ``spacing`` apart. Over the interval of one node F
    is constant, so the low-pass is integrated exactly: x_i = a x_(i-1) + (1 - a) F_i with a = exp(-spacing) and
    x_0 the last node of the lap before (Appeltant et al. 2011, equation 3). The delay is ``excess`` nodes longer
    than a lap, so that node i is fed by node i - excess of the lap before: the ring that couples the nodes where a
    does not (Paquot et al., Sci. Rep. 2, 287 (2012), equation 4). Before the first lap x = 0 everywhere.

    Parameters
    ----------
    nonlinearity
        F.
    n_nodes, spacing
        The lap is their product.
    device, dtype
        Where and how torch computes.
    excess
        Nodes by which the delay is longer than a lap, 0 to ``n_nodes``.
    """

    @own_torch_state()
    def __init__(
        self,
        nonlinearity: Nonlinearity,
        n_nodes: int,
        spacing: float,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        excess: int = 0,
    ) -> None:
        self._nonlinearity, self._n_nodes, self._excess = nonlinearity, n_nodes, excess
        self._device, self._dtype = torch_device(device), dtype
        self._kept = math.exp(-spacing)
        along = np.exp(-spacing * np.arange(1, n_nodes + 1))
        self._from_last = self.tensor(along[:, np.newaxis])

    def laps(self, injected: Float64Array, bias: Float64Array) -> Iterator[Float64Array]:
        """The nodes after every lap from rest, shape (rows, nodes).

        Parameters
        ----------
        injected
            The masked input J of each lap, shape (laps, rows, nodes).
        bias
            Of each row, shape (rows,).
        """
        state, offset = self.at_rest(len(bias)), self.tensor(bias)
        for lap in injected:
            state = self.after_lap(state, lap, offset)
            yield as_rows(state.last)

    def at_rest(self, rows: int) -> LineState:
        """The state x = 0 everywhere, of so many loops side by side."""
        # Rows last: a node is then a whole line, and rows fill the vector units.
        still = torch.zeros((self._n_nodes, rows), dtype=self._dtype, device=self._device)
        return LineState(still, still)

    def after_lap(self, state: LineState, injected: Float64Array, bias: Tensor) -> LineState:
        """One lap on, driven by the masked input (rows, nodes) and the bias of each row, a :meth:`tensor`."""
        fed = fed_back(state.last, state.before, self._excess)
        driven = self._nonlinearity(fed + self.tensor(injected.T) + bias)
        return LineState(self._low_pass(driven, state.last[-1]), state.last)

    def _low_pass(self, driven: Tensor, last: Tensor) -> Tensor:
        """The recursion over nodes in log2(nodes) passes: each doubles how far back a node has summed."""
        state, reach = (1 - self._kept) * driven, 1
        while reach < self._n_nodes and self._kept**reach > FORGOTTEN:
            further = state[reach:] + self._kept**reach * state[:-reach]
            state = torch.cat([state[:reach], further])
            reach *= 2
        return state + self._from_last * last

    def tensor(self, values: Float64Array) -> Tensor:
        """Numbers where, and as precise as, the line is computed."""
        return torch.as_tensor(np.ascontiguousarray(values), dtype=self._dtype, device=self._device)


def fed_back(last: Tensor, before: Tensor, excess: int) -> Tensor:
    """What meets each node of a new lap, (nodes, rows), where the delay is ``excess`` nodes longer than a lap.

    Node i meets node i - excess of the last lap, and the first ones the end of the lap ``before`` that.
    """
    nodes = len(last)
    return last if excess == 0 else torch.cat([before[nodes - excess :], last[: nodes - excess]])


def as_rows(state: Tensor) -> Float64Array:
    """A state (nodes, rows) as float64 (rows, nodes)."""
    return np.ascontiguousarray(state.T.cpu().numpy(), dtype=np.float64)
