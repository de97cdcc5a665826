"""Run an arena: settings first, on validation rows; then every seed on the test rows; each cell kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwloop.experiments.arena.cell import (
    REFERENCES,
    TEST,
    VALIDATION,
    Cell,
    CellResult,
    FitSize,
    cell_config,
    cell_data,
    refusal,
    require_rig,
    tuning_space,
)
from hwloop.experiments.arena.jobs import (
    CellJob,
    Found,
    Search,
    ThisProcess,
    Workers,
    cell_ran,
    keep_nothing,
    searched,
)
from hwloop.experiments.arena.settings import ArenaSettings
from hwloop.experiments.arena.standings import Entry, Standings
from hwloop.experiments.campaign import Campaign, Progress, no_progress, without


class CellStore(Campaign[Cell, CellResult]):
    """Finished cells of an arena's folder."""

    kind, settings_file, lines_file = "arena", "arena.json", "cells.jsonl"

    def deciding(self, settings: Mapping[str, Any]) -> Any:
        """More trainers, budgets or seeds change no cell."""
        return without(settings, "seeds", "trainer", "name", "description")

    def key(self, piece: Cell) -> str:
        return piece.key

    def line(self, piece: Cell, result: CellResult) -> dict[str, Any]:
        return {"cell": asdict(piece), "result": result.as_dict()}

    def read(self, line: Mapping[str, Any]) -> CellResult:
        return CellResult.from_dict(line["result"])


def run_arena(
    settings: ArenaSettings, folder: Path, workers: Workers | None = None, progress: Progress = no_progress
) -> Standings:
    """Every trainer at every budget; what the folder holds already is not run again.

    Parameters
    ----------
    folder
        New, empty, or an arena's on the same device, dataset and network.
    workers
        Where the cells run; in this process by default.
    progress
        Called with what is done, how many and of how many.

    Raises
    ------
    ConfigError
        The folder holds something else, a tool for tuning is missing, or the device refuses its settings: that
        is found before the folder is made.
    DeviceError
        A device failed; what was finished stays in the folder, and the same call goes on with it.
    """
    devices = require_rig(settings.experiment.as_table(), settings.experiment.seeds[0])
    with CellStore(folder, settings.as_table(), devices) as store:
        return _Arena(settings, store, workers or ThisProcess(), progress).run()


@dataclass(frozen=True)
class _Arena:
    settings: ArenaSettings
    store: CellStore
    workers: Workers
    progress: Progress

    def run(self) -> Standings:
        table = self.settings.experiment.as_table()
        admitted, refused = self._admission(table)
        chosen = self._choose(table, admitted)
        seeds = self.settings.experiment.seeds
        wanted = [Cell(found.trainer, found.options, seed, TEST) for found in chosen for seed in seeds]
        references = [Cell(REFERENCES, {}, seed, TEST) for seed in seeds]
        self._measure(table, [*references, *wanted])
        entries = [self._entry(found, seeds) for found in chosen]
        floors = [self._result(cell) for cell in references]
        return Standings(self.settings, tuple(entries), tuple(floors), refused)

    def _admission(self, table: Mapping[str, Any]) -> tuple[list[tuple[str, float]], dict[tuple[str, float], str]]:
        """Which trainers can be served at which budgets, and why the others cannot: before any row."""
        probe = Cell(REFERENCES, {}, self.settings.experiment.seeds[0], VALIDATION)
        config = cell_config(table, probe)
        task = FitSize.of(cell_data(config, probe), config.network.stages)
        admitted, refused = [], {}
        for trainer in self.settings.trainers:
            for budget in self.settings.budgets:
                reason = refusal(trainer, task, budget)
                if reason is None:
                    admitted.append((trainer, budget))
                else:
                    refused[trainer, budget] = reason
        return admitted, refused

    def _choose(self, table: Mapping[str, Any], admitted: list[tuple[str, float]]) -> list[Found]:
        """Settings of every contender; one whose rows no budget changes is chosen once."""
        seed, same_process = self.settings.experiment.seeds[0], isinstance(self.workers, ThisProcess)
        searches = [
            Search(
                table,
                trainer,
                budget,
                self.settings.trials,
                seed,
                {} if same_process else self.store.results(),
                self.store.keep if same_process else keep_nothing,
                self.store.rows_folder,
            )
            for trainer, budget in admitted
        ]
        found = []
        for result in self._counted(
            "tuned", self.workers.run(self._search(same_process), searches), len(searches)
        ):
            for cell, outcome in result.cells:
                if self.store.find(cell) is None:
                    self.store.keep(cell, outcome)
            found.append(result)
        return sorted(found, key=lambda one: admitted.index((one.trainer, one.budget)))

    def _search(self, same_process: bool) -> Callable[[Search], Found]:
        if not same_process:
            return searched
        # Here a search sees what the ones before it found.
        return lambda one: searched(Search(**{**vars(one), "known": self.store.results()}))

    def _measure(self, table: Mapping[str, Any], cells: list[Cell]) -> None:
        missing = {cell.key: cell for cell in cells if self.store.find(cell) is None}
        jobs = [CellJob(table, cell, self.store.rows_folder) for cell in missing.values()]
        for cell, result in self._counted("tested", self.workers.run(cell_ran, jobs), len(jobs)):
            self.store.keep(cell, result)

    def _counted(self, what: str, results: Iterator[Any], of: int) -> Iterator[Any]:
        for done, result in enumerate(results, start=1):
            yield result
            self.progress(what, done, of)

    def _entry(self, found: Found, seeds: list[int]) -> Entry:
        results = [self._result(Cell(found.trainer, found.options, seed, TEST)) for seed in seeds]
        return Entry(
            found.trainer, found.budget, found.options, tuple(results), bool(tuning_space(found.trainer).options)
        )

    def _result(self, cell: Cell) -> CellResult:
        result = self.store.find(cell)
        assert result is not None
        return result
