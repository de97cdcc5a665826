"""What a digital model costs to hold and to run, counted as NeuroBench counts it.

Source: Yik et al., "The NeuroBench framework for benchmarking neuromorphic computing algorithms and systems", Nat.
Commun. 16, 1545 (2025), and the package neurobench 2.3.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hwloop.torch_state import own_torch_state

CONNECTIONS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ACTIVATIONS = (nn.ReLU, nn.Sigmoid)


@dataclass(frozen=True)
class Workload:
    """The figures of one model on given rows.

    Attributes
    ----------
    footprint
        Bytes of its parameters and buffers.
    connection_sparsity
        Share of the weights that are zero, biases apart, to four decimals; in [0, 1].
    activation_sparsity
        Share of the outputs of its ReLU and sigmoid layers that are zero; 0 where it has none.
    effective_macs
        Multiply-adds of a row in which neither weight nor input is zero, of layers whose inputs are numbers.
    effective_acs
        The same of layers whose inputs are all -1, 0 or 1: there nothing is multiplied.
    dense
        Of a row, zeros or not.
    """

    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    effective_macs: float
    effective_acs: float
    dense: float

    def as_dict(self) -> dict[str, float]:
        """Plain numbers, for a file."""
        return asdict(self)


@own_torch_state()
def workload_of(model: nn.Module, rows: Tensor) -> Workload:
    """The figures of a model of linear and convolutional layers, on rows (n, ...) that it takes.

    A bias is an addition, and is not counted.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, CONNECTIONS)]
    parts = [*model.parameters(), *model.buffers()]
    weights = sum(layer.weight.numel() for layer in layers)
    zeros = sum(int((layer.weight == 0).sum()) for layer in layers)
    macs = acs = dense = silent = answered = 0.0
    with torch.no_grad():
        with _watched(model) as (entered, left):
            model(rows)
        for layer, inputs in entered:
            operations = _operations(layer, inputs)
            if bool(((inputs == 0) | (inputs.abs() == 1)).all()):
                acs += operations
            else:
                macs += operations
            dense += _operations(layer, inputs, dense=True)
    for outputs in left:
        silent += outputs.numel() - int(torch.count_nonzero(outputs))
        answered += outputs.numel()
    return Workload(
        sum(part.numel() * part.element_size() for part in parts),
        round(zeros / weights, 4) if weights else 0.0,
        silent / answered if answered else 0.0,
        macs / len(rows),
        acs / len(rows),
        dense / len(rows),
    )


@contextmanager
def _watched(model: nn.Module) -> Iterator[tuple[list[tuple[nn.Module, Tensor]], list[Tensor]]]:
    """What enters connection layers, and what leaves activation layers, of the rows that go through inside."""
    entered: list[tuple[nn.Module, Tensor]] = []
    left: list[Tensor] = []

    def enters(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        entered.append((layer, inputs[0].detach()))

    def leaves(layer: nn.Module, inputs: Any, outputs: Tensor) -> None:
        left.append(outputs.detach())

    with ExitStack() as stack:
        for layer in model.modules():
            if isinstance(layer, CONNECTIONS):
                stack.callback(layer.register_forward_pre_hook(enters).remove)
            elif isinstance(layer, ACTIVATIONS):
                stack.callback(layer.register_forward_hook(leaves).remove)
        yield entered, left


def _operations(layer: nn.Module, inputs: Tensor, dense: bool = False) -> float:
    """Products of all rows whose two factors are not zero, or of every one: the layer itself counts them."""
    counting = copy.deepcopy(layer).to(torch.float64)
    weight, bias = counting.weight, counting.bias
    assert isinstance(weight, Tensor)
    weight.data = torch.ones_like(weight) if dense else (weight != 0).to(torch.float64)
    if isinstance(bias, Tensor):
        bias.data = torch.zeros_like(bias)
    ones = torch.ones_like(inputs) if dense else (inputs != 0)
    return float(counting(ones.to(torch.float64)).sum())
