"""Folders that survive a loss of power: a file is there again only if the entry that names it was synced."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hwloop.errors import JournalError

# What some file systems answer to the sync of a folder, and rights that a parent may withhold: no failing disk.
_NOT_POSSIBLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF, errno.ENOSYS})


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power, where its file system can.

    Raises
    ------
    OSError
        The disk fails.
    """
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_POSSIBLE:
            return
        raise
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _NOT_POSSIBLE:
            raise
    finally:
        os.close(opened)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, that are still there after a loss of power; one that is there will do.

    Raises
    ------
    OSError
    """
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing or [folder]:  # one that was made just before the power was lost may not be on the disk
        sync_folder(path.parent)


def refuse_links(folder: Path) -> None:
    """Refuse to write into a folder in which a name leads elsewhere, as one from elsewhere might have it.

    Whoever appends to a symbolic link writes to the file that it names, and nobody would see that by the path.

    Raises
    ------
    JournalError
        Something in it is neither a file nor a folder.
    OSError
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                refuse_links(Path(entry.path))
            elif entry.is_symlink():
                raise JournalError(
                    f"{entry.path} is a symbolic link to {os.readlink(entry.path)[:200]}; nothing is written "
                    "through it. Put a copy of what it names in its place, or remove it"
                )
            elif not entry.is_file(follow_symlinks=False):
                raise JournalError(f"{entry.path} is neither a file nor a folder; remove it")
