"""The device in a layer's saved state: which it was, and whether the one at hand is the same."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from hwloop.device import DeviceDescription
from hwloop.errors import CheckpointError, ConfigError, HwloopWarning
from hwloop.session import Session
from hwloop.session.same_device import joined

DEVICE_CHANGED = ("refuse", "warn")


def device_as_tensor(session: Session) -> Tensor:
    """What the device is, as bytes in a tensor, so that every format of tensors can hold it."""
    return torch.from_numpy(_description(session).as_bytes().copy())


def compare_device(state: Any, session: Session, device_changed: str) -> None:
    """Compare a session's device with the one of a saved state, which :func:`device_as_tensor` gave.

    Parameters
    ----------
    device_changed
        ``"refuse"`` another one, or ``"warn"``.

    Raises
    ------
    CheckpointError
        It is another one and is to be refused, or the state names none.
    """
    try:
        stored = DeviceDescription.from_bytes(torch.as_tensor(state).cpu().numpy())
    except (ConfigError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the state of a physical layer names no device: {error}") from error
    different = stored.differences(_description(session))
    if not different:
        return
    message = (
        "the state was saved on another device than this physical layer's (the saved value first): "
        f"{joined(different)}"
    )
    if device_changed == "refuse":
        raise CheckpointError(
            f'{message}. Make the layer with that device, or with device_changed="warn" if its answers are known '
            "to be the same"
        )
    warnings.warn(f"{message}. Expect other outputs", HwloopWarning, stacklevel=4)


def _description(session: Session) -> DeviceDescription:
    """Of the device as it was when it was last open, which is when hardware says who it is."""
    if session.description is None:
        with session:
            pass
    assert session.description is not None
    return session.description
