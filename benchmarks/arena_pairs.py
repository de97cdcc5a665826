"""Who beats whom in an arena: differences of test accuracy, paired by seed, with their 95 % t-interval.

    python benchmarks/arena_pairs.py FOLDER [--of lookahead@2]

FOLDER is the ``--out`` of ``hwloop arena``. The test rows of all seeds are the same, and so is a seed's device and
its training rows: what seeds have in common cancels in the differences.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from table import print_table

from hwloop.experiment.intervals import Summary, paired_difference


def named(entry: dict[str, Any]) -> str:
    """Such as ``local@2``: the rows a sample that it was measured with."""
    return f"{entry['trainer']}@{entry['rows_a_sample']:.4g}"


def lines(entries: list[dict[str, Any]], of: str) -> list[list[object]]:
    """A line for every other entry."""
    scores = {named(entry): Summary(tuple(entry["accuracy"]["values"])) for entry in entries}
    if of not in scores:
        raise SystemExit(f"{of} did not take part; there are {', '.join(scores)}")
    found: list[list[object]] = []
    for name, score in scores.items():
        if name == of:
            continue
        difference = paired_difference(scores[of], score)
        interval = (
            ""
            if difference.low is None or difference.high is None
            else (f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}")
        )
        found.append(
            [name, f"{100 * score.mean:.1f} ± {100 * score.std:.1f}", f"{100 * difference.mean:+.1f}", interval]
        )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", default="lookahead@2", help="trainer@rows that the others are compared with")
    arguments = parser.parse_args()
    result = json.loads((arguments.folder / "arena-result.json").read_text())
    header = ["", "test accuracy, %", f"{arguments.of} is ahead by, points", "95 % interval"]
    print_table(
        f"{arguments.of} against the others, paired by seed", header, lines(result["entries"], arguments.of)
    )
