"""The trainable linear map of a stage, in the precision of the hardware that shall hold it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.layers.precision import Quantised, WeightPrecision

FLOAT_BITS = 32


class InterfaceMap(nn.Linear):
    """``z = W f + b``, W made from the latent ``weight`` by a precision; W itself where there is none.

    A gradient with respect to W reaches the latent weight unchanged (straight through: Bengio, Léonard and
    Courville, 2013). The bias stays a float: it is one number an output, added behind the hardware.

    Parameters
    ----------
    precision
        ``None`` for floats.
    """

    def __init__(self, n_from: int, n_to: int, precision: WeightPrecision | None = None, **where: Any) -> None:
        super().__init__(n_from, n_to, **where)
        self.precision = precision

    @property
    def bits(self) -> int:
        """Bits that hold a weight; 32 for floats."""
        return FLOAT_BITS if self.precision is None else self.precision.bits

    @property
    def quantised(self) -> Quantised | None:
        """Levels and scale of the present weights; ``None`` for floats."""
        return None if self.precision is None else self.precision.quantise(self.weight.detach())

    @property
    def effective_weight(self) -> Tensor:
        """W as it is used, shape (outputs, inputs); no gradient."""
        quantised = self.quantised
        return self.weight.detach() if quantised is None else quantised.weight

    def forward(self, features: Tensor) -> Tensor:
        """Z for features (rows, inputs)."""
        if self.precision is None:
            return super().forward(features)
        # In this order: adding 0 leaves the quantised weight as it is, to the last bit.
        weight = self.effective_weight + (self.weight - self.weight.detach())
        return functional.linear(features, weight, self.bias)


def new_interface(n_from: int, n_to: int, precision: WeightPrecision | None) -> InterfaceMap:
    """A map whose values are still to be drawn; drawing them twice would move torch's global generator."""
    made = InterfaceMap(n_from, n_to, precision, device="meta", dtype=torch.float32).to_empty(device="cpu")
    assert isinstance(made, InterfaceMap)
    return made


def interface_tensors(map_: InterfaceMap) -> dict[str, Tensor]:
    """What is burned into hardware: ``levels`` in the smallest integers that hold them, and ``scale``, if any."""
    quantised = map_.quantised
    if quantised is None:
        return {}
    largest = int(quantised.levels.abs().max())
    kind = torch.int8 if largest < 2**7 else torch.int16 if largest < 2**15 else torch.int32
    return {"levels": quantised.levels.to(kind), "scale": quantised.scale}
