"""What an arena has finished, on disk after every cell: a killed arena goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from hwloop.device import DeviceDescription
from hwloop.experiments.arena.cell import Cell, CellResult
from hwloop.experiments.finished_lines import FinishedLines

SETTINGS, CELLS, ROWS = "arena.json", "cells.jsonl", "rows"


class CellStore:
    """Finished cells of an arena's folder, see :class:`hwloop.experiments.finished_lines.FinishedLines`.

    Raises
    ------
    ConfigError
        The folder holds an arena on another device, dataset or network, or something else.
    JournalError
        Another process is writing it.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], devices: Sequence[DeviceDescription] = ()
    ) -> None:
        files = (SETTINGS, CELLS)
        self._lines = FinishedLines(
            folder, "arena", files, settings, _decides, lambda line: CellResult(**line["result"]), devices
        )

    @property
    def rows_folder(self) -> Path:
        """Where the rows of cells are kept, by the cell's key."""
        return self._lines.folder.absolute() / ROWS

    def find(self, cell: Cell) -> CellResult | None:
        """What a cell gave, if it is finished."""
        return self._lines.find(cell.key)

    def results(self) -> dict[str, CellResult]:
        """Every finished cell by its key."""
        return self._lines.results()

    def keep(self, cell: Cell, result: CellResult) -> None:
        """Write a finished cell down."""
        self._lines.keep(cell.key, result, {"cell": asdict(cell), "result": asdict(result)})

    def __len__(self) -> int:
        return len(self._lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__()


def _decides(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell's result depends on beside the cell itself: more trainers, budgets or seeds change none."""
    experiment = {**settings.get("experiment", {})}
    for key in ("seeds", "trainer", "name", "description"):
        experiment.pop(key, None)
    return experiment
