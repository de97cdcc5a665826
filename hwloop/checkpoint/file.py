"""The two files of a checkpoint, and what they keep of an estimator beside its network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
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


ENTRY = "classifier"  # among a checkpoint's details
KEYS = {"options", "classes", "feature_names"}


@dataclass(frozen=True)
class SavedClassifier:
    """A fitted classifier without its network.

    Attributes
    ----------
    options
        Arguments of its constructor, plain JSON values.
    classes
        As they were given, in order.
    feature_names
        Of the columns, where they had names.
    """

    options: dict[str, Any]
    classes: NDArray[Any]
    feature_names: tuple[str, ...] | None = None

    def details(self) -> dict[str, Any]:
        """For :func:`hwloop.save_network`; :meth:`read` gives the same back.

        Raises
        ------
        CheckpointError
            An option or a class is nothing that a file can hold.
        """
        options = {name: _plain(value, f"the option {name}") for name, value in self.options.items()}
        names = None if self.feature_names is None else list(self.feature_names)
        classes = {"dtype": _dtype_of(self.classes), "values": self.classes.tolist()}
        return {ENTRY: {"options": options, "classes": classes, "feature_names": names}}

    @classmethod
    def read(cls, described: Mapping[str, Any], path: object) -> SavedClassifier:
        """From a checkpoint's description.

        Raises
        ------
        CheckpointError
            It is a network's alone, or says something that is not understood.
        """
        stored = (described.get("details") or {}).get(ENTRY)
        if stored is None:
            raise CheckpointError(f"{path} holds a network, and no classifier; open it with hwloop.load_network")
        try:
            unknown = sorted(set(stored) - KEYS)
            if unknown:
                raise ValueError(f"its entry {unknown[0]!r} is not understood")
            values, dtype, names = stored["classes"]["values"], stored["classes"]["dtype"], stored["feature_names"]
            classes = np.array(values, dtype=dtype)
            if classes.ndim != 1 or classes.tolist() != values or _dtype_of(classes) != dtype:
                raise ValueError(f"its classes {values!r:.100} are not of the type {dtype!r}")
            if "device" not in stored["options"]:
                raise ValueError("its options name no device")
            return cls(dict(stored["options"]), classes, None if names is None else tuple(map(str, names)))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CheckpointError(
                f"the classifier in {path} is not understood ({type(error).__name__}: {error}); was it saved by "
                "another version of hwloop?"
            ) from error


def _dtype_of(classes: NDArray[Any]) -> str:
    if classes.dtype.kind in "Uiufb":
        return classes.dtype.str
    if classes.dtype.kind == "O" and all(isinstance(each, str) for each in classes):
        return "object"
    raise CheckpointError(f"classes of the type {classes.dtype} cannot be saved; use text or numbers")


def _plain(value: Any, what: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(each, what) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, what) for each in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise CheckpointError(
        f"{what} holds a {type(value).__name__}, which a file cannot keep; set it to text or numbers to save"
    )
