"""A replay held against the run that it replays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.errors import ConfigError
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.results import SeedResult

# What a replay must reproduce to the last bit; times are its own.
COMPARED = (
    "scores",
    "rows",
    "recalled",
    "reused",
    "floor_rows",
    "confusion",
    "losses",
    "validation_accuracies",
    "devices",
    "drift",
)


@dataclass(frozen=True)
class Replay:
    """The evidence of a replay, and where it differs from the recorded run: empty if it is the same."""

    evidence: Evidence
    differences: tuple[str, ...]


def differences(path: Path, results: Sequence[SeedResult], with_references: bool) -> tuple[str, ...]:
    """Which of the recorded results of a run differ from those of its replay, by seed and name.

    Floors and ceiling are compared if the replay has them (``with_references``).
    """
    recorded = recorded_results(path)
    found = []
    for result in results:
        now = json.loads(json.dumps(result.as_dict()))
        then = recorded.get(result.seed)
        if then is None:
            found.append(f"seed {result.seed}: the recorded run has no result")
            continue
        if not with_references:
            then = {**then, "scores": {name: (then.get("scores") or {}).get(name) for name in now["scores"]}}
        compared = [name for name in COMPARED if with_references or name != "floor_rows"]
        found += [f"seed {result.seed}: {name}" for name in compared if now.get(name) != then.get(name)]
    return tuple(found)


def recorded_results(path: Path) -> dict[int, Mapping[str, Any]]:
    """The last result of each seed in a run's ``metrics.jsonl``."""
    found: dict[int, Mapping[str, Any]] = {}
    try:
        text = (path / "metrics.jsonl").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path / 'metrics.jsonl'} cannot be read ({error})") from error
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the line that a killed run was writing
        if isinstance(entry, dict) and entry.get("event") == "SeedResult" and isinstance(entry.get("seed"), int):
            found[entry["seed"]] = entry
    return found
