"""Kerr-nonlinear propagation by the Strang split-step method, for many rows at once in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hwloop.blocks import DOUBLE_BITS
from hwloop.device.spec import Float64Array
from hwloop.simulators.torch_devices import torch_device
from hwloop.torch_state import own_torch_state

Product = Callable[[Tensor], Tensor]
"""Linear propagation of quadratures [Re, Im] of shape (rows, 2 n) to (rows, 2 m)."""


def split_step(quadratures: Tensor, linear: Sequence[Product], kerr: Tensor) -> Tensor:
    """Quadratures after linear parts that take turns with nonlinear steps.

    Parameters
    ----------
    quadratures
        [Re u, Im u] of the field, shape (rows, 2 n).
    linear
        The linear parts, one more than there are nonlinear steps; between two of them the field is at points.
    kerr
        Phase of one step for a power of 1 at each point, shape (points,): u turns by exp(i kerr abs(u)**2), which
        is exact without dispersion and conserves the power at every point.
    """
    *before, last = linear
    for part in before:
        real, imaginary = part(quadratures).chunk(2, dim=1)
        angle = kerr * (real.square() + imaginary.square())
        cosine, sine = torch.cos(angle), torch.sin(angle)
        quadratures = torch.cat([cosine * real - sine * imaginary, sine * real + cosine * imaginary], dim=1)
    return last(quadratures)


class TorchExactProduct:
    """:class:`hwloop.blocks.ExactProduct` on any device: sums of whole numbers, exact in double precision.

    Parameters
    ----------
    matrix
        Real, shape (n, m).
    device
        Where torch computes.
    """

    @own_torch_state()
    def __init__(self, matrix: Float64Array, device: torch.device) -> None:
        columns = torch.as_tensor(np.ascontiguousarray(matrix.T), dtype=torch.float64, device=device)
        bits = DOUBLE_BITS - (columns.shape[1] - 1).bit_length()
        self._row_bits = bits // 2
        whole, scales = _whole_multiples(columns, bits - self._row_bits)
        self._matrix, self._scales = whole.T.contiguous(), scales[:, 0]

    def __call__(self, rows: Tensor) -> Tensor:
        """``rows @ matrix``, shape (rows, m), float64."""
        whole, scales = _whole_multiples(rows, self._row_bits)
        return (whole @ self._matrix).mul_(self._scales).mul_(scales)


def _whole_multiples(lines: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Whole numbers of at most 2**bits, and the powers of two, shape (lines, 1), that turn them back."""
    largest = lines.abs().amax(dim=1, keepdim=True)
    exponents = torch.frexp(largest).exponent.clamp(-400, 900) - bits
    one = torch.ones_like(largest)
    return (lines * torch.ldexp(one, -exponents)).round_(), torch.ldexp(one, exponents)


class Propagation:
    """From quadratures at the modulator to those at the camera, as arrays.

    Parameters
    ----------
    launch
        Real form of the first matrix, (2 n_inputs, 2 L), or (n_inputs, 2 L) for real fields.
    linear
        Real forms of the linear parts; equal ones may be one object, and are then held once.
    kerr
        As :func:`split_step` takes it.
    device
        torch's name of where to compute.
    """

    @own_torch_state()
    def __init__(
        self, launch: Float64Array, linear: Sequence[Float64Array], kerr: Float64Array, device: str = "cpu"
    ) -> None:
        self._device = torch_device(device)
        distinct = {id(matrix): matrix for matrix in linear}
        products = {key: TorchExactProduct(matrix, self._device) for key, matrix in distinct.items()}
        self._launch = TorchExactProduct(launch, self._device)
        self._linear = [products[id(matrix)] for matrix in linear]
        self._kerr = torch.as_tensor(kerr, dtype=torch.float64, device=self._device)

    @own_torch_state()
    def __call__(self, quadratures: Float64Array, phases: Float64Array | None) -> Float64Array:
        """Quadratures at the camera, shape (rows, 2 n_outputs).

        ``phases`` turn the launched field, shape (rows, L), in rad; ``None`` for none.
        """
        field = self._launch(torch.as_tensor(quadratures, dtype=torch.float64, device=self._device))
        if phases is not None:
            turned = torch.as_tensor(phases, dtype=torch.float64, device=self._device)
            real, imaginary = field.chunk(2, dim=1)
            cosine, sine = torch.cos(turned), torch.sin(turned)
            field = torch.cat([cosine * real - sine * imaginary, sine * real + cosine * imaginary], dim=1)
        return np.asarray(split_step(field, self._linear, self._kerr).cpu().numpy())
