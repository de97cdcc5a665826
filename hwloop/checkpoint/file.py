"""The two files of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from hwloop.errors import CheckpointError
from hwloop.journal.durable_files import atomic_write
from hwloop.runs.checkpoints import (
    CHECKSUM,
    FORMAT,
    SUM_OF_TENSORS,
    UNSEALED,
    belongs_to,
    checksum,
    is_whole,
    sum_of_tensors,
)

RESERVOIR = "echo_state"  # the entry of a checkpoint that holds no network of stages


def write_checkpoint(path: Path, described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write ``path`` (safetensors) and its ``.json`` aside, and rename them, the JSON last.

    Parameters
    ----------
    described
        Plain JSON values; the format and the checksums are added.

    Raises
    ------
    CheckpointError
        A tensor is not finite, the description is no JSON, or nothing can be written there; a checkpoint that was
        there before is untouched.
    """
    if path.suffix in ("", ".json"):
        raise CheckpointError(f"{path} would be no file of its own beside its .json; give a name.safetensors")
    require_finite(tensors, f"{path} was not written")
    content = save_tensors(dict(tensors))
    sealed = {"format": FORMAT, **described, SUM_OF_TENSORS: sum_of_tensors(content)}
    try:
        sealed[CHECKSUM] = checksum(sealed)
        text = json.dumps(sealed, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: details must be plain JSON values ({error})") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content)
        atomic_write(path.with_suffix(".json"), text)
    except (OSError, ValueError) as error:  # a ValueError is a path that is none
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"{path} cannot be written ({reason}); check the path, the disk and its rights"
        ) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors, both as they were written: a bit that has changed since is found.

    One of the first format has no checksum: whatever can be read of it is believed.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, the two do not belong together, or a tensor is not finite.
    """
    described = read_description(path)
    content = _read(path)
    _require(path, belongs_to(described, content), "its tensors")
    tensors = _tensors(path, content)
    require_finite(tensors, f"{path} is refused")
    return described, tensors


def read_description(path: Path) -> dict[str, Any]:
    """The JSON beside a checkpoint's tensors, its checksum compared."""
    beside = path.with_suffix(".json")
    try:
        described = json.loads(beside.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        missing = path if not path.exists() else beside
        raise CheckpointError(
            f"{missing} is not there; a checkpoint is two files, {path.name} and {beside.name}, named by the first"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{beside} cannot be read ({type(error).__name__}: {error})") from error
    known = isinstance(described, dict) and type(described.get("format")) is int
    if not known or described["format"] not in (UNSEALED, FORMAT):
        raise CheckpointError(
            f"{beside} is no checkpoint of format {UNSEALED} or {FORMAT}, which this version of hwloop reads"
        )
    assert isinstance(described, dict)
    _require(beside, is_whole(described), "its text")
    return described


def require_network(described: Mapping[str, Any], path: object) -> None:
    """Refuse a checkpoint of something else than a network of stages.

    Raises
    ------
    CheckpointError
    """
    if RESERVOIR in described:
        raise CheckpointError(f"{path} holds a reservoir; open it with hwloop.PhysicalReservoir.load")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, whatever its description says."""
    return _tensors(path, _read(path))


def require_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse weights that are no numbers: no prediction could come of them.

    Raises
    ------
    CheckpointError
    """
    for name, tensor in tensors.items():
        if (tensor.is_floating_point() or tensor.is_complex()) and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f"{what}: {bad} of {tensor.numel()} numbers of {name} are NaN or infinite. The training has "
                "diverged: train again with a lower learning rate, or standardise the data"
            )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return load_tensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors ({error})") from error


def _require(path: Path, same: bool, what: str) -> None:
    if not same:
        raise CheckpointError(
            f"{path} is damaged, or belongs to another checkpoint: the checksum that was written with it is not "
            f"that of {what}. Take it from a backup, or train again on the recorded rows"
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number that JSON knows")
