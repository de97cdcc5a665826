"""How the rows of a passport are spent, said before the first."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from hwloop.errors import BudgetExceeded
from hwloop.passport.capacity import FEWEST_A_STATE
from hwloop.passport.drive import Drive

MOST_ROWS = 5000
SAMPLES, FEWEST_SAMPLES = 4000, 300
ENOUGH_A_NODE = 40  # samples: more tell little more
REPEATED = 100  # samples at least, if there is room
ALIKE = 200  # samples at most, for the generalisation rank
FEWEST_REPEATED, FEWEST_ALIKE = 20, 4
TASK_ROWS = 1000


@dataclass(frozen=True)
class PassportPlan:
    """Sequences of each part, a row each unless the drive says otherwise.

    Attributes
    ----------
    stream
        Independent random inputs: capacity, kernel rank, effective dimension.
    repeated
        The first of the stream, measured twice more, at once and at the end: consistency, noise, drift.
    alike
        Copies of one input with small changes: generalisation rank.
    task_rows
        Rows of tasks that are no series.
    begin
        Rows that the drive itself needs.
    rows_a_sequence
        What a sequence costs.
    nodes
        Of the device, of which so many are used: more would need more samples.
    """

    stream: int
    repeated: int
    alike: int
    task_rows: int
    begin: int
    rows_a_sequence: int
    nodes: int

    @property
    def rows(self) -> int:
        """All rows."""
        return self.begin + self.task_rows + self.rows_a_sequence * (self.stream + 2 * self.repeated + self.alike)

    def __str__(self) -> str:
        each = self.rows_a_sequence
        parts = {
            "to begin": self.begin,
            "of random inputs": each * self.stream,
            "again": each * 2 * self.repeated,
            "alike": each * self.alike,
            "of tasks": self.task_rows,
        }
        return ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)


def plan_passport(drive: Drive, budget: int | None = None, row_tasks: int = 0) -> PassportPlan:
    """Divide a budget, or at most :data:`MOST_ROWS`.

    Parameters
    ----------
    row_tasks
        Tasks that are no series, which measure rows of their own.

    Raises
    ------
    BudgetExceeded
        The budget does not cover the least that gives every figure an interval; nothing has been measured.
    """
    each, per_sequence = drive.rows_a_sequence, drive.samples_a_sequence
    most = MOST_ROWS if budget is None else budget
    fewest, again, near = (
        ceil(samples / per_sequence) for samples in (FEWEST_SAMPLES, FEWEST_REPEATED, FEWEST_ALIKE)
    )
    least = drive.rows_to_begin + each * (fewest + 2 * again + near) + 50 * row_tasks
    if most < least:
        raise BudgetExceeded(
            f"a passport of this device needs at least {least:,} rows, but the budget is {most:,}; nothing was "
            f"measured. Give --budget {least} or more"
        )
    room = most - drive.rows_to_begin
    task_rows = row_tasks * max(50, min(TASK_ROWS, room // (4 * row_tasks))) if row_tasks else 0
    sequences = (room - task_rows) // each
    wanted = ceil(min(max(SAMPLES // 2, ENOUGH_A_NODE * drive.nodes), SAMPLES) / per_sequence)
    alike = max(near, min(ceil(min(2 * drive.nodes, ALIKE) / per_sequence), sequences // 8))
    repeated = max(again, min(ceil(REPEATED / per_sequence), sequences // 10))
    stream = max(fewest, min(wanted, sequences - alike - 2 * repeated))
    nodes = min(drive.nodes, stream * per_sequence // FEWEST_A_STATE)
    return PassportPlan(stream, repeated, alike, task_rows, drive.rows_to_begin, each, nodes)
