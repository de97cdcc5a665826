"""Both sides of a frontier: settings chosen on validation rows, then trained and tested on every seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.partition import Partition, partition
from hwloop.experiment.parts import DevicePart
from hwloop.experiment.workload import workload_of
from hwloop.experiments.arena.settings import VALIDATION, arena_partition
from hwloop.experiments.dataset import split
from hwloop.experiments.frontier.physics import HEADS, Measured, Way, head_of, measured
from hwloop.experiments.frontier.problem import Part, Problem
from hwloop.experiments.frontier.rival import Choice, Job, Model, Rival, all_rivals, rival_of
from hwloop.experiments.frontier.tuned import Tuned
from hwloop.registry import DATASETS, accepted_settings

SEARCHED = 1_000_003  # added to the first seed: series on which settings are searched, which are never tested on
WORKLOAD_ROWS = 256
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """The best of a side within a budget.

    Attributes
    ----------
    key, name, settings
        Of what won on validation rows, ``merit``.
    multiply_adds, scores
        One a seed, of the test rows.
    shares
        What each test row contributes to the score, a list a seed; ``None`` where the rows are no seed's own.
    workload
        NeuroBench's figures of the first seed's digital part; empty where it has no layers.
    """

    key: str
    name: str
    budget: int
    settings: Mapping[str, Any]
    merit: float
    multiply_adds: tuple[int, ...]
    scores: tuple[float, ...]
    shares: tuple[tuple[float, ...], ...] | None = None
    workload: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Entry:
        """As a file holds it."""
        shares = stored["shares"]
        lists = {
            "multiply_adds": tuple(stored["multiply_adds"]),
            "scores": tuple(stored["scores"]),
            "shares": None if shares is None else tuple(map(tuple, shares)),
        }
        return cls(**{**stored, **lists})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Plan:
    """What is searched, and how hard.

    Attributes
    ----------
    seeds
        Every one tests what was chosen.
    trials
        Settings tried on validation rows, of each side at each budget.
    trainers, rows
        That tune a device which has tunables, and device rows a training sample that they may measure.
    """

    experiment: ExperimentConfig
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    trials: int
    trainers: tuple[str, ...] = ()
    rows: float = 50.0

    @property
    def drawn_anew(self) -> bool:
        """Whether every seed has sequences of its own, as a generated series can."""
        return draws_series(self.experiment)

    def data(self, seed: int) -> Partition:
        """The rows of a seed: its test rows are new, or those of all seeds, put aside before the search."""
        config = self.experiment
        part, validation = config.dataset, config.split.validation or VALIDATION
        if self.drawn_anew:
            drawn = part.model_copy(update={"settings": {**(part.settings or {}), "seed": seed}})
            return partition(drawn.build(), seed, split, config.split.test, validation)
        return arena_partition(part.build(), seed, config.split.test, validation, self.seeds[0])

    @property
    def searched_on(self) -> Partition:
        """What settings are chosen on."""
        first = self.seeds[0]
        return self.data(first + SEARCHED if self.drawn_anew else first)


def draws_series(config: ExperimentConfig) -> bool:
    """Whether the dataset generates its sequences from a seed."""
    part = config.dataset
    if part.name is None or ":" in part.name or "seed" in (part.settings or {}):
        return False
    return "seed" in (accepted_settings(DATASETS.load(part.name)) or ())


# -- the digital side -----------------------------------------------------------------------------------------


def digital_side(plan: Plan, tell: Tell) -> list[Entry]:
    """The best digital rival at each budget, each with its share of the trials."""
    problem = Problem.of(plan.searched_on)
    rivals = [rival for rival in all_rivals() if rival.suits(problem)]
    found: list[Choice] = []
    for rival, trials in zip(rivals, shares_of(plan.trials, len(rivals)), strict=True):
        tell(f"digital: {rival.name}")
        ranked = rival.search(problem, plan.budgets, trials, plan.seeds[0])
        found += [best[0][0] for best in ranked.values() if best]
    tell("digital: test rows")
    return tested(plan, within(found, plan.budgets), rival_of, lambda seed: Problem.of(plan.data(seed)), 0)


def shares_of(trials: int, count: int) -> list[int]:
    """So many trials shared out evenly, at least one each."""
    return [max(1, (trials + number) // count) for number in range(count)]


def within(found: Sequence[Choice], budgets: Sequence[int]) -> dict[int, Choice]:
    """The best on validation rows within each budget: what a smaller one pays, a larger one pays too."""
    return {
        budget: max(able, key=lambda choice: choice.merit)
        for budget in budgets
        if (able := [choice for choice in found if choice.budget <= budget])
    }


def tested(
    plan: Plan,
    chosen: Mapping[int, Choice],
    kind_of: Callable[[str], Rival],
    problem_of: Callable[[int], Problem],
    overhead: int,
) -> list[Entry]:
    """Train what was chosen on every seed and score its test rows; budgets are those of the whole prediction."""
    problems = [problem_of(seed) for seed in plan.seeds]
    distinct = list({id(choice): choice for choice in chosen.values()}.values())
    models: dict[int, list[Model]] = {}
    for key in dict.fromkeys(choice.key for choice in distinct):
        mine = [choice for choice in distinct if choice.key == key]
        jobs = [
            Job(problem, choice.budget - overhead, choice.settings, problem.seed)
            for choice in mine
            for problem in problems
        ]
        fitted = kind_of(key).fit(jobs)
        for number, choice in enumerate(mine):
            models[id(choice)] = fitted[number * len(problems) : (number + 1) * len(problems)]
    return [
        _entry(kind_of(choice.key), budget, choice, models[id(choice)], problems, overhead, plan.drawn_anew)
        for budget, choice in chosen.items()
    ]


def _entry(
    kind: Rival,
    budget: int,
    choice: Choice,
    models: Sequence[Model],
    problems: Sequence[Problem],
    overhead: int,
    drawn_anew: bool,
) -> Entry:
    predicted = [model.predicted(problem, problem.test) for model, problem in zip(models, problems, strict=True)]
    scores = [p.task.score(p.test.samples.targets, each) for p, each in zip(problems, predicted, strict=True)]
    shares = None
    if not drawn_anew:
        parts = zip(problems, predicted, strict=True)
        shares = tuple(tuple(map(float, contributions(p.task, p.test.samples.targets, each))) for p, each in parts)
    return Entry(
        choice.key,
        kind.name,
        budget,
        choice.settings,
        float(choice.merit),
        tuple(model.multiply_adds + overhead for model in models),
        tuple(map(float, scores)),
        shares,
        _workload(models[0], problems[0].test),
    )


def _workload(model: Model, part: Part) -> dict[str, float]:
    """NeuroBench's figures of a model that sees rows one by one; those of a series see what was made of them."""
    exported = model.exported()
    if exported is None or part.rows.ndim == 3:
        return {}
    rows = torch.from_numpy(part.rows[:WORKLOAD_ROWS]).to(torch.float32)
    columns = getattr(model, "columns", None)
    rows = rows if columns is None else rows[:, columns]
    first = next(exported.children())
    return workload_of(exported, rows[:, None] if isinstance(first, torch.nn.Conv1d) else rows).as_dict()


