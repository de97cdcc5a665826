"""What ``metrics.jsonl`` tells of a run: when it began, how accurate it is, and whether every line is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwloop.runs.files import UnreadableError, parse_object, read_lines

LISTED_LINES = 20


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes
    ----------
    started_seconds
        Unix time of the first line; ``None`` if there is none.
    test_accuracy
        Mean over the seeds that are finished, in [0, 1]; ``None`` before the first.
    seeds_finished
        How many they are.
    is_final
        Whether the whole run's evidence was written.
    """

    started_seconds: float | None = None
    test_accuracy: float | None = None
    seeds_finished: int = 0
    is_final: bool = False


@dataclass
class MetricsCheck:
    """Lines, and those that are no JSON object: number (from 1) and reason, the first few of ``n_bad``."""

    lines: int = 0
    n_bad: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    ends_within_a_line: bool = False


def read_progress(path: Path) -> Progress:
    """How far a run has come, by its metrics; a line that cannot be read counts as absent.

    Raises
    ------
    UnreadableError
    """
    started: float | None = None
    seeds: dict[Any, float] = {}
    final: float | None = None
    for line in read_lines(path):
        # Most lines are blocks of rows; a file of a million of them is read without parsing each.
        if started is None or b'"SeedResult"' in line or b'"Evidence"' in line:
            entry = _entry(line)
            if started is None:
                started = _number(entry.get("time"))
            if entry.get("event") == "SeedResult":
                accuracy = _accuracy(entry, "scores", "network", "accuracy")
                if accuracy is not None and isinstance(entry.get("seed"), int):
                    seeds[entry["seed"]] = accuracy
            elif entry.get("event") == "Evidence":
                final = _accuracy(entry, "test_accuracy", "mean")
    mean = sum(seeds.values()) / len(seeds) if seeds else None
    return Progress(started, mean if final is None else final, len(seeds), final is not None)


def check_metrics(path: Path) -> MetricsCheck:
    """Parse every line.

    Raises
    ------
    UnreadableError
    """
    check = MetricsCheck()
    for line in read_lines(path):
        check.lines += 1
        check.ends_within_a_line = not line.endswith(b"\n")
        try:
            parse_object(line)
        except UnreadableError as error:
            check.n_bad += 1
            if len(check.bad) < LISTED_LINES:
                check.bad.append((check.lines, str(error)))
    return check


def _entry(line: bytes) -> dict[str, Any]:
    try:
        return parse_object(line)
    except UnreadableError:
        return {}


def _accuracy(entry: Any, *path: str) -> float | None:
    for name in path:
        entry = entry.get(name) if isinstance(entry, Mapping) else None
    number = _number(entry)
    return number if number is not None and 0 <= number <= 1 else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and -1e15 < value < 1e15 else None
