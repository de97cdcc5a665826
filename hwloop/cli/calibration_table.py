"""A calibration in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hwloop.calibration import Calibration
from hwloop.calibration.figure_table import figure_lines


def show_calibration(calibration: Calibration, console: Console) -> None:
    """Print every figure with its interval, the warnings, and the recommended settings with their reasons."""
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.add_column("")
    for heading in ("median ± 95 %", "least", "greatest"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    group = ""
    for line in figure_lines(calibration.figures):
        if line.group != group:
            group = line.group
            table.add_row(Text(group, style="bold"))
        table.add_row(Text(f"  {line.title}"), line.value, line.least, line.greatest, line.unit)
    console.print(table)
    recommended = calibration.recommended
    settings = {
        "range": "narrowed" if recommended.input_low else "as it is",
        "averages": recommended.averages,
        "settling_rows": recommended.settling_rows,
        "rows_per_call": recommended.rows_per_call,
        "correction": "none" if recommended.correction is None else recommended.correction["kind"],
    }
    console.print(Text("\nRecommended", style="bold"))
    advice = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for name, value in settings.items():
        advice.add_row(name.replace("_", " "), str(value), recommended.reasons[name])
    console.print(advice)
    for warning in calibration.warnings:
        console.print(Text(f"note: {warning}", style="yellow"))
