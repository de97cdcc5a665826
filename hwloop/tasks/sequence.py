"""Sequences: a value, or a symbol, at every step of a row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError
from hwloop.tasks.classification import binomial_interval
from hwloop.tasks.task import LearningTask, Metric

if TYPE_CHECKING:
    from torch import Tensor

SHOWN_STEPS = 150  # of the first test sequence, in a picture of targets and predictions


def normalised_mse(targets: NDArray[Any], predicted: NDArray[Any]) -> float:
    """NMSE: mean squared error over the variance of the target; 0 is exact, 1 is what its mean would score.

    Of several values a step, the mean of each value's. Its root is the NRMSE (0.16 and 0.4 are one result).

    Parameters
    ----------
    targets, predicted
        Shape (steps,) or (steps, values).

    Raises
    ------
    DatasetError
        A target that does not vary over these steps: there is nothing to normalise by.
    """
    variance = np.var(targets, axis=0)
    if not np.all(variance > 0):
        raise DatasetError(
            "the target does not vary over the steps that are scored, so its error cannot be normalised; take "
            "other sequences, or more of them"
        )
    return float(np.mean(np.mean(np.square(predicted - targets), axis=0) / variance))


def normalised_rmse(targets: NDArray[Any], predicted: NDArray[Any]) -> float:
    """NRMSE: the root of the NMSE, :func:`normalised_mse`; with one value a step RMSE over standard deviation."""
    return float(np.sqrt(normalised_mse(targets, predicted)))


def symbol_error_rate(targets: NDArray[Any], predicted: NDArray[Any]) -> float:
    """SER: share of the steps whose symbol is wrong, in [0, 1]."""
    return float(np.mean(targets != predicted))


@dataclass(frozen=True)
class SequenceTask(LearningTask):
    """A target at every step of a row that is a sequence: inputs (rows, steps * features), in the order of time.

    Parameters
    ----------
    steps
        Of a row, at least 2.
    washout
        Steps at the start of every row that are neither trained on nor scored: the device still knows how it
        began.
    in_time
        Whether the rows are stretches of one series, one after the other. Then they are never shuffled: training,
        validation and test rows are contiguous stretches, and between two of them lies a washout. Otherwise rows
        are series of their own, and whole ones are drawn for each part.
    """

    target_dims: ClassVar[tuple[int, ...]] = (2,)
    learned_by: ClassVar[str] = "reservoir"

    steps: int = 2
    washout: int = 0
    in_time: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.washout < self.steps or self.steps < 2:
            raise DatasetError(
                f"sequences of {self.steps} steps leave nothing to score behind a washout of {self.washout}; take "
                "sequences of two steps or more, and a shorter washout"
            )

    @property
    def split_in_words(self) -> str:
        """Stretches of a series, or whole sequences; and the washout."""
        parts = (
            "one series in time: training, validation and test rows are stretches in this order, a washout between"
            if self.in_time
            else "whole sequences are drawn for training, validation and test"
        )
        return f"{parts}; the first {self.washout} of the {self.steps} steps of a row count nowhere"

    def columns_of_file(self, n_features: int) -> int:
        """Of one series those of a step; else a line is a whole sequence."""
        return n_features // self.steps if self.in_time else n_features

    def rows_of_file(self, table: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[str]]:
        """One series (times, columns) is cut into whole sequences from its start.

        Raises
        ------
        DatasetError
            It is shorter than one.
        """
        if not self.in_time:
            return table, []
        count, left = divmod(len(table), self.steps)
        if count == 0:
            raise DatasetError(
                f"{len(table)} times are too few to predict from; the network takes {self.steps} steps at once"
            )
        notes = [f"{len(table):,} times are cut into sequences of {self.steps} steps: {count}"]
        notes += [f"the last {left} times make no whole sequence and are left out"] if left else []
        return table[: count * self.steps].reshape(count, -1), notes

    @property
    @abstractmethod
    def values(self) -> int:
        """Numbers that a readout gives a step."""

    @property
    def n_outputs(self) -> int:
        return self.steps * self.values

    def as_targets(self, targets: NDArray[Any], samples: int, what: str) -> NDArray[Any]:
        """Targets of all steps as numbers, flat in every row.

        Raises
        ------
        DatasetError
        """
        if len(targets) != samples:
            raise DatasetError(f"{what} of {len(targets)} rows for {samples} rows of inputs; give one for each")
        if reason := self.reason_against(targets):
            raise DatasetError(f"what is to be learned {reason} ({what})")
        return np.asarray(targets, dtype=self.target_dtype)

    def after_washout(self, flat: NDArray[Any]) -> NDArray[Any]:
        """What stands at the steps that count, (rows * (steps - washout), numbers a step), of (rows, numbers)."""
        per_step = flat.reshape(len(flat), self.steps, -1)[:, self.washout :]
        return per_step.reshape(-1, per_step.shape[2])

    def scored(self, targets: NDArray[Any], predicted: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The steps after the washout of every row."""
        return self.after_washout(targets), self.after_washout(predicted)

    def fitted(self, targets: NDArray[Any], samples: int) -> tuple[Self, NDArray[Any]]:
        return self, self.as_targets(targets, samples, "targets")

    def held_out(self, targets: NDArray[Any], samples: int) -> NDArray[Any]:
        return self.as_targets(targets, samples, "validation targets")

    def reason_not_to_train(self, targets: NDArray[Any]) -> str:
        return "" if len(targets) and np.ptp(self.after_washout(targets)) > 0 else "targets that never vary"

    def reason_not_to_score(self, targets: NDArray[Any]) -> str:
        kept = self.after_washout(targets)
        return "" if len(kept) and np.all(np.ptp(kept, axis=0) > 0) else "all the same after the washout"

    def strata(self, targets: NDArray[Any]) -> NDArray[Any]:
        """All of one kind: whole sequences are drawn."""
        return np.zeros(len(targets), dtype=np.int64)

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Mean squared error of the codes at the steps that count."""
        return self.judge(outputs, targets)[0].mean()

    def judge(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Half the squared error of each row's codes, the mean over the steps that count; its derivative."""
        import torch

        error = outputs - torch.from_numpy(self.encode(targets.numpy())).to(outputs.dtype)
        error[:, : self.washout * self.values] = 0.0
        count = (self.steps - self.washout) * self.values
        return error.square().sum(dim=1) / (2 * count), error / count

    @property
    def read_at_once(self) -> int:
        return self.values

    @abstractmethod
    def constant(self, targets: NDArray[Any], rows: int) -> NDArray[Any]:
        """What is predicted best at every step without looking, from the training steps that count."""

    @abstractmethod
    def in_words(self, answer: NDArray[Any]) -> list[dict[str, Any]]:
        """What is predicted at every step of a row, from its answer (n_outputs,)."""

    def described(self, answer: NDArray[Any]) -> dict[str, Any]:
        """The steps after the washout, with their numbers from 1."""
        steps = enumerate(self.in_words(answer), start=1)
        return {"steps": [{"step": number, **said} for number, said in steps if number > self.washout]}

    def lines(self, described: Mapping[str, Any]) -> list[list[str]]:
        """A line a step after the washout."""
        return [[str(value) for value in step.values()] for step in described["steps"]]

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs

    def answers(self, outputs: Tensor) -> Tensor:
        import torch

        return outputs.to(torch.float64)

    def cost_options(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def linear_models(self) -> Sequence[Any]:
        """None: a linear model of a whole row would know the future; see the floors of a series."""
        return []

    def folds(self, targets: NDArray[Any], most: int, seed: int) -> Any:
        return None

    def _as_dict(self) -> dict[str, Any]:
        return {"task": self.kind, "steps": self.steps, "washout": self.washout, "in_time": self.in_time}

    @classmethod
    def _fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        return {"steps": int(found["steps"]), "washout": int(found["washout"]), "in_time": bool(found["in_time"])}

    def sizes(self) -> dict[str, Any]:
        return self.as_dict()

    @classmethod
    def of_sizes(cls, found: Mapping[str, Any]) -> Self:
        return cls.from_dict(found)


def _example(task: SequenceTask, numbers: NDArray[Any]) -> NDArray[np.float64]:
    """The first value of the first steps that count of the first row."""
    return np.asarray(task.after_washout(numbers[:1])[:SHOWN_STEPS, 0], dtype=np.float64)


@dataclass(frozen=True)
class SequenceOfValues(SequenceTask):
    """One or several real values at every step; targets (rows, steps * values), in the user's unit.

    Parameters
    ----------
    names
        Of the values of a step.
    """

    kind: ClassVar[str] = "sequence"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            "nrmse",
            "NRMSE",
            normalised_rmse,
            higher_is_better=False,
            least=0.0,
            definition="root of the NMSE",
        ),
        Metric(
            "nmse",
            "NMSE",
            normalised_mse,
            decimals=4,
            higher_is_better=False,
            least=0.0,
            definition="mean squared error over the variance of the test targets, the mean if a step has several",
            beside=True,
        ),
    )

    names: tuple[str, ...] = ("value",)

    @property
    def values(self) -> int:
        return len(self.names)

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.names

    def reason_against(self, targets: NDArray[Any]) -> str:
        """Another shape, values that are not finite, or none that vary."""
        if targets.ndim != 2 or targets.shape[1] != self.n_outputs or targets.dtype.kind not in "fiub":
            return f"needs targets (rows, {self.n_outputs}), {self.values} a step, not {targets.shape}"
        bad = np.argwhere(~np.isfinite(targets))
        if len(bad):
            row, number = (int(i) for i in bad[0])
            return f"has the target {targets[row, number]} in row {row}, step {number // self.values}"
        still = np.ptp(self.after_washout(targets), axis=0) == 0
        return f"has targets {self.names[int(np.argmax(still))]} that never vary" if still.any() else ""

    @property
    def headings(self) -> list[str]:
        return ["step", *self.names]

    @property
    def outputs_in_json(self) -> dict[str, list[str]]:
        return {"targets": list(self.names)}

    def in_words(self, answer: NDArray[Any]) -> list[dict[str, Any]]:
        """Values with every digit, by their names."""
        return [dict(zip(self.names, map(float, step), strict=True)) for step in answer.reshape(self.steps, -1)]

    def encode(self, targets: NDArray[Any]) -> NDArray[np.float64]:
        """The targets themselves."""
        return np.asarray(targets, dtype=np.float64)

    def predictions(self, answers: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(answers, dtype=np.float64)

    def constant(self, targets: NDArray[Any], rows: int) -> NDArray[np.float64]:
        """The mean of each value."""
        return np.tile(self.after_washout(targets).mean(axis=0), (rows, self.steps))

    def details(self, targets: NDArray[Any], predicted: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Targets and predictions of the first steps of the first test row, for a picture."""
        return {"series": np.stack([_example(self, targets), _example(self, predicted)])}

    @classmethod
    def pooled(cls, details: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """Those of the first seed."""
        return dict(details[0])

    @classmethod
    def from_details(cls, found: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        return {"series": np.array(found["series"], dtype=np.float64)}

    def as_dict(self) -> dict[str, Any]:
        return {**self._as_dict(), "names": list(self.names)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        return cls(**cls._fields(found), names=tuple(map(str, found["names"])))


@dataclass(frozen=True)
class SequenceOfSymbols(SequenceTask):
    """One of several symbols at every step; targets (rows, steps), whole numbers from 0.

    A readout gives the code of a symbol, and the symbol of the nearest code is predicted.

    Parameters
    ----------
    names
        One a symbol, at least two.
    codes
        Of each symbol: its level where symbols are levels of a signal, such as ``((-1,), (1,))``; empty for
        symbols without an order, whose codes are +1 in a place of their own and -1 in all others.
    """

    kind: ClassVar[str] = "symbols"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            "symbol_error_rate",
            "symbol errors",
            symbol_error_rate,
            100.0,
            "%",
            3,
            "points",
            None,
            False,
            least=0.0,
        ),
    )
    target_dtype: ClassVar[type[Any]] = np.int64

    names: tuple[str, ...] = ("0", "1")
    codes: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        lengths = {len(code) for code in self.codebook_rows}
        if len(self.names) < 2 or len(set(self.codebook_rows)) < len(self.names) or len(lengths) != 1:
            raise DatasetError(
                f"{len(self.names)} symbols need as many different codes of one length, or none, not {self.codes}"
            )

    @property
    def codebook_rows(self) -> tuple[tuple[float, ...], ...]:
        """The code of each symbol."""
        count = len(self.names)
        return self.codes or tuple(tuple(1.0 if k == n else -1.0 for k in range(count)) for n in range(count))

    @property
    def codebook(self) -> NDArray[np.float64]:
        """The same, shape (symbols, values)."""
        return np.array(self.codebook_rows, dtype=np.float64)

    @property
    def values(self) -> int:
        return len(self.codebook_rows[0])

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.names

    def reason_against(self, targets: NDArray[Any]) -> str:
        """Another shape, a number that is no symbol's, or one symbol only."""
        if targets.ndim != 2 or targets.shape[1] != self.steps:
            return f"needs targets (rows, {self.steps}), a symbol a step, not {targets.shape}"
        if targets.dtype.kind not in "iu" or targets.min() < 0 or targets.max() >= len(self.names):
            return f"has targets that are not the numbers 0 to {len(self.names) - 1} of its symbols"
        return "" if len(np.unique(self.after_washout(targets))) > 1 else "has one symbol only after the washout"

    @property
    def headings(self) -> list[str]:
        return ["step", "symbol"]

    @property
    def outputs_in_json(self) -> dict[str, list[str]]:
        return {"symbols": list(self.names)}

    def in_words(self, answer: NDArray[Any]) -> list[dict[str, Any]]:
        """The symbol's name."""
        return [{"symbol": self.names[number]} for number in self.predictions(answer[None])[0]]

    def encode(self, targets: NDArray[Any]) -> NDArray[np.float64]:
        """The code of every step's symbol."""
        return np.asarray(self.codebook[targets].reshape(len(targets), -1))

    def predictions(self, answers: NDArray[Any]) -> NDArray[np.int64]:
        """The symbol of the nearest code; of two as near the first."""
        given = np.asarray(answers, dtype=np.float64).reshape(len(answers), self.steps, 1, self.values)
        return np.asarray(np.square(given - self.codebook).sum(axis=3).argmin(axis=2), dtype=np.int64)

    def constant(self, targets: NDArray[Any], rows: int) -> NDArray[np.int64]:
        """The most frequent symbol."""
        return np.full(
            (rows, self.steps), np.bincount(self.after_washout(targets).ravel()).argmax(), dtype=np.int64
        )

    def details(self, targets: NDArray[Any], predicted: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Wrong symbols, all that were scored, in how many seeds; and a window of both for a picture."""
        true, found = self.scored(targets, predicted)
        counts = np.array([np.count_nonzero(true != found), true.size, 1], dtype=np.int64)
        return {"symbol_errors": counts, "symbols": np.stack([_example(self, targets), _example(self, predicted)])}

    @classmethod
    def pooled(cls, details: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """Counts of all seeds, the window of the first."""
        counts = np.sum([each["symbol_errors"] for each in details], axis=0)
        return {"symbol_errors": counts, "symbols": details[0]["symbols"]}

    @classmethod
    def remarks(cls, details: Mapping[str, NDArray[Any]]) -> list[str]:
        """The network's binomial interval, for as many symbols as one seed has: others may be the same ones."""
        errors, count, seeds = (int(number) for number in details["symbol_errors"])
        low, high = binomial_interval(errors / count, count // seeds)
        return [
            f"{errors:,} of {count:,} test symbols are wrong; those of one seed alone leave a 95 % interval of "
            f"{100 * low:.3g} to {100 * high:.3g} % (Wilson)"
        ]

    @classmethod
    def from_details(cls, found: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        return {
            "symbol_errors": np.array(found["symbol_errors"], dtype=np.int64),
            "symbols": np.array(found["symbols"], dtype=np.float64),
        }

    def as_dict(self) -> dict[str, Any]:
        return {**self._as_dict(), "names": list(self.names), "codes": [list(code) for code in self.codes]}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        codes = tuple(tuple(map(float, code)) for code in found["codes"])
        return cls(**cls._fields(found), names=tuple(map(str, found["names"])), codes=codes)
