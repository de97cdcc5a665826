"""Who is better within a budget of multiply-adds: win, tie or lose, with the paired interval it follows from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.experiment.intervals import (
    Interval,
    Summary,
    difference,
    normal_interval,
    paired_difference,
    standard_error,
)
from hwloop.experiments.frontier.sides import Entry
from hwloop.tasks import Metric, kind_of

WIN, TIE, LOSE, UNABLE = "win", "tie", "lose", "–"


@dataclass(frozen=True)
class Point:
    """Both sides within one budget.

    Attributes
    ----------
    physics
        ``None`` where the device's inputs alone cost more.
    fresh
        The verdict of the same search on other seeds, where it was asked for.
    """

    budget: int
    physics: Entry | None
    digital: Entry
    higher_is_better: bool
    fresh: str | None = None

    @property
    def advantage(self) -> Interval | None:
        """By how much the physics is better, paired over seeds; where they share test rows, with the rows' own."""
        ours, theirs = self.physics, self.digital
        if ours is None:
            return None
        pair = Summary(ours.scores), Summary(theirs.scores)
        found = paired_difference(*(pair if self.higher_is_better else pair[::-1]))
        if ours.shares is None or theirs.shares is None:
            return found  # every seed has rows of its own
        rows = [np.subtract(a, b) for a, b in zip(ours.shares, theirs.shares, strict=True)]
        if any(len(each) < 2 for each in rows):
            return dataclasses.replace(found, shared=True)
        error = float(np.mean([standard_error(each) for each in rows]))
        return dataclasses.replace(found, rows=normal_interval(found.mean, error))

    @property
    def verdict(self) -> str:
        """Of the physics."""
        if self.advantage is None:
            return UNABLE
        return {1: WIN, 0: TIE, -1: LOSE}[self.advantage.side]


@dataclass(frozen=True)
class Frontier:
    """One device on one task.

    Attributes
    ----------
    way
        The settings and the window that did best on validation rows.
    device
        What is known of it: identity, rows, seconds and joules a prediction.
    """

    name: str
    dataset: str
    device: str
    kind: str
    seeds: tuple[int, ...]
    trials: int
    way: Mapping[str, Any]
    about: Mapping[str, Any]
    points: tuple[Point, ...]
    rows_are_steps: bool = False

    @property
    def metric(self) -> Metric:
        """The score that is compared."""
        return kind_of({"task": self.kind}).metrics[0]

    def counted(self, verdict: str) -> int:
        """Budgets with this verdict."""
        return sum(point.verdict == verdict for point in self.points)

    @property
    def tuners(self) -> list[str]:
        """Trainers that tuned the device, where theirs is the best physical network of a budget."""
        best = (point.physics for point in self.points if point.physics is not None)
        return list(dict.fromkeys(entry.name for entry in best if entry.key.startswith("tuned:")))

    def words(self, point: Point) -> str:
        """``+5.1 points (95 % interval 4.1 to 6.1)``."""
        return (
            "the device's inputs alone cost more"
            if point.physics is None
            else difference(self.metric, point.advantage)
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "experiment": self.name,
            "dataset": self.dataset,
            "device": self.device,
            "metric": self.metric.key,
            "per": "step" if self.rows_are_steps else "prediction",
            "seeds": list(self.seeds),
            "trials": self.trials,
            "way": dict(self.way),
            "about": dict(self.about),
            "points": [_plain(point) for point in self.points],
        }


def _plain(point: Point) -> dict[str, Any]:
    advantage = point.advantage
    return {
        "budget": point.budget,
        "verdict": point.verdict,
        "fresh_seeds": point.fresh,
        "advantage": None if advantage is None else advantage.as_dict(),
        "physics": _plain_entry(point.physics),
        "digital": _plain_entry(point.digital),
    }


def _plain_entry(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    found = entry.as_dict()
    del found["shares"], found["merit"]
    return {**found, "score": Summary(entry.scores).as_dict()}
