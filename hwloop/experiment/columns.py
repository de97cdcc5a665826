"""Columns of the evidence table: what each is of a method, its mean over seeds, and how a person reads it.

To add one, append a :class:`Column` to :data:`COLUMNS`: terminal, report, ``--json``, arena and replay follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import ConfigError
from hwloop.events import ReferenceMeasured
from hwloop.experiment.intervals import Summary, standard_error
from hwloop.tasks import LearningTask, Metric

ROWS_ERROR, DIFFERENCE_ERROR = "rows_error", "difference_error"  # figures of a score that are no columns


@dataclass(frozen=True, eq=False)
class Trial:
    """A method's predictions of one seed's test rows, and what they cost.

    Attributes
    ----------
    targets, predicted
        Of the test rows, as the task has them.
    multiply_adds
        Digital multiply-adds of one prediction.
    rows_per_train_sample, rows_per_prediction
        Rows that the method asks of a physical device; 0 where it needs none.
    """

    task: LearningTask
    targets: NDArray[Any]
    predicted: NDArray[Any]
    multiply_adds: int
    rows_per_train_sample: float = 0.0
    rows_per_prediction: float = 0.0

    def __post_init__(self) -> None:
        shapes = np.shape(self.predicted), np.shape(self.targets)
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"predictions have shape {shapes[0]} for targets of shape {shapes[1]}; one is needed for each "
                "test row"
            )
        if np.asarray(self.predicted).dtype.kind == "f" and not np.isfinite(self.predicted).all():
            raise ValueError("predictions of test rows are not all finite numbers")

    @property
    def score(self) -> Score:
        """A figure in every column.

        Raises
        ------
        ValueError
            A column gives what is no finite number.
        """
        figures = {column.key: column.of(self) for column in columns_of(self.task)}
        for key, figure in figures.items():
            if not isinstance(figure, int | float | np.number) or not math.isfinite(figure):
                raise ValueError(f"column {key!r} of the evidence gives {figure!r}, which is no finite number")
        if (rows := self.of_rows) is not None:
            figures[ROWS_ERROR] = standard_error(rows)
        return Score(figures)

    @property
    def of_rows(self) -> NDArray[Any] | None:
        """What each test row contributes to the main score; ``None`` where nobody knows."""
        of_rows = self.task.main.of_rows
        return None if of_rows is None or len(self.targets) < 2 else of_rows(self.targets, self.predicted)

    def beside(self, network: Trial) -> Score:
        """Its score, with the standard error that the test rows leave of the difference to a network's."""
        ours, theirs, score = network.of_rows, self.of_rows, self.score
        if ours is None or theirs is None:
            return score
        return Score({**score.figures, DIFFERENCE_ERROR: standard_error(ours - theirs)})


@dataclass(frozen=True)
class Score:
    """What a method gave on the test rows of one seed: a figure a column, by the column's key."""

    figures: Mapping[str, float]

    def __getitem__(self, key: str) -> float:
        return self.figures[key]

    def __getattr__(self, key: str) -> float:
        """A figure by the key of its column, as in ``score.accuracy``."""
        if key != "figures" and key in self.figures:  # a copy asks before it has any
            return self.figures[key]
        raise AttributeError(f"no column {key!r}")

    def as_dict(self) -> dict[str, float]:
        """Plain numbers, for a file."""
        return dict(self.figures)


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return float(np.mean(values))


def _weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return float(np.average(values, weights=weights))


