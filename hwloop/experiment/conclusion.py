"""A run that was stopped when all its seeds were finished: what is left is its report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hwloop.events import Event, Listener
from hwloop.experiment.ending import conclude, ended
from hwloop.experiment.events import RunForecast, SeedTakenUp
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.finished import FinishedSeed, FinishedWork, UnfitError
from hwloop.experiment.replay import recorded_results
from hwloop.experiment.results import NETWORK, SeedResult
from hwloop.experiment.run_folder import RunFolder, unfinished_run


def concluded(path: Path, listeners: Sequence[Listener] = ()) -> Evidence | None:
    """Finish a run whose seeds are all finished, without device, data or torch; ``None`` if one is not.

    Raises
    ------
    ConfigError
        The folder holds no run, or a finished one.
    JournalError
        Another process is writing it, or the disk fails.
    """
    begin = time.perf_counter()
    config = unfinished_run(path)
    work = FinishedWork(path, config)
    try:
        seeds = [work.fitting(seed) for seed in config.seeds]
    except UnfitError:
        return None
    results = [seed.result for seed in seeds if seed.result is not None]
    if len(results) < len(seeds):
        return None
    folder = RunFolder(path, config)
    heard: list[Listener] = [folder, *folder.extra_listeners, *listeners]

    def emit(event: Event) -> None:
        for listener in heard:
            listener(event)

    with ended(folder, emit, lambda: len(results), len(seeds)):
        emit(RunForecast(**seeds[0].forecast))
        for number, finished in enumerate(seeds):
            take_up(folder, emit, finished, number, len(seeds))
        identities = [device for result in results for device in result.devices]
        folder.write_environment(identities, [version for seed in seeds for version in seed.device_versions])
        evidence = Evidence(config, tuple(results), time.perf_counter() - begin, str(path))
        conclude(folder, evidence, seeds[0].responses, seeds[0].class_names)
    return evidence


def take_up(folder: RunFolder, emit: Listener, finished: FinishedSeed, number: int, n_seeds: int) -> SeedResult:
    """A seed that was finished before: told to who listens, and entered in the metrics if it is not there."""
    result = finished.result
    assert result is not None
    if result.seed not in recorded_results(folder.path):
        folder.write_line({"event": "SeedResult", **result.as_dict()})
    rows = sum(result.rows.values()) + result.floor_rows
    emit(SeedTakenUp(result.seed, number + 1, n_seeds, rows, result.scores[NETWORK].accuracy))
    return result
