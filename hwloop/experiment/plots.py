"""The report's figures, as PNG files: no display, no global state of matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hwloop.device.spec import Float64Array
from hwloop.experiment import results
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.floors import FLOORS
from hwloop.experiment.results import DeviceResponse, Sweep, effective_rank
from hwloop.html_report import ACCENT, GRID, INK, QUIET, SECOND, STYLE, THIRD, save_png
from hwloop.html_report.figures import loss_figure
from hwloop.tasks import LearningTask, Metric

MAX_NAMED_CLASSES = 30
MOST_PANELS = 6  # of targets
FAR_POINTS = 20.0
SWEPT_OUTPUTS = 6


def draw_plots(
    evidence: Evidence, responses: Sequence[DeviceResponse], task: LearningTask, folder: Path
) -> dict[str, Path]:
    """Draw every figure that there is data for into ``folder``; returns their paths by name."""
    drawings: dict[str, Callable[[], Figure | None]] = {
        evidence.metric.key: lambda: _scores(evidence),
        "multiply_adds": lambda: _multiply_adds(evidence),
        "training": lambda: _training(evidence),
    }
    for name, counts in evidence.details.items():
        if name in COUNT_PLOTS:
            drawings[name] = lambda name=name, counts=counts: COUNT_PLOTS[name](counts, task)  # type: ignore[misc]
    watched = len(evidence.seeds[0].drift) if evidence.config.reference else 0
    for device in range(watched):
        drawings[f"drift-{device + 1}"] = lambda device=device: _drift(evidence, device)  # type: ignore[misc]
    for number, response in enumerate(responses):
        drawings[f"response-{number + 1}"] = lambda response=response: _response(response)  # type: ignore[misc]
    paths = {}
    with matplotlib.rc_context(STYLE):
        for name, draw in drawings.items():
            figure = draw()
            if figure is not None:
                paths[name] = folder / f"{name}.png"
                save_png(figure, paths[name])
    return paths


def _scores(evidence: Evidence) -> Figure:
    """Every method's main test score: one dot a seed, a bar at the mean."""
    metric = evidence.metric
    lines = evidence.lines()[::-1]
    figure = Figure(figsize=(7.2, 0.8 + 0.36 * len(lines)), layout="constrained")
    axes = figure.subplots()
    for height, line in enumerate(lines):
        colour = _colour(line.key)
        values = metric.scale * np.array(line[metric.key].values)
        spread = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(values, height + spread, "o", color=colour, markersize=4, alpha=0.55, markeredgewidth=0)
        mean = metric.scale * line[metric.key].mean
        axes.plot([mean] * 2, [height - 0.27, height + 0.27], color=colour, linewidth=2.2)
    if metric.most is not None:
        _leave_out_far_values(axes, [metric.scale * line[metric.key].mean for line in lines], metric)
    axes.set_yticks(range(len(lines)), [line.method for line in lines], color=INK)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.set_xlabel(f"test {metric.axis}; a dot is a seed, a bar the mean")
    axes.grid(axis="x", color=GRID)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _colour(method: str) -> str:
    digital = {floor.key for floor in FLOORS if floor.digital}
    return ACCENT if method == results.NETWORK else THIRD if method in digital else QUIET


