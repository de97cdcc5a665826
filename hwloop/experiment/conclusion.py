"""How a run ends, how one whose seeds are all finished is concluded, and what a replay is compared with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwloop.errors import ConfigError, DeviceDrifted, JournalError, was_interrupted
from hwloop.events import Event, Listener
from hwloop.experiment.about import about_run
from hwloop.experiment.events import RunForecast, RunStopped, SeedTakenUp
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.finished import FinishedSeed, FinishedWork, UnfitError
from hwloop.experiment.report import write_report
from hwloop.experiment.results import NETWORK, DeviceResponse, SeedResult
from hwloop.experiment.run_folder import RunFolder, unfinished_run
from hwloop.runs.files import UnreadableError, read_events
from hwloop.runs.layout import FAILED, INTERRUPTED, METRICS
from hwloop.tasks import LearningTask


@contextmanager
def ended(
    folder: RunFolder, emit: Callable[[Event], None], seeds_finished: Callable[[], int], n_seeds: int
) -> Iterator[None]:
    """What happens inside ends the run; afterwards others may write its folder."""
    try:
        yield
    except BaseException as error:
        stopped = was_interrupted(error) or isinstance(error, BrokenPipeError)  # as with: hwloop run | head
        interrupted = stopped or isinstance(error, DeviceDrifted)
        reason = "interrupted" if stopped else f"{type(error).__name__}: {error}"
        with suppress(JournalError):  # why it stopped says more; without a state it counts as interrupted
            folder.write_state(INTERRUPTED if interrupted else FAILED, reason)
        with suppress(JournalError):
            emit(RunStopped(reason, seeds_finished(), n_seeds, str(folder.path)))
        raise
    finally:
        folder.close()


def conclude(
    folder: RunFolder, evidence: Evidence, responses: Sequence[DeviceResponse], task: LearningTask
) -> None:
    """Every seed is finished: the report, the evidence, the state."""
    write_report(evidence, responses, task, folder.path)
    folder.write_line({"event": "Evidence", **evidence.as_json()})
    folder.finish()


# What a replay must reproduce to the last bit; times are its own.
COMPARED = (
    "scores",
    "rows",
    "recalled",
    "reused",
    "writes",
    "floor_rows",
    "losses",
    "devices",
    "drift",
)


@dataclass(frozen=True)
class ReplayComparison:
    """The evidence of a replay, and where it differs from the recorded run: empty if it is the same.

    ``computed_anew`` are floors that the version which recorded the run computed in another way, or not at all.
    """

    evidence: Evidence
    differences: tuple[str, ...]
    computed_anew: tuple[str, ...] = ()


def differences(path: Path, results: Sequence[SeedResult], with_references: bool) -> tuple[str, ...]:
    """Which of the recorded results of a run differ from those of its replay, by seed and name.

    Floors are compared if the replay has them (``with_references``).
    """
    recorded = recorded_results(path)
    found = []
    for result in results:
        now = json.loads(json.dumps(result.as_dict()))
        then = recorded.get(result.seed)
        if then is None:
            found.append(f"seed {result.seed}: the recorded run has no result")
            continue
        then = {**then, "scores": _comparable(then.get("scores") or {}, now["scores"], with_references)}
        compared = [name for name in COMPARED if with_references or name != "floor_rows"]
        compared += [*result.details, result.kind.validation_key]
        found += [f"seed {result.seed}: {name}" for name in compared if now.get(name) != then.get(name)]
    return tuple(found)


def _comparable(then: Mapping[str, Any], now: dict[str, Any], with_references: bool) -> dict[str, Any]:
    """Recorded scores, with the replay's figures where the recorded version had none that could be compared."""
    methods = dict.fromkeys([*now, *(then if with_references else ())])
    anew = _computed_anew(then, now)
    return {
        method: now[method] if method in anew else {**now.get(method, {}), **(then.get(method) or {})}
        for method in methods
    }


def _computed_anew(then: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Floors that the recorded version did not have, or that took it another number of multiply-adds."""
    cost = "multiply_adds"
    floors = [method for method in now if method != NETWORK]
    return {m for m in floors if then.get(m) is None or then[m].get(cost, now[m].get(cost)) != now[m].get(cost)}


def computed_anew(path: Path, results: Sequence[SeedResult]) -> tuple[str, ...]:
    """Which floors of a replay the recorded run cannot be compared in, by their keys."""
    recorded = recorded_results(path)
    found: dict[str, None] = {}
    for result in results:
        now = {method: score.as_dict() for method, score in result.scores.items()}
        found |= dict.fromkeys(_computed_anew(recorded.get(result.seed, {}).get("scores") or {}, now))
    return tuple(sorted(found))


def recorded_results(path: Path) -> dict[int, Mapping[str, Any]]:
    """The last result of each seed in a run's ``metrics.jsonl``."""
    metrics = path / METRICS
    try:
        events = list(read_events(metrics, "SeedResult"))
    except UnreadableError as error:
        raise ConfigError(f"{metrics} {error}") from error
    return {event["seed"]: event for event in events if isinstance(event.get("seed"), int)}


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
            finished_result(folder, emit, finished, number, len(seeds))
        identities = [device for result in results for device in result.devices]
        folder.write_environment(identities, [version for seed in seeds for version in seed.device_versions])
        seconds, about = time.perf_counter() - begin, about_run(path, config)
        evidence = Evidence(config, tuple(results), seconds, str(path), about)
        conclude(folder, evidence, seeds[0].responses, seeds[0].task)
    return evidence


def finished_result(
    folder: RunFolder, emit: Listener, finished: FinishedSeed, number: int, n_seeds: int
) -> SeedResult:
    """A seed that was finished before: told to who listens, and entered in the metrics if it is not there."""
    result = finished.result
    assert result is not None
    if result.seed not in recorded_results(folder.path):
        folder.write_line({"event": "SeedResult", **result.as_dict()})
    rows = sum(result.rows.values()) + result.floor_rows
    main = result.kind.metrics[0]
    figures = result.scores[NETWORK].figures
    shown = result.kind.in_short(figures)
    emit(SeedTakenUp(result.seed, number + 1, n_seeds, rows, figures[main.key], shown, main.key))
    return result
