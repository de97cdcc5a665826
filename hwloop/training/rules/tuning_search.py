"""Rules that tune a device by comparing losses: evolution strategies, genetic search, one value at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.training.options import COUNT, INNER_SHARE, SHARE, option, whole_number
from hwloop.training.rules.tuning import TunedBatch, TuningRule, TuningSpace

if TYPE_CHECKING:
    from cmaes import CMA, SepCMA

FULL_COVARIANCE = 100  # tunables up to which CMA-ES learns all of it; a diagonal beyond


@dataclass(eq=False)
class Population(TuningRule):
    """Base of searches that measure every batch under a population.

    Attributes
    ----------
    population
        Tunings that every batch is measured under.
    """

    population: int = option(16, whole_number(4))

    @property
    def variants(self) -> int:
        return self.population


@dataclass(eq=False)
class CovarianceMatrixAdaptation(Population):
    """CMA-ES by the package ``cmaes``; its separable form for more than 100 tunables.

    Attributes
    ----------
    spread
        Standard deviation of the first population, as a share of the range.
    """

    spread: float = option(0.1, INNER_SHARE)

    def missing(self, device: Device) -> str:
        """The package."""
        try:
            import cmaes  # noqa: F401
        except ImportError:
            return "needs the package cmaes: pip install 'hwloop[tuning]'"
        return "" if device.spec.n_tunables > 1 else "needs at least two tunables; take tune-sweep"

    def begin(
        self, space: TuningSpace, device: Device, start: Float64Array, steps: int, rng: np.random.Generator
    ) -> None:
        from cmaes import CMA, SepCMA

        super().begin(space, device, start, steps, rng)
        make = CMA if space.size <= FULL_COVARIANCE else SepCMA
        self._search: CMA | SepCMA = make(
            mean=start,
            sigma=self.spread,
            bounds=np.tile([0.0, 1.0], (space.size, 1)),
            seed=int(rng.integers(2**31)),
            population_size=self.population,
        )

    def ask(self) -> Float64Array:
        self._asked = np.stack([self._search.ask() for _ in range(self.population)])
        return self._asked

    def tell(self, batch: TunedBatch) -> None:
        """A generation."""
        losses = batch.losses.mean(axis=1)
        self._search.tell([(x, float(loss)) for x, loss in zip(self._asked, losses, strict=True)])
        self.shares = np.clip(self._search.mean, 0.0, 1.0)


@dataclass(eq=False)
class ParameterExploration(Population):
    """PEPG: a mean and a standard deviation of every tunable, learned from pairs on either side of the mean.

    Attributes
    ----------
    population
        Tunings that every batch is measured under, half of them on either side; an odd one is not measured.
    spread
        First standard deviation, as a share of the range.
    step
        Learning rate of the means, in standard deviations; that of the standard deviations is a tenth of it.
    """

    spread: float = option(0.05, INNER_SHARE)
    step: float = option(0.2, INNER_SHARE)

    @property
    def variants(self) -> int:
        return 2 * (self.population // 2)

    def begin(
        self, space: TuningSpace, device: Device, start: Float64Array, steps: int, rng: np.random.Generator
    ) -> None:
        super().begin(space, device, start, steps, rng)
        self._spreads = np.full(space.size, self.spread)
        self._baseline: float | None = None

    def ask(self) -> Float64Array:
        self._moves = self._spreads * self.rng.standard_normal((self.variants // 2, self.space.size))
        return np.concatenate([self.shares + self._moves, self.shares - self._moves])

    def tell(self, batch: TunedBatch) -> None:
        """Means along the difference of a pair, standard deviations by how its mean compares with the others'."""
        plus, minus = batch.losses.mean(axis=1).reshape(2, -1)
        both, half = (plus + minus) / 2, (plus - minus) / 2
        size = max(float(np.abs(half).mean()), 1e-12)
        moves = self._moves / self._spreads
        along = (half / size) @ moves / len(moves)
        self.shares = np.clip(self.shares - self.step * self._spreads * along, 0.0, 1.0)
        worth = (both.mean() - both) / max(float(both.std()), 1e-12)
        grown = worth @ (moves**2 - 1) / len(moves)
        self._spreads = np.clip(self._spreads * np.exp(0.1 * self.step * grown), 1e-4, 0.5)


