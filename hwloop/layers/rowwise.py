"""Rows as arrays and tensors, and arithmetic whose result for a row does not depend on the rows beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hwloop.blocks import DOUBLE_BITS, ExactProduct, in_fixed_blocks
from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError, StimulusError, TrainingDiverged
from hwloop.layers.interface import InterfaceMap


def plain_array(values: Any, what: str) -> NDArray[Any]:
    """Anything array-like as a numpy array of its own type; a tensor may be on any device and have a gradient.

    Raises
    ------
    DatasetError
        Masked values: without their mask they would count like all others.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    if np.ma.is_masked(values):
        count = int(np.asarray(values.mask).sum())
        raise DatasetError(f"the {what} have {count} masked values; leave those rows out")
    return np.asarray(values)


def as_float64(values: Any, what: str) -> Float64Array:
    """Real numbers as a float64 array of its own, of any shape.

    Raises
    ------
    StimulusError
        Text, complex numbers, rows of different lengths, or anything else that is no table of real numbers.
    DatasetError
        Masked values.
    """
    try:
        array = plain_array(values, what)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"they are of type {array.dtype}")
    except DatasetError:
        raise
    except (TypeError, ValueError, NotImplementedError) as error:
        raise StimulusError(f"the {what} must be a table of real numbers: {error}") from error
    return np.array(array, dtype=np.float64)


def rows_as_tensor(rows: Float64Array) -> Tensor:
    """Rows, shape (rows, channels), as a tensor of the same memory; whoever takes it must not write to it.

    Rows that a session hands out are read-only. PyTorch knows no such tensors, and warns of them.
    """
    if rows.flags.writeable:
        return torch.from_numpy(rows)
    view = rows.view()
    try:
        view.flags.writeable = True
    except ValueError:  # read-only from its origin on, as a mapped file is
        view = rows.copy()
    return torch.from_numpy(view)


def exact_linear(linear: nn.Linear, rows: Tensor) -> Tensor:
    """W x + b for every row, without gradient; to the last bit the same in every batch and on every machine.

    Raises
    ------
    TrainingDiverged
        Weights that are not finite.
    """
    weight = linear.effective_weight if isinstance(linear, InterfaceMap) else linear.weight.detach()
    if not bool(torch.isfinite(weight).all()):
        raise TrainingDiverged("a stage's weights are not finite")
    product = exact_product(rows, weight.T)
    return (product + linear.bias.detach()).to(torch.float32)


def exact_product(rows: Tensor, matrix: Tensor) -> Tensor:
    """``rows @ matrix`` as float64, see :class:`hwloop.blocks.ExactProduct`."""
    return torch.from_numpy(ExactProduct(matrix.numpy())(rows.detach().numpy()))


def mean_in_any_order(rows: Tensor) -> Tensor:
    """Mean of every column of (rows, n), float64, to the last bit the same in whatever order the rows come.

    Each column is rounded to whole multiples of a power of two that are few enough for an exact sum, which
    leaves a mean of N rows 53 - log2(N) bits of the largest value.
    """
    bits = DOUBLE_BITS - (len(rows) - 1).bit_length()
    exponents = torch.frexp(rows.abs().amax(dim=0)).exponent.clamp(-400, 900)
    unit = torch.ldexp(torch.ones(rows.shape[1], dtype=torch.float64), exponents - bits)
    return torch.round(rows / unit).sum(dim=0) / len(rows) * unit


def rowwise(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Apply a ``function`` of single rows, such as a norm or a softmax, so that it never depends on the batch.

    Parameters
    ----------
    function
        Maps (block, n) to (block, m) without mixing rows; for matrix products take :func:`exact_product`.
    rows
        Shape (any, n).
    """
    if len(rows) == 0:
        return function(rows)
    with torch.no_grad():
        return torch.from_numpy(
            in_fixed_blocks(lambda block: function(torch.from_numpy(block)).numpy(), rows.detach().numpy())
        )
