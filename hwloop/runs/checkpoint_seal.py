"""The checksums of a checkpoint: one over its tensors' file, and one over all that its description says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 2
UNSEALED = 1  # the first format: no checksum, no classes, no device
SUM_OF_TENSORS, CHECKSUM = "tensors_sha256", "checksum"


def sum_of_tensors(content: bytes) -> str:
    """SHA-256 of the file that holds the tensors."""
    return hashlib.sha256(content).hexdigest()


def checksum(described: Mapping[str, Any]) -> str:
    """SHA-256 of what a description says, its own checksum left out; how the JSON is laid out says nothing.

    Raises
    ------
    TypeError, ValueError, RecursionError
        It is no JSON.
    """
    said = {key: value for key, value in described.items() if key != CHECKSUM}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
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
