"""Who is better, in words: the network beside the best of its floors, and beside the best digital method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwloop.experiment.floor import Floor
from hwloop.experiment.floors import FLOORS
from hwloop.experiment.intervals import Interval
from hwloop.tasks import Metric

if TYPE_CHECKING:
    from hwloop.experiment.evidence import Evidence

NETWORK = "network"
NO_FLOORS = "no floors were run: what the physics is worth is not known"


@dataclass(frozen=True)
class Comparison:
    """The network and one other method.

    Attributes
    ----------
    role
        What the other is among its like: ``best floor``.
    key, method
        Of the other, in files and in words.
    advantage
        By how much the network is better, with its interval; negative where it is worse.
    """

    role: str
    key: str
    method: str
    advantage: Interval
    metric: Metric

    @property
    def winner(self) -> str | None:
        """Who is better beyond what chance explains: ``network``, the other's key, or ``None`` for nobody."""
        return {1: NETWORK, 0: None, -1: self.key}[self.advantage.side]

    @property
    def words(self) -> str:
        """One sentence."""
        return f"{self.role}: {self.method}; {self._outcome()}"

    def _outcome(self) -> str:
        mean, low, high = self.advantage.mean, self.advantage.low, self.advantage.high
        if mean == low == high == 0:
            return "the two score alike on every seed"
        if low is None or high is None:
            return f"with one seed no difference can be shown ({self._apart(mean)})"
        if self.winner == NETWORK:
            return f"the network is better by {self._amount(mean)} ({self._between(low, high)})"
        if self.winner is not None:
            return f"it is better than the network by {self._amount(-mean)} ({self._between(-high, -low)})"
        sign = 1 if mean >= 0 else -1
        (low, high), of = self._widest(low, high)
        ends = sorted((sign * low, sign * high))
        if self.advantage.shared:
            apart = f"{self._apart(mean)}; {self._between(*ends)} over seeds"
            return f"no difference can be shown, for all seeds share one test part ({apart})"
        return f"no difference could be shown ({self._apart(mean)}; {self._between(*ends)}{of})"

    def _widest(self, low: float, high: float) -> tuple[tuple[float, float], str]:
        """The interval that leaves the most open, the one that holds 0, and what it is of where there are two."""
        rows = self.advantage.rows
        if rows is None:
            return (low, high), ""
        return (rows, " of the test rows") if rows[1] - rows[0] > high - low else ((low, high), " over seeds")

    def _apart(self, mean: float) -> str:
        return f"the network is {'better' if mean >= 0 else 'worse'} by {self._amount(abs(mean))}"

    @property
    def _unit(self) -> str:
        return self.metric.difference

    def _amount(self, value: float) -> str:
        return f"{self._figure(value)} {self._unit}".rstrip()

    def _between(self, low: float, high: float) -> str:
        return f"{self._figure(low)} to {self._figure(high)}"

    def _figure(self, value: float) -> str:
        return f"{self.metric.scale * value:z.{self.metric.decimals}f}"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "method": self.key,
            "advantage": self.advantage.as_dict(),
            "winner": self.winner,
            "words": self.words,
        }


def comparisons(evidence: Evidence) -> dict[str, Comparison]:
    """By ``floor`` and ``ceiling`` (digital methods): the network beside the best of each that was run."""
    found = {
        "floor": _best("best floor", (floor for floor in FLOORS if not floor.digital), evidence),
        "ceiling": _best("best digital method", (floor for floor in FLOORS if floor.digital), evidence),
    }
    return {kind: comparison for kind, comparison in found.items() if comparison is not None}


def _best(role: str, floors: Iterable[Floor], evidence: Evidence) -> Comparison | None:
    """The network beside the one with the best mean score."""
    run = {floor.key: (floor, advantage) for floor in floors if (advantage := evidence.advantage(floor.key))}
    if not run:
        return None
    floor, advantage = min(run.values(), key=lambda each: each[1].mean)
    method = floor.method_of(evidence.kind).partition(": ")[2] or floor.method_of(evidence.kind)
    return Comparison(role, floor.key, method, advantage, evidence.metric)