@dataclass(eq=False)
class Genetic(Population):
    """The better half of a population breeds the other half anew, from two parents each; some values mutate.

    Attributes
    ----------
    mutated
        Share of a child's values that mutate, at first.
    last_mutated
        The same at the last batch; between them it falls exponentially.
    """

    population: int = option(16, whole_number(4))
    mutated: float = option(0.1, INNER_SHARE)
    last_mutated: float = option(0.005, INNER_SHARE)

    def begin(
        self, space: TuningSpace, device: Device, start: Float64Array, steps: int, rng: np.random.Generator
    ) -> None:
        super().begin(space, device, start, steps, rng)
        self._steps, self._taken = max(1, steps), 0
        self._living = np.stack([start, *rng.uniform(size=(self.population - 1, space.size))])

    def ask(self) -> Float64Array:
        return self._living

    def tell(self, batch: TunedBatch) -> None:
        """Rank, and replace the worse half."""
        order = np.argsort(batch.losses.mean(axis=1), kind="stable")
        living = self._living[order]
        self.shares = living[0].copy()
        kept = (self.population + 1) // 2
        self._taken += 1
        mutated = self.mutated * (self.last_mutated / self.mutated) ** (self._taken / self._steps)
        chances = np.arange(kept, 0, -1) / (kept * (kept + 1) / 2)  # by rank (Conkey et al. 2012)
        for child in range(kept, self.population):
            one, other = living[self.rng.choice(kept, 2, p=chances)]
            values = np.where(self.rng.random(self.space.size) < 0.5, one, other)
            fresh = self.rng.random(self.space.size) < mutated
            living[child] = np.where(fresh, self.rng.uniform(size=self.space.size), values)
        self._living = living


@dataclass(eq=False)
class CoordinateSweep(TuningRule):
    """One value after the other is tried elsewhere, and stays there if the loss is less.

    Attributes
    ----------
    trials
        Values that are tried with every batch, each by itself, beside the tuning as it stands.
    reach
        How far a value is tried away, at most, as a share of its range; 1 and a binary tunable: it is flipped.
    kept
        Share of the better trials that are taken together: 0 for the best one alone.
    """

    trials: int = option(7, COUNT)
    reach: float = option(1.0, SHARE)
    kept: float = option(0.0, SHARE)

    @property
    def variants(self) -> int:
        return 1 + self.trials

    def begin(
        self, space: TuningSpace, device: Device, start: Float64Array, steps: int, rng: np.random.Generator
    ) -> None:
        if self.reach == 0:
            raise ConfigError("tune-sweep: a reach of 0 tries nothing; give one above 0")
        super().begin(space, device, start, steps, rng)
        self._left: list[int] = []

    def ask(self) -> Float64Array:
        """As it stands, then one other value each; every tunable comes once in a sweep."""
        asked = np.repeat(self.shares[None], self.variants, axis=0)
        self._tried = [self._next() for _ in range(self.trials)]
        for row, tunable in enumerate(self._tried, start=1):
            step, here = self.space.steps[tunable], self.shares[tunable]
            if step >= 1.0:
                asked[row, tunable] = 1.0 - np.round(here)
                continue
            away = self.rng.uniform(max(step, 1e-3), max(self.reach, 2 * step)) * self.rng.choice((-1.0, 1.0))
            asked[row, tunable] = here + away if 0 <= here + away <= 1 else np.clip(here - away, 0.0, 1.0)
        return asked

    def _next(self) -> int:
        if not self._left:
            self._left = self.rng.permutation(self.space.size).tolist()
        return self._left.pop()

    def tell(self, batch: TunedBatch) -> None:
        """The best trials stay, where they are better on the same samples."""
        gains = batch.losses[0].mean() - batch.losses[1:].mean(axis=1)
        better = [int(trial) for trial in np.argsort(-gains, kind="stable") if gains[trial] > 0]
        for trial in better[: max(1, round(self.kept * len(better)))]:
            self.shares[self._tried[trial]] = batch.shares[trial + 1, self._tried[trial]]
