"""The experiments that ship with hwloop: each is a TOML file beside this module."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from hwloop.errors import ConfigError
from hwloop.registry import nearest


def shipped_experiments() -> dict[str, Path]:
    """Experiment files by name, sorted."""
    folder = Path(str(files("hwloop.experiments")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def experiment_file(name: str) -> Path:
    """The file of a shipped experiment's name, or the file that the name is (it ends in ``.toml``).

    Raises
    ------
    ConfigError
        No such experiment; the nearest is named.
    """
    if name.endswith(".toml"):
        return Path(name)
    shipped = shipped_experiments()
    if name not in shipped:
        raise ConfigError(f"unknown experiment {name!r}: {nearest(name, shipped)}")
    return shipped[name]
