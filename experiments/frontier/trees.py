"""Boosted trees: a comparison and the addition of a leaf's value count like a multiply-add each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.experiments.frontier.problem import Part, Problem
from hwloop.experiments.frontier.rival import RIVALS, Job, Model, Rival

DEPTHS = (1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class Trees(Model):
    """Boosted trees of scikit-learn."""

    fitted: Any
    multiply_adds: int

    def predicted(self, problem: Problem, part: Part) -> NDArray[Any]:
        return np.asarray(self.fitted.predict(part.rows))


class BoostedTrees(Rival):
    """Histogram gradient boosting (scikit-learn), as many trees as the budget pays at their full depth."""

    key, name = "trees", "boosted trees"

    def suits(self, problem: Problem) -> bool:
        return not problem.series and (problem.task.has_classes or problem.n_values == 1)

    def settings(
        self, problem: Problem, budget: int, trials: int, rng: np.random.Generator
    ) -> list[Mapping[str, Any]]:
        fitting = [depth for depth in DEPTHS if budget >= _cost(problem, depth, 1)]
        return [
            {"depth": int(rng.choice(fitting)), "learning_rate": float(10 ** rng.uniform(-1.0, 0.0))}
            for _ in range(trials if fitting else 0)
        ]

    def fit(self, jobs: Sequence[Job], share: float = 1.0) -> list[Model]:
        return [_fitted(job) for job in jobs]


def _cost(problem: Problem, depth: int, rounds: int) -> int:
    """Comparisons down to a leaf, and one addition, of a tree an output and round."""
    outputs = 1 if problem.n_values == 2 else problem.n_values
    return rounds * outputs * (depth + 1)


def _fitted(job: Job) -> Trees:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    depth, problem = job.settings["depth"], job.problem
    rounds = min(60, job.budget // _cost(problem, depth, 1))
    kind = HistGradientBoostingClassifier if problem.task.has_classes else HistGradientBoostingRegressor
    model = kind(
        max_iter=rounds,
        max_depth=depth,
        max_leaf_nodes=2**depth if depth > 1 else 2,
        learning_rate=job.settings["learning_rate"],
        min_samples_leaf=min(10, max(2, len(problem.train.rows) // 20)),
        early_stopping=False,
        max_bins=64,
        random_state=job.seed,
    )
    model.fit(problem.train.rows, problem.train.samples.targets)
    return Trees(model, math.ceil(_cost(problem, depth, rounds)))


RIVALS.append(BoostedTrees())
