"""One arena for each value of one key of the experiment, and its page, table and plot."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hwloop.errors import ConfigError
from hwloop.experiment import columns as words
from hwloop.experiments.arena.cell import require_rig
from hwloop.experiments.arena.jobs import Workers
from hwloop.experiments.arena.report import COLOURS, MARKERS, SHOWN_REFERENCES, arena_page, write_arena_report
from hwloop.experiments.arena.report import REPORT as ARENA_REPORT
from hwloop.experiments.arena.run import run_arena
from hwloop.experiments.arena.settings import ArenaSettings
from hwloop.experiments.arena.standings import Standings
from hwloop.experiments.campaign import Progress, no_progress
from hwloop.html_report import GRID, QUIET, STYLE, data_uri, save_png
from hwloop.journal.durable_files import atomic_write
from hwloop.tasks import Metric
from hwloop.toml_text import parse_setting

FOLDER_CHARACTERS = 80


@dataclass(frozen=True)
class Variation:
    """A key of the experiment and the values that it takes in turn.

    Attributes
    ----------
    key
        Dotted, as ``--set`` takes it.
    values
        As they were written, each what ``--set key=`` takes; at least two, all different.
    """

    key: str
    values: tuple[str, ...]

    @property
    def settings(self) -> list[str]:
        """What ``--set`` would be given, one for each value."""
        return [f"{self.key}={value}" for value in self.values]

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number, so that it has a place on an axis."""
        values = [parse_setting(setting)[1] for setting in self.settings]
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    def folder(self, value: str) -> str:
        """The name of a value's own folder."""
        name = f"{self.key}={value}".replace("/", "_").replace("\\", "_")
        return name if len(name) <= FOLDER_CHARACTERS else f"{self.key}={self.values.index(value)}"


def parsed_variation(text: str) -> Variation:
    """From ``key=value,value,...``; a comma within brackets or quotes parts nothing.

    Raises
    ------
    ConfigError
        No key, fewer than two values, or one of them twice.
    """
    key, _, values = text.partition("=")
    parts = tuple(part.strip() for part in _parts(values))
    if not all(key.split(".")) or len(parts) < 2 or not all(parts):
        raise ConfigError(f"--vary {text!r} is no key with several values, such as device.settings.dac_bits=2,4,8")
    if len(set(parts)) != len(parts):
        raise ConfigError(f"--vary {text!r} names a value twice")
    return Variation(key.strip(), parts)


def _parts(text: str) -> list[str]:
    """Pieces between commas, joined again where only together they are TOML: a list, a table, a quoted text."""
    pieces = text.split(",")
    parts: list[str] = []
    while pieces:
        whole = next((k for k in range(1, len(pieces) + 1) if _is_toml(",".join(pieces[:k]))), 1)
        parts.append(",".join(pieces[:whole]))
        del pieces[:whole]
    return parts


def _is_toml(text: str) -> bool:
    try:
        return tomllib.loads(f"value = {text}").keys() == {"value"}
    except (ValueError, RecursionError):
        return False


def run_variation(
    variation: Variation,
    settings: Callable[[str], ArenaSettings],
    folder: Path,
    workers: Workers | None = None,
    progress: Progress = no_progress,
) -> dict[str, Standings]:
    """Run every value's arena in a folder of its own; returns standings by value, in the given order.

    Parameters
    ----------
    settings
        The arena's settings when ``key=value`` is set; all are made, and their devices built, before the first is
        run, so that a value that cannot be used is refused before anything is measured.
    folder
        New or empty, or one that the same call was stopped in.

    Raises
    ------
    ConfigError, DeviceError
        As :func:`hwloop.experiments.arena.run.run_arena`.
    """
    arenas = {
        value: settings(setting) for value, setting in zip(variation.values, variation.settings, strict=True)
    }
    for arena in arenas.values():
        require_rig(arena.experiment.as_table(), arena.experiment.seeds[0])
    found: dict[str, Standings] = {}
    for value, arena in arenas.items():

        def told(what: str, done: int, of: int, value: str = value) -> None:
            progress(f"{variation.key}={value} {what}", done, of)

        found[value] = run_arena(arena, folder / variation.folder(value), workers, told)
    return found


def lines(found: dict[str, Standings]) -> dict[tuple[str, float], list[Any]]:
    """By trainer and budget: its entry at each value, ``None`` where it did not train."""
    names = dict.fromkeys((entry.trainer, entry.budget) for table in found.values() for entry in table.trained)
    return {name: [_entry(table, name) for table in found.values()] for name in names}


def _entry(standings: Standings, name: tuple[str, float]) -> Any:
    return next((e for e in standings.entries if (e.trainer, e.budget) == name and not e.refused), None)


REPORT, TABLE, FIGURES, PLOT = "report.html", "table.md", "variation-result.json", "variation.png"
Row = tuple[str, list[str]]
DASHES = ("--", ":", "-.", (0, (1, 3)), (0, (6, 2, 1, 2, 1, 2)))


