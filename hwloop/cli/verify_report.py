"""What ``hwloop verify`` found, in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from hwloop.cli.recorded_in_words import console, moment, plain, size
from hwloop.runs.verification import Verification


def show_verification(found: Verification) -> None:
    """Print what was measured, what else the run holds, and everything that is damaged."""
    out = console()
    out.print(f"{plain(found.folder)}: {_state(found)}", style="bold", soft_wrap=True)
    if any(journal.measured for journal in found.journals):
        out.print(_measured(found))
    for journal in found.journals:
        notes = ", ".join(f"{count} {plain(kind)}" for kind, count in journal.notes.items()) or "none"
        out.print(
            f"{plain(journal.name)}: {journal.rows:,} rows in {journal.records:,} records; notes: {notes}; "
            f"index {'consistent' if journal.index.is_consistent else 'not consistent'}",
            soft_wrap=True,
        )
    for checkpoint in found.checkpoints:
        what = checkpoint.problem or f"{checkpoint.tensors} tensors, {size(checkpoint.bytes)}"
        out.print(f"checkpoints/{plain(checkpoint.name)}: {plain(what)}", soft_wrap=True)
    if found.metrics is not None:
        out.print(f"metrics.jsonl: {found.metrics.lines:,} lines")
    for notice in found.notices:
        out.print(f"note: {plain(notice)}", soft_wrap=True)
    for problem in found.problems:
        out.print(f"damaged: {plain(problem)}", style="red", soft_wrap=True)
    if found.is_whole:
        out.print("every record is whole", style="green")
    else:
        count = len(found.problems)
        out.print(f"{count} problem{'s' if count > 1 else ''}; every record not named above is whole", style="red")


def _state(found: Verification) -> str:
    if found.state is None:
        return "state unknown"
    detail = f" ({plain(found.state.detail)})" if found.state.detail else ""
    return f"{found.state.state} since {moment(found.state.since_seconds)}{detail}"


def _measured(found: Verification) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("journal", no_wrap=True)
    table.add_column("device")
    table.add_column("purpose", no_wrap=True)
    for heading in ("rows", "calls"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("first", "last"):
        table.add_column(heading, no_wrap=True)
    table.add_column("device\nseconds", justify="right", no_wrap=True)
    for journal in found.journals:
        for kind in journal.measured:
            table.add_row(
                plain(journal.name),
                plain(kind.identity) or f"unknown, settings {plain(kind.settings)}",
                plain(kind.purpose),
                f"{kind.rows:,}",
                f"{kind.calls:,}",
                moment(kind.first_seconds),
                moment(kind.last_seconds),
                f"{kind.device_seconds:,.2f}",
            )
    return table