@dataclass(frozen=True)
class Column:
    """A column of the evidence table.

    Attributes
    ----------
    key
        Its name in files and in ``--json``.
    title
        Its heading; a line break where a narrow table breaks it.
    of
        Its figure of a method on one seed, a :class:`Trial`; in the arena's table, of an entry.
    show
        How a person reads what ``summarise`` gave.
    summarise
        From the figures of all seeds, and how many rows each was trained on; by default their mean.
    heading
        Its heading in the terminal, where it is another than ``title``.
    unit
        Of the figure; empty for a plain number.
    in_json
        Methods whose figures ``--json`` holds under the key; ``None`` for all.
    plain
        What ``--json`` holds of the figures of all seeds.
    """

    key: str
    title: str
    of: Callable[[Any], Any]
    show: Callable[[Any], str]
    summarise: Callable[[Sequence[float], Sequence[float]], Any] = _mean
    heading: str = ""
    unit: str = ""
    in_json: Sequence[str] | None = None
    plain: Callable[[Sequence[float]], Any] = lambda values: Summary(tuple(values)).as_dict()

    @classmethod
    def of_metric(cls, metric: Metric) -> Column:
        """The column of a task's score."""
        return cls(
            metric.key,
            f"test {metric.title}",
            lambda trial: metric.of(*trial.task.scored(trial.targets, trial.predicted)),
            lambda summary: shown(metric, summary),
            lambda values, weights: Summary(tuple(values)),
            unit=metric.unit,
        )


def shown(metric: Metric, summary: Summary) -> str:
    """``98.6 ± 0.4 %``, or ``98.6 %`` with one seed."""
    mean = f"{metric.scale * summary.mean:z.{metric.decimals}f}"
    if len(summary.values) > 1:
        mean += f" ± {metric.scale * summary.std:.{metric.decimals}f}"
    return mean + metric.ending


def rows(count: float) -> str:
    """Rows a sample: ``2``, ``2.5``, or a dash for none."""
    return "–" if count == 0 else f"{count:,.2f}".rstrip("0").rstrip(".")


def seconds(value: float) -> str:
    """``38 s``, ``2 min 05 s``."""
    whole = round(value)
    return (
        f"{value:.1f} s"
        if value < 10
        else f"{whole} s"
        if whole < 100
        else f"{whole // 60} min {whole % 60:02d} s"
    )


def drift(curve: Sequence[ReferenceMeasured]) -> str:
    """The largest drift of a device, what kind it was, and how often it went beyond the limit."""
    most = max(curve, key=lambda point: point.drift)
    times = sum(bool(point.action) for point in curve)
    if not most.drift:
        noise = f"{100 * most.noise_floor:.2g} %"
        return f"no drift beyond its noise ({noise}) in {len(curve)} measurements"
    beyond = f"beyond the limit {times} of {len(curve)} times" if times else "always within the limit"
    return (
        f"drift up to {100 * most.drift:.3g} % at row {most.row:,}, with a common gain of "
        f"{most.gain:.3f} and {100 * most.decorrelation:.2g} % decorrelation; {beyond}"
    )


COLUMNS: list[Column] = [
    Column(
        "rows_per_train_sample",
        "rows a\ntraining sample",
        lambda trial: trial.rows_per_train_sample,
        rows,
        _weighted_mean,
        heading="rows a\ntrain sample",
        in_json=(),  # it stands there as a total of all seeds
    ),
    Column(
        "rows_per_prediction",
        "rows a\nprediction",
        lambda trial: trial.rows_per_prediction,
        rows,
        in_json=(),
    ),
    Column(
        "multiply_adds",
        "multiply-adds\na prediction",
        lambda trial: trial.multiply_adds,
        lambda count: f"{count:,}",
        lambda values, weights: round(np.mean(values)),
        plain=lambda values: values[-1],
    ),
]


def columns_of(task: LearningTask | type[LearningTask]) -> list[Column]:
    """The columns of a task's evidence: its scores, then what they cost.

    Raises
    ------
    ConfigError
        Two have the same key.
    """
    columns = [*map(Column.of_metric, task.metrics), *COLUMNS]
    require_different([column.key for column in columns], "columns")
    return columns


def require_different(keys: Sequence[str], what: str) -> None:
    """Refuse two columns, or two floors, of one key: figures are filed under it.

    Raises
    ------
    ConfigError
    """
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"two {what} of the evidence have the key {twice[0]!r}; give the new one another key")
