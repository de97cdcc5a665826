"""What lies where in a run's folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hwloop.errors import ConfigError

STATE, CONFIG, ENVIRONMENT, METRICS = "state.json", "run.toml", "environment.json", "metrics.jsonl"
JOURNAL, CHECKPOINTS, REUSED = "journal", "checkpoints", "reused"
_JOURNAL_NAME = re.compile(r"seed-([0-9]{1,19})-device-([0-9]{1,9})")


@dataclass(frozen=True)
class JournalFolder:
    """The journal of one device of one seed; both are ``None`` where the folder's name does not say."""

    path: Path
    seed: int | None
    device_number: int | None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, be it damaged."""
    return folder.is_dir() and any((folder / name).exists() for name in (STATE, CONFIG, JOURNAL))


def require_run(folder: Path) -> None:
    """Refuse a folder that is no run's.

    Raises
    ------
    ConfigError
    """
    try:
        found = is_run(folder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} cannot be read ({error}); check the path and its rights") from error
    if not found:
        what = "holds no run" if folder.is_dir() else "is no folder" if folder.exists() else "does not exist"
        raise ConfigError(f"{folder} {what}; give the folder of a run, hwloop runs lists them")


def is_own_folder(path: Path) -> bool:
    """Whether there is a folder, and no link to one that lies elsewhere.

    Raises
    ------
    OSError
    """
    return path.is_dir() and not path.is_symlink()


def links_in(run: Path) -> list[Path]:
    """Every symbolic link in a run's folder: none of them is followed.

    Raises
    ------
    OSError
    """
    found = []
    for place, folders, names in os.walk(run):
        found += [path for name in (*folders, *names) if (path := Path(place, name)).is_symlink()]
    return sorted(found)


def journal_folders(run: Path) -> list[JournalFolder]:
    """The journals of a run, by seed and device; what lies behind a symbolic link is none of the run's.

    Raises
    ------
    OSError
    """
    parent = run / JOURNAL
    if not is_own_folder(parent):
        return []
    found = [_journal_folder(path) for path in parent.iterdir() if is_own_folder(path)]
    return sorted(found, key=lambda j: (j.seed is None, j.seed or 0, j.device_number or 0, j.name))


def _journal_folder(path: Path) -> JournalFolder:
    match = _JOURNAL_NAME.fullmatch(path.name)
    return JournalFolder(path, int(match[1]), int(match[2])) if match else JournalFolder(path, None, None)
