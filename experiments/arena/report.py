"""The arena's result as files: a page that opens from disk, a table in Markdown, the figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hwloop.experiment import columns as words
from hwloop.experiment.report import data_uri
from hwloop.experiments.arena.page import rendered
from hwloop.experiments.arena.plot import draw_standings
from hwloop.experiments.arena.standings import REFERENCE_NAMES, Entry, Standings
from hwloop.journal.durable_files import atomic_write

REPORT, TABLE, FIGURES, PLOT = "report.html", "table.md", "arena-result.json", "arena.png"

MODEL_MARK = " (uses a model)"


def write_arena_report(standings: Standings, folder: Path) -> Path:
    """Write report, table, plot and figures into a folder; returns the report's path."""
    plot = draw_standings(standings, folder / PLOT)
    atomic_write(folder / FIGURES, json.dumps(standings.as_json(), indent=1))
    atomic_write(folder / TABLE, markdown_table(standings))
    page = rendered(
        "arena.html.j2",
        standings.settings,
        lines=[entry_line(entry, standings) for entry in standings.ranking],
        references=reference_lines(standings),
        refused=standings.as_json()["refused"],
        image=data_uri(plot),
    )
    path = folder / REPORT
    atomic_write(path, page)
    return path


def entry_line(entry: Entry, standings: Standings) -> dict[str, Any]:
    """An entry as a person reads it."""
    options = ", ".join(f"{name} {_short(value)}" for name, value in sorted(entry.options.items()))
    return {
        "trainer": entry.trainer + (MODEL_MARK if entry.uses_model else ""),
        "accuracy": words.percent(entry.accuracy),
        "rows": words.rows(entry.rows_a_sample),
        "prediction": words.rows(entry.rows_a_prediction),
        "seconds": words.seconds(entry.digital_seconds),
        "options": options or "its defaults",
        "front": entry in standings.pareto_front,
    }


def reference_lines(standings: Standings) -> list[dict[str, str]]:
    """Floors and ceiling as a person reads them."""
    return [
        {"method": REFERENCE_NAMES[name], "accuracy": words.percent(standings.reference(name))}
        for name in standings.reference_methods
    ]


def markdown_table(standings: Standings) -> str:
    """The table for a README: the best first, the Pareto front in bold."""
    lines = [
        "| trainer | test accuracy | rows a sample | rows a prediction | digital time |",
        "|---|---|---|---|---|",
    ]
    for entry in standings.ranking:
        line = entry_line(entry, standings)
        name = f"**{line['trainer']}**" if line["front"] else line["trainer"]
        lines.append(
            f"| {name} | {line['accuracy']} | {line['rows']} | {line['prediction']} | {line['seconds']} |"
        )
    lines += [f"| *{line['method']}* | {line['accuracy']} | | | |" for line in reference_lines(standings)]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