def _multiply_adds(evidence: Evidence) -> Figure | None:
    """Mean test score against what a prediction costs in digital arithmetic, numbered; a line joins the front.

    Where the score has an upper end, what lies far below the others is named, not drawn.
    """
    metric = evidence.metric
    lines = [line for line in evidence.lines() if line.figures.get("multiply_adds") is not None]
    if len(lines) < 2:
        return None
    means = {line.key: metric.scale * line[metric.key].mean for line in lines}
    least = -math.inf if metric.most is None else np.median(list(means.values())) - FAR_POINTS * metric.most / 100
    shown = [line for line in lines if means[line.key] >= least]
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, line in enumerate(shown, start=1):
        place, colour = (line["multiply_adds"], means[line.key]), _colour(line.key)
        spread, label = metric.scale * line[metric.key].std, f"{number}  {line.name}"
        axes.errorbar(*place, spread, fmt="o", color=colour, markersize=5, label=label)
        axes.annotate(str(number), place, (4, 4), textcoords="offset points", color=INK, fontsize=8)
    limits = axes.get_ylim()
    front = [line for line in evidence.pareto_front if line in shown]
    costs = [line["multiply_adds"] for line in front]
    axes.step(costs, [means[line.key] for line in front], where="post", color=SECOND, lw=1.1, zorder=0)
    axes.set_ylim(limits)
    smallest, largest = (pick(line["multiply_adds"] for line in shown) for pick in (min, max))
    axes.set_xscale("log" if smallest else "symlog")  # guessing costs nothing
    axes.set_xlim(smallest / 2 if smallest else -0.5, 3 * largest)
    far = [line.name for line in lines if line not in shown]
    axes.set_xlabel("digital multiply-adds a prediction" + (f"; far below: {', '.join(far)}" if far else ""))
    axes.set_ylabel(f"test {metric.axis}")
    axes.grid(color=GRID)
    axes.legend(fontsize=7.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _leave_out_far_values(axes: Any, means: Sequence[float], metric: Metric) -> None:
    """Begin the axis at the upper half of the methods where the others would squeeze them together; name those."""
    near = [mean for mean in means if mean >= np.median(means) - FAR_POINTS]
    left, right = axes.get_xlim()
    begin = min(near) - 0.25 * max(max(near) - min(near), 4.0)
    if min(means) >= begin:
        return
    axes.set_xlim(max(begin, left), min(right, 100.0 + 0.02 * (100.0 - begin)))
    for height, mean in enumerate(means):
        if mean < begin:
            axes.annotate(
                f"◂ {mean:.{metric.decimals}f}{metric.ending}",
                (0.01, height),
                xycoords=("axes fraction", "data"),
                va="center",
                color=QUIET,
            )


def _training(evidence: Evidence) -> Figure | None:
    """Mean loss of each epoch, a panel a stage that has one: every seed thin, the mean strong."""
    every = enumerate(zip(*(seed.losses for seed in evidence.seeds), strict=False))
    stages = [(number, list(curves)) for number, curves in every if any(curves)]
    if not stages:
        return None
    named = []
    for number, curves in stages:
        known = [score for seed in evidence.seeds if (score := seed.validation_scores[number]) is not None]
        after = f"; validation {evidence.metric.shown(float(np.mean(known)))} after it" if known else ""
        named.append((f"stage {number + 1}{after}", curves))
    return loss_figure(named)


def _confusion(counts: Any, task: LearningTask) -> Figure:
    """Share of each true class by predicted class, with the counts written in where they can be read."""
    classes = len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(6.4, 2.4 + 0.34 * classes)
    figure = Figure(figsize=(size, size * 0.92), layout="constrained")
    axes = figure.subplots()
    # The square root brings out the few errors beside the many hits.
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    if classes <= MAX_NAMED_CLASSES:
        axes.set_xticks(range(classes), task.output_names)
        axes.set_yticks(range(classes), task.output_names)
        for (true, predicted), count in np.ndenumerate(counts):
            if count:
                colour = "white" if share[true, predicted] > 0.4 else INK
                axes.text(predicted, true, f"{count:,}", ha="center", va="center", color=colour, fontsize=7.5)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


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


# By the name of what a task keeps of its test rows.
COUNT_PLOTS: dict[str, Callable[[Any, LearningTask], Figure]] = {
    "confusion": _confusion,
    "predicted_values": predicted_against_true,
    "series": series_window,
    "symbols": symbol_window,
}


def _drift(evidence: Evidence, device: int) -> Figure:
    """How far a device moved while it was measured, seed by seed, above its noise floor; and its common gain."""
    limit = 0.0 if evidence.config.reference is None else evidence.config.reference.limit
    curves = [seed.drift[device] for seed in evidence.seeds]
    figure = Figure(figsize=(7.2, 2.7), layout="constrained")
    moved, gain = figure.subplots(1, 2, width_ratios=(3, 2))
    for number, curve in enumerate(curves):
        rows = [point.row for point in curve]
        named = "device" if number == 0 else None
        corrected = "after correction" if number == 0 else None
        moved.plot(rows, [100 * p.drift for p in curve], "o-", color=ACCENT, markersize=3, lw=1.1, label=named)
        if any(point.remaining != point.drift for point in curve):
            remaining = [100 * point.remaining for point in curve]
            moved.plot(rows, remaining, "o-", color=THIRD, markersize=3, lw=1.1, label=corrected)
        gain.plot(rows, [point.gain for point in curve], "o-", color=ACCENT, markersize=3, lw=1.1)
    floor = 100 * max(point.noise_floor for curve in curves for point in curve)
    moved.axhspan(0, floor, color=GRID, alpha=0.7, lw=0, label="what noise may cause")
    moved.axhline(100 * limit, color=SECOND, lw=1, ls="--", label="limit")
    moved.set_ylim(0, 1.35 * max(floor, 100 * limit, *(100 * point.drift for curve in curves for point in curve)))
    moved.set_ylabel("drift (% of the spread)")
    moved.legend(fontsize=7.5, ncols=2, loc="upper left")
    low, high = gain.get_ylim()
    gain.set_ylim(min(low, 0.98), max(high, 1.02))
    gain.set_ylabel("common gain")
    for axes in (moved, gain):
        axes.set_xlabel("rows measured")
        axes.grid(color=GRID)
    return figure


def _response(response: DeviceResponse) -> Figure | None:
    """How the device answers: distribution, principal variances, and outputs along a sweep."""
    panels: list[Callable[[Any], None]] = []
    unit = f" ({response.spec.output_unit})" if response.spec.output_unit else ""
    if response.sample is not None and len(response.sample) > 1:
        sample = response.sample
        panels += [lambda axes: _distribution(axes, sample, unit), lambda axes: _spectrum(axes, sample)]
    if response.sweep is not None:
        sweep = response.sweep
        panels.append(lambda axes: _sweep(axes, sweep, unit))
    if not panels:
        return None
    figure = Figure(figsize=(2.9 * max(2, len(panels)), 2.8), layout="constrained")
    for axes, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes)
        axes.grid(color=GRID)
    return figure


