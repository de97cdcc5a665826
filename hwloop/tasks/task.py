"""The interface of a task, and of a score that it reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


# Why a part of a trainer serves classifications alone, where it has not said anything.
UNSAID = "a part of it has not said that it serves other targets than classes (needs_classes)"


@dataclass(frozen=True)
class Metric:
    """A score of predictions against targets.

    Attributes
    ----------
    key
        Its name in files and in ``--json``.
    title
        Its name in tables, such as ``accuracy``.
    of
        ``of(targets, predicted)``: one number.
    scale, unit, decimals
        How it is shown: times ``scale``, rounded to ``decimals``, followed by the unit.
    difference
        Unit of the difference of two such scores.
    most, least
        What it cannot exceed, and what it cannot fall below, as shown; ``None`` if there is no such number.
    higher_is_better
        ``False`` for an error.
    of_rows
        ``of_rows(targets, predicted)``: a figure a row (rows,) whose mean is the score, at least to first order in
        their errors; its spread is what other test rows would change. ``None`` if there is none.
    is_share
        Whether the score is a share of the test rows, so that their number alone gives its binomial error.
    definition
        What it is of what, where its name alone leaves that open: shown below every table that has it.
    beside
        Whether it is shown, by its name, wherever the main score is, because the two are confused.
    """

    key: str
    title: str
    of: Callable[[NDArray[Any], NDArray[Any]], float]
    scale: float = 1.0
    unit: str = ""
    decimals: int = 3
    difference: str = ""
    most: float | None = None
    higher_is_better: bool = True
    of_rows: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]] | None = None
    is_share: bool = False
    least: float | None = None
    definition: str = ""
    beside: bool = False

    def shown(self, value: float) -> str:
        """``98.6 %``."""
        return f"{self.scale * value:.{self.decimals}f}{self.ending}"

    @property
    def ending(self) -> str:
        """The unit behind a number, with the space before it."""
        return f" {self.unit}" if self.unit else ""

    @property
    def axis(self) -> str:
        """Title and unit of an axis: ``accuracy (%)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


# Settings that the digital floors choose from: neighbours, and strengths and widths of an RBF kernel (times
# 1 / features).
NEIGHBOURS = (1, 3, 5, 10, 20)
KERNELS = ((1.0, 0.3), (1.0, 1.0), (10.0, 1.0), (10.0, 3.0))


def up_to(n_rows: int) -> list[int]:
    """Numbers of neighbours that so many rows have; at least one."""
    return [count for count in NEIGHBOURS if count <= max(1, n_rows)]


