"""What a whole run is worth: its scores beside its floors and ceiling, at its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwloop.experiment import results
from hwloop.experiment.about import About
from hwloop.experiment.columns import Column, Interval, Summary, columns_of, paired_difference
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.floors import FLOORS
from hwloop.experiment.results import SeedResult
from hwloop.experiment.verdict import comparisons
from hwloop.html_report.summary import summary
from hwloop.session.account import RUN_PURPOSES
from hwloop.tasks import LearningTask, Metric


@dataclass(frozen=True)
class EvidenceLine:
    """One method in the evidence table, over all seeds: what each column summarises, by its key."""

    key: str
    method: str
    regime: str
    figures: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.figures[key]

    def shown(self, column: Column) -> str:
        """As a person reads it; a dash where an earlier version did not know the column."""
        found = self.figures.get(column.key)
        return "–" if found is None else column.show(found)


@dataclass(frozen=True)
class Evidence:
    """The results of all seeds, and what follows from them.

    Attributes
    ----------
    wall_seconds
        Of the whole run, floors and ceiling included.
    run_dir
        Where the run's folder lies.
    about
        When it was, who ran it, notes and tags; ``None`` where nobody has said.
    """

    config: ExperimentConfig
    seeds: tuple[SeedResult, ...]
    wall_seconds: float
    run_dir: str
    about: About | None = None

    @property
    def regime(self) -> str:
        """``linear interface`` (every nonlinearity is physical) or ``relu interface`` (digital maps have one)."""
        return f"{'linear' if self.config.network.activation == 'none' else 'relu'} interface"

    @property
    def kind(self) -> type[LearningTask]:
        """What kind of task it is."""
        return self.seeds[0].kind

    @property
    def metric(self) -> Metric:
        """The score that is compared."""
        return self.kind.metrics[0]

    @property
    def columns(self) -> list[Column]:
        """The columns of the table."""
        return columns_of(self.kind)

    def score(self, method: str) -> Summary | None:
        """A method's main test score over the seeds; ``None`` if it was not run."""
        if any(method not in seed.scores for seed in self.seeds):
            return None
        return Summary(tuple(seed.scores[method][self.metric.key] for seed in self.seeds))

    @property
    def best_null(self) -> str | None:
        """The null physics with the better mean test score."""
        means = {floor.key: found.mean for floor in FLOORS if floor.null and (found := self.score(floor.key))}
        best = max if self.metric.higher_is_better else min
        return best(means, key=means.__getitem__) if means else None

    @property
    def physics_adds(self) -> Interval | None:
        """Paired difference of the test score to the best null physics, 95 % t-interval; positive is better."""
        best = self.best_null
        return self.advantage(best) if best else None

    def advantage(self, method: str) -> Interval | None:
        """By how much the network's test score is better than a method's, paired, with its interval."""
        network, other = self.score(results.NETWORK), self.score(method)
        if not network or not other:
            return None
        return paired_difference(*((network, other) if self.metric.higher_is_better else (other, network)))

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
    def input_scaling(self) -> dict[str, Any]:
        """What was asked for, and what each seed was trained with."""
        asked = self.config.network.input_scaling
        return {"setting": asked, "seeds": [seed.input_scaling or asked for seed in self.seeds]}

    @property
    def duty_cycle(self) -> float | None:
        """Device busy time over wall time of the measuring phases; ``None`` if nothing was measured."""
        phases = [seed for seed in self.seeds if seed.measuring_seconds]
        if not phases:
            return None
        busy = sum(seed.busy_seconds for seed in phases)
        return min(1.0, busy / sum(seed.measuring_seconds or 0.0 for seed in phases))

    @property
    def details(self) -> dict[str, Any]:
        """What the task keeps of the test rows of all seeds, such as the confusion matrix."""
        return dict(self.kind.pooled([seed.details for seed in self.seeds]))

    def _repr_html_(self) -> str:
        columns = self.columns
        headings = ["method", "regime", *(column.title.replace("\n", " ") for column in columns)]
        lines = [[line.method, line.regime, *map(line.shown, columns)] for line in self.lines()]
        facts = {"seeds": len(self.seeds), "run": self.run_dir}
        return summary(self.config.name, facts, headings, lines)

    def lines(self) -> list[EvidenceLine]:
        """The evidence table: the network, its floors, its ceiling."""
        regime, stages = self.regime, self.config.network.stages
        physical = f"physical, {stages} stage{'s' if stages > 1 else ''}, {self.config.trainer.name}"
        if self.seeds[0].uses_model:
            physical += " (uses a model)"
        named = [(results.NETWORK, physical, regime)]
        named += [(floor.key, floor.method_of(self.kind), floor.regime or regime) for floor in FLOORS]
        return [EvidenceLine(*each, self._figures(each[0])) for each in named if self.score(each[0]) is not None]

    def _figures(self, method: str) -> dict[str, Any]:
        weights = [seed.n_train for seed in self.seeds]
        return {
            column.key: column.summarise(values, weights)
            for column in self.columns
            if (values := self._values(method, column)) is not None
        }

    def _values(self, method: str, column: Column) -> list[float] | None:
        """A method's figures of all seeds; ``None`` where it was not run, or an earlier version ran it."""
        scores = [seed.scores.get(method) for seed in self.seeds]
        known = [score[column.key] for score in scores if score is not None and column.key in score.figures]
        return known if len(known) == len(scores) else None

    def as_json(self) -> dict[str, Any]:
        """The object that ``hwloop run --json`` prints.

        Scores and differences are as the task has them; accuracies are fractions of 1. ``rows`` are totals over
        all seeds and hold what the network itself measured. What was not run is ``None``.
        """
        config, adds = self.config, self.physics_adds
        return {
            "experiment": config.name,
            "device": ", ".join(part.name for part in config.device),
            "trainer": config.trainer.name,
            "dataset": config.dataset.title,
            "seeds": [seed.seed for seed in self.seeds],
            f"test_{self.metric.key}": self._summary(results.NETWORK),
            "floors": {floor.key: self._summary(floor.key) for floor in FLOORS if not floor.ceiling},
            "ceiling": {floor.key: self._summary(floor.key) for floor in FLOORS if floor.ceiling},
            **{column.key: self._plain(column) for column in self.columns[1:] if column.in_json != ()},
            "physics_adds": adds.as_dict() if adds else _UNKNOWN_INTERVAL,
            "input_scaling": self.input_scaling,
            "rows": self.rows,
            "rows_per_train_sample": self.rows_per_train_sample,
            "duty_cycle": self.duty_cycle,
            "wall_seconds": self.wall_seconds,
            "run_dir": self.run_dir,
            "task": self.kind.kind,
            "test_score": {"name": self.metric.key, **(self._summary(results.NETWORK) or {})},
            "description": config.description,
            "derived_from": None if config.derived_from is None else config.derived_from.model_dump(),
            "verdict": {kind: found.as_json() for kind, found in comparisons(self).items()},
            **({} if self.about is None else self.about.as_json()),
        }

    def _summary(self, method: str) -> dict[str, Any] | None:
        score = self.score(method)
        return None if score is None else score.as_dict()

    def _plain(self, column: Column) -> dict[str, Any]:
        """A column by method."""
        methods = column.in_json or [results.NETWORK, *(floor.key for floor in FLOORS)]
        found = {method: self._values(method, column) for method in methods}
        return {method: None if values is None else column.plain(values) for method, values in found.items()}


_UNKNOWN_INTERVAL = {"mean": None, "low": None, "high": None}
