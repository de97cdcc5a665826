"""Figures that reports and notebooks share; no display is needed, and no global state of matplotlib touched."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hwloop.html_report import ACCENT, GRID, STYLE, save_png


class InlineFigure(Figure):
    """A figure that a notebook shows where it is a cell's value, whether pyplot is loaded or not."""

    def _repr_png_(self) -> bytes:
        with matplotlib.rc_context(STYLE):
            image = io.BytesIO()
            save_png(self, image)
        return image.getvalue()


def loss_figure(stages: Sequence[tuple[str, Sequence[Sequence[float]]]]) -> InlineFigure:
    """Mean loss of each epoch, a panel a stage.

    Parameters
    ----------
    stages
        The title of each, and its curves, one a seed: each thin, their mean strong.
    """
    with matplotlib.rc_context(STYLE):
        figure = InlineFigure(figsize=(7.2, 2.6), layout="constrained")
        panels = figure.subplots(1, len(stages), sharey=True, squeeze=False)[0]
        for axes, (title, curves) in zip(panels, stages, strict=True):
            for curve in curves:
                axes.plot(range(1, len(curve) + 1), curve, color=ACCENT, linewidth=0.8, alpha=0.35)
            length = min(len(curve) for curve in curves)
            mean = np.mean([curve[:length] for curve in curves], axis=0)
            axes.plot(range(1, length + 1), mean, color=ACCENT, linewidth=1.8)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.grid(color=GRID)
        panels[0].set_ylabel("training loss")
    return figure
