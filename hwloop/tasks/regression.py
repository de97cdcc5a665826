"""Regression: every row has one value or several, in the user's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError
from hwloop.tasks.task import KERNELS, LearningTask, Metric, up_to

if TYPE_CHECKING:
    from torch import Tensor

Values = NDArray[np.float64]

LARGEST = 1e150  # its square is a number
SMALLEST = 1e-150  # and so is this one's
MOST_STRATA = 10
ROWS_A_STRATUM = 8
KEPT_OF_TARGETS = ("nrmse", "r2", "mae")
KEPT_ROWS = 1000  # test rows a seed of which a run's files keep true and predicted values
# Strengths of the L2 penalty of the linear floor, the strongest first; inputs are standardised.
STRENGTHS = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.1, 0.001)
ERRORS = ("squared", "huber")


def root_mean_square_error(targets: Values, predicted: Values) -> Values:
    """Of each target, in its unit, shape (n_targets,)."""
    return np.asarray(np.sqrt(np.mean(np.square(_columns(predicted) - _columns(targets)), axis=0)))


def nrmse(targets: Values, predicted: Values) -> float:
    """Root mean square error over the standard deviation of the same targets, averaged over the targets.

    The standard deviation is that of the test targets themselves, with n in the denominator: 0 is exact, 1 is what
    the mean of the test targets would score. Other definitions divide by the range or by the mean.
    """
    return float(np.mean(root_mean_square_error(targets, predicted) / _columns(targets).std(axis=0)))


def nmse(targets: Values, predicted: Values) -> float:
    """Mean squared error over the variance of the same targets, averaged over the targets: 1 - R2.

    Of one target it is the square of the NRMSE; of several it is the mean of these squares.
    """
    ratio = root_mean_square_error(targets, predicted) / _columns(targets).std(axis=0)
    return float(np.mean(np.square(ratio)))


def nrmse_of_rows(targets: Values, predicted: Values) -> Values:
    """Figures (rows,) whose mean is the NRMSE, and whose spread is its own by the delta method.

    r + (q - r^2) / 2r, where q is a row's squared error over the variance of the target, r its NRMSE.
    """
    ratio = root_mean_square_error(targets, predicted) / _columns(targets).std(axis=0)
    squares = np.square((_columns(predicted) - _columns(targets)) / _columns(targets).std(axis=0))
    figures = ratio + (squares - np.square(ratio)) / (2 * np.where(ratio > 0, ratio, 1.0))
    return np.asarray(figures.mean(axis=1))


def r2(targets: Values, predicted: Values) -> float:
    """Coefficient of determination, 1 - NRMSE^2 of each target, averaged over the targets; it may be negative."""
    ratio = root_mean_square_error(targets, predicted) / _columns(targets).std(axis=0)
    return float(np.mean(1.0 - np.square(ratio)))


def mean_absolute_error(targets: Values, predicted: Values) -> float:
    """In the unit of the target; with several targets the mean of theirs."""
    return float(np.mean(_absolute_errors(targets, predicted)))


def _absolute_errors(targets: Values, predicted: Values) -> Values:
    return np.asarray(np.abs(_columns(predicted) - _columns(targets)).mean(axis=0))


def _weighted_mean_and_spread(columns: Values, weights: Values) -> tuple[Values, Values]:
    """Of each column, as if a row stood there as many times as it weighs."""
    mean = np.average(columns, axis=0, weights=weights)
    away = columns - mean
    largest = np.abs(away).max(axis=0)  # squares of what is left stay numbers
    return mean, largest * np.sqrt(np.average(np.square(away / largest), axis=0, weights=weights))


def _columns(values: Values) -> Values:
    """Shape (rows, n_targets)."""
    return values[:, None] if values.ndim == 1 else values


def as_values(array: NDArray[Any], samples: int, what: str = "targets") -> Values:
    """Float64, shape (samples,) or (samples, n_targets), every value finite.

    Raises
    ------
    DatasetError
        Another shape, text, missing or infinite values, or values whose square is no number.
    """
    if array.ndim not in (1, 2) or len(array) != samples or 0 in array.shape[1:]:
        raise DatasetError(
            f"{what} must have shape ({samples},) or ({samples}, targets), but have shape {array.shape}"
        )
    try:
        if array.dtype.kind not in "iufbO":
            raise TypeError(f"their type is {array.dtype}")
        values = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{what} of a regression must be numbers ({error})") from error
    bad = np.argwhere(~(np.abs(values) < LARGEST))
    if len(bad):
        row = int(bad[0][0])
        value = values[tuple(bad[0])]
        advice = "leave the row out or fill the value in" if not np.isfinite(value) else "take another unit"
        raise DatasetError(f"{what}: the value of row {row} is {value}; {advice}")
    return values


@dataclass(frozen=True)
class Regression(LearningTask):
    """Targets are values in the user's units; a head gives them standardised and minimises half the squared error.

    Targets are float64, shape (rows,) or (rows, n_targets), and so are predictions. Mean and standard deviation of
    each target are those of the training rows, and belong to the task that was fitted.

    Parameters
    ----------
    target_names
        One name a target; empty if nobody has said.
    error
        What heads minimise of the error e in standard deviations: ``'squared'``, e^2 / 2, or ``'huber'``, the same
        up to 1 and |e| - 1/2 beyond, which outliers move less (Huber, Ann. Math. Statist. 35, 73, 1964). Readouts
        in closed form are least squares.
    n_targets
        How many values a row has; 0 for as many as there are names, or one.
    single
        Whether targets and predictions have shape (rows,), where a row has one value.
    mean, scale
        Mean and standard deviation of each training target, in its unit; empty before a fit.

    Raises
    ------
    ValueError
        An unknown error, or sizes that contradict each other.
    """

    kind: ClassVar[str] = "regression"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            "nrmse",
            "NRMSE",
            nrmse,
            higher_is_better=False,
            of_rows=nrmse_of_rows,
            least=0.0,
            definition="root mean square error over standard deviation of the test targets, the mean if several",
        ),
        Metric(
            "nmse",
            "NMSE",
            nmse,
            decimals=4,
            higher_is_better=False,
            least=0.0,
            definition="mean squared error over their variance, 1 - R2",
            beside=True,
        ),
        Metric("r2", "R2", r2, most=1.0),
        Metric("mae", "MAE", mean_absolute_error, higher_is_better=False, least=0.0),
    )
    linear_name: ClassVar[str] = "ridge regression"
    target_dims: ClassVar[tuple[int, ...]] = (1, 2)

    target_names: tuple[str, ...] = ()
    error: str = "squared"
    n_targets: int = 0
    single: bool = True
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        names: Any = self.target_names
        names = (names,) if isinstance(names, str) else names
        found = {
            "target_names": tuple(str(name) for name in names),
            "mean": tuple(float(value) for value in self.mean),
            "scale": tuple(float(value) for value in self.scale),
        }
        count = self.n_targets or len(found["target_names"]) or 1
        if self.error not in ERRORS:
            raise ValueError(f"unknown error {self.error!r}; known are {' and '.join(ERRORS)}")
        if any(len(each) not in (0, count) for each in found.values()):
            raise ValueError(f"a regression of {count} targets needs as many names, means and scales, not {found}")
        for name, value in (found | {"n_targets": count, "single": self.single and count == 1}).items():
            object.__setattr__(self, name, value)

    @property
    def n_outputs(self) -> int:
        return self.n_targets

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.target_names

    @property
    def least_squares(self) -> bool:
        """Whether ``error`` is the squared error, for which a linear readout is found in closed form."""
        return self.error == "squared"

    @property
    def names_of_outputs(self) -> tuple[str, ...]:
        """Those of the targets; without any ``target``, or ``target 0``, ``target 1`` and so on."""
        if self.target_names or self.n_targets == 1:
            return self.target_names or ("target",)
        return tuple(f"target {number}" for number in range(self.n_targets))

    def sized(self, targets: NDArray[Any]) -> Self:
        count = 1 if targets.ndim == 1 else targets.shape[1]
        names = self.target_names if len(self.target_names) == count else ()
        if self.target_names and not names:
            raise DatasetError(
                f"{count} targets have {len(self.target_names)} names: {', '.join(self.target_names)}"
            )
        return replace(self, n_targets=count, single=targets.ndim == 1, target_names=names, mean=(), scale=())

    def reason_against(self, targets: NDArray[Any]) -> str:
        """A value is missing or infinite, or a target is the same in every row, or as good as that."""
        try:
            values = as_values(targets, len(targets), "targets")
        except DatasetError as error:
            return f"cannot be learned: {error}"
        return self._constant(values, "has")

    def _constant(self, values: Values, has: str) -> str:
        """A target that never varies, or by so little that its variance is no number, in words; empty if none."""
        columns = _columns(values)
        spread = np.ptp(columns, axis=0)
        still = np.flatnonzero(spread < SMALLEST)
        if len(still) == 0:
            return ""
        number = int(still[0])
        name = self.names_of_outputs[number]
        if spread[number] == 0:
            return f"{has} the same {name} in every row ({columns[0, number]:g})"
        small = f"{spread[number]:g} at most, too little to square (take another unit)"
        return f"{has} values of {name} that differ by {small}"

    def fitted(self, targets: NDArray[Any], samples: int) -> tuple[Self, NDArray[np.float32]]:
        """Mean and standard deviation of the training targets, and these standardised.

        Raises
        ------
        DatasetError
            As :func:`as_values`; or a target is the same in every row.
        """
        values, task = self._learnable(targets, samples)
        task = task.fitted_to(values)
        return task, task.numbers(values)

    def fitted_to_weighted(
        self, targets: NDArray[Any], samples: int, weights: NDArray[np.float64] | None
    ) -> tuple[Self, NDArray[np.float32]]:
        """As :meth:`fitted`, with mean and standard deviation as if a row stood there as often as it weighs.

        Raises
        ------
        DatasetError
            As there; or a target that hardly counts lies apart by far more than all others differ.
        """
        if weights is None:
            return self.fitted(targets, samples)
        values, task = self._learnable(targets, samples)
        mean, scale = _weighted_mean_and_spread(_columns(values), weights)
        task = replace(task, mean=tuple(mean), scale=tuple(scale))
        with np.errstate(all="ignore"):
            numbers = task.numbers(values)
        beyond = np.argwhere(~np.isfinite(numbers))
        if len(beyond):
            row, column = (int(i) for i in beyond[0])
            name, value = task.names_of_outputs[column], _columns(values)[row, column]
            raise DatasetError(
                f"a row that hardly counts has the {name} {value:g}, too far from all that counts "
                f"({mean[column]:g} +- {scale[column]:g}); leave the row out"
            )
        return task, numbers

    def _learnable(self, targets: NDArray[Any], samples: int) -> tuple[Values, Self]:
        values = as_values(targets, samples)
        task = self.sized(values)
        if constant := task._constant(values, "the training rows have"):
            raise DatasetError(f"{constant}; there is nothing to learn")
        return values, task

    def fitted_to(self, targets: NDArray[Any]) -> Self:
        columns = _columns(targets)
        return replace(self, mean=tuple(columns.mean(axis=0)), scale=tuple(columns.std(axis=0)))

    def numbers(self, targets: NDArray[Any]) -> NDArray[np.float32]:
        """Standardised, shape (rows, n_targets)."""
        found = (_columns(targets) - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(found, dtype=np.float32)

    def held_out(self, targets: NDArray[Any], samples: int) -> Values:
        """Values of validation rows, as many a row as the training rows have."""
        values = self._alike(targets, samples, "validation targets")
        if constant := self.reason_not_to_score(values):
            raise DatasetError(f"validation targets cannot be scored: they are {constant}")
        return _columns(values)[:, 0] if self.single else _columns(values)

    def further(self, targets: NDArray[Any], samples: int) -> NDArray[np.float32]:
        return self.numbers(self._alike(targets, samples, "targets"))

    def _alike(self, targets: NDArray[Any], samples: int, what: str) -> Values:
        values = as_values(targets, samples, what)
        if (count := _columns(values).shape[1]) != self.n_targets:
            raise DatasetError(f"{what} have {count} values a row, those of the training rows {self.n_targets}")
        return values

    def reason_not_to_train(self, targets: NDArray[Any]) -> str:
        return "the same target" if self._constant(targets, "") else ""

    def reason_not_to_score(self, targets: NDArray[Any]) -> str:
        return "all the same in at least one target" if self._constant(targets, "") else ""

    def strata(self, targets: NDArray[Any]) -> NDArray[np.int64]:
        """Up to ten bins of equal numbers of rows, by the value of the first target; equal values share a bin."""
        values = _columns(targets)[:, 0]
        bins = max(1, min(MOST_STRATA, len(values) // ROWS_A_STRATUM))
        edges = np.quantile(values, np.arange(1, bins) / bins)
        return np.asarray(np.searchsorted(edges, values, side="right"), dtype=np.int64)

    def encode(self, targets: NDArray[Any]) -> Values:
        """The standardised values as they are."""
        return np.asarray(targets, dtype=np.float64)

    def prior(self, targets: NDArray[Any], weights: NDArray[np.float64]) -> Values:
        """The weighted mean of the standardised values."""
        return np.asarray(np.average(targets, axis=0, weights=weights), dtype=np.float64)

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Mean over rows and targets; values have no other class to smooth over."""
        return self._losses(outputs - targets).mean()

    def judge(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Half the squared error of each row, or Huber's, averaged over targets; and its derivative."""
        errors = outputs - targets
        slope = errors.clamp(-1.0, 1.0) if self.error == "huber" else errors
        return self._losses(errors).mean(dim=1), slope / self.n_targets

    def _losses(self, errors: Tensor) -> Tensor:
        squared = errors.square() / 2
        if self.error == "squared":
            return squared
        return squared.where(errors.abs() <= 1.0, errors.abs() - 0.5)

    def scores(self, outputs: Tensor) -> Tensor:
        """The standardised predictions."""
        return outputs

    def together(self, scores: Sequence[Tensor], trust: float | None = None) -> Tensor:
        """The mean of predictions learned each by itself; or their sum, those before the last at trust."""
        total = super().together(scores[:-1]) * (1.0 if trust is None else trust) if len(scores) > 1 else 0.0
        total = total + scores[-1]
        return total / len(scores) if trust is None else total

    def answers(self, outputs: Tensor) -> Tensor:
        """In the unit of each target, float64."""
        import torch

        mean, scale = (torch.tensor(each, dtype=torch.float64) for each in (self.mean, self.scale))
        return outputs.to(torch.float64) * scale + mean

    def predictions(self, answers: NDArray[Any]) -> Values:
        """Shape (rows,) or (rows, n_targets), as the training targets had."""
        return np.asarray(answers[:, 0] if self.single else answers, dtype=np.float64)

    def doubt(self, targets: NDArray[Any], predicted: NDArray[Any]) -> str:
        """Predictions that are no better than the mean of the targets."""
        score = nrmse(targets, predicted)
        if score < 1.0:
            return ""
        found = f"NRMSE {score:.3g}, NMSE {nmse(targets, predicted):.3g}"
        return f"the validation rows are predicted no better than by their mean ({found})"

    def sizes(self) -> dict[str, Any]:
        return self.as_dict()

    @classmethod
    def of_sizes(cls, found: Mapping[str, Any]) -> Self:
        return cls.from_dict(found)

    def details(self, targets: NDArray[Any], predicted: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """True and predicted values of up to 1,000 test rows, (2, rows, n_targets); the scores of each target.

        Its NMSE is not among these, for it is 1 - R2; files of earlier versions have the same.
        """
        rows = np.unique(np.linspace(0, len(targets) - 1, min(len(targets), KEPT_ROWS)).astype(np.int64))
        return {
            "predicted_values": np.stack([_columns(targets)[rows], _columns(predicted)[rows]]),
            "target_scores": np.array(
                [
                    [metric.of(*pair) for metric in self.metrics if metric.key in KEPT_OF_TARGETS]
                    for pair in zip(_columns(targets).T, _columns(predicted).T, strict=True)
                ]
            ),
        }

    @classmethod
    def pooled(cls, details: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """The values of all seeds one after the other, and the means of their scores."""
        return {
            "predicted_values": np.concatenate([each["predicted_values"] for each in details], axis=1),
            "target_scores": np.mean([each["target_scores"] for each in details], axis=0),
        }

    @classmethod
    def from_details(cls, found: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        return {name: np.array(found[name], dtype=np.float64) for name in ("predicted_values", "target_scores")}

    def tabled(self, details: Mapping[str, NDArray[Any]]) -> list[list[str]]:
        """With several targets: the scores of each, by name."""
        lines = []
        for name, kept in zip(self.names_of_outputs, details["target_scores"], strict=True):
            figures = dict(zip(KEPT_OF_TARGETS, kept, strict=True))
            figures["nmse"] = 1.0 - figures["r2"]
            lines.append([name, *(metric.shown(figures[metric.key]) for metric in self.metrics)])
        return [["target", *(metric.title for metric in self.metrics)], *lines] if len(lines) > 1 else []

    def as_dict(self) -> dict[str, Any]:
        return {"task": self.kind} | {each.name: _plain(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        return cls(**{each.name: found[each.name] for each in fields(cls)})

    def linear_models(self) -> Sequence[Any]:
        from sklearn.linear_model import Ridge

        return [Ridge(alpha=strength) for strength in STRENGTHS]

    def nearest_neighbours(self, n_rows: int) -> Sequence[Any]:
        from sklearn.neighbors import KNeighborsRegressor

        return [KNeighborsRegressor(k, weights="distance", algorithm="brute") for k in up_to(n_rows)]

    def kernel_machines(self, n_features: int) -> Sequence[Any]:
        """Support vector regression of each standardised target."""
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.multioutput import MultiOutputRegressor
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR

        machines = [SVR(C=strength, gamma=width / n_features) for strength, width in KERNELS]
        every = machines if self.single else [MultiOutputRegressor(machine) for machine in machines]
        return [TransformedTargetRegressor(machine, transformer=StandardScaler()) for machine in every]

    def folds(self, targets: NDArray[Any], most: int, seed: int) -> Any:
        from sklearn.model_selection import KFold

        folds = min(most, len(targets) // 2)  # a part of one row has no variance
        return None if folds < 2 else KFold(folds, shuffle=True, random_state=seed % 2**32)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
