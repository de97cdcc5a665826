"""Digital rivals of a series: products of past values, chosen or all, and echo state networks."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.experiment.series_floors import delayed, echo_states, with_products
from hwloop.experiments.frontier.matching import matched
from hwloop.experiments.frontier.problem import Problem
from hwloop.experiments.frontier.rival import RIVALS, Job, LeastSquares, Model, Rival
from hwloop.training.echo_state import StateReadout

# Steps of the past, and how many of the last ones enter with products of two and of three.
LIBRARIES = ((20, 10, 0), (20, 10, 6), (40, 12, 0), (12, 12, 7), (40, 0, 0), (30, 20, 0))
AUTOREGRESSIONS = tuple(itertools.product((2, 5, 10, 15, 20, 30, 50), (0, 2, 3, 4, 5, 6, 8, 10, 12)))


def least_squares(problem: Problem, expand: Callable[[Float64Array], Float64Array], cost: int) -> LeastSquares:
    """A ridge readout of an expansion, fitted to the training steps after the washout."""
    seen = expand(problem.train.rows)
    steps = problem.steps_of(problem.train.__class__(seen, problem.train.samples))
    return LeastSquares(expand, StateReadout.fitted(steps, problem.aims_of(problem.train)), cost)


class SeriesRival(Rival):
    """For tasks with a target at every step."""

    def suits(self, problem: Problem) -> bool:
        return problem.series


class SeparateFits(SeriesRival):
    """Models that share nothing: one is fitted after the other."""

    def fit(self, jobs: Sequence[Job], share: float = 1.0) -> list[Model]:
        return [self.fitted(job) for job in jobs]

    @abstractmethod
    def fitted(self, job: Job) -> Model:
        """One of them."""


class Autoregression(SeparateFits):
    """The last steps, and all products of two of the very last: NVAR.

    A product of two steps is computed when the later one comes, and waits for its turn: one a distance.
    Source: Gauthier, Bollt, Griffith and Barbosa, Nat. Commun. 12, 5564 (2021).
    """

    key, name = "nvar", "nonlinear vector autoregression"

    def settings(
        self, problem: Problem, budget: int, trials: int, rng: np.random.Generator
    ) -> list[Mapping[str, Any]]:
        def cost(taps: int, products: int) -> int:
            return self.cost(problem, taps, products)

        fitting = sorted((cost(*each), each) for each in AUTOREGRESSIONS if each[1] <= each[0])
        fitting = [each for each in fitting if each[0] <= budget][-trials:]
        return [{"taps": taps, "products": products} for _, (taps, products) in fitting]

    @staticmethod
    def cost(problem: Problem, taps: int, products: int) -> int:
        """Weights, and a product a distance and pair of features."""
        features = problem.n_features
        pairs = features * products * (features * products + 1) // 2
        return problem.n_values * (taps * features + pairs) + products * features**2

    def fitted(self, job: Job) -> Model:
        taps, products = job.settings["taps"], job.settings["products"]
        count = job.problem.n_features * products

        def expand(rows: Float64Array) -> Float64Array:
            return with_products(delayed(rows, taps), count)

        return least_squares(job.problem, expand, self.cost(job.problem, taps, products))


class Volterra(SeriesRival):
    """Values and products of the past, chosen one after the other by orthogonal matching pursuit."""

    key, name = "volterra", "Volterra filter by matching pursuit"

    def settings(
        self, problem: Problem, budget: int, trials: int, rng: np.random.Generator
    ) -> list[Mapping[str, Any]]:
        return [{"taps": t, "pairs": q, "triples": r} for t, q, r in LIBRARIES[:trials]]

    def fit(self, jobs: Sequence[Job], share: float = 1.0) -> list[Model]:
        most = max(job.budget for job in jobs)
        orders: dict[Any, tuple[list[int], list[int]]] = {}
        found: list[Model] = []
        for job in jobs:
            key = id(job.problem), *job.settings.values()
            terms = library(job.problem.n_features, *job.settings.values())
            if key not in orders:
                orders[key] = _pursued(job.problem, terms, most)
            order, costs = orders[key]
            count = max(1, sum(cost <= job.budget for cost in costs))
            kept = [terms[k] for k in order[:count]]

            taps = job.settings["taps"]

            def expand(rows: Float64Array, taps: int = taps, kept: list[tuple[int, ...]] = kept) -> Float64Array:
                return products_of(delayed(rows, taps), kept)

            found.append(least_squares(job.problem, expand, costs[count - 1]))
        return found


@cache
def library(features: int, taps: int, pairs: int, triples: int) -> list[tuple[int, ...]]:
    """Products by the numbers of their factors among the delayed values, the newest first."""
    found: list[tuple[int, ...]] = [(k,) for k in range(taps * features)]
    found += itertools.combinations_with_replacement(range(pairs * features), 2)
    return found + list(itertools.combinations_with_replacement(range(triples * features), 3))


def products_of(values: Float64Array, terms: Sequence[tuple[int, ...]]) -> Float64Array:
    """The products (…, terms) of delayed values (…, n)."""
    columns = []
    for term in terms:
        column = values[..., term[0]]
        for factor in term[1:]:
            column = column * values[..., factor]
        columns.append(column)
    return np.stack(columns, axis=-1)


def _pursued(problem: Problem, terms: list[tuple[int, ...]], most: int) -> tuple[list[int], list[int]]:
    """Terms in the order of the pursuit, and what all up to each of them cost.

    A weight is one multiply-add a value. A product that is another one some steps ago is not computed again.
    """
    taps = 1 + max(term[0] // problem.n_features for term in terms)
    seen = products_of(delayed(problem.train.rows, taps), terms)
    steps = problem.steps_of(problem.train.__class__(seen, problem.train.samples))
    order = matched(steps, problem.aims_of(problem.train), most // problem.n_values)
    known: set[tuple[int, ...]] = set()
    costs, total = [], 0
    for number in order:
        form = _form(terms[number], problem.n_features)
        parts = {form[:length] for length in range(2, len(form) + 1)}
        total += problem.n_values + len(parts - known)
        known |= parts
        costs.append(total)
    return order, costs


def _form(term: tuple[int, ...], features: int) -> tuple[int, ...]:
    """The product when its newest factor was new."""
    newest = features * (min(term) // features)
    return tuple(factor - newest for factor in term)


class EchoState(SeparateFits):
    """A sparse echo state network: each node sees the inputs, and a few others. tanh is not counted.

    Source: Jaeger, GMD report 148 (2001).
    """

    key, name = "echo_state", "echo state network"

    def settings(
        self, problem: Problem, budget: int, trials: int, rng: np.random.Generator
    ) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for _ in range(trials):
            links = int(rng.choice([1, 2, 4]))
            nodes = budget // (links + problem.n_features + problem.n_values)
            if nodes > links:
                found.append(
                    {
                        "nodes": nodes,
                        "links": links,
                        "radius": float(rng.uniform(0.3, 1.0)),
                        "input_scale": float(10 ** rng.uniform(-1.5, 0.3)),
                        "bias_scale": float(10 ** rng.uniform(-1.5, 0.3)),
                    }
                )
        return found

    def fitted(self, job: Job) -> Model:
        problem, settings = job.problem, job.settings
        nodes, links = settings["nodes"], settings["links"]
        rng = np.random.default_rng([job.seed, nodes, links])
        recurrent = np.zeros((nodes, nodes))
        for node in range(nodes):
            recurrent[rng.choice(nodes, links, replace=False), node] = rng.standard_normal(links)
        radius = np.abs(np.linalg.eigvals(recurrent)).max()
        recurrent *= settings["radius"] / radius if radius > 1e-9 else 0.0
        inwards = settings["input_scale"] * rng.standard_normal((problem.n_features, nodes))
        bias = settings["bias_scale"] * rng.standard_normal(nodes)

        def expand(rows: Float64Array) -> Float64Array:
            return echo_states(rows, recurrent, inwards, bias)

        return least_squares(problem, expand, nodes * (links + problem.n_features + problem.n_values))


RIVALS += [Autoregression(), Volterra(), EchoState()]
