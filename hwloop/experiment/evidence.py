"""What a whole run is worth: accuracy beside its floors and ceiling, at its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.experiment import results
from hwloop.experiment.columns import Interval, Summary, paired_difference
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.results import Score, SeedResult
from hwloop.session.account import RUN_PURPOSES


@dataclass(frozen=True)
class Line:
    """One method in the evidence table, over all seeds."""

    key: str
    method: str
    regime: str
    accuracy: Summary
    rows_per_train_sample: float
    rows_per_prediction: float
    multiply_adds: int


@dataclass(frozen=True)
class Evidence:
    """The results of all seeds, and what follows from them.

    Attributes
    ----------
    wall_seconds
        Of the whole run, floors and ceiling included.
    run_dir
        Where the run's folder lies.
    """

    config: ExperimentConfig
    seeds: tuple[SeedResult, ...]
    wall_seconds: float
    run_dir: str

    @property
    def regime(self) -> str:
        """``linear interface`` (every nonlinearity is physical) or ``relu interface`` (digital maps have one)."""
        return f"{'linear' if self.config.network.activation == 'none' else 'relu'} interface"

    def accuracy(self, method: str) -> Summary | None:
        """A method's test accuracy over the seeds; ``None`` if it was not run."""
        if any(method not in seed.scores for seed in self.seeds):
            return None
        return Summary(tuple(seed.scores[method].accuracy for seed in self.seeds))

    @property
    def best_null(self) -> str | None:
        """The null physics with the higher mean test accuracy."""
        means = {method: found.mean for method in results.NULL_PHYSICS if (found := self.accuracy(method))}
        return max(means, key=means.__getitem__) if means else None

    @property
    def physics_adds(self) -> Interval | None:
        """Paired difference of the test accuracy to the best null physics, as a fraction, 95 % t-interval."""
        network, best = self.accuracy(results.NETWORK), self.best_null
        null = self.accuracy(best) if best else None
        return paired_difference(network, null) if network and null else None

    @property
    def rows(self) -> dict[str, int]:
        """Rows measured for the network by purpose, all seeds together."""
        return {purpose: sum(seed.rows.get(purpose, 0) for seed in self.seeds) for purpose in RUN_PURPOSES}

    @property
    def reused(self) -> dict[str, int]:
        """Rows that earlier runs had measured, by purpose, all seeds together."""
        return {purpose: sum(seed.reused.get(purpose, 0) for seed in self.seeds) for purpose in RUN_PURPOSES}

    @property
    def floor_rows(self) -> int:
        """Rows that the one-stage floor measured beyond those of the network, all seeds together."""
        return sum(seed.floor_rows for seed in self.seeds)

    @property
    def rows_per_train_sample(self) -> float:
        """Training rows over training samples, all seeds together; those of earlier runs count too."""
        return (self.rows["train"] + self.reused["train"]) / sum(seed.n_train for seed in self.seeds)

    @property
    def duty_cycle(self) -> float | None:
        """Device busy time over wall time of the measuring phases; ``None`` if nothing was measured."""
        phases = [seed for seed in self.seeds if seed.measuring_seconds]
        if not phases:
            return None
        busy = sum(seed.busy_seconds for seed in phases)
        return min(1.0, busy / sum(seed.measuring_seconds or 0.0 for seed in phases))

    @property
    def confusion(self) -> Any:
        """Test rows of all seeds by true class (first) and predicted class, shape (classes, classes)."""
        return np.sum([seed.confusion for seed in self.seeds], axis=0)

    def lines(self) -> list[Line]:
        """The evidence table: the network, its floors, its ceiling."""
        regime, stages = self.regime, self.config.network.stages
        physical = f"physical, {stages} stage{'s' if stages > 1 else ''}, {self.config.trainer.name}"
        if self.seeds[0].uses_model:
            physical += " (uses a model)"
        named: Sequence[tuple[str, str, str]] = (
            (results.NETWORK, physical, regime),
            (results.LINEAR, "floor: linear softmax, raw inputs", "digital"),
            (results.NULL_ZEROS, "floor: null physics, zeros", regime),
            (results.NULL_IDENTITY, "floor: null physics, linear map", regime),
            (results.ONE_STAGE, "floor: one stage, ridge readout", "linear interface"),
            (results.BACKPROP, "ceiling: backprop, same widths", "digital, relu"),
        )
        return [line for key, method, kind in named if (line := self._line(key, method, kind))]

    def _line(self, key: str, method: str, regime: str) -> Line | None:
        accuracy = self.accuracy(key)
        if accuracy is None:
            return None
        scores = [seed.scores[key] for seed in self.seeds]
        weights = [seed.n_train for seed in self.seeds]
        return Line(
            key,
            method,
            regime,
            accuracy,
            float(np.average([score.rows_per_train_sample for score in scores], weights=weights)),
            float(np.mean([score.rows_per_prediction for score in scores])),
            round(np.mean([score.multiply_adds for score in scores])),
        )

    def as_json(self) -> dict[str, Any]:
        """The object that ``hwloop run --json`` prints.

        Accuracies and differences are fractions of 1. ``rows`` are totals over all seeds and hold what the
        network itself measured. What was not run is ``None``.
        """
        config, adds = self.config, self.physics_adds
        return {
            "experiment": config.name,
            "device": ", ".join(part.name for part in config.device),
            "trainer": config.trainer.name,
            "dataset": config.dataset.name,
            "seeds": [seed.seed for seed in self.seeds],
            "test_accuracy": self._summary(results.NETWORK),
            "floors": {method: self._summary(method) for method in results.FLOORS},
            "ceiling": {method: self._summary(method) for method in results.CEILINGS},
            "multiply_adds": {
                method: self._multiply_adds(method)
                for method in (results.NETWORK, results.LINEAR, results.BACKPROP)
            },
            "physics_adds": adds.as_dict() if adds else _UNKNOWN_INTERVAL,
            "rows": self.rows,
            "rows_per_train_sample": self.rows_per_train_sample,
            "duty_cycle": self.duty_cycle,
            "wall_seconds": self.wall_seconds,
            "run_dir": self.run_dir,
        }

    def _summary(self, method: str) -> dict[str, Any] | None:
        accuracy = self.accuracy(method)
        return None if accuracy is None else accuracy.as_dict()

    def _multiply_adds(self, method: str) -> int | None:
        score: Score | None = self.seeds[-1].scores.get(method)
        return None if score is None else score.multiply_adds


_UNKNOWN_INTERVAL = {"mean": None, "low": None, "high": None}