class LearningTask(ABC):
    """What is learned from rows.

    Attributes
    ----------
    kind
        Its name in settings and files.
    metrics
        Its scores; the first is the one that is compared, and that settings are chosen by.
    validation_key
        What a run's files call the validation scores.
    linear_name
        What its linear models are called in tables.
    steps
        Steps of a row that have a target each; 1 where a row has one.
    learned_by
        Some trainers that learn it, in words.
    in_time
        Whether the rows follow one another in time: parts of a split are then contiguous stretches.
    target_dtype, target_dims
        Of a dataset's targets, and how many axes they may have.
    has_classes
        Whether every row belongs to one of several classes: what overlays a label, or lets classes compete, needs
        them.
    gives_probabilities
        Whether what a network says of a row are probabilities of its outputs.
    least_squares
        Whether a head minimises the squared error: then a linear readout is found in closed form.
    code_gain
        Outputs a unit of what :meth:`encode` gives, for a readout that was fitted to it by least squares.
    """

    kind: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    validation_key: ClassVar[str] = "validation_scores"
    linear_name: ClassVar[str] = "linear model"
    steps: int = 1
    in_time: bool = False
    learned_by: ClassVar[str] = "local, greedy or readout"
    target_dtype: ClassVar[type[Any]] = np.float64
    target_dims: ClassVar[tuple[int, ...]] = (1,)
    has_classes: ClassVar[bool] = False
    gives_probabilities: ClassVar[bool] = False
    code_gain: ClassVar[float] = 1.0

    @property
    def least_squares(self) -> bool:
        """Whether a head minimises the squared error."""
        return False

    @property
    def class_names(self) -> tuple[str, ...]:
        """What classes are called; empty where there are none."""
        return ()

    @property
    def main(self) -> Metric:
        """The score that is compared."""
        return self.metrics[0]

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Numbers that a readout gives a row."""

    @property
    @abstractmethod
    def output_names(self) -> tuple[str, ...]:
        """What the outputs are called; empty if nobody has said."""

    @abstractmethod
    def reason_against(self, targets: NDArray[Any]) -> str:
        """What is wrong with the targets of a whole dataset, after its name; empty if nothing is."""

    def sized(self, targets: NDArray[Any]) -> Self:
        """The task with as many outputs as the targets of a whole dataset call for; nothing else is fitted."""
        return self

    def fitted_to(self, targets: NDArray[Any]) -> Self:
        """The task with the scale of these training targets, which :meth:`numbers` and :meth:`answers` use."""
        return self

    def numbers(self, targets: NDArray[Any]) -> NDArray[Any]:
        """Targets as :meth:`loss` takes them."""
        return targets

    def reason_not_to_score(self, targets: NDArray[Any]) -> str:
        """Why predictions of these test targets could not be scored, such as ``all the same``; or empty."""
        return ""

    @abstractmethod
    def fitted(self, targets: NDArray[Any], samples: int) -> tuple[Self, NDArray[Any]]:
        """The task as these training targets (samples,) say, and the targets as numbers that it learns from.

        Raises
        ------
        DatasetError
            They are no targets of this task, or nothing can be learned from them.
        """

    def fitted_to_weighted(
        self, targets: NDArray[Any], samples: int, weights: NDArray[np.float64] | None
    ) -> tuple[Self, NDArray[Any]]:
        """As :meth:`fitted`, where a row counts ``weights`` (samples,); by default that has no say in it.

        ``None`` stands for rows that all count the same.
        """
        return self.fitted(targets, samples)

    @abstractmethod
    def held_out(self, targets: NDArray[Any], samples: int) -> NDArray[Any]:
        """Targets of validation rows as numbers, such as those of the training rows.

        Raises
        ------
        DatasetError
        """

    def further(self, targets: NDArray[Any], samples: int) -> NDArray[Any]:
        """Targets of rows that a trained network goes on to learn from, checked, as :meth:`loss` takes them.

        Raises
        ------
        DatasetError
        """
        return self.numbers(self.held_out(targets, samples))

    def head_targets(self, numbers: Tensor, smoothing: float) -> Tensor:
        """What a linear head's outputs should be by least squares, float64, (rows, n_outputs)."""
        import torch

        return numbers.to(torch.float64)

    @abstractmethod
    def reason_not_to_train(self, targets: NDArray[Any]) -> str:
        """Why nothing can be learned from these training targets, such as ``fewer than two classes``; or empty."""

    @abstractmethod
    def strata(self, targets: NDArray[Any]) -> NDArray[Any]:
        """A kind of each row (rows,): a split takes every kind in its share."""

    @abstractmethod
    def encode(self, targets: NDArray[Any]) -> NDArray[np.float64]:
        """Targets of a least-squares readout, shape (rows, n_outputs)."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """What a head minimises: mean over outputs (rows, n_outputs) and targets."""

    @abstractmethod
    def judge(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Loss of each row (rows,), and its derivative by the outputs (rows, n_outputs); no gradient is kept."""

    @abstractmethod
    def scores(self, outputs: Tensor) -> Tensor:
        """What a stage's head says of each row, in the form in which those of several heads come together."""

    def together(self, scores: Sequence[Tensor], trust: float | None = None) -> Tensor:
        """The outputs of a network whose heads say this; by default their sum.

        ``trust`` is the factor on the scores before it that each head has learned to add to; ``None`` where every
        head has learned the targets by itself.
        """
        total = scores[0]
        for more in scores[1:]:
            total = total + more
        return total

    @abstractmethod
    def answers(self, outputs: Tensor) -> Tensor:
        """What a network says of each row, float64, from its outputs (rows, n_outputs)."""

    def described(self, answer: NDArray[Any]) -> dict[str, Any]:
        """A row's answer (n_outputs,) as plain values, for ``--json``; by default each output's under its name."""
        return {"values": dict(zip(self.names_of_outputs, map(float, answer), strict=True))}

    def listed(self, described: Mapping[str, Any]) -> list[str]:
        """What :meth:`described` gave, as the fields of a line below :attr:`headings`; values with every digit."""
        return [repr(value) for value in described["values"].values()]

    def lines(self, described: Mapping[str, Any]) -> list[list[str]]:
        """The lines below :attr:`headings` that a row has; by default one."""
        return [self.listed(described)]

    @property
    def read_at_once(self) -> int:
        """Numbers that a readout gives at once: for a row, or for a step of one."""
        return self.n_outputs

    @property
    def names_of_outputs(self) -> tuple[str, ...]:
        """A name each; where nobody has said so many, their numbers from 0."""
        if len(self.output_names) == self.n_outputs:
            return self.output_names
        return tuple(str(number) for number in range(self.n_outputs))

    @property
    def headings(self) -> list[str]:
        """Of the fields that :meth:`listed` gives."""
        return list(self.names_of_outputs)

    @property
    def outputs_in_json(self) -> dict[str, list[str]]:
        """What the outputs are and what they are called, for ``--json``."""
        return {"targets": list(self.names_of_outputs)}

    @abstractmethod
    def predictions(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Predicted targets, such as those of a dataset, from answers (rows, n_outputs)."""

    def predicted(self, outputs: Tensor) -> NDArray[Any]:
        """The same from a network's outputs (rows, n_outputs)."""
        return self.predictions(self.answers(outputs).numpy())

    @property
    def unweighted(self) -> LearningTask:
        """The task itself, where some rows count more than others (:class:`hwloop.tasks.weighted.Weighted`)."""
        return self

    def prior(self, targets: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Outputs (n_outputs,) that suit all weighted rows together, whatever is measured; ``None`` for zeros."""
        return None

    @property
    def first_bias(self) -> NDArray[np.float64] | None:
        """Where the biases of heads start (n_outputs,), the :meth:`prior` of weighted rows; ``None`` for zeros."""
        return None

    def row_weights(self, targets: NDArray[Any]) -> NDArray[np.float64] | None:
        """What each row counts in a least-squares readout; ``None`` where all count the same."""
        return None

    def doubt(self, targets: NDArray[Any], predicted: NDArray[Any]) -> str:
        """Why nothing seems to be learned, in words, from validation rows; empty mostly."""
        return ""

    @property
    def split_in_words(self) -> str:
        """How rows come into the parts of a split, where a user would not expect it; empty mostly."""
        return ""

    def columns_of_file(self, n_features: int) -> int:
        """Columns of a file of rows to predict, for a network of ``n_features``."""
        return n_features

    def rows_of_file(self, table: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[str]]:
        """Rows to predict from the table of a file, and what was done to it, in words; by default nothing.

        Raises
        ------
        DatasetError
        """
        return table, []

    def fit_options(self) -> dict[str, Any]:
        """What a trainer's ``fit`` must be told beside the targets."""
        return {"task": self}

    def options_for(self, targets: NDArray[Any]) -> dict[str, Any]:
        """The same for these training targets, which may not show all that the task knows; by default no more."""
        return self.fit_options()

    def cost_options(self) -> dict[str, Any]:
        """What a trainer's ``cost`` and ``predict_cost`` must be told beside rows, outputs and stages."""
        return {}

    @abstractmethod
    def sizes(self) -> dict[str, Any]:
        """What a readout's settings in a checkpoint hold of the task; :meth:`of_sizes` gives a task back."""

    @classmethod
    @abstractmethod
    def of_sizes(cls, found: Mapping[str, Any]) -> Self:
        """From a readout's settings; raises ``KeyError``, ``TypeError`` or ``ValueError``."""

    @abstractmethod
    def details(self, targets: NDArray[Any], predicted: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What is kept of a seed's test rows beside the scores, by its name in files; see :meth:`pooled`."""

    @classmethod
    def pooled(cls, details: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """The details of several seeds together; by default their sums."""
        return {name: np.sum([each[name] for each in details], axis=0) for name in details[0]}

    @classmethod
    def remarks(cls, details: Mapping[str, NDArray[Any]]) -> list[str]:
        """What :meth:`pooled` details say beside the scores, in sentences; mostly nothing."""
        return []

    def tabled(self, details: Mapping[str, NDArray[Any]]) -> list[list[str]]:
        """A table of the report, its headings first, from the details of all seeds; empty for none."""
        return []

    @abstractmethod
    def linear_models(self) -> Sequence[Any]:
        """Linear scikit-learn models to choose from for the floor without a device, the most regularised first."""

    def constant(self, targets: NDArray[Any], rows: int) -> NDArray[Any]:
        """What is predicted best for so many rows without looking at them; by default the mean training target."""
        return np.repeat(np.mean(targets, axis=0, keepdims=True), rows, axis=0)

    def nearest_neighbours(self, n_rows: int) -> Sequence[Any]:
        """Nearest neighbours of scikit-learn to choose from, for at least ``n_rows`` rows; by default none."""
        return ()

    def kernel_machines(self, n_features: int) -> Sequence[Any]:
        """RBF kernel machines of scikit-learn to choose from, for features of unit variance; by default none."""
        return ()

    @abstractmethod
    def folds(self, targets: NDArray[Any], most: int, seed: int) -> Any:
        """A splitter of at most ``most`` parts for the choice among them; ``None`` for too few rows."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """What a file keeps of the task, as plain values; :meth:`from_dict` gives it back."""

    @classmethod
    @abstractmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """From the entries of a file; raises ``KeyError``, ``TypeError`` or ``ValueError``."""

    def scored(self, targets: NDArray[Any], predicted: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """What of targets and predictions is scored; by default all of it."""
        return targets, predicted

    def score(self, targets: NDArray[Any], predicted: NDArray[Any]) -> float:
        """The main score."""
        return self.main.of(*self.scored(targets, predicted))

    @classmethod
    def in_short(cls, figures: Mapping[str, float]) -> str:
        """Scores as they are shown where there is room for one: the main one, and those that belong beside it."""
        main, *more = cls.metrics
        beside = [metric for metric in more if metric.beside and metric.key in figures]
        if not beside:
            return main.shown(figures[main.key])
        return ", ".join(f"{metric.title} {metric.shown(figures[metric.key])}" for metric in (main, *beside))

    @classmethod
    def definitions(cls) -> dict[str, str]:
        """What scores are whose names leave it open, by their keys."""
        return {metric.key: metric.definition for metric in cls.metrics if metric.definition}

    @classmethod
    def definitions_in_words(cls) -> str:
        """The same as one line below a table; empty for none."""
        named = [f"{metric.title}: {metric.definition}" for metric in cls.metrics if metric.definition]
        return "; ".join(named)

    def figures(self, targets: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
        """Every score by its key."""
        scored = self.scored(targets, predicted)
        return {metric.key: metric.of(*scored) for metric in self.metrics}

    def merit(self, targets: NDArray[Any], predicted: NDArray[Any]) -> float:
        """The main score, its sign such that more is better: what settings are chosen by."""
        score = self.score(targets, predicted)
        return score if self.main.higher_is_better else -score

    @classmethod
    @abstractmethod
    def from_details(cls, found: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """What :meth:`details` gave, from the entries of a file.

        Raises
        ------
        KeyError, TypeError, ValueError
        """
