"""Who stands where: mean and spread over seeds at each budget, floors beside them, and who nobody beats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwloop.experiment import results
from hwloop.experiment.columns import Interval, Summary, t_interval
from hwloop.experiments.arena.cell import CellResult
from hwloop.experiments.arena.settings import ArenaSettings

REFERENCE_NAMES = {
    results.LINEAR: "linear softmax on the inputs",
    results.NULL_ZEROS: "null physics: zeros",
    results.NULL_IDENTITY: "null physics: linear projection",
    results.ONE_STAGE: "one physical stage, ridge readout",
    results.BACKPROP: "ceiling: digital network by backpropagation",
}


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
    def accuracy(self) -> Summary:
        """Test accuracy, in [0, 1]."""
        return Summary(tuple(result.network_accuracy for result in self.results))

    @property
    def uses_model(self) -> str:
        """What the trainer knew of the device beyond its measured rows; empty for nothing."""
        return self.results[0].uses_model

    @property
    def interval(self) -> Interval:
        """Mean with its 95 % interval over seeds."""
        return t_interval(self.accuracy.values)

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
        Floors and ceiling, one a seed.
    refused
        By trainer and budget: why it did not take part.
    """

    settings: ArenaSettings
    entries: tuple[Entry, ...]
    references: tuple[CellResult, ...]
    refused: Mapping[tuple[str, float], str]

    @property
    def trained(self) -> list[Entry]:
        """Entries with an accuracy, each once: a budget that changes nothing is not listed again."""
        seen: dict[tuple[str, str], Entry] = {}
        for entry in self.entries:
            if not entry.refused:
                seen.setdefault((entry.trainer, repr(sorted(entry.options.items()))), entry)
        return list(seen.values())

    @property
    def ranking(self) -> list[Entry]:
        """The best first; of two alike, the one with fewer rows."""
        return sorted(self.trained, key=lambda entry: (-entry.accuracy.mean, entry.rows_a_sample))

    @property
    def pareto_front(self) -> list[Entry]:
        """Entries that no other beats in accuracy for as few rows, by rising rows."""
        front: list[Entry] = []
        for entry in sorted(self.trained, key=lambda e: (e.rows_a_sample, -e.accuracy.mean)):
            if not front or entry.accuracy.mean > front[-1].accuracy.mean:
                front.append(entry)
        return front

    def reference(self, method: str) -> Summary:
        """Test accuracy of a floor or the ceiling."""
        return Summary(tuple(result.accuracy[method] for result in self.references))

    @property
    def reference_methods(self) -> list[str]:
        """Floors and ceiling that were scored, in the order of :data:`REFERENCE_NAMES`."""
        return [name for name in REFERENCE_NAMES if name in self.references[0].accuracy]

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return {
            "entries": [
                {
                    "trainer": entry.trainer,
                    "budget": entry.budget,
                    "options": dict(entry.options),
                    "accuracy": entry.accuracy.as_dict(),
                    "rows_a_sample": entry.rows_a_sample,
                    "rows_a_prediction": entry.rows_a_prediction,
                    "digital_seconds": entry.digital_seconds,
                    "uses_model": entry.uses_model,
                    "on_pareto_front": entry in self.pareto_front,
                }
                for entry in self.ranking
            ],
            "references": {name: self.reference(name).as_dict() for name in self.reference_methods},
            "refused": [
                {"trainer": trainer, "budget": budget, "reason": reason}
                for (trainer, budget), reason in [*self.refused.items(), *self._refused_late()]
            ],
        }

    def _refused_late(self) -> list[tuple[tuple[str, float], str]]:
        return [((entry.trainer, entry.budget), entry.refused) for entry in self.entries if entry.refused]
