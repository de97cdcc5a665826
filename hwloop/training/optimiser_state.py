"""What an optimiser and its learning-rate schedule have come to, as tensors and plain values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

# What a learning-rate schedule changes in a parameter group.
SCHEDULED = ("lr", "betas", "momentum")


def optimiser_tensors(prefix: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts, named ``prefix`` + parameter number + name."""
    return {
        f"{prefix}{parameter}.{name}": torch.as_tensor(value)
        for parameter, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def optimiser_values(optimiser: torch.optim.Optimizer, rate: LRScheduler | None) -> dict[str, Any]:
    """Present learning rates and momenta, and the steps that the schedule has taken; plain JSON values."""
    groups = [{name: group[name] for name in SCHEDULED if name in group} for group in optimiser.param_groups]
    return {"groups": groups, "steps": None if rate is None else rate.last_epoch}


def restore_optimiser(
    optimiser: torch.optim.Optimizer,
    rate: LRScheduler | None,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Any],
) -> None:
    """Put a fresh optimiser and its schedule where others stood.

    Parameters
    ----------
    tensors
        As :func:`optimiser_tensors` gave them, without their prefix.
    values
        As :func:`optimiser_values` gave them.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        parameter, _, name = key.partition(".")
        state.setdefault(int(parameter), {})[name] = tensor.clone()
    groups = optimiser.state_dict()["param_groups"]
    for group, saved in zip(groups, values["groups"], strict=True):
        group |= {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    if rate is not None:
        steps = int(values["steps"])
        rate.last_epoch = steps
        rate._step_count = steps + 1
        rate._last_lr = [group["lr"] for group in optimiser.param_groups]
