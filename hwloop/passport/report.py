"""The passport as one HTML page that opens from disk, without a network, and its plots."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hwloop.html_report import ACCENT, GRID, QUIET, SECOND, STYLE, data_uri, rendered, save_png
from hwloop.passport.characterise import Passport


def write_passport(passport: Passport, path: Path) -> Path:
    """Write the page; returns ``path``."""
    path.write_text(
        rendered(
            "hwloop.passport",
            "passport.html.j2",
            passport=passport,
            lines=passport.lines,
            images={name: data_uri(image) for name, image in _images(passport).items()},
        ),
        encoding="utf-8",
    )
    return path


def _images(passport: Passport) -> dict[str, bytes]:
    images = {}
    with matplotlib.rc_context({**STYLE, "axes.grid": True, "grid.color": GRID}):
        for name, figure in {"capacity": _capacity(passport), "directions": _directions(passport)}.items():
            buffer = io.BytesIO()
            save_png(figure, buffer)
            images[name] = buffer.getvalue()
    return images


def _capacity(passport: Passport) -> Figure:
    """By degree; where there is a past, the memory function and the table too."""
    panels = 3 if passport.remembers else 1
    figure = Figure(figsize=(8.6 if panels > 1 else 4.4, 3.0), layout="constrained")
    axes = figure.subplots(ncols=panels, squeeze=False)[0]
    found = passport.capacity
    degrees = np.arange(1, len(found.by_degree.value) + 1)
    reach = np.stack([found.by_degree.value - found.by_degree.low, found.by_degree.high - found.by_degree.value])
    axes[0].bar(degrees, np.maximum(found.by_degree.value, 0.0), color=ACCENT, width=0.6)
    axes[0].errorbar(degrees, found.by_degree.value, reach, fmt="none", color=SECOND)
    axes[0].set_xticks(degrees)
    axes[0].set_title(f"capacity by degree, of {found.rank}")
    axes[0].set_xlabel("degree")
    if panels > 1:
        delays = np.arange(len(found.linear.value))
        axes[1].fill_between(delays, found.linear.low, found.linear.high, color=ACCENT, alpha=0.2, linewidth=0)
        axes[1].plot(delays, found.linear.value, "o-", color=ACCENT, markersize=3, linewidth=1.0)
        axes[1].set_title("memory of the input itself")
        axes[1].set_xlabel("steps before")
        axes[2].grid(False)
        image = axes[2].imshow(np.maximum(found.table.value, 0.0), aspect="auto", cmap="viridis", origin="lower")
        axes[2].set_yticks(range(len(degrees)), [str(each) for each in degrees])
        axes[2].set_title("by degree and longest delay")
        axes[2].set_xlabel("steps before")
        figure.colorbar(image, ax=axes[2], shrink=0.85)
    return figure


def _directions(passport: Passport) -> Figure:
    """Singular values of the states, and where noise is."""
    figure = Figure(figsize=(8.6, 2.6), layout="constrained")
    axes = figure.subplots()
    values = passport.singular_values / max(float(passport.singular_values.max(initial=0.0)), 1e-300)
    axes.semilogy(np.arange(1, len(values) + 1), np.maximum(values, 1e-12), "o-", color=ACCENT, markersize=3)
    rank = float(passport.figures["kernel_rank"].value)
    axes.axvline(rank + 0.5, color=QUIET, linestyle="--", linewidth=1.0)
    axes.annotate(" kernel rank", (rank + 0.5, 0.9), xycoords=("data", "axes fraction"), color=QUIET, fontsize=8)
    axes.set_title("directions of the response, each output over its spread")
    axes.set_xlabel("direction")
    axes.set_ylabel("singular value, of the largest")
    return figure
