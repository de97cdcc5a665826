"""Read the small files of a run's folder, whatever has become of them; ``metrics.jsonl`` line by line."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwloop.tasks import Classification, LearningTask, Metric, kind_of

LISTED_LINES = 20
MAX_BYTES = 64 << 20  # of a file read as a whole, and of a line


class UnreadableError(ValueError):
    """A file that is not what its name says; the message is the reason alone, without the path."""


def require_file(path: Path) -> None:
    """Refuse what is no regular file: opening a pipe would wait for ever, a link may lead out of the run.

    Raises
    ------
    UnreadableError
    """
    try:
        if path.is_symlink():
            reason = f"is a symbolic link to {os.readlink(path)[:200]}, which is not followed"
        elif path.is_file():
            return
        else:
            reason = "is no file" if path.exists() else "is missing"
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot be read ({error})") from error
    raise UnreadableError(reason)


def read_text(path: Path) -> str:
    """The text of a file of at most :data:`MAX_BYTES`.

    Raises
    ------
    UnreadableError
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UnreadableError(f"is larger than {MAX_BYTES >> 20} MiB")
        return data.decode("utf-8")
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is no text (byte {error.start})") from error


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    UnreadableError
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise UnreadableError("is no JSON object")
    return found


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object.

    Raises
    ------
    UnreadableError
    """
    return parse_object(read_text(path))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file.

    Raises
    ------
    UnreadableError
    """
    try:
        return tomllib.loads(read_text(path))
    except UnreadableError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"is no TOML ({error})") from error


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, line ends included; a line longer than :data:`MAX_BYTES` comes in pieces.

    Raises
    ------
    UnreadableError
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_BYTES):
                yield line
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from error


@dataclass(frozen=True)
class MetricsSummary:
    """How far a run has come.

    Attributes
    ----------
    started_seconds
        Unix time of the first line; ``None`` if there is none.
    test_score
        Mean over the seeds that are finished, as the task has it; ``None`` before the first.
    metric
        What it is a score of.
    text
        The score as it is shown, with those that stand beside it.
    seeds_finished
        How many they are.
    is_final
        Whether the whole run's evidence was written.
    """

    started_seconds: float | None = None
    test_score: float | None = None
    metric: Metric = Classification.metrics[0]
    text: str = ""
    seeds_finished: int = 0
    is_final: bool = False


@dataclass
class MetricsCheck:
    """Lines, and those that are no JSON object: number (from 1) and reason, the first few of ``n_bad``."""

    lines: int = 0
    n_bad: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    ends_within_a_line: bool = False


def summarise_metrics(path: Path) -> MetricsSummary:
    """How far a run has come, by its metrics; a line that cannot be read counts as absent.

    Raises
    ------
    UnreadableError
    """
    times = (_number(_entry(line).get("time")) for line in read_lines(path))
    started = next((time for time in times if time is not None), None)
    seeds: dict[int, float] = {}
    final: float | None = None
    kind: type[LearningTask] = Classification
    beside: dict[int, dict[str, float]] = {}
    for entry in read_events(path, "SeedResult", "Evidence"):
        if entry["event"] == "Evidence":
            final = _score(kind.metrics[0], entry, f"test_{kind.metrics[0].key}", "mean")
            continue
        with suppress(ValueError):  # a task that this version does not know
            kind = kind_of(entry)
            found = {each.key: _score(each, entry, "scores", "network", each.key) for each in kind.metrics}
            score = found[kind.metrics[0].key]
            if score is not None and isinstance(entry.get("seed"), int):
                seeds[entry["seed"]] = score
                beside[entry["seed"]] = {key: value for key, value in found.items() if value is not None}
    mean = sum(seeds.values()) / len(seeds) if seeds else None
    score = mean if final is None else final
    text = "" if score is None else _text(kind, score, list(beside.values()))
    return MetricsSummary(started, score, kind.metrics[0], text, len(seeds), final is not None)


def _text(kind: type[LearningTask], score: float, seeds: list[dict[str, float]]) -> str:
    """The main score, and the means of those that are shown beside it where every seed has them."""
    main = kind.metrics[0]
    every = set.intersection(*map(set, seeds)) if seeds else set()
    means = {key: sum(seed[key] for seed in seeds) / len(seeds) for key in every}
    return kind.in_short({**means, main.key: score})


def read_events(metrics: Path, *kinds: str) -> Iterator[dict[str, Any]]:
    """The events of some kinds that ``metrics.jsonl`` tells of, oldest first; damaged lines are left out.

    Most lines are blocks of rows: a file of a million of them is read without parsing each.

    Raises
    ------
    UnreadableError
    """
    marks = [f'"{kind}"'.encode() for kind in kinds]
    for line in read_lines(metrics):
        if any(mark in line for mark in marks):
            entry = _entry(line)
            if entry.get("event") in kinds:
                yield entry


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


def _score(metric: Metric, entry: Any, *path: str) -> float | None:
    """A score at a place of an entry; ``None`` for what is none, such as an accuracy above 1."""
    for name in path:
        entry = entry.get(name) if isinstance(entry, Mapping) else None
    number = _number(entry)
    if number is None or (metric.most is not None and not 0 <= metric.scale * number <= metric.most):
        return None
    return number


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and -1e15 < value < 1e15 else None
