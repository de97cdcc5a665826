"""A frontier: each side is searched once, and kept; the digital one serves every device on a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiments.frontier.kept import kept
from hwloop.experiments.frontier.physics import HEADS, Way, remembers
from hwloop.experiments.frontier.rival import all_rivals
from hwloop.experiments.frontier.shipped import ways_of
from hwloop.experiments.frontier.sides import Entry, Plan, Tell, device_of, digital_side, physical_side
from hwloop.experiments.frontier.standing import WIN, Frontier, Point
from hwloop.layers.fitting_device import open_fitting_device
from hwloop.tasks import task_of_dataset

CLASS_BUDGETS = (11, 22, 44, 88, 176)  # multiply-adds an output, of tasks with a target a row
STEP_BUDGETS = (10, 20, 50, 100, 200)  # the same of a step of a series
FRESH = 7_000  # added to the seeds of a run for those that confirm a win


@dataclass(frozen=True)
class Effort:
    """How hard both sides are searched, and on what they are tested.

    Attributes
    ----------
    trials
        Settings tried on validation rows, of each side at each budget.
    seeds
        Tested on.
    fresh
        Seeds on which the whole search is done once more where the physics wins; 0 for none.
    budgets
        Multiply-adds of a prediction; empty for those of the task.
    trainers, rows
        That tune a device which has tunables, and device rows a training sample that they may measure.
    """

    trials: int = 16
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    fresh: int = 0
    budgets: tuple[int, ...] = ()
    trainers: tuple[str, ...] = ("tune-outputs",)
    rows: float = 50.0

    def __post_init__(self) -> None:
        if self.trials < 4:
            raise ConfigError(f"a frontier needs at least 4 trials a side and budget, not {self.trials}")
        if len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise ConfigError("a frontier needs at least one seed, and each of them once")
        if any(budget < 1 for budget in self.budgets):
            raise ConfigError(f"budgets are numbers of multiply-adds from 1, not {list(self.budgets)}")


def say_nothing(what: str) -> None:
    """For those who want to see no progress."""


def run_frontier(config: ExperimentConfig, effort: Effort, tell: Tell = say_nothing) -> Frontier:
    """Search both sides, and test what was chosen on every seed.

    Raises
    ------
    ConfigError
        The device cannot serve the task, or the experiment names several.
    DeviceError
    """
    found = _frontier(config, effort, effort.seeds, tell)
    if not effort.fresh or not found.counted(WIN):
        return found
    tell("fresh seeds")
    again = _frontier(config, effort, tuple(FRESH + number for number in range(effort.fresh)), tell)
    verdicts = {point.budget: point.verdict for point in again.points}
    points = [
        replace(point, fresh=verdicts[point.budget]) if point.verdict == WIN else point for point in found.points
    ]
    return replace(found, points=tuple(points))


def _frontier(config: ExperimentConfig, effort: Effort, seeds: tuple[int, ...], tell: Tell) -> Frontier:
    task = task_of_dataset(config.dataset.build())
    budgets = effort.budgets or tuple(
        task.read_at_once * each for each in (STEP_BUDGETS if task.steps > 1 else CLASS_BUDGETS)
    )
    plan = Plan(config, tuple(sorted(set(budgets))), seeds, effort.trials, effort.trainers, effort.rows)
    ways = ways_of(config, task.steps > 1, effort.trials)
    rivals, heads = list(all_rivals()), list(HEADS)
    on = {"budgets": list(plan.budgets), "seeds": list(seeds), "trials": effort.trials}
    learned = {"dataset": config.dataset.model_dump(), "split": config.split.model_dump(), **on}
    digital = kept(
        {"side": "digital", **learned, "rivals": [rival.key for rival in rivals]},
        rivals,
        lambda: {"entries": [entry.as_dict() for entry in digital_side(plan, tell)]},
    )
    physical = kept(
        {
            "side": "physics",
            **learned,
            "device": _described(config, task.steps),
            "network": config.network.model_dump(),
            "ways": [way.as_dict() for way in ways],
            "heads": [head.key for head in heads],
            "tuned": [list(effort.trainers), effort.rows],
        },
        heads,
        lambda: _physical(plan, ways, tell),
    )
    theirs = {entry.budget: entry for entry in map(Entry.of, digital["entries"])}
    ours = {entry.budget: entry for entry in map(Entry.of, physical["entries"])}
    better = task.main.higher_is_better
    points = [Point(b, ours.get(b), theirs[b], better) for b in plan.budgets if b in theirs]
    device = device_of(config).name
    return Frontier(
        config.name,
        config.dataset.title,
        device,
        task.kind,
        seeds,
        effort.trials,
        physical["way"],
        physical["about"],
        tuple(points),
        task.steps > 1,
    )


def _physical(plan: Plan, ways: Sequence[Way], tell: Tell) -> dict[str, Any]:
    entries, way, found = physical_side(plan, ways, tell)
    seconds, watts = found.row_seconds, found.watts
    timed = None if seconds is None else seconds * found.rows[1]
    about = {
        "identity": found.identity,
        "rows_per_train_sample": found.rows[0],
        "rows_per_prediction": found.rows[1],
        "overhead_multiply_adds": found.overhead,
        "seconds_per_prediction": timed,
        "joules_per_prediction": None if timed is None or watts is None else timed * watts,
    }
    return {"entries": [entry.as_dict() for entry in entries], "way": way.as_dict(), "about": about}


def _described(config: ExperimentConfig, steps: int) -> Any:
    """What the device says it is made of, under the experiment's own settings; its part where it has memory."""
    part = device_of(config)
    if steps > 1 and remembers(part.name):
        return part.model_dump()
    device = open_fitting_device(part.name, part.settings, 4, {"seed": 0})
    return [part.model_dump(), device.describe().as_dict()]
