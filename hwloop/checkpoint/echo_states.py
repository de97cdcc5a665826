"""A trained echo state network to a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwloop.checkpoint.devices import built_sessions, compare_devices, described_device, require_known_entries
from hwloop.checkpoint.file import RESERVOIR, read_checkpoint, write_checkpoint
from hwloop.errors import CheckpointError, HwloopError
from hwloop.session import Session
from hwloop.torch_state import own_torch_state
from hwloop.training.echo_state import EchoState, LoopState, StateReadout
from hwloop.training.reservoir import MEMORIES, Memory, Reservoir

MEMORY = "memory."  # begins the names of its tensors
READOUT = ("mean", "gain", "weight", "bias")
END = ("state", "past")


@own_torch_state()
def save_echo_state(model: EchoState, path: Path, details: Mapping[str, Any]) -> None:
    """Write a trained echo state network: its memory, its readout, where it stands, and which device it drives.

    Parameters
    ----------
    details
        Plain JSON values to keep with it.

    Raises
    ------
    CheckpointError
        It cannot be written there, or the details are no JSON.
    ConfigError
        It is not trained yet.
    """
    readout, memory, session = model.trained(), model.reservoir.memory, model.reservoir.session
    described = {
        RESERVOIR: {
            "memory": memory.name,
            "settings": memory.settings(),
            "steps": model.n_steps,
            "features": model.n_features,
            "washout": model.washout,
            "scaling": model.reservoir.scaling,
        },
        "stages": [{}],
        "details": dict(details),
        "devices": [described_device(session, [0])],
    }
    arrays = {name: getattr(readout, name) for name in READOUT} | {name: getattr(model.end, name) for name in END}
    tensors = {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
    tensors |= {f"{MEMORY}{name}": tensor.contiguous() for name, tensor in memory.state_dict().items()}
    session.confirm()
    session.journal.sync()
    write_checkpoint(path, described, tensors)


@own_torch_state()
def load_echo_state(
    path: Path, session: Session | None, device_changed: str, budget: int | None = None
) -> tuple[EchoState, dict[str, Any]]:
    """The network that :func:`save_echo_state` wrote, and the details that it was given.

    Parameters
    ----------
    session
        Of the device, which is compared with the one that was trained on; ``None`` builds it as the file says.
    budget
        Rows that a device built here may measure.

    Raises
    ------
    CheckpointError
        The files are absent or damaged, hold something else, or the device is another one.
    """
    described, tensors = read_checkpoint(path)
    if not isinstance(described.get(RESERVOIR), dict):
        raise CheckpointError(f"{path} holds no reservoir; open it with the class that saved it")
    require_known_entries(described, path)
    session = built_sessions(described, budget)[0] if session is None else session
    compare_devices(described["devices"], [session], device_changed, path)
    try:
        return _model(described[RESERVOIR], tensors, session), dict(described["details"])
    except (HwloopError, LookupError, TypeError, ValueError, RuntimeError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{path} does not fit this device or this version of hwloop ({type(error).__name__}: {first_line}); "
            "open it with the device that it was trained on"
        ) from error


def _model(found: Mapping[str, Any], tensors: Mapping[str, Tensor], session: Session) -> EchoState:
    """What an entry and its tensors hold; whatever of them is not understood is an error."""
    unknown = set(found) - {"memory", "settings", "steps", "features", "washout", "scaling"}
    if unknown:
        raise ValueError(f"its entry {min(unknown)!r} is not understood")
    held = {name.removeprefix(MEMORY): tensor for name, tensor in tensors.items() if name.startswith(MEMORY)}
    arrays = {name: tensors[name].numpy() for name in (*READOUT, *END)}
    kind = MEMORIES[found["memory"]]
    if kind.features_held(held, "") != found["features"]:
        raise ValueError(
            f"its description speaks of {found['features']!r} features a step, and its tensors do not"
        )
    memory = _built(kind(**found["settings"]), found, session)
    memory.load_state_dict(held)
    model = EchoState(Reservoir(session, memory, found["scaling"]), found["washout"])
    model.n_features, model.n_steps = found["features"], found["steps"]
    model.readout = StateReadout(arrays["mean"], arrays["gain"], arrays["weight"], arrays["bias"])
    model.end = LoopState(arrays["state"], arrays["past"])
    nodes, values = model.readout.weight.shape
    shapes = [model.readout.mean.shape, model.readout.gain.shape, (memory.nodes,), model.end.state.shape[1:]]
    if set(shapes) != {(nodes,)} or model.readout.bias.shape != (values,):
        raise ValueError("its readout is of another reservoir")
    if model.end.past.shape[1:] != (memory.steps_needed(model.n_steps), model.n_features):
        raise ValueError("where it stands is no end of such sequences")
    return model


def _built(memory: Memory, found: Mapping[str, Any], session: Session) -> Memory:
    if type(found["steps"]) is not int or type(found["features"]) is not int:
        raise TypeError("its sequences have no size")
    memory.build(session.device.spec, found["steps"], found["features"], found["scaling"])
    return memory
