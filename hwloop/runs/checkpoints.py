"""Check the checkpoints of a run, and make and compare the checksums that seal them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.runs.files import UnreadableError, read_object, require_file
from hwloop.runs.layout import is_own_folder


@dataclass(frozen=True)
class CheckpointCheck:
    """One checkpoint.

    Attributes
    ----------
    problem
        Why it cannot be read; empty if it can.
    is_finished
        Whether the JSON beside it is there: it is written last.
    """

    name: str
    bytes: int
    tensors: int
    is_finished: bool
    problem: str = ""


def check_checkpoints(folder: Path) -> list[CheckpointCheck]:
    """Every ``*.safetensors`` of a folder, by name.

    Raises
    ------
    OSError
        The folder cannot be listed.
    """
    return [_check(path) for path in sorted(folder.glob("*.safetensors"))] if is_own_folder(folder) else []


def _check(path: Path) -> CheckpointCheck:
    described = path.with_suffix(".json")
    size, tensors, problem = 0, 0, ""
    try:
        tensors = _count_tensors(path)
        size = path.stat().st_size
        if described.exists():
            _require_sealed(read_object(described), path.read_bytes())
    except UnreadableError as error:
        problem = str(error) if not size else f"{described.name} {error}"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    return CheckpointCheck(path.name, size, tensors, described.exists(), problem)


def check_finished(folder: Path) -> Iterator[tuple[str, str]]:
    """What is damaged of the finished work of a run's seeds: names of files, and what is wrong with each.

    Raises
    ------
    OSError
        The folder cannot be listed.
    """
    for path in sorted(folder.glob("seed-*.json")) if is_own_folder(folder) else []:
        try:
            described = read_object(path)
            if described.get(CHECKSUM) != checksum(described, allow_nan=True):
                yield path.name, "does not give the checksum that was written with it: it is damaged"
                continue
            arrays = path.with_suffix(".safetensors")
            wanted = described.get("arrays_sha256")
            if wanted and (not arrays.exists() or sum_of_tensors(arrays.read_bytes()) != wanted):
                yield arrays.name, f"is missing, or is not what {path.name} was written with"
        except (UnreadableError, OSError) as error:
            yield (
                path.name,
                str(error) if isinstance(error, UnreadableError) else f"cannot be read ({error.strerror})",
            )


def _require_sealed(described: dict[str, Any], content: bytes) -> None:
    if not is_whole(described):
        raise UnreadableError("does not give the checksum that was written with it: it is damaged")
    if not belongs_to(described, content):
        raise UnreadableError("was written with other tensors: one of the two is damaged")


def _count_tensors(path: Path) -> int:
    """Tensors that the header names; it must fit the file's size."""
    from safetensors import SafetensorError, safe_open

    require_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return len(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise UnreadableError(f"is no safetensors file ({error})") from error


FORMAT = 2
UNSEALED = 1  # the first format: no checksum, no classes, no device
SUM_OF_TENSORS, CHECKSUM = "tensors_sha256", "checksum"


def sum_of_tensors(content: bytes) -> str:
    """SHA-256 of the file that holds the tensors."""
    return hashlib.sha256(content).hexdigest()


def checksum(described: Mapping[str, Any], allow_nan: bool = False) -> str:
    """SHA-256 of what a description says, its own checksum left out; how the JSON is laid out says nothing.

    Raises
    ------
    TypeError, ValueError, RecursionError
        It is no JSON.
    """
    said = {key: value for key, value in described.items() if key != CHECKSUM}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan)
    return hashlib.sha256(text.encode()).hexdigest()


def is_whole(described: Mapping[str, Any]) -> bool:
    """Whether a description is what was written; one of the first format cannot tell."""
    if described.get("format") == UNSEALED:
        return True
    try:
        return bool(described.get(CHECKSUM) == checksum(described))
    except (ValueError, RecursionError):  # a number beyond all bounds, or a nesting: nothing that was written so
        return False


def belongs_to(described: Mapping[str, Any], content: bytes) -> bool:
    """Whether the tensors are those that were written with a description."""
    return described.get("format") == UNSEALED or described.get(SUM_OF_TENSORS) == sum_of_tensors(content)


def sum_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of named arrays, wherever they lie in a file."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def metadata_of(content: bytes) -> dict[str, str]:
    """What a safetensors file, which has been read without an error, says beside its tensors."""
    length = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return {str(key): str(value) for key, value in found.items()}
