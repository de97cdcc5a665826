"""The trainable linear map of a stage, in the precision of the hardware that shall hold it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.errors import ConfigError
from hwloop.registry import nearest

MAX_BITS = 16
TERNARY_THRESHOLD = 0.7  # of the mean magnitude: Li and Liu's optimum for Gaussian and uniform weights
SMALLEST_SCALE = 1e-30  # all weights zero: the levels are zero too, and no quotient is needed


@dataclass(frozen=True)
class Quantised:
    """Weights as hardware holds them: the weight used is ``scale * levels``.

    Attributes
    ----------
    levels
        Whole numbers, int32, of the weight's shape.
    scale
        One float32 for the whole map; a gain behind the hardware.
    """

    levels: Tensor
    scale: Tensor

    @property
    def weight(self) -> Tensor:
        """Scale times levels, float32."""
        return self.scale * self.levels.to(torch.float32)


class WeightPrecision(ABC):
    """Makes the weights of a digital map few-valued."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As :func:`weight_precision` takes it."""

    @property
    @abstractmethod
    def n_levels(self) -> int:
        """Values that a weight can take, up to the scale."""

    @abstractmethod
    def quantise(self, latent: Tensor) -> Quantised:
        """Levels and scale for latent weights, float32 of any shape."""

    @property
    def bits(self) -> int:
        """Bits that hold a weight."""
        return math.ceil(math.log2(self.n_levels))


class BinaryWeights(WeightPrecision):
    """Sign of the latent weight, times the mean magnitude.

    Sign: BinaryConnect (Courbariaux, Bengio and David, NeurIPS 2015), deterministic; 0 counts as positive. Scale:
    the one of least squared error (Rastegari et al., XNOR-Net, ECCV 2016, eq. 6).
    """

    name = "binary"
    n_levels = 2

    def quantise(self, latent: Tensor) -> Quantised:
        levels = torch.where(latent < 0, -1, 1).to(torch.int32)
        return Quantised(levels, _mean(latent.abs()))


class TernaryWeights(WeightPrecision):
    """Sign of the latent weights beyond 0.7 of the mean magnitude, others 0; times the mean of those beyond.

    Ternary weight networks (Li and Liu, 2016, eqs. 3 to 6).
    """

    name = "ternary"
    n_levels = 3

    def quantise(self, latent: Tensor) -> Quantised:
        magnitude = latent.abs()
        beyond = magnitude > TERNARY_THRESHOLD * _mean(magnitude)
        levels = torch.where(beyond, torch.sign(latent), torch.zeros_like(latent)).to(torch.int32)
        return Quantised(levels, _mean(magnitude[beyond]))


class DoReFaWeights(WeightPrecision):
    """Equidistant levels of tanh w: ``2 round((2^k - 1) (tanh w / (2 max|tanh w|) + 1/2)) / (2^k - 1) - 1``.

    DoReFa-Net (Zhou et al., 2016, eq. 9), times max|w|, which the paper leaves to batch normalisation. With one
    bit it is the sign times the mean magnitude (eq. 8), as :class:`BinaryWeights`.

    Parameters
    ----------
    bits
        2 to 16 for the equation above.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits

    @property
    def name(self) -> str:
        return f"dorefa:{self._bits}"

    @property
    def n_levels(self) -> int:
        return 1 << self._bits

    def quantise(self, latent: Tensor) -> Quantised:
        """Odd levels from -(2^bits - 1) to 2^bits - 1."""
        top = self.n_levels - 1
        bent = torch.tanh(latent.to(torch.float64))
        unit = bent / (2 * bent.abs().max().clamp_min(SMALLEST_SCALE)) + 0.5
        levels = 2 * torch.round(top * unit) - top
        return Quantised(levels.to(torch.int32), latent.abs().max() / top)


def _mean(magnitudes: Tensor) -> Tensor:
    """As float32 from a sum in float64, whose last bits no order of adding shows; 0 of nothing."""
    if magnitudes.numel() == 0:
        return torch.zeros((), dtype=torch.float32)
    return magnitudes.to(torch.float64).mean().to(torch.float32)


FEW_VALUED = {"binary": BinaryWeights, "ternary": TernaryWeights}
FLOAT, DOREFA = "float", "dorefa:"
KNOWN = (FLOAT, *FEW_VALUED, "dorefa:4")


def weight_precision(name: str) -> WeightPrecision | None:
    """The precision of a name: ``"binary"``, ``"ternary"``, ``"dorefa:<bits>"``; ``None`` for ``"float"``.

    Raises
    ------
    ConfigError
        Unknown name, or bits that are no whole number from 1 to 16.
    """
    if name == FLOAT:
        return None
    if name in FEW_VALUED:
        return FEW_VALUED[name]()
    text = name.removeprefix(DOREFA)
    if text == name:
        raise ConfigError(f"unknown weights {name!r}: {nearest(name, KNOWN)}")
    if not (text.isascii() and text.isdigit() and len(text) <= 2 and 1 <= int(text) <= MAX_BITS):
        raise ConfigError(
            f"weights {name!r}: the bits must be a whole number from 1 to {MAX_BITS}, as in dorefa:4"
        )
    return BinaryWeights() if int(text) == 1 else DoReFaWeights(int(text))


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
