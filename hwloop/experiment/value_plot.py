"""The picture of a regression: predicted against true values."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hwloop.html_report import ACCENT, GRID, QUIET
from hwloop.tasks import LearningTask

MOST_PANELS = 6


def predicted_against_true(values: Any, task: LearningTask) -> Figure:
    """A dot a test row, a panel a target (the first six), with the line on which every prediction would be right.

    Parameters
    ----------
    values
        True and predicted values, shape (2, rows, n_targets), in their units.
    """
    shown = min(values.shape[2], MOST_PANELS)
    columns = min(shown, 3)
    figure = Figure(figsize=(max(3.4, 2.7 * columns), 2.9 * -(-shown // columns)), layout="constrained")
    panels = figure.subplots(-(-shown // columns), columns, squeeze=False).ravel()
    for number, axes in enumerate(panels):
        if number >= shown:
            axes.set_visible(False)
            continue
        true, predicted = values[:, :, number]
        ends = np.array([values[:, :, number].min(), values[:, :, number].max()])
        axes.plot(ends, ends, color=QUIET, linewidth=1, linestyle="--")
        axes.plot(true, predicted, "o", color=ACCENT, markersize=3, alpha=0.45, markeredgewidth=0)
        axes.set_xlabel(f"true {task.names_of_outputs[number]}")
        axes.set_ylabel(f"predicted {task.names_of_outputs[number]}")
        axes.grid(color=GRID)
    return figure
