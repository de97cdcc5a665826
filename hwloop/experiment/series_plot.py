"""The report's picture of a series: target and prediction, step after step."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hwloop.html_report import ACCENT, GRID, INK, SECOND
from hwloop.tasks import LearningTask


def series_window(window: Any, task: LearningTask) -> Figure:
    """Target and prediction (2, steps) of the first steps that count, and their difference below."""
    target, predicted = np.asarray(window, dtype=np.float64)
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    steps = np.arange(1, len(target) + 1)
    above.plot(steps, target, color=INK, linewidth=1.6, label="target")
    above.plot(steps, predicted, color=ACCENT, linewidth=1.1, label="prediction")
    above.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    above.set_ylabel(task.output_names[0])
    below.plot(steps, predicted - target, color=SECOND, linewidth=1.0)
    below.axhline(0.0, color=INK, linewidth=0.6)
    below.set_ylabel("difference")
    below.set_xlabel("step after the washout, first test sequence of the first seed")
    for axes in (above, below):
        axes.grid(color=GRID)
    return figure


def symbol_window(window: Any, task: LearningTask) -> Figure:
    """Symbols (2, steps) that were sent, and those that were found wrongly."""
    sent, found = np.asarray(window, dtype=np.int64)
    figure = Figure(figsize=(7.2, 2.4), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(sent) + 1)
    wrong = sent != found
    axes.step(steps, sent, where="mid", color=INK, linewidth=1.0, label="sent")
    axes.plot(steps[~wrong], found[~wrong], ".", color=ACCENT, markersize=4, label="found")
    axes.plot(steps[wrong], found[wrong], "x", color=SECOND, markersize=7, label="wrong")
    axes.set_yticks(range(len(task.output_names)), task.output_names)
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    axes.set_xlabel("step after the washout, first test sequence of the first seed")
    axes.set_ylabel("symbol")
    axes.grid(axis="y", color=GRID)
    return figure
