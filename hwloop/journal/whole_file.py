"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hwloop.journal.folders import sync_folder


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file aside, bring it to the disk, rename it and bring its name to the disk.

    A crash or a loss of power leaves the old one or the new one. A symbolic link in its place is replaced, never
    written through.

    Raises
    ------
    OSError
    """
    part = path.with_name(path.name + ".part")
    data = content.encode("utf-8") if isinstance(content, str) else content
    with contextlib.suppress(FileNotFoundError):  # of a writer that was killed, or a link that leads elsewhere
        part.unlink()
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
