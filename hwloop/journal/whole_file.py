"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file aside, bring it to the disk and rename it: a crash leaves the old one or the new one."""
    part = path.with_name(path.name + ".part")
    data = content.encode("utf-8") if isinstance(content, str) else content
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
