"""One arena for each value of one key of the experiment: how accuracy depends on a setting, at equal rows."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.errors import ConfigError
from hwloop.experiment.toml_text import parse_setting
from hwloop.experiments.arena.cell import require_rig
from hwloop.experiments.arena.run import Progress, run_arena, unheard
from hwloop.experiments.arena.settings import ArenaSettings
from hwloop.experiments.arena.standings import Standings
from hwloop.experiments.arena.workers import Workers

FOLDER_CHARACTERS = 80


@dataclass(frozen=True)
class Variation:
    """A key of the experiment and the values that it takes in turn.

    Attributes
    ----------
    key
        Dotted, as ``--set`` takes it.
    values
        As they were written, each what ``--set key=`` takes; at least two, all different.
    """

    key: str
    values: tuple[str, ...]

    @property
    def settings(self) -> list[str]:
        """What ``--set`` would be given, one for each value."""
        return [f"{self.key}={value}" for value in self.values]

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number, so that it has a place on an axis."""
        values = [parse_setting(setting)[1] for setting in self.settings]
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    def folder(self, value: str) -> str:
        """The name of a value's own folder."""
        name = f"{self.key}={value}".replace("/", "_").replace("\\", "_")
        return name if len(name) <= FOLDER_CHARACTERS else f"{self.key}={self.values.index(value)}"


def parsed_variation(text: str) -> Variation:
    """From ``key=value,value,...``; a comma within brackets or quotes parts nothing.

    Raises
    ------
    ConfigError
        No key, fewer than two values, or one of them twice.
    """
    key, _, values = text.partition("=")
    parts = tuple(part.strip() for part in _parts(values))
    if not all(key.split(".")) or len(parts) < 2 or not all(parts):
        raise ConfigError(f"--vary {text!r} is no key with several values, such as device.settings.dac_bits=2,4,8")
    if len(set(parts)) != len(parts):
        raise ConfigError(f"--vary {text!r} names a value twice")
    return Variation(key.strip(), parts)


def _parts(text: str) -> list[str]:
    """Pieces between commas, joined again where only together they are TOML: a list, a table, a quoted text."""
    pieces = text.split(",")
    parts: list[str] = []
    while pieces:
        whole = next((k for k in range(1, len(pieces) + 1) if _is_toml(",".join(pieces[:k]))), 1)
        parts.append(",".join(pieces[:whole]))
        del pieces[:whole]
    return parts


def _is_toml(text: str) -> bool:
    try:
        return tomllib.loads(f"value = {text}").keys() == {"value"}
    except (ValueError, RecursionError):
        return False


def run_variation(
    variation: Variation,
    settings: Callable[[str], ArenaSettings],
    folder: Path,
    workers: Workers | None = None,
    progress: Progress = unheard,
) -> dict[str, Standings]:
    """Run every value's arena in a folder of its own; returns standings by value, in the given order.

    Parameters
    ----------
    settings
        The arena's settings when ``key=value`` is set; all are made, and their devices built, before the first is
        run, so that a value that cannot be used is refused before anything is measured.
    folder
        New or empty, or one that the same call was stopped in.

    Raises
    ------
    ConfigError, DeviceError
        As :func:`hwloop.experiments.arena.run.run_arena`.
    """
    arenas = {
        value: settings(setting) for value, setting in zip(variation.values, variation.settings, strict=True)
    }
    for arena in arenas.values():
        require_rig(arena.experiment.as_table(), arena.experiment.seeds[0])
    found: dict[str, Standings] = {}
    for value, arena in arenas.items():

        def told(what: str, done: int, of: int, value: str = value) -> None:
            progress(f"{variation.key}={value} {what}", done, of)

        found[value] = run_arena(arena, folder / variation.folder(value), workers, told)
    return found


def lines(found: dict[str, Standings]) -> dict[tuple[str, float], list[Any]]:
    """By trainer and budget: its entry at each value, ``None`` where it did not train."""
    names = dict.fromkeys((entry.trainer, entry.budget) for table in found.values() for entry in table.trained)
    return {name: [_entry(table, name) for table in found.values()] for name in names}


def _entry(standings: Standings, name: tuple[str, float]) -> Any:
    return next((e for e in standings.entries if (e.trainer, e.budget) == name and not e.refused), None)
