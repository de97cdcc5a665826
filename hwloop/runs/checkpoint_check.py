"""Can the checkpoints of a run be read: tensors by their safetensors header, what belongs to them as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.runs.checkpoint_seal import belongs_to, is_whole
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