def contributions(task: Any, targets: Any, predicted: Any) -> Float64Array:
    """A figure a test row whose mean is the score, to first order in their errors.

    Of an NRMSE over sequences, a row is a sequence: e^2 / (2 NRMSE) + NRMSE / 2 with e^2 its own NMSE.
    """
    if task.main.of_rows is not None:
        return np.asarray(task.main.of_rows(targets, predicted), dtype=np.float64)
    if task.steps == 1:
        return np.empty(0)
    true, found = (each.reshape(len(targets), task.steps, -1)[:, task.washout :] for each in (targets, predicted))
    if task.main.is_share or task.has_classes or true.dtype.kind in "iu":
        return np.asarray((true != found).mean(axis=(1, 2)), dtype=np.float64)
    spread = true.reshape(-1, true.shape[2]).var(axis=0)
    own = (np.square(true - found) / spread).mean(axis=(1, 2))
    root = float(np.sqrt(own.mean())) or 1.0
    return np.asarray(own / (2 * root) + root / 2)


# -- the physical side ----------------------------------------------------------------------------------------


def physical_side(plan: Plan, ways: Sequence[Way], tell: Tell) -> tuple[list[Entry], Way, Measured]:
    """The device under its ways, read by digital heads; the way that does best is the one of every budget.

    Every way is tried with the cheap head; the trials that are left go to the other heads on the best way.
    """
    part, data = device_of(plan.experiment), plan.searched_on
    cheap, others = HEADS[0], HEADS[1:]
    ways = list(ways)[: plan.trials]
    tried: list[tuple[float, Way, Measured, list[Choice]]] = []
    for number, way in enumerate(ways):
        tell(f"{part.name}: way {number + 1} of {len(ways)}")
        found = measured(part, plan.experiment.network, way, data)
        choices = _searched(cheap, found, found.problem, plan, 1)
        merits = [choice.merit for choice in within(choices, plan.budgets).values()]
        tried.append((float(np.mean(merits)) if merits else -np.inf, way, found, choices))
    _, way, found, choices = max(tried, key=lambda each: each[0])
    left = plan.trials - len(ways)
    raw = Problem.of(data)
    made = [Tuned(part, plan.experiment.network, trainer, plan.rows) for trainer in plan.trainers]
    tuners = [each for each in made if each.suits(raw)]
    for tuner in tuners:  # costly, so that one or two trials of each are enough
        tell(f"{part.name}: {tuner.name}")
        choices += _searched(tuner, found, raw, plan, 2)
        left -= 2
    heads = [head for head in others if head.suits(found.problem)]
    if heads and left >= len(heads):
        ordered = found.ordered()
        for head, trials in zip(heads, shares_of(left, len(heads)), strict=True):
            tell(f"{part.name}: {head.name}")
            choices += _searched(head, found, ordered, plan, trials)
    tell(f"{part.name}: test rows")
    asked: dict[int, Measured] = {}

    def problem_of(seed: int) -> Problem:
        asked[seed] = measured(part, plan.experiment.network, way, plan.data(seed))
        return asked[seed].problem

    chosen = within(choices, plan.budgets)
    inside = {each.key: each for each in tuners}
    tuned = {budget: choice for budget, choice in chosen.items() if choice.key in inside}
    chosen = {budget: choice for budget, choice in chosen.items() if choice.key not in inside}
    plain = {budget: choice for budget, choice in chosen.items() if choice.key == cheap.key}
    entries = tested(plan, plain, head_of, problem_of, found.overhead) if plain else []
    trained = {budget: choice for budget, choice in chosen.items() if choice.key != cheap.key}
    if trained:
        for seed in plan.seeds:
            if seed not in asked:
                problem_of(seed)
        entries += tested(plan, trained, head_of, lambda seed: asked[seed].ordered(), found.overhead)
    if tuned:
        entries += tested(
            plan, tuned, inside.__getitem__, lambda seed: Problem.of(plan.data(seed)), found.overhead
        )
    return sorted(entries, key=lambda entry: entry.budget), way, found


def _searched(head: Rival, found: Measured, problem: Problem, plan: Plan, trials: int) -> list[Choice]:
    paid = {budget - found.overhead: budget for budget in plan.budgets if budget > found.overhead}
    ranked = head.search(problem, list(paid), trials, plan.seeds[0]) if paid else {}
    return [dataclasses.replace(best[0][0], budget=paid[budget]) for budget, best in ranked.items() if best]


def device_of(config: ExperimentConfig) -> DevicePart:
    """The one device of an experiment.

    Raises
    ------
    ConfigError
        Its stages have different ones.
    """
    if len(config.device) > 1:
        raise ConfigError(
            f"{config.name}: a frontier reads one device; this experiment names {len(config.device)}"
        )
    return config.device[0]
