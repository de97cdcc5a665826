"""The result of a drift run as files: a plot, a table in Markdown, the figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hwloop.experiment.columns import shown
from hwloop.experiment.intervals import Summary
from hwloop.experiments.drift.run import UNTOUCHED, DriftResult, PolicyCourse
from hwloop.html_report import GRID, QUIET, STYLE, save_png
from hwloop.journal.durable_files import atomic_write
from hwloop.tasks import Metric

PLOT, TABLE, FIGURES = "drift.png", "table.md", "drift.json"
# Okabe and Ito's colours, told apart by every eye.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c9e", "#1d2733", "#8c510a")
HEADINGS = ("policy", "worst step", "mean of steps", "last step", "most rows a step", "worst of all seeds")


def write_drift_report(result: DriftResult, folder: Path) -> Path:
    """Write plot, table and figures into a folder; returns the plot's path."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / FIGURES, json.dumps(as_json(result), indent=1) + "\n")
    lines = [
        HEADINGS,
        ("---",) * len(HEADINGS),
        *(course_line(course, result.metric) for course in result.courses),
    ]
    atomic_write(folder / TABLE, "".join(f"| {' | '.join(line)} |\n" for line in lines))
    return draw_courses(result, folder / PLOT)


def course_line(course: PolicyCourse, metric: Metric) -> tuple[str, ...]:
    """A policy as a person reads it: figures over the steps of the mean over seeds."""
    mean = course.scores.mean(axis=0)
    worst = int(mean.argmin() if metric.higher_is_better else mean.argmax())
    worst_of_all = course.scores.min() if metric.higher_is_better else course.scores.max()
    return (
        course.policy + (" (uses a model of the device)" if course.uses_model else ""),
        f"{shown(metric, Summary(tuple(course.scores[:, worst])))} (step {worst})",
        metric.shown(float(mean.mean())),
        shown(metric, Summary(tuple(course.scores[:, -1]))),
        f"{course.rows.max()}",
        metric.shown(float(worst_of_all)),
    )


def as_json(result: DriftResult) -> dict[str, Any]:
    """Every figure: lists by seed, then by step; a drift that was not looked for is ``null``."""
    settings = result.settings
    return {
        "experiment": settings.experiment.name,
        "seeds": list(settings.experiment.seeds),
        "moves": {"key": settings.key, "values": list(settings.values)},
        "rows_a_step": settings.rows_a_step,
        "gate": settings.gate,
        "correlation": result.correlation.tolist(),
        "policies": {
            course.policy: {
                "uses_model": course.uses_model,
                result.metric.key: course.scores.tolist(),
                "rows": course.rows.tolist(),
                "drift": [[None if np.isnan(d) else float(d) for d in seed] for seed in course.drift],
            }
            for course in result.courses
        },
    }


def draw_courses(result: DriftResult, path: Path) -> Path:
    """Score of every policy from step to step, above the correlation that the device has left."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 5.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        steps = np.arange(result.correlation.shape[1])
        colours = iter(COLOURS * (1 + len(result.courses) // len(COLOURS)))
        for course in result.courses:
            colour = QUIET if course.policy == UNTOUCHED else next(colours)
            _draw(above, steps, course, colour, result.metric)
        above.set_ylabel(f"test {result.metric.axis}")
        if result.metric.most is not None:
            above.set_ylim(0, 1.01 * result.metric.most)
        above.grid(color=GRID)
        above.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
        below.plot(steps, result.correlation.mean(axis=0), color=QUIET)
        below.set_ylim(0, 1.05)
        below.set_ylabel("correlation\nof responses")
        below.set_xlabel(f"step of {result.settings.key}; at most {result.settings.rows_a_step} rows a step")
        below.grid(color=GRID)
        save_png(figure, path)
    return path


def _draw(axes: Any, steps: Any, course: PolicyCourse, colour: str, metric: Metric) -> None:
    """Mean over seeds, and a band of one standard deviation."""
    mean = metric.scale * course.scores.mean(axis=0)
    name = "untouched" if course.policy == UNTOUCHED else course.policy
    axes.plot(steps, mean, color=colour, label=name + (" (model)" if course.uses_model else ""), lw=1.6)
    if len(course.scores) > 1:
        spread = metric.scale * course.scores.std(axis=0, ddof=1)
        axes.fill_between(
            steps, mean - spread, np.minimum(mean + spread, metric.most or np.inf), color=colour, alpha=0.15, lw=0
        )
