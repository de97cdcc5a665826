"""Measured rows as tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from hwloop.device.spec import Float64Array


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
