"""The arena's result as files: a page that opens from disk, a plot, a table in Markdown, the figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from hwloop.experiment import columns as words
from hwloop.experiment.report import heading_in_html
from hwloop.experiments.arena.settings import ArenaSettings
from hwloop.experiments.arena.standings import Entry, Standings
from hwloop.html_report import ACCENT, GRID, INK, QUIET, STYLE, data_uri, rendered, save_png
from hwloop.journal.durable_files import atomic_write
from hwloop.toml_text import toml_text


def arena_page(template: str, settings: ArenaSettings, **content: Any) -> str:
    """A page of the folder ``templates``; every page shows an experiment's configuration at its end."""
    return rendered(
        "hwloop.experiments.arena",
        template,
        {"heading": heading_in_html},
        settings=settings,
        experiment=settings.experiment,
        configuration=toml_text(settings.experiment.as_table()),
        **content,
    )


# Okabe and Ito's colours, told apart by every eye, each with four markers.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c9e")
MARKERS = ("o", "s", "^", "D")
MARGIN = 1.5  # of the axes: a factor of rows, points of the score
SIDE_STEP = 1.03
SHOWN_REFERENCES = ("linear", "one_stage_readout", "random_features", "kernel_machine", "backprop")


def draw_standings(standings: Standings, path: Path) -> Path:
    """Write the figure as a PNG; returns its path."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 5.4), layout="constrained")
        axes = figure.subplots()
        _trainers(axes, standings)
        _references(axes, standings)
        _front(axes, standings)
        axes.set_xscale("log")
        _row_axis(axes, standings)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rows, _: f"{rows:g}"))
        axes.set_xlabel("device rows a training sample, all stages together (equal rows stand side by side)")
        axes.set_ylabel(f"test {standings.metric.axis}; bars: 95 % interval over seeds")
        axes.grid(color=GRID)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5, handlelength=1.6)
        save_png(figure, path)
    return path


def _row_axis(axes: Any, standings: Standings) -> None:
    """Rows at 1, 2 and 5 times a power of ten, with room at both ends."""
    rows = [entry.rows_a_sample for entry in standings.trained] or [1.0]
    axes.set_xlim(min(rows) / MARGIN, MARGIN * max(rows))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())


def _references(axes: Any, standings: Standings) -> None:
    """Floors as level lines: they cost no row, or one a sample. Names too close move apart."""
    metric, names = standings.metric, standings.reference_names
    levels = {
        names[method]: metric.scale * standings.reference(method).mean
        for method in SHOWN_REFERENCES
        if method in names
    }
    low, high = axes.get_ylim()
    low = min([low, *(level - MARGIN for level in levels.values())])
    high = min(max([high, *(level + MARGIN for level in levels.values())]), 0.5 + (metric.most or np.inf))
    axes.set_ylim(low, high)
    gap, above = 0.028 * (high - low), -np.inf
    for name, level in sorted(levels.items(), key=lambda item: item[1]):
        axes.axhline(level, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        above = max(level, above + gap)
        axes.annotate(
            name,
            (0.995, above),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color=QUIET,
            fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
        )


def _front(axes: Any, standings: Standings) -> None:
    front = standings.pareto_front
    if not front:
        return
    most = max(entry.rows_a_sample for entry in standings.trained)
    axes.step(
        [*(entry.rows_a_sample for entry in front), MARGIN * most],
        [standings.metric.scale * entry.score.mean for entry in [*front, front[-1]]],
        where="post",
        color=ACCENT,
        linewidth=5,
        alpha=0.18,
        solid_capstyle="round",
        label="Pareto front",
    )


def _trainers(axes: Any, standings: Standings) -> None:
    by_trainer: dict[str, list[Entry]] = {}
    for entry in standings.ranking:
        by_trainer.setdefault(entry.trainer, []).append(entry)
    beside = _side_by_side(standings.ranking)
    for number, (trainer, entries) in enumerate(by_trainer.items()):
        entries.sort(key=lambda entry: entry.rows_a_sample)
        means = standings.metric.scale * np.array([entry.score.mean for entry in entries])
        lows = standings.metric.scale * np.array([_low(entry) for entry in entries])
        axes.errorbar(
            [beside[id(entry)] for entry in entries],
            means,
            yerr=means - lows,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
            markersize=4.5,
            linewidth=1.1,
            elinewidth=0.8,
            label=trainer,
            markeredgecolor="white",
            markeredgewidth=0.5,
            ecolor=COLOURS[number % len(COLOURS)],
            alpha=0.95,
        )
    axes.yaxis.label.set_color(INK)


def _side_by_side(entries: list[Entry]) -> dict[int, float]:
    """Where each entry stands on the row axis: those of equal rows beside each other, the best at the left."""
    places = {}
    for rows in {entry.rows_a_sample for entry in entries}:
        equals = [entry for entry in entries if entry.rows_a_sample == rows]
        for number, entry in enumerate(equals):
            places[id(entry)] = rows * SIDE_STEP ** (number - (len(equals) - 1) / 2)
    return places


def _low(entry: Entry) -> float:
    interval = entry.interval
    return interval.mean if interval.low is None else interval.low


REPORT, TABLE, FIGURES, PLOT = "report.html", "table.md", "arena-result.json", "arena.png"

MODEL_MARK = " (uses a model)"


def write_arena_report(standings: Standings, folder: Path) -> Path:
    """Write report, table, plot and figures into a folder; returns the report's path."""
    plot = draw_standings(standings, folder / PLOT)
    atomic_write(folder / FIGURES, json.dumps(standings.as_json(), indent=1))
    atomic_write(folder / TABLE, markdown_table(standings))
    page = arena_page(
        "arena.html.j2",
        standings.settings,
        columns=standings.columns,
        metric=standings.metric,
        definitions=standings.kind.definitions_in_words(),
        lines=[entry_line(entry, standings) for entry in standings.ranking],
        references=reference_lines(standings),
        refused=standings.as_json()["refused"],
        image=data_uri(plot.read_bytes()),
    )
    path = folder / REPORT
    atomic_write(path, page)
    return path


def entry_line(entry: Entry, standings: Standings) -> dict[str, Any]:
    """An entry as a person reads it."""
    options = ", ".join(f"{name} {_short(value)}" for name, value in sorted(entry.options.items()))
    return {
        "trainer": entry.trainer + (MODEL_MARK if entry.uses_model else ""),
        "figures": [column.show(column.of(entry)) for column in standings.columns],
        "options": options or "its defaults",
        "front": entry in standings.pareto_front,
    }


def reference_lines(standings: Standings) -> list[dict[str, str]]:
    """Floors as a person reads them."""
    return [
        {"method": name, "score": words.shown(standings.metric, standings.reference(key))}
        for key, name in standings.reference_names.items()
    ]


def markdown_table(standings: Standings) -> str:
    """The table for a README: the best first, the Pareto front in bold."""
    columns = standings.columns
    lines = [
        f"| trainer | {' | '.join(column.heading or column.title for column in columns)} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for entry in standings.ranking:
        line = entry_line(entry, standings)
        name = f"**{line['trainer']}**" if line["front"] else line["trainer"]
        lines.append(f"| {name} | {' | '.join(line['figures'])} |")
    empty = " |" * (len(columns) - 1)
    lines += [f"| *{line['method']}* | {line['score']} |{empty}" for line in reference_lines(standings)]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
