"""Who stands where: mean and spread over seeds at each budget, floors beside them, and who nobody beats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hwloop.experiment.columns import Column, columns_of, rows, seconds, shown
from hwloop.experiment.floors import FLOORS
from hwloop.experiment.intervals import Interval, Summary, t_interval
from hwloop.experiments.arena.cell import CellResult
from hwloop.experiments.arena.settings import ArenaSettings
from hwloop.tasks import LearningTask, Metric


@dataclass(frozen=True)
class Entry:
    """A trainer at a budget; one result a seed.

    ``tuned`` says whether there was anything to tune.
    """

    trainer: str
    budget: float
    options: Mapping[str, Any]
    results: tuple[CellResult, ...]
    tuned: bool

    @property
    def refused(self) -> str:
        """Why it could not train, if any seed refused."""
        return next((result.refused for result in self.results if result.refused), "")

    @property
    def score(self) -> Summary:
        """Main test score."""
        return Summary(tuple(result.network_score for result in self.results))

    @property
    def uses_model(self) -> str:
        """What the trainer knew of the device beyond its measured rows; empty for nothing."""
        return self.results[0].uses_model

    @property
    def interval(self) -> Interval:
        """Mean with its 95 % interval over seeds, corrected where they split one set anew."""
        return t_interval(self.score.values, overlap=Summary(tuple(r.overlap for r in self.results)).mean)

    @property
    def rows_a_sample(self) -> float:
        """Device rows that training took, a sample."""
        return Summary(tuple(result.rows_a_sample for result in self.results)).mean

    @property
    def rows_a_prediction(self) -> float:
        """Device rows of a prediction."""
        return self.results[0].rows_a_prediction

    @property
    def digital_seconds(self) -> float:
        """Mean time of the digital arithmetic."""
        return Summary(tuple(result.digital_seconds for result in self.results)).mean


@dataclass(frozen=True)
class Standings:
    """The result of an arena.

    Attributes
    ----------
    entries
        By trainer, then budget; those that trained and those that refused while training.
    references
        Floors, one a seed.
    refused
        By trainer and budget: why it did not take part.
    """

    settings: ArenaSettings
    entries: tuple[Entry, ...]
    references: tuple[CellResult, ...]
    refused: Mapping[tuple[str, float], str]

    @property
    def trained(self) -> list[Entry]:
        """Entries with a score, each once: a budget that changes nothing is not listed again."""
        seen: dict[tuple[str, str], Entry] = {}
        for entry in self.entries:
            if not entry.refused:
                seen.setdefault((entry.trainer, repr(sorted(entry.options.items()))), entry)
        return list(seen.values())

    @property
    def kind(self) -> type[LearningTask]:
        """What kind of task it is."""
        return self.references[0].kind

    @property
    def metric(self) -> Metric:
        """The score that is compared."""
        return self.kind.metrics[0]

    @property
    def columns(self) -> list[Column]:
        """Of its table, each of an entry: the score, what it cost, and what else the evidence has columns for."""
        metric = self.metric
        score = Column(metric.key, f"test {metric.title}", lambda entry: entry.score, partial(shown, metric))
        return [score, *COST_COLUMNS, *self._further_columns()]

    def _further_columns(self) -> list[Column]:
        """Columns of the evidence that the cells' results hold beside those that stand here by name."""
        held = [set(result.figures) for entry in self.trained for result in entry.results]
        every = set.intersection(*held) if held else set()
        return [
            replace(column, of=partial(_figure, column), heading=column.title.replace("\n", " "))
            for column in columns_of(self.kind)
            if column.key in every
        ]

    def _badness(self, entry: Entry) -> float:
        return -entry.score.mean if self.metric.higher_is_better else entry.score.mean

    @property
    def ranking(self) -> list[Entry]:
        """The best first; of two alike, the one with fewer rows."""
        return sorted(self.trained, key=lambda entry: (self._badness(entry), entry.rows_a_sample))

    @property
    def pareto_front(self) -> list[Entry]:
        """Entries that no other beats for as few rows, by rising rows."""
        front: list[Entry] = []
        for entry in sorted(self.trained, key=lambda e: (e.rows_a_sample, self._badness(e))):
            if not front or self._badness(entry) < self._badness(front[-1]):
                front.append(entry)
        return front

    def reference(self, method: str) -> Summary:
        """Main test score of a floor."""
        return Summary(tuple(result.scores[method] for result in self.references))

    @property
    def reference_names(self) -> dict[str, str]:
        """Floors that were scored: their names in the table by their keys, in its order."""
        scored = self.references[0].scores
        return {floor.key: floor.standing_of(self.kind) for floor in FLOORS if floor.key in scored}

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return {
            "entries": [
                {
                    "trainer": entry.trainer,
                    "budget": entry.budget,
                    "options": dict(entry.options),
                    **{column.key: _plain(column.of(entry)) for column in self.columns},
                    "uses_model": entry.uses_model,
                    "on_pareto_front": entry in self.pareto_front,
                }
                for entry in self.ranking
            ],
            **({"definitions": self.kind.definitions()} if self.kind.definitions() else {}),
            "references": {name: self.reference(name).as_dict() for name in self.reference_names},
            "refused": [
                {"trainer": trainer, "budget": budget, "reason": reason}
                for (trainer, budget), reason in [*self.refused.items(), *self._refused_late()]
            ],
        }

    def _refused_late(self) -> list[tuple[tuple[str, float], str]]:
        return [((entry.trainer, entry.budget), entry.refused) for entry in self.entries if entry.refused]


def _figure(column: Column, entry: Entry) -> Any:
    """What a column of the evidence summarises of an entry's seeds."""
    return column.summarise([result.figures[column.key] for result in entry.results], [1.0] * len(entry.results))


def _plain(figure: Any) -> Any:
    return figure.as_dict() if isinstance(figure, Summary) else figure


COST_COLUMNS = (
    Column("rows_a_sample", "rows a\ntraining sample", lambda e: e.rows_a_sample, rows, heading="rows a sample"),
    Column(
        "rows_a_prediction", "rows a\nprediction", lambda e: e.rows_a_prediction, rows, heading="rows a prediction"
    ),
    Column("digital_seconds", "digital\ntime", lambda e: e.digital_seconds, seconds, heading="digital time"),
)
