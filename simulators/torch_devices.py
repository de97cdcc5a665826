"""Where torch computes: a substrate's setting ``torch_device``, checked; and with how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hwloop.simulators.threads import single_threaded_blas
from hwloop.torch_state import own_torch_state


@own_torch_state()
def torch_device(name: Any) -> torch.device:
    """The device of that name, such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, after a first value was put there.

    Raises
    ------
    ValueError
        torch knows no such device, or it is not there; the message names the nearest allowed value.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float32, device=device)
        torch.get_num_threads()  # a thread that never asked would take a number that another one sets for itself
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"torch_device {name!r} cannot compute here ({why}); the nearest allowed value is 'cpu'"
        ) from error
    if device.type == "meta":
        raise ValueError("torch_device 'meta' holds no values; the nearest allowed value is 'cpu'")
    return device


@contextmanager
def single_threaded_torch() -> Iterator[int]:
    """Torch, in its own state, and numpy's BLAS compute with the calling thread alone; gives torch's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with single_threaded_blas(), own_torch_state():
            yield threads
    finally:
        torch.set_num_threads(threads)
