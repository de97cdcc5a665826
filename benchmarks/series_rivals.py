"""Digital rivals of a loop on series: NVAR, a Volterra filter found by matching pursuit, an echo state network.

Each draws its settings at random as a loop does, and is given as many trials. Multiply-adds are of one step: a
product of inputs costs what it takes to form, beside its weight.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from loops import FEW, Series, scored

from hwloop.experiment.series_floors import delayed, echo_states
from hwloop.experiments.time_series import nmse
from hwloop.training.optimiser import fit_ridge


@dataclass(frozen=True)
class Rival:
    """One drawn setting: ``score`` gives the NMSE on other steps than it was fitted to."""

    multiply_adds: int
    score: Callable[[Series, Series], float]


def nvar(rng: np.random.Generator, nodes: int) -> Rival:
    """Taps, and all products of the first few; at most ``nodes`` multiply-adds (Gauthier et al. 2021)."""
    while True:
        taps, products = int(rng.integers(1, 80)), int(rng.integers(0, 20))
        first, second = np.triu_indices(products)
        cost = taps + 2 * len(first)
        if products <= taps and cost <= nodes:
            break

    def states(part: Series) -> np.ndarray:
        lags = delayed(part.inputs[:, :, None], taps)
        return np.concatenate([lags, lags[:, :, first] * lags[:, :, second]], axis=2)

    return Rival(cost, lambda train, test: scored(train, test, [states(train), states(test)]))


def echo_state(rng: np.random.Generator, nodes: int) -> Rival:
    """As many nodes as the loop; a step costs nodes^2 more (Jaeger 2001)."""
    radius, scale = rng.uniform(0.3, 1.1), 10 ** rng.uniform(-2, 0.5)
    recurrent = rng.standard_normal((nodes, nodes))
    recurrent *= radius / np.abs(np.linalg.eigvals(recurrent)).max()
    inwards, bias = scale * rng.standard_normal((1, nodes)), scale * rng.standard_normal(nodes)

    def states(part: Series) -> np.ndarray:
        return echo_states(part.inputs[:, :, None], recurrent, inwards, bias)

    def score(train: Series, test: Series) -> float:
        return scored(train, test, [states(train), states(test)], FEW)

    return Rival(nodes * (nodes + 2), score)


def volterra(rng: np.random.Generator, nodes: int) -> Rival:
    """Monomials of lags up to degree 3, taken greedily up to ``nodes`` multiply-adds (matching pursuit)."""
    taps, squares, cubes = int(rng.integers(5, 50)), int(rng.integers(3, 21)), int(rng.choice([0, 0, 3, 6, 8]))
    i, j = np.triu_indices(min(squares, taps))
    triples = [(a, b, c) for a in range(cubes) for b in range(a, cubes) for c in range(b, cubes) if c < taps]
    a, b, c = np.array(triples, dtype=int).reshape(-1, 3).T
    costs = np.concatenate([np.ones(taps), np.full(len(i), 2), np.full(len(a), 3)])

    def library(part: Series) -> np.ndarray:
        lags = part.kept(delayed(part.inputs[:, :, None], taps))
        return np.concatenate([lags, lags[:, i] * lags[:, j], lags[:, a] * lags[:, b] * lags[:, c]], axis=1)

    def score(train: Series, test: Series) -> float:
        known, asked = library(train), library(test)
        chosen = pursued(known, train.aims[:, 0], costs, nodes)
        ridge = fit_ridge(known[:, chosen], train.aims, FEW)
        return nmse(asked[:, chosen] @ ridge.weight + ridge.bias, test.aims)

    return Rival(nodes, score)


def pursued(columns: np.ndarray, aim: np.ndarray, costs: np.ndarray, budget: int) -> list[int]:
    """Columns that orthogonal matching pursuit takes, one after the other, while their costs fit the budget."""
    rest = columns - columns.mean(axis=0)
    rest = rest / np.maximum(np.linalg.norm(rest, axis=0), 1e-12)
    left, chosen, spent = aim - aim.mean(), [], 0
    while True:
        norms = np.linalg.norm(rest, axis=0)
        gain = np.where(norms > 1e-6, np.abs(left @ rest) / np.maximum(norms, 1e-6), 0.0)
        gain[costs > budget - spent] = 0.0
        best = int(gain.argmax())
        if gain[best] <= 0:
            return chosen
        direction = rest[:, best] / norms[best]
        left = left - direction * (direction @ left)
        rest = rest - np.outer(direction, direction @ rest)
        chosen.append(best)
        spent += int(costs[best])


RIVALS = {"NVAR": nvar, "Volterra, matching pursuit": volterra, "echo state network": echo_state}


def best_rival(
    draw: Callable[[np.random.Generator, int], Rival],
    nodes: int,
    trials: int,
    train: Series,
    validation: Series,
    seed: int,
) -> Rival:
    """That of the least validation NMSE among so many."""
    rng = np.random.default_rng(seed)
    drawn = [draw(rng, nodes) for _ in range(trials)]
    return min(drawn, key=lambda rival: rival.score(train, validation))
