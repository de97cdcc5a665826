"""Frontiers as a page that opens from disk, a picture, a table in Markdown, and JSON."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from hwloop.experiment.intervals import Summary
from hwloop.experiments.frontier.sides import Entry
from hwloop.experiments.frontier.standing import LOSE, TIE, UNABLE, WIN, Frontier, Point
from hwloop.html_report import ACCENT, GRID, QUIET, SECOND, STYLE, data_uri, rendered, save_png
from hwloop.journal.durable_files import atomic_write

PAGE, JSON_FILE = "frontier.html", "frontier.json"
COLUMNS_OF_PANELS, PANEL = 3, (3.0, 2.55)
MARKERS = {WIN: "o", TIE: "D", LOSE: "v"}
VERDICT_COLOURS = {WIN: ACCENT, TIE: "#8a94a0", LOSE: "#f0e6e0", UNABLE: "#ffffff"}


def draw_frontiers(frontiers: Sequence[Frontier]) -> Figure:
    """A panel a task: the digital frontier as a line, every device's as thin ones, the best device's strong."""
    tasks = list(dict.fromkeys(each.dataset for each in frontiers))
    columns = min(COLUMNS_OF_PANELS, len(tasks))
    lines = math.ceil(len(tasks) / columns)
    figure = Figure(figsize=(max(5.4, PANEL[0] * columns), 0.75 + PANEL[1] * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, task in zip(panels, tasks, strict=False):
        _panel(axes, [each for each in frontiers if each.dataset == task], task)
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    names = [("physical, best device", ACCENT, 1.8), ("other devices", QUIET, 0.8), ("digital", SECOND, 1.8)]
    if len({each.device for each in frontiers}) == 1:
        names = [("physical", *names[0][1:]), names[2]]
    handles = [matplotlib.lines.Line2D([], [], color=c, linewidth=w, label=n) for n, c, w in names]
    handles += [
        matplotlib.lines.Line2D([], [], color=ACCENT, marker=m, linestyle="", markersize=5, label=v)
        for v, m in MARKERS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8)
    return figure


def _panel(axes: Any, frontiers: Sequence[Frontier], task: str) -> None:
    metric = frontiers[0].metric
    best = max(frontiers, key=_standing)
    for each in frontiers:
        if each is not best:
            _curve(axes, each, each.points, "physics", QUIET, 0.8)
    _curve(axes, best, best.points, "digital", SECOND, 1.8)
    _curve(axes, best, best.points, "physics", ACCENT, 1.8)
    for point in best.points:
        if point.physics is not None:
            mean = metric.scale * Summary(point.physics.scores).mean
            axes.plot(point.budget, mean, MARKERS[point.verdict], color=ACCENT, markersize=5)
    axes.set_xscale("log")
    budgets = [point.budget for point in best.points]
    axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets], fontsize=7.5)
    axes.minorticks_off()
    if not metric.higher_is_better:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(matplotlib.ticker.FormatStrFormatter("%.2g"))
        axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%.2g"))
        axes.tick_params(axis="y", which="both", labelsize=7.5)
    better = "" if metric.higher_is_better else ", less is better"
    axes.set_title(f"{task}, {best.device}\n{metric.axis}{better}", fontsize=8.5)
    axes.set_xlabel(f"digital multiply-adds a {'step' if best.rows_are_steps else 'prediction'}", fontsize=8)
    axes.grid(color=GRID)


def _standing(each: Frontier) -> tuple[int, int, float]:
    """The best device of a task: most wins, then most ties, then the best mean score."""
    sign = 1.0 if each.metric.higher_is_better else -1.0
    scores = [sign * Summary(point.physics.scores).mean for point in each.points if point.physics is not None]
    return each.counted(WIN), each.counted(TIE), sum(scores) / len(scores) if scores else -math.inf


def _curve(axes: Any, each: Frontier, points: Sequence[Point], side: str, colour: str, width: float) -> None:
    known = [(point.budget, entry) for point in points if (entry := getattr(point, side)) is not None]
    scale = each.metric.scale
    values = [scale * Summary(entry.scores).mean for _, entry in known]
    alone = "_" if len(known) == 1 else None  # a line of one point is not seen
    axes.plot(
        [budget for budget, _ in known],
        values,
        color=colour,
        linewidth=width,
        zorder=1 + width,
        marker=alone,
        markersize=14,
    )


def figures_of(frontier: Frontier, point: Point) -> dict[str, Any]:
    """A line of the table, as text."""
    metric = frontier.metric

    def shown(entry: Entry | None) -> str:
        if entry is None:
            return "–"
        summary = Summary(entry.scores)
        spread = f" ± {metric.scale * summary.std:.{metric.decimals}f}" if len(entry.scores) > 1 else ""
        return f"{metric.scale * summary.mean:.{metric.decimals}f}{spread}"

    verdict = point.verdict
    if verdict == WIN and point.fresh is not None:
        verdict += ", again" if point.fresh == WIN else f", then {point.fresh}"
    return {
        "device": frontier.device,
        "dataset": frontier.dataset,
        "budget": f"{point.budget:,}",
        "physics": shown(point.physics),
        "head": "" if point.physics is None else point.physics.name,
        "digital": shown(point.digital),
        "rival": point.digital.name,
        "verdict": verdict,
        "interval": frontier.words(point),
    }


def totals(frontiers: Sequence[Frontier]) -> str:
    """``3 wins, 12 ties, 195 losses in 210 budgets``, and how many wins came again on fresh seeds."""
    points = [point for each in frontiers for point in each.points]
    count = {verdict: sum(point.verdict == verdict for point in points) for verdict in (WIN, TIE, LOSE, UNABLE)}
    named = ((WIN, "win", "wins"), (TIE, "tie", "ties"), (LOSE, "loss", "losses"))
    said = ", ".join(f"{count[verdict]} {one if count[verdict] == 1 else many}" for verdict, one, many in named)
    said += f" in {len(points)} budget{'' if len(points) == 1 else 's'}"
    if count[UNABLE]:
        said += f"; {count[UNABLE]} too small for the device's inputs"
    if any(len(each.seeds) == 1 for each in frontiers):
        said += "; one seed shows no win and no loss, whatever the difference, so all of its budgets are ties"
    asked = [point for point in points if point.fresh is not None]
    again = sum(point.fresh == WIN for point in asked)
    return said + (f"; {again} of {len(asked)} wins came again on fresh seeds" if asked else "")


def matrix(frontiers: Sequence[Frontier]) -> tuple[list[str], list[list[Any]]]:
    """Devices by tasks: the verdicts from the smallest budget to the largest, ``WTLLL``."""
    tasks = list(dict.fromkeys(each.dataset for each in frontiers))
    devices = list(dict.fromkeys(each.device for each in frontiers))
    found = {(each.device, each.dataset): each for each in frontiers}

    def cell(device: str, task: str) -> str:
        each = found.get((device, task))
        letters = {WIN: "W", TIE: "T", LOSE: "l", UNABLE: "–"}
        return "" if each is None else "".join(letters[point.verdict] for point in each.points)

    return tasks, [[device, *(cell(device, task) for task in tasks)] for device in devices]


def markdown_table(frontiers: Sequence[Frontier]) -> str:
    """Every point, a line each."""
    lines = [
        "| task | device | multiply-adds | physics | digital | verdict | advantage |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in frontiers:
        for point in each.points:
            f = figures_of(each, point)
            lines.append(
                f"| {f['dataset']} | {f['device']} | {f['budget']} | {f['physics']} ({f['head'] or '–'}) "
                f"| {f['digital']} ({f['rival']}) | {f['verdict']} | {f['interval']} |"
            )
    return "\n".join(lines) + "\n"


def write_frontiers(frontiers: Sequence[Frontier], folder: Path) -> Path:
    """Write page, picture, table and JSON into a folder; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        image = io.BytesIO()
        save_png(draw_frontiers(frontiers), image)
    tasks, rows = matrix(frontiers)
    page = rendered(
        "hwloop.experiments.frontier",
        "frontier.html.j2",
        image=data_uri(image.getvalue()),
        frontiers=[(each, [figures_of(each, point) for point in each.points]) for each in frontiers],
        tasks=tasks,
        rows=rows,
        totals=totals(frontiers),
        metrics={each.dataset: each.metric for each in frontiers},
        workloads=workloads(frontiers),
        first=frontiers[0],
    )
    atomic_write(folder / PAGE, page.encode())
    atomic_write(folder / "frontier.png", image.getvalue())
    atomic_write(folder / "frontier.md", markdown_table(frontiers).encode())
    atomic_write(folder / JSON_FILE, json.dumps(as_json(frontiers), indent=1).encode())
    return folder / PAGE


def as_json(frontiers: Sequence[Frontier]) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {"totals": totals(frontiers), "frontiers": [each.as_json() for each in frontiers]}


def workloads(frontiers: Sequence[Frontier]) -> list[dict[str, Any]]:
    """NeuroBench's figures of the best within each budget; time and joules where a device states them."""
    found = []
    for each in frontiers:
        for point in each.points:
            for side, entry in (("physics", point.physics), ("digital", point.digital)):
                if entry is None or not entry.workload:
                    continue
                time, joules = each.about["seconds_per_prediction"], each.about["joules_per_prediction"]
                physical = side == "physics"
                found.append(
                    {
                        "name": f"{each.dataset}, {each.device if physical else 'digital'}: {entry.name}",
                        "budget": f"{point.budget:,}",
                        **entry.workload,
                        "seconds": f"{time:.3g}" if physical and time is not None else "–",
                        "joules": f"{joules:.3g}" if physical and joules is not None else "–",
                    }
                )
    return list({(line["name"], line["budget"]): line for line in found}.values())
