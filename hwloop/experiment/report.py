"""The run's report: one HTML file that holds its figures and opens from disk, without a network."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from hwloop.experiment import columns as words
from hwloop.experiment import results
from hwloop.experiment.about import took
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.headline import changes_line, parts_line
from hwloop.experiment.intervals import difference
from hwloop.experiment.plots import draw_plots
from hwloop.experiment.results import DeviceResponse
from hwloop.experiment.verdict import NO_FLOORS, comparisons
from hwloop.html_report import data_uri, rendered
from hwloop.runs.files import UnreadableError, read_events
from hwloop.runs.layout import METRICS
from hwloop.tasks import LearningTask, Metric
from hwloop.toml_text import toml_text

REPORT = "report.html"


def write_report(
    evidence: Evidence, responses: Sequence[DeviceResponse], task: LearningTask, folder: Path
) -> Path:
    """Draw the figures into ``folder/plots`` and write ``folder/report.html``; returns its path."""
    plots_folder = folder / "plots"
    plots_folder.mkdir(parents=True, exist_ok=True)
    plots = draw_plots(evidence, responses, task, plots_folder)
    path = folder / REPORT
    metrics = folder / METRICS
    page = _render(evidence, responses, task, plots, read_faults(metrics), read_doubts(metrics))
    path.write_text(page, encoding="utf-8")
    return path


def _render(
    evidence: Evidence,
    responses: Sequence[DeviceResponse],
    task: LearningTask,
    plots: dict[str, Path],
    faults: FaultLog | None,
    doubts: Sequence[str],
) -> str:
    return rendered(
        "hwloop.experiment",
        "report.html.j2",
        {"heading": heading_in_html, "rows": words.rows, "seconds": words.seconds},
        evidence=evidence,
        config=evidence.config,
        lines=evidence.lines(),
        network=results.NETWORK,
        uses_model=evidence.seeds[0].uses_model,
        metric=evidence.metric,
        beside=[
            column
            for column, metric in zip(evidence.columns, evidence.kind.metrics, strict=False)
            if metric.beside
        ],
        columns=evidence.columns,
        parts=parts_line(evidence.config),
        changes=changes_line(evidence.config),
        verdict=[found.words for found in comparisons(evidence).values()] or [NO_FLOORS],
        when=_when(evidence),
        took=took(evidence.about, evidence.wall_seconds),
        physics_adds=difference(evidence.metric, evidence.physics_adds),
        best_null=next((line.name for line in evidence.lines() if line.key == evidence.best_null), ""),
        overlap=evidence.overlap,
        images={name: data_uri(path.read_bytes()) for name, path in plots.items()},
        responses=list(enumerate(responses, start=1)),
        seeds=_seed_table(evidence),
        ledger=_ledger(evidence),
        faults=faults,
        doubts=doubts,
        drift=_drift(evidence),
        notes=_notes(evidence),
        tabled=task.tabled(evidence.details),
        remarks=evidence.kind.remarks(evidence.details),
        sparsity=_sparsity(evidence),
        configuration=toml_text(evidence.config.as_table()),
    )


def _when(evidence: Evidence) -> str:
    """Date, duration, operator; empty where nothing is known of them."""
    about = evidence.about
    if about is None:
        return ""
    began = datetime.datetime.fromtimestamp(about.began_seconds).strftime("%Y-%m-%d %H:%M")
    return " · ".join(
        [began, took(evidence.about, evidence.wall_seconds), *([about.operator] if about.operator else [])]
    )


def heading_in_html(column: words.Column) -> Markup:
    """Its title, broken where a narrow table breaks it."""
    return Markup("<br>").join(column.title.split("\n"))


def _score(metric: Metric, score: words.Score) -> str:
    """With a digit more than in the table of means."""
    return f"{metric.scale * score[metric.key]:.{metric.decimals + 1}f}"


def _seed_table(evidence: Evidence) -> list[dict[str, Any]]:
    """One row a seed: the main score of every method, rows and times."""
    methods = [line.key for line in evidence.lines()]
    return [
        {
            "seed": seed.seed,
            "scores": [_score(evidence.metric, seed.scores[method]) for method in methods],
            "sizes": f"{seed.n_train:,} / {seed.n_validation:,} / {seed.n_test:,}",
            "rows": f"{sum(seed.rows.values()):,}",
            "seconds": words.seconds(seed.wall_seconds),
        }
        for seed in evidence.seeds
    ]


def _drift(evidence: Evidence) -> list[dict[str, Any]]:
    """What became of each device that was watched, in a sentence."""
    devices = zip(*(seed.drift for seed in evidence.seeds), strict=False) if evidence.config.reference else ()
    return [
        {"number": number, "text": words.drift([point for curve in curves for point in curve])}
        for number, curves in enumerate(devices, start=1)
    ]


def _notes(evidence: Evidence) -> list[str]:
    """What was noted of data and devices, and in which seeds where not in all."""
    seeds: dict[str, list[int]] = {}
    for seed in evidence.seeds:
        for note in dict.fromkeys(seed.notes):
            seeds.setdefault(note, []).append(seed.seed)
    every = len(evidence.seeds)
    return [
        note if len(found) == every else f"{note} (seed {', '.join(str(seed) for seed in found)})"
        for note, found in seeds.items()
    ]


def _sparsity(evidence: Evidence) -> list[dict[str, Any]]:
    """Mean sparsity of each stage over the seeds, where it is known."""
    stages = zip(*(seed.sparsity for seed in evidence.seeds), strict=False)
    known = [[found for found in stage if found is not None] for stage in stages]
    return [
        {
            "stage": number,
            "hoyer": f"{np.mean([found.hoyer for found in stage]):.2f}",
            "near_zero": f"{100 * np.mean([found.near_zero for found in stage]):.0f} %",
        }
        for number, stage in enumerate(known, start=1)
        if stage
    ]


def _ledger(evidence: Evidence) -> list[dict[str, Any]]:
    """Rows by purpose and where they came from, all seeds together; purposes that never occurred are left out."""
    recalled = {
        purpose: sum(seed.recalled.get(purpose, 0) for seed in evidence.seeds) for purpose in evidence.rows
    }
    return [
        {
            "purpose": purpose,
            "measured": measured,
            "recalled": recalled[purpose],
            "reused": evidence.reused[purpose],
            "writes": evidence.writes.get(purpose, 0),
        }
        for purpose, measured in evidence.rows.items()
        if measured or recalled[purpose] or evidence.reused[purpose]
    ]


LISTED = 10


@dataclass(frozen=True)
class FaultLog:
    """What went wrong with the devices of a run.

    Attributes
    ----------
    count, rows
        Faults, and the rows that they met.
    kinds
        How many of each kind of error, the most frequent first.
    last
        The last ``LISTED``, oldest first: local time, error, rows, and what was done about it.
    """

    count: int
    rows: int
    kinds: list[tuple[str, int]]
    last: list[dict[str, Any]]


def read_faults(metrics: Path) -> FaultLog | None:
    """The faults that ``metrics.jsonl`` tells of, from before a run was resumed too; ``None`` without any."""
    kinds: Counter[str] = Counter()
    rows = 0
    last: list[dict[str, Any]] = []
    for entry in map(_fault, _events(metrics, "DeviceFault")):
        if entry is None:
            continue
        kinds[entry["error"].partition(":")[0]] += 1
        rows += entry["rows"]
        last = [*last[-(LISTED - 1) :], entry]
    if not kinds:
        return None
    return FaultLog(kinds.total(), rows, kinds.most_common(), last)


def read_doubts(metrics: Path) -> list[str]:
    """Why recorded rows may be another device's all the same, in words, each once."""
    found: dict[str, None] = {}
    for entry in _events(metrics, "DeviceDoubted"):
        with suppress(ValueError, KeyError, TypeError):
            found[f"{entry['doing']}: {entry['rows']:,} rows of {entry['identity']}; {entry['doubts']}"] = None
    return list(found)


def _events(metrics: Path, kind: str) -> list[dict[str, Any]]:
    try:
        return list(read_events(metrics, kind))
    except UnreadableError:
        return []


def _fault(entry: dict[str, Any]) -> dict[str, Any] | None:
    try:
        moment = datetime.datetime.fromtimestamp(float(entry["time"])).astimezone()
        return {
            "time": moment.strftime("%Y-%m-%d %H:%M:%S"),
            "error": str(entry["error"]),
            "rows": int(entry["rows"]),
            "action": str(entry["action"]),
        }
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None  # not as this version writes it
