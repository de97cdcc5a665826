"""What a search found, for people and for programs: a table, a TOML experiment, a JSON object."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwloop.experiment.columns import rows as rows_shown
from hwloop.experiment.columns import shown
from hwloop.experiment.intervals import difference
from hwloop.experiments.tune.search import Tested, TuneResult
from hwloop.journal.durable_files import atomic_write
from hwloop.toml_text import toml_text, with_overrides

TUNED, TABLE, FIGURES = "tuned.toml", "table.md", "tune-result.json"


def write_tune(result: TuneResult, folder: Path) -> Path:
    """Write experiment, table and figures into a folder; returns the experiment's path."""
    atomic_write(folder / FIGURES, json.dumps(as_json(result), indent=1))
    headings, lines = table_of(result)
    table = [headings, ["---"] * len(headings), *lines]
    words = "\n".join(f"- {sentence}" for sentence in sentences(result))
    atomic_write(folder / TABLE, "\n".join(f"| {' | '.join(line)} |" for line in table) + f"\n\n{words}\n")
    atomic_write(folder / TUNED, tuned_experiment(result))
    return folder / TUNED


def table_of(result: TuneResult) -> tuple[list[str], list[list[str]]]:
    """Headings and lines: defaults, and the best where it is another."""
    metrics = [metric for metric in result.kind.metrics if metric is result.metric or metric.beside]
    headings = ["settings", f"validation {result.metric.title}", *(f"test {metric.title}" for metric in metrics)]
    headings += ["rows a sample", "multiply-adds"]
    candidates = [("the experiment's own", result.defaults)]
    candidates += [("tuned", result.best)] if result.best.settings else []
    return headings, [_line(name, tested, result) for name, tested in candidates]


def _line(name: str, tested: Tested, result: TuneResult) -> list[str]:
    metrics = [metric for metric in result.kind.metrics if metric is result.metric or metric.beside]
    scores = [(metric, tested.summary(metric.key)) for metric in metrics]
    first = tested.results[0]
    return [
        name,
        result.metric.shown(tested.validation),
        *("–" if found is None else shown(metric, found) for metric, found in scores),
        rows_shown(first.rows_a_sample),
        f"{first.multiply_adds:,}",
    ]


def sentences(result: TuneResult) -> list[str]:
    """What follows, and how far it can be trusted."""
    done = [tried for tried in result.tried if tried.score is not None]
    refused = len(result.tried) - len(done)
    found = []
    if result.best.settings:
        found.append(f"tuned: {', '.join(result.best.settings)}")
        found.append(f"tuning adds {difference(result.metric, result.gain)}, paired by seed")
    else:
        found.append("no settings that were tried were better on the validation rows than the experiment's own")
    seeds = len(result.settings.fresh_seeds)
    found.append(
        f"{len(done)} settings were compared on the validation rows of one seed"
        + (f", {refused} more could not be trained with" if refused else "")
        + f"; the test rows were put aside before that, and were looked at once, with {seeds} other "
        + ("seed" if seeds == 1 else "seeds")
    )
    if result.stopped:
        found.append(f"stopped {result.stopped}")
    if words := result.kind.definitions_in_words():
        found.append(words)
    return found


def tuned_experiment(result: TuneResult) -> str:
    """A TOML experiment with the best settings, that ``hwloop run`` takes.

    Its own split is by its own seeds: where the dataset has no test rows of its own, some of its test rows may be
    rows that the search was judged on. Its first lines say so, and what the search measured.
    """
    own = result.settings.experiment
    table: dict[str, Any] = with_overrides(own.as_table(), result.best.settings)
    table |= {"name": f"{own.name[:94]}-tuned", "seeds": list(result.settings.fresh_seeds)}
    table.pop("budget", None)
    headings, lines = table_of(result)
    told = [f"{', '.join(map(' '.join, zip(headings[1:], line[1:], strict=True)))} ({line[0]})" for line in lines]
    head = [
        f"Made by a search over {own.name}: {len(result.tried)} settings.",
        *told,
        "These test scores are of rows that the search never saw. A run of this file splits by its seeds, so",
        "where the dataset has no test rows of its own, its test rows may be some that settings were chosen on.",
    ]
    return "\n".join(f"# {line}" for line in head) + "\n" + toml_text(table)


def as_json(result: TuneResult) -> dict[str, Any]:
    """Plain numbers and text."""

    def plain(tested: Tested) -> dict[str, Any]:
        keys = [metric.key for metric in result.kind.metrics]
        found = {key: summary.as_dict() for key in keys if (summary := tested.summary(key)) is not None}
        return {"settings": list(tested.settings), "validation": tested.validation, "test": found}

    return {
        "experiment": result.settings.experiment.name,
        "task": result.kind.kind,
        "score": result.metric.key,
        **({"definitions": result.kind.definitions()} if result.kind.definitions() else {}),
        "space": result.settings.as_table()["space"],
        "search_seed": result.settings.search_seed,
        "seeds": list(result.settings.fresh_seeds),
        "defaults": plain(result.defaults),
        "best": plain(result.best),
        "gain": result.gain.as_dict(),
        "rows": result.rows,
        "stopped": result.stopped,
        "trials": [asdict(tried) for tried in result.tried],
    }
