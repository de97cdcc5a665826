"""The evidence table in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hwloop.experiment import columns as words
from hwloop.experiment import results
from hwloop.experiment.evidence import Evidence

# Columns of a terminal that has room for every method's regime; the title names the network's anyway.
WIDE = 105


def show_evidence(evidence: Evidence, console: Console) -> None:
    """Print the table, what the physics adds, and what it cost."""
    title = Text(f"{evidence.config.name}, {evidence.regime}, {_seeds(evidence)}", style="bold")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    with_regime = console.width >= WIDE
    table.add_column("method", no_wrap=True)
    if with_regime:
        table.add_column("regime", style="dim", no_wrap=True)
    for heading in ("test accuracy", "rows a\ntrain sample", "rows a\nprediction", "multiply-adds\na prediction"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in evidence.lines():
        table.add_row(
            line.method,
            *([line.regime] if with_regime else []),
            words.percent(line.accuracy),
            words.rows(line.rows_per_train_sample),
            words.rows(line.rows_per_prediction),
            f"{line.multiply_adds:,}",
            style="bold" if line.key == results.NETWORK else "",
        )
    console.print(table)
    if evidence.seeds[0].uses_model:
        console.print(f"the trainer uses a model: {evidence.seeds[0].uses_model}", highlight=False)
    if evidence.physics_adds is not None:
        console.print(f"physics adds {words.points(evidence.physics_adds)}", highlight=False)
    measured = _counts(evidence.rows)
    reused = _counts(evidence.reused)
    if reused:
        console.print(f"rows of earlier runs, not measured again: {reused}", highlight=False)
    floors = f", {evidence.floor_rows:,} for the one-stage floor" if evidence.floor_rows else ""
    duty = "" if evidence.duty_cycle is None else f"; duty cycle {100 * evidence.duty_cycle:.0f} %"
    console.print(
        f"rows measured: {measured or 0}{floors}{duty}; {words.seconds(evidence.wall_seconds)} in all",
        highlight=False,
    )


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {purpose}" for purpose, count in rows.items() if count)


def _seeds(evidence: Evidence) -> str:
    count = len(evidence.seeds)
    return f"{count} seeds, mean ± sd" if count > 1 else "one seed"
