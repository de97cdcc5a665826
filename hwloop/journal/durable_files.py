"""Files and folders that survive a crash and a loss of power: written whole, and their names synced."""

from __future__ import annotations

import contextlib
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
    # One that is there may have been made by a process that was killed just before it synced its name.
    for path in missing or [folder, folder.parent]:
        sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Bring every file of a folder, and of those in it, to the disk.

    Raises
    ------
    OSError
    """
    for place, _, names in os.walk(folder):
        for name in names:
            file = os.open(os.path.join(place, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.fsync(file)
            finally:
                os.close(file)
        sync_folder(Path(place))


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


def atomic_write(path: Path, content: str | bytes) -> None:
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
