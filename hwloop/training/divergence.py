"""Training that leaves the finite numbers: noticed at once, and told with stage, epoch and learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hwloop.errors import TrainingDiverged

LARGEST = 1e18
RISE, LEAST_LOSS = 3.0, 1.0  # a loss beyond this multiple of the first epoch's, and above this, has risen
NAN_IN_BACKWARD = "returned nan values"  # what torch's anomaly detection says


def require_finite(what: str, tensors: Iterable[Tensor]) -> None:
    """Refuse tensors with a value that is not finite, or so large that its square is none in float32.

    Raises
    ------
    TrainingDiverged
    """
    for tensor in tensors:
        if not bool((tensor.abs() < LARGEST).all()):  # NaN is not below anything
            raise TrainingDiverged(f"{what} left the numbers that can be computed with")


def only_class(scores: Tensor, labels: NDArray[np.int64]) -> int | None:
    """The class that rows of several classes are all taken for, from scores (rows, classes); ``None`` mostly."""
    predicted = scores.argmax(dim=1)
    if len(np.unique(labels)) > 1 and bool((predicted == predicted[0]).all()):
        return int(predicted[0])
    return None


class Progress:
    """Where a fit is, for the message of what diverges.

    Parameters
    ----------
    n_stages
        Of the network.
    learning_rates
        By the name of the trainer's option.
    """

    def __init__(self, n_stages: int, learning_rates: Mapping[str, float]) -> None:
        self._n_stages = n_stages
        self._rates = learning_rates
        self._stage = 0
        self._epoch = self._epochs = 0

    def begun(self, stage: int) -> None:
        """A stage begins, from 0."""
        self._stage, self._epoch, self._epochs = stage, 1, 0

    def done(self, stage: int, epoch: int, epochs: int, loss: float) -> None:
        """An epoch is over, from 1.

        Raises
        ------
        TrainingDiverged
            Its mean loss is not finite.
        """
        self._stage, self._epoch, self._epochs = stage, epoch, epochs
        if not math.isfinite(loss):
            raise TrainingDiverged(f"the mean loss is {loss}")
        self._epoch = epoch + 1

    def rising(self, stage: int, losses: Sequence[float]) -> Iterator[str]:
        """A note on a stage that ended far above where it began, though in finite numbers."""
        if losses and losses[-1] > max(LEAST_LOSS, RISE * losses[0]):
            rates = " and ".join(f"{name} = {rate:g}" for name, rate in self._rates.items())
            rise = f"the loss rose from {losses[0]:.3g} to {losses[-1]:.3g}"
            yield f"stage {stage + 1}: {rise} with {rates}; take a lower one"

    @contextmanager
    def where_it_diverged(self) -> Iterator[None]:
        """Add to a divergence inside where it happened."""
        try:
            yield
        except TrainingDiverged as error:
            raise TrainingDiverged(self._in_words(str(error))) from error
        except RuntimeError as error:
            if NAN_IN_BACKWARD not in str(error):
                raise
            raise TrainingDiverged(self._in_words("a gradient is not a number")) from error

    def _in_words(self, what: str) -> str:
        epoch = f", epoch {min(self._epoch, self._epochs)} of {self._epochs}" if self._epochs else ""
        rates = " and ".join(f"{name} = {rate:g}" for name, rate in self._rates.items())
        advice = f" with {rates}; take a lower one" if rates else "; look at the scale of the data"
        return (
            f"training diverged in stage {self._stage + 1} of {self._n_stages}{epoch}{advice}: {what}. The device "
            "answered every row, and going on from here would end here again"
        )