def _distribution(axes: Any, sample: Float64Array, unit: str) -> None:
    axes.hist(sample.ravel(), bins=40, density=True, color=ACCENT, alpha=0.85)
    axes.set_title(f"responses to {len(sample):,} training rows")
    axes.set_xlabel(f"response{unit}")
    axes.set_ylabel("probability density")


def _spectrum(axes: Any, sample: Float64Array) -> None:
    variances = np.square(np.linalg.svd(sample - sample.mean(axis=0), compute_uv=False))
    total = variances.sum() or 1.0
    axes.semilogy(np.arange(1, len(variances) + 1), np.maximum(variances / total, 1e-12), color=ACCENT)
    axes.set_ylim(bottom=max(1e-8, (variances[variances > 0].min(initial=1e-8) / total) / 2))
    axes.set_title(f"effective rank {effective_rank(sample):.0f}")
    axes.set_xlabel("principal direction")
    axes.set_ylabel("share of variance")


def _sweep(axes: Any, sweep: Sweep, unit: str) -> None:
    outputs = sweep.responses.shape[1]
    chosen = np.unique(np.linspace(0, outputs - 1, min(SWEPT_OUTPUTS, outputs)).astype(int))
    colours = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.85, len(chosen)))
    for output, colour in zip(chosen, colours, strict=True):
        axes.plot(sweep.position, sweep.responses[:, output], color=colour, linewidth=1.1)
    axes.set_title(f"{len(chosen)} outputs along one sweep")
    axes.set_xlabel("stimulus, lower to upper limit")
    axes.set_ylabel(f"response{unit}")
