"""Read the small files of a run's folder, whatever has become of them."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_BYTES = 64 << 20  # of a file read as a whole, and of a line


class UnreadableError(ValueError):
    """A file that is not what its name says; the message is the reason alone, without the path."""


def require_file(path: Path) -> None:
    """Refuse what is no regular file: opening a pipe would wait for ever, a link may lead out of the run.

    Raises
    ------
    UnreadableError
    """
    try:
        if path.is_symlink():
            reason = f"is a symbolic link to {os.readlink(path)[:200]}, which is not followed"
        elif path.is_file():
            return
        else:
            reason = "is no file" if path.exists() else "is missing"
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot be read ({error})") from error
    raise UnreadableError(reason)


def read_text(path: Path) -> str:
    """The text of a file of at most :data:`MAX_BYTES`.

    Raises
    ------
    UnreadableError
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UnreadableError(f"is larger than {MAX_BYTES >> 20} MiB")
        return data.decode("utf-8")
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is no text (byte {error.start})") from error


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    UnreadableError
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise UnreadableError("is no JSON object")
    return found


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object.

    Raises
    ------
    UnreadableError
    """
    return parse_object(read_text(path))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file.

    Raises
    ------
    UnreadableError
    """
    try:
        return tomllib.loads(read_text(path))
    except UnreadableError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"is no TOML ({error})") from error


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, line ends included; a line longer than :data:`MAX_BYTES` comes in pieces.

    Raises
    ------
    UnreadableError
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_BYTES):
                yield line
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from error
