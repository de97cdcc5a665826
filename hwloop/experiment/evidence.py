"""What a whole run is worth: its scores beside its floors, at its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwloop.experiment import results
from hwloop.experiment.about import About
from hwloop.experiment.columns import DIFFERENCE_ERROR, ROWS_ERROR, Column, columns_of
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.floor import Floor
from hwloop.experiment.floors import FLOORS
from hwloop.experiment.intervals import (
    Interval,
    Summary,
    difference,
    normal_interval,
    paired_difference,
    score_interval,
    t_interval,
)
from hwloop.experiment.results import SeedResult
from hwloop.experiment.verdict import comparisons
from hwloop.session.account import RUN_PURPOSES
from hwloop.tasks import LearningTask, Metric
from hwloop.tasks.classification import binomial_interval


@dataclass(frozen=True)
class EvidenceLine:
    """One method in the evidence table, over all seeds: what each column summarises, by its key."""

    key: str
    method: str
    regime: str
    figures: Mapping[str, Any]

    @property
    def name(self) -> str:
        """In a sentence: without what the table puts before it."""
        return self.method.partition(": ")[2] or self.method

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
        Of the whole run, floors included.
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
        """The null physics with the best mean test score, random digital features among them."""
        return self._best([floor.key for floor in FLOORS if floor.null])

    @property
    def best_linear_null(self) -> str | None:
        """The best of the null physics that are linear."""
        return self._best([floor.key for floor in FLOORS if floor.null and floor.linear_null])

    def _best(self, methods: Sequence[str]) -> str | None:
        means = {method: found.mean for method in methods if (found := self.score(method))}
        best = max if self.metric.higher_is_better else min
        return best(means, key=means.__getitem__) if means else None

    @property
    def physics_adds(self) -> Interval | None:
        """Paired difference of the test score to the best null physics; positive is better."""
        return self.advantage(self.best_null)

    @property
    def physics_adds_over_linear(self) -> Interval | None:
        """The same to the best linear null physics."""
        return self.advantage(self.best_linear_null)

    def advantage(self, method: str | None) -> Interval | None:
        """By how much the network's test score is better than a method's, paired, with its 95 % interval.

        Seeds that split one set anew share rows, which widens the interval (:func:`t_interval`). Where seeds share
        the test rows, all gave the same, or there is one seed, the interval that these rows alone leave stands
        beside.
        """
        network, other = self.score(results.NETWORK), self.score(method) if method else None
        if not network or not other or method is None:
            return None
        pair = (network, other) if self.metric.higher_is_better else (other, network)
        found = paired_difference(*pair, overlap=self.overlap)
        errors = [seed.scores[method].figures.get(DIFFERENCE_ERROR) for seed in self.seeds]
        known = [error for error in errors if error is not None]
        if len(known) < len(errors) or not self._rows_tell(found):
            return replace(found, shared=self._one_test_part)
        return replace(found, rows=normal_interval(found.mean, float(np.mean(known))))

    @property
    def overlap(self) -> float:
        """Test rows over training rows where seeds split one set anew; 0 where all share the set's test rows."""
        if any(seed.own_test_rows for seed in self.seeds):  # of a run that went on, earlier versions may not say
            return 0.0
        return float(np.mean([seed.n_test / seed.n_train for seed in self.seeds]))

    def _rows_tell(self, found: Interval) -> bool:
        """Whether the spread over seeds does not hold what other test rows would change."""
        return self.overlap == 0.0 or len(self.seeds) == 1 or found.has_no_width

    @property
    def _one_test_part(self) -> bool:
        """Whether several seeds share their test rows."""
        return self.overlap == 0.0 and len(self.seeds) > 1

    @property
    def score_interval(self) -> Interval:
        """How well the network's test score is known."""
        scores = [seed.scores[results.NETWORK] for seed in self.seeds]
        found = t_interval([score[self.metric.key] for score in scores], overlap=self.overlap)
        if not self._rows_tell(found):
            return self._within_reach(found)
        found = self._within_reach(found)
        if self.metric.is_share:
            return replace(found, rows=binomial_interval(found.mean, self.seeds[0].n_test))
        errors = [score.figures[ROWS_ERROR] for score in scores if ROWS_ERROR in score.figures]
        if not errors:
            return replace(found, shared=self._one_test_part)
        return self._within_reach(replace(found, rows=normal_interval(found.mean, float(np.mean(errors)))))

    def _within_reach(self, found: Interval) -> Interval:
        """Ends that the score cannot exceed are cut off: a normal distribution knows no end."""
        ends = (self.metric.least, self.metric.most)
        least, most = (None if end is None else end / self.metric.scale for end in ends)

        def within(end: float) -> float:
            end = end if least is None else max(end, least)
            return end if most is None else min(end, most)

        low, high = (None if end is None else within(end) for end in (found.low, found.high))
        rows = None if found.rows is None else (within(found.rows[0]), within(found.rows[1]))
        return replace(found, low=low, high=high, rows=rows)

    @property
    def pareto_front(self) -> list[EvidenceLine]:
        """Methods that no other beats for as few digital multiply-adds, by rising multiply-adds."""
        sign = 1.0 if self.metric.higher_is_better else -1.0
        priced = [line for line in self.lines() if line.figures.get("multiply_adds") is not None]
        front: list[EvidenceLine] = []
        for line in sorted(priced, key=lambda e: (e["multiply_adds"], -sign * e[self.metric.key].mean)):
            if not front or sign * line[self.metric.key].mean > sign * front[-1][self.metric.key].mean:
                front.append(line)
        return front

    @property
    def rows(self) -> dict[str, int]:
        """Rows measured for the network by purpose, all seeds together."""
        return {purpose: sum(seed.rows.get(purpose, 0) for seed in self.seeds) for purpose in RUN_PURPOSES}

    @property
    def reused(self) -> dict[str, int]:
        """Rows that earlier runs had measured, by purpose, all seeds together."""
        return {purpose: sum(seed.reused.get(purpose, 0) for seed in self.seeds) for purpose in RUN_PURPOSES}

    @property
    def writes(self) -> dict[str, int]:
        """Writes of tunables by purpose, all seeds together; empty where there were none."""
        counted = {purpose: sum(seed.writes.get(purpose, 0) for seed in self.seeds) for purpose in RUN_PURPOSES}
        return {purpose: writes for purpose, writes in counted.items() if writes}

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
        from hwloop.html_report.summary import summary

        columns = self.columns
        headings = ["method", "regime", *(column.title.replace("\n", " ") for column in columns)]
        lines = [[line.method, line.regime, *map(line.shown, columns)] for line in self.lines()]
        facts = {"seeds": len(self.seeds), "run": self.run_dir}
        return summary(self.config.name, facts, headings, lines)

    def lines(self) -> list[EvidenceLine]:
        """The evidence table: the network, its floors."""
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

    def findings(self) -> list[str]:
        """What follows from the table, a sentence each, as terminal and report say it."""
        lines = {line.key: line for line in self.lines()}
        found = [f"test {self.metric.title} of the network: {score_interval(self.metric, self.score_interval)}"]
        found += filter(None, [self.kind.definitions_in_words()])
        best, linear = self.best_null, self.best_linear_null
        if best is not None:
            found.append(f"physics adds {difference(self.metric, self.physics_adds)} over {lines[best].name}")
        if linear is not None and linear != best:
            adds = difference(self.metric, self.physics_adds_over_linear)
            found.append(f"over a linear null it adds {adds}")
        if len(self.pareto_front) > 1:
            front = "; ".join(line.name for line in self.pareto_front)
            found.append(f"best for their digital multiply-adds: {front}")
        if partly := self._partly_run:
            found.append(
                f"not run on every seed, so left out: {'; '.join(partly)} (another version of hwloop ran some "
                "seeds, and may have counted otherwise; a new run has them all)"
            )
        return found

    @property
    def _partly_run(self) -> list[str]:
        """Floors that some seeds have and others lack."""
        known = [floor for floor in FLOORS if any(floor.key in seed.scores for seed in self.seeds)]
        partly = [floor.method_of(self.kind) for floor in known if self.score(floor.key) is None]
        return [method.partition(": ")[2] or method for method in partly]

    def as_json(self) -> dict[str, Any]:
        """The object that ``hwloop run --json`` prints.

        Scores and differences are as the task has them; accuracies are fractions of 1. ``rows`` are totals over
        all seeds and hold what the network itself measured. What was not run is ``None``.
        """
        config = self.config
        return {
            "experiment": config.name,
            "device": ", ".join(part.name for part in config.device),
            "trainer": config.trainer.name,
            "dataset": config.dataset.title,
            "seeds": [seed.seed for seed in self.seeds],
            f"test_{self.metric.key}": self._summary(results.NETWORK),
            "test_interval": self.score_interval.as_dict(),
            **{group: self._summaries(group) for group in dict.fromkeys(floor.json_group for floor in FLOORS)},
            **{column.key: self._plain(column) for column in self.columns[1:] if column.in_json != ()},
            "pareto_front": [line.key for line in self.pareto_front],
            "physics_adds": _plain_interval(self.physics_adds),
            "physics_adds_over": self.best_null,
            "physics_adds_over_linear": _plain_interval(self.physics_adds_over_linear),
            "input_scaling": self.input_scaling,
            "rows": self.rows,
            **({"writes": self.writes} if self.writes else {}),
            "rows_per_train_sample": self.rows_per_train_sample,
            "duty_cycle": self.duty_cycle,
            "wall_seconds": self.wall_seconds,
            "run_dir": self.run_dir,
            "task": self.kind.kind,
            **({"definitions": self.kind.definitions()} if self.kind.definitions() else {}),
            "test_score": {"name": self.metric.key, **(self._summary(results.NETWORK) or {})},
            "description": config.description,
            "derived_from": None if config.derived_from is None else config.derived_from.model_dump(),
            "verdict": {kind: found.as_json() for kind, found in comparisons(self).items()},
            **({} if self.about is None else self.about.as_json()),
        }

    @property
    def _floors(self) -> list[Floor]:
        """Those that such a task has, whether they were run or not."""
        return [floor for floor in FLOORS if floor.meant_for(self.kind)]

    def _summaries(self, group: str) -> dict[str, Any]:
        return {floor.key: self._summary(floor.key) for floor in self._floors if floor.json_group == group}

    def _summary(self, method: str) -> dict[str, Any] | None:
        score = self.score(method)
        return None if score is None else score.as_dict()

    def _plain(self, column: Column) -> dict[str, Any]:
        """A column by method."""
        methods = column.in_json or [results.NETWORK, *(floor.key for floor in self._floors)]
        found = {method: self._values(method, column) for method in methods}
        return {method: None if values is None else column.plain(values) for method, values in found.items()}


def _plain_interval(found: Interval | None) -> dict[str, Any]:
    return {"mean": None, "low": None, "high": None, "test_rows": None} if found is None else found.as_dict()
