"""What a digital rival is, and how its settings are searched: successive halving on validation rows.

To add one, write a :class:`Rival` in a file of its own and append it to :data:`RIVALS`: the search, the table, the
page, ``--json`` and the cache follow.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hwloop.device.spec import Float64Array
from hwloop.experiments.frontier.problem import Part, Problem


@dataclass(frozen=True, eq=False)
class Job:
    """One model to train: on what, within how many multiply-adds, and how."""

    problem: Problem
    budget: int
    settings: Mapping[str, Any]
    seed: int


class Model(ABC):
    """A trained model.

    Attributes
    ----------
    multiply_adds
        Of one prediction; of series, of a step.
    """

    multiply_adds: int

    @abstractmethod
    def predicted(self, problem: Problem, part: Part) -> NDArray[Any]:
        """Targets of all rows of a part."""

    def exported(self) -> nn.Module | None:
        """The same as layers that see the rows of a problem, for NeuroBench's figures; ``None`` without any."""
        return None


@dataclass(frozen=True)
class Choice:
    """Settings that did best on validation rows, within a budget."""

    key: str
    budget: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    merit: float = -np.inf


class Rival(ABC):
    """A kind of model that a computer evaluates.

    Attributes
    ----------
    key, name
        In files, and in words.
    rungs
        Of the search: with which share of the whole training the settings that are left are tried, and how many
        of them go on to the next rung; on the last, which trains wholly, the best wins.
    """

    key: ClassVar[str]
    name: ClassVar[str]
    rungs: ClassVar[Sequence[tuple[float, float]]] = ((1.0, 1.0),)

    @abstractmethod
    def suits(self, problem: Problem) -> bool:
        """Whether it can learn such a task."""

    @abstractmethod
    def settings(
        self, problem: Problem, budget: int, trials: int, rng: np.random.Generator
    ) -> list[Mapping[str, Any]]:
        """At most so many settings to try within a budget of multiply-adds; none where nothing fits it."""

    @abstractmethod
    def fit(self, jobs: Sequence[Job], share: float = 1.0) -> list[Model]:
        """Train a model a job, with a share of the whole training."""

    def search(
        self, problem: Problem, budgets: Sequence[int], trials: int, seed: int
    ) -> dict[int, list[tuple[Choice, Model]]]:
        """The settings that were trained wholly at each budget, the best first."""
        rng = np.random.default_rng([seed, *self.key.encode()])
        jobs = [
            Job(problem, budget, settings, seed)
            for budget in budgets
            for settings in self.settings(problem, budget, trials, rng)[:trials]
        ]
        for number, (share, kept) in enumerate(self.rungs):
            models = self.fit(jobs, share)
            part = problem.validation
            merits = [_finite(problem.merit(part, model.predicted(problem, part))) for model in models]
            order = np.argsort(merits)[::-1]
            ranked = {b: [i for i in order if jobs[i].budget == b] for b in budgets}
            if number == len(self.rungs) - 1:
                return {
                    b: [(Choice(self.key, b, jobs[i].settings, merits[i]), models[i]) for i in best]
                    for b, best in ranked.items()
                }
            jobs = [jobs[i] for best in ranked.values() for i in best[: max(1, round(kept * len(best)))]]
        raise AssertionError("no rung")


def _finite(merit: float) -> float:
    return merit if np.isfinite(merit) else -np.inf


@dataclass(frozen=True, eq=False)
class LeastSquares(Model):
    """A ridge readout of what an expansion makes of the rows.

    Attributes
    ----------
    expand
        Rows (n, features), or (sequences, steps, features), to (…, k).
    readout
        ``StateReadout`` of them.
    columns
        Of the rows, where the readout sees some as they are.
    """

    expand: Any
    readout: Any
    multiply_adds: int
    columns: Any = None

    def predicted(self, problem: Problem, part: Part) -> NDArray[Any]:
        seen: Float64Array = self.expand(part.rows)
        outputs = self.readout(seen.reshape(-1, seen.shape[-1]))
        return problem.predicted(outputs, part)

    def exported(self) -> nn.Module | None:
        gain, weight = self.readout.gain[:, None], self.readout.weight
        return linear_layer(gain * weight, self.readout.bias - self.readout.mean @ (gain * weight))


def linear_layer(weight: Float64Array, bias: Float64Array) -> nn.Module:
    """A layer of weights (n, values) and biases (values,), in single precision."""
    import torch

    layer = nn.Linear(weight.shape[0], weight.shape[1], dtype=torch.float32)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.T))
        layer.bias.copy_(torch.from_numpy(bias))
    return nn.Sequential(layer)


SHIPPED = ("networks", "trees", "series")  # files with rivals
RIVALS: list[Rival] = []
"""Appended to by the files of the rivals; :func:`all_rivals` has those that ship."""


def all_rivals() -> list[Rival]:
    """Those that ship, and those that were appended."""
    for name in SHIPPED:
        importlib.import_module(f"hwloop.experiments.frontier.{name}")
    return RIVALS


def rival_of(key: str) -> Rival:
    """By its name in files."""
    return next(rival for rival in all_rivals() if rival.key == key)
