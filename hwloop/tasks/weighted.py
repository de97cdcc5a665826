"""A task some of whose rows count more than others: a weight multiplies the loss of its row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError
from hwloop.tasks.task import LearningTask

if TYPE_CHECKING:
    from torch import Tensor


def as_weights(weights: Any, samples: int) -> NDArray[np.float64]:
    """Weights (samples,) as float64, all above zero.

    Raises
    ------
    DatasetError
        Another shape, no numbers, or a weight that is not above zero and finite.
    """
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"sample_weight must be numbers ({error})") from error
    if array.shape != (samples,):
        raise DatasetError(f"sample_weight must have shape ({samples},), one a row, but has shape {array.shape}")
    bad = np.flatnonzero(~((array > 0) & np.isfinite(array)))
    if len(bad):
        raise DatasetError(
            f"sample_weight: that of row {bad[0]} is {array[bad[0]]}; weights are finite and above zero: leave "
            "rows out that are not to count"
        )
    return array


def exactly_smaller(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over a power of two, the largest below 1: sums of weights stay numbers, and no digit changes."""
    _, exponent = np.frexp(weights.max())
    return np.ldexp(weights, -int(exponent))


def in_own_unit(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over their weighted median: what half of the whole weight lies in rows of at most.

    A unit of the user's has no meaning, and a ridge strength is a number of rows. Weights that are all the same
    become 1, and so do those of rows that stand once beside a few that stand several times. Rows that hardly count
    do not move it, however many they are.
    """
    smaller = exactly_smaller(weights)
    ordered = np.sort(smaller)
    reached = np.cumsum(ordered)
    # A sum that is half but for rounding is half, whatever the unit was.
    median = ordered[np.searchsorted(reached, reached[-1] / 2 * (1 - 1e-9))]
    return np.asarray(smaller / median)


class Weighted:
    """Another task, whose targets carry the weight of their row in one more column; made by :meth:`of`.

    Losses are those of the other task times weight over mean weight, so a learning rate means what it meant. In a
    fit it stands in the place of the other task, and whatever it does not know is asked there.
    """

    def __init__(self, task: LearningTask, targets: NDArray[Any], weights: NDArray[np.float64]) -> None:
        self.unweighted = task
        self._trailing, self._dtype = targets.shape[1:], targets.dtype
        self._mean = float(weights.mean())
        # A class that hardly counts would be told apart by nothing but how its rows happen to be drawn.
        self.first_bias = task.prior(targets, weights)

    @classmethod
    def of(
        cls, task: LearningTask, targets: NDArray[Any], weights: NDArray[np.float64]
    ) -> tuple[LearningTask, NDArray[np.float64]]:
        """The weighted task and its targets, (samples, 1 + numbers a target)."""
        columns = targets.reshape(len(targets), -1).astype(np.float64)
        return cast(LearningTask, cls(task, targets, weights)), np.column_stack([columns, weights])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "unweighted":  # a copy in the making has no task yet
            raise AttributeError(name)
        return getattr(self.unweighted, name)

    def judge(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Weighted loss of each row (rows,), and its derivative by the outputs (rows, n_outputs)."""
        own = targets[:, :-1].reshape(len(targets), *self._trailing)
        own = own.to(_torch_dtype(self._dtype))
        weights = (targets[:, -1] / self._mean).to(outputs.dtype)
        losses, slopes = self.unweighted.judge(outputs, own, smoothing)
        return weights * losses, weights[:, None] * slopes

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Mean weighted loss, with the gradient that :meth:`judge` says."""
        losses, slopes = self.judge(outputs.detach(), targets, smoothing)
        tangent = (slopes * outputs).sum(dim=1)
        return (losses + tangent - tangent.detach()).mean()

    def encode(self, targets: NDArray[Any]) -> NDArray[np.float64]:
        """Targets of a least-squares readout, without the weights."""
        own = targets[:, :-1].reshape(len(targets), *self._trailing).astype(self._dtype)
        return self.unweighted.encode(own)

    def row_weights(self, targets: NDArray[Any]) -> NDArray[np.float64]:
        """As the task was given them."""
        return np.asarray(targets[:, -1], dtype=np.float64)


def _torch_dtype(dtype: np.dtype[Any]) -> Any:
    import torch

    return torch.from_numpy(np.empty(0, dtype=dtype)).dtype
