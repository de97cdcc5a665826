"""What a run is called and said to be: from what was run, not from the file that it was derived from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwloop.toml_text import parse_setting

if TYPE_CHECKING:
    from hwloop.experiment.config import ExperimentConfig

NAMING = ("dataset", "device", "trainer")
# What a description tells of. Where one of these is changed, the file's words may be untrue.
DESCRIBED = (*NAMING, "network")
# Shown by themselves, or no part of what is learned.
UNTOLD = ("seeds", "run", "reuse", "name", "description", "about", "journal")
LONGEST = 100


def derived(original: Mapping[str, Any], changed: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """An experiment's table whose name and description are those of what is run.

    Another dataset, device or trainer gives another name, unless the settings give one; and a description is
    dropped when what it tells of is changed. What the table was made of stands in ``derived_from``.

    Parameters
    ----------
    original, changed
        The table of the file, and with the settings applied.
    settings
        ``key=value`` each.
    """
    given = [(setting, *parse_setting(setting)) for setting in settings]
    differing = [each for each in given if _at(original, each[1]) != _at(changed, each[1])]
    told = [_told(*each) for each in differing if each[1][0] not in UNTOLD]
    touched = {path[0] for _, path, _ in differing}
    named = {path[0] for _, path, _ in given}
    found = dict(changed)
    labels = [(part_labels(original.get(key)), part_labels(changed.get(key))) for key in NAMING]
    if "name" not in named and any(before != now for before, now in labels):
        found["name"] = run_name("-".join(label for _, now in labels for label in now))
    if "description" not in named and touched.intersection(DESCRIBED):
        found.pop("description", None)
    if told:
        before = original.get("derived_from")
        before = before if isinstance(before, dict) else {}
        earlier = before.get("changes")
        found["derived_from"] = {
            "experiment": before.get("experiment") or original.get("name"),
            "changes": [*(earlier if isinstance(earlier, list) else []), *told],
        }
    return found


def _told(setting: str, path: tuple[str, ...], value: Any) -> str:
    """A change in few words: a whole part is called by its name, for all of it stands in the configuration."""
    whole = len(path) == 1 and path[0] in NAMING
    return f"{path[0]}={' + '.join(part_labels(value))}" if whole else setting


def _at(table: Any, path: Iterable[str]) -> Any:
    """The entry at a place; a part that is its name alone has no entry but that."""
    for key in path:
        if isinstance(table, str):
            table = {"name": table}
        if isinstance(table, list):
            table = table[int(key)] if key.isdigit() and int(key) < len(table) else None
        else:
            table = table.get(key) if isinstance(table, Mapping) else None
    return table


def part_labels(part: Any) -> list[str]:
    """What a dataset, a trainer or devices are called: a name, or a file's without its folder."""
    if isinstance(part, list):
        return [label for each in part for label in part_labels(each)]
    if isinstance(part, str):
        return [_short(part)]
    if isinstance(part, Mapping):
        return part_labels(part.get("name") or part.get("file"))
    if part is None:
        return []
    return part_labels(getattr(part, "name", None) or getattr(part, "file", None))


def _short(name: str) -> str:
    return Path(name).name if "/" in name else name


def run_name(text: str) -> str:
    """What a run may be called that has its name from parts, a file or a module."""
    plain = re.sub(r"\.(toml|csv|tsv|parquet|npz|npy|arff)\b", "", text)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:LONGEST] or "data"


def named_without_trainer(config: ExperimentConfig) -> ExperimentConfig:
    """For a comparison of trainers: the same, and a name that was made of its parts names none of them."""
    parts = parts_labels(config)
    if config.name != run_name("-".join(parts)):
        return config
    return config.model_copy(update={"name": run_name("-".join(parts[: -len(part_labels(config.trainer))]))})


def parts_labels(config: ExperimentConfig) -> list[str]:
    """What dataset, devices and trainer are called."""
    return [label for part in (config.dataset, config.device, config.trainer) for label in part_labels(part)]


def parts_line(config: ExperimentConfig) -> list[str]:
    """Dataset, devices, trainer: what every headline says."""
    devices = [
        label + (f" x {part.copies}" if part.copies else "")
        for part in config.device
        for label in part_labels(part)
    ]
    return [*part_labels(config.dataset), " + ".join(devices), *part_labels(config.trainer)]


def changes_line(config: ExperimentConfig) -> str:
    """``digits-optical with dataset=mnist1d``; empty where a file was run as it is."""
    made = config.derived_from
    return "" if made is None else f"{made.experiment} with {', '.join(made.changes)}"