def write_variation(variation: Variation, found: dict[str, Standings], folder: Path) -> Path:
    """Write page, table, figures and plot into a folder, and each arena's own page; returns the page's path."""
    for value, standings in found.items():
        write_arena_report(standings, folder / variation.folder(value))
    atomic_write(folder / TABLE, variation_table(variation, found))
    figures = {"key": variation.key, "arenas": {value: table.as_json() for value, table in found.items()}}
    atomic_write(folder / FIGURES, json.dumps(figures, indent=1))
    plot = draw_variation(variation, found, folder / PLOT)
    atomic_write(folder / REPORT, _page(variation, found, plot))
    return folder / REPORT


def _page(variation: Variation, found: dict[str, Standings], plot: Path) -> str:
    values = [
        {"text": value, "page": f"{quote(variation.folder(value))}/{ARENA_REPORT}"} for value in variation.values
    ]
    return arena_page(
        "variation.html.j2",
        found[variation.values[0]].settings,
        metric=_metric(found),
        key=variation.key,
        values=values,
        trainers=[{"name": name, "figures": figures} for name, figures in trainer_rows(found)],
        references=[{"name": name, "figures": figures} for name, figures in reference_rows(found)],
        image=data_uri(plot.read_bytes()),
    )


def _metric(found: dict[str, Standings]) -> Metric:
    return next(iter(found.values())).metric


def variation_rows(found: dict[str, Standings]) -> list[Row]:
    """Name and score at every value, as a person reads them; trainers first, floors after them."""
    return [*trainer_rows(found), *reference_rows(found)]


def trainer_rows(found: dict[str, Standings]) -> list[Row]:
    """Each trainer at each budget; an empty text where it did not train."""
    return [
        (
            f"{trainer} at {budget:g} rows a sample",
            ["" if entry is None else words.shown(_metric(found), entry.score) for entry in entries],
        )
        for (trainer, budget), entries in lines(found).items()
    ]


def reference_rows(found: dict[str, Standings]) -> list[Row]:
    """Floors that were scored at every value."""
    return [
        (name, [words.shown(_metric(found), standings.reference(method)) for standings in found.values()])
        for method, name in next(iter(found.values())).reference_names.items()
        if all(method in standings.reference_names for standings in found.values())
    ]


def variation_table(variation: Variation, found: dict[str, Standings]) -> str:
    """A line a trainer at a budget, a column a value."""
    table = [
        f"| {variation.key} | " + " | ".join(variation.values) + " |",
        "|---" * (1 + len(variation.values)) + "|",
    ]
    table += [f"| {name} | " + " | ".join(figures) + " |" for name, figures in variation_rows(found)]
    return "\n".join(table) + "\n"


def draw_variation(variation: Variation, found: dict[str, Standings], path: Path) -> Path:
    """Write the figure as a PNG; returns its path."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4.6), layout="constrained")
        axes = figure.subplots()
        places, metric = _places(variation), _metric(found)
        for number, ((trainer, budget), entries) in enumerate(lines(found).items()):
            trained = [(place, entry.interval) for place, entry in zip(places, entries, strict=True) if entry]
            at = [place for place, _ in trained]
            means = np.array([metric.scale * interval.mean for _, interval in trained])
            half = means - [metric.scale * (i.mean if i.low is None else i.low) for _, i in trained]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(
                at,
                means,
                color=colour,
                marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
                markersize=4.5,
                linewidth=1.2,
                label=f"{trainer}, {budget:g} rows a sample",
            )
            axes.fill_between(at, means - half, means + half, color=colour, alpha=0.15, linewidth=0)
        _references(axes, places, found)
        axes.set_xticks(places, variation.values)
        axes.set_xlabel(variation.key)
        axes.set_ylabel(f"test {metric.axis}; bands: 95 % interval over seeds")
        axes.set_ylim(top=min(axes.get_ylim()[1], 0.5 + (metric.most or np.inf)))
        axes.grid(color=GRID)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5, handlelength=1.8)
        save_png(figure, path)
    return path


def _places(variation: Variation) -> list[float]:
    """Numbers stand where they are; everything else side by side, in the given order."""
    if variation.is_numeric:
        return [float(parse_setting(setting)[1]) for setting in variation.settings]
    return [float(place) for place in range(len(variation.values))]


def _references(axes: Any, places: list[float], found: dict[str, Standings]) -> None:
    """Floors: they may depend on the key too."""
    metric, names = _metric(found), next(iter(found.values())).reference_names
    for method, dashes in zip(SHOWN_REFERENCES, DASHES, strict=True):
        if any(method not in standings.reference_names for standings in found.values()):
            continue
        means = [metric.scale * standings.reference(method).mean for standings in found.values()]
        axes.plot(places, means, color=QUIET, linewidth=0.9, linestyle=dashes, label=names[method], zorder=1)
