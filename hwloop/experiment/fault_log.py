"""The faults of a run, and what may be doubted of its devices, from the events that it wrote: for its report."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LISTED = 10


@dataclass(frozen=True)
class FaultLog:
    """What went wrong with the devices of a run.

    Attributes
    ----------
    count, rows
        Faults, and the rows that they met.
    kinds
        How many of each kind of error, the most frequent first.
    last
        The last ``LISTED``, oldest first: local time, error, rows, and what was done about it.
    """

    count: int
    rows: int
    kinds: list[tuple[str, int]]
    last: list[dict[str, Any]]


def read_faults(metrics: Path) -> FaultLog | None:
    """The faults that ``metrics.jsonl`` tells of, from before a run was resumed too; ``None`` without any."""
    kinds: Counter[str] = Counter()
    rows = 0
    last: list[dict[str, Any]] = []
    try:
        lines = metrics.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        entry = _fault(line)
        if entry is None:
            continue
        kinds[entry["error"].partition(":")[0]] += 1
        rows += entry["rows"]
        last = [*last[-(LISTED - 1) :], entry]
    if not kinds:
        return None
    return FaultLog(kinds.total(), rows, kinds.most_common(), last)


def read_doubts(metrics: Path) -> list[str]:
    """Why recorded rows may be another device's all the same, in words, each once."""
    found: dict[str, None] = {}
    try:
        lines = metrics.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        if '"DeviceDoubted"' not in line:
            continue
        with suppress(ValueError, KeyError, TypeError, RecursionError):  # the line that a killed run was writing
            entry = json.loads(line)
            if entry["event"] == "DeviceDoubted":
                found[f"{entry['doing']}: {entry['rows']:,} rows of {entry['identity']}; {entry['doubts']}"] = None
    return list(found)


def _fault(line: str) -> dict[str, Any] | None:
    if '"DeviceFault"' not in line:
        return None
    try:
        entry = json.loads(line)
        if entry["event"] != "DeviceFault":
            return None
        moment = datetime.datetime.fromtimestamp(float(entry["time"])).astimezone()
        return {
            "time": moment.strftime("%Y-%m-%d %H:%M:%S"),
            "error": str(entry["error"]),
            "rows": int(entry["rows"]),
            "action": str(entry["action"]),
        }
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return None  # the line that a killed run was writing
