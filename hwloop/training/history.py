"""What a fit notices and leaves behind: losses, sparsity, silent channels, where it diverged."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hwloop.errors import ConfigError, HwloopWarning, TrainingDiverged
from hwloop.layers import Encoder, Stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EARLIER_NAME = "validation_accuracy"  # of a stage's validation score in earlier checkpoints
NEAR_ZERO = 0.1  # of a row's root mean square


@dataclass(frozen=True)
class Sparsity:
    """Means over training rows, both in [0, 1].

    Attributes
    ----------
    hoyer
        (sqrt(n) - |a|_1 / |a|_2) / (sqrt(n) - 1) of a row of n activities: 0 where all are equal in size, 1 where
        one alone is not zero; 0.20 for 100 Gaussian ones (Hoyer, JMLR 5, 1457, 2004).
    near_zero
        Share of the activities within a tenth of their row's root mean square; 0.08 for Gaussian ones.
    """

    hoyer: float
    near_zero: float


def sparsity(activity: Tensor) -> Sparsity | None:
    """Of activities (rows, width); ``None`` without rows or with a single channel. Rows of zeros count as 1, 1."""
    rows, width = activity.shape
    if rows == 0 or width < 2:
        return None
    size = activity.abs().double()
    norm = size.square().sum(dim=1).sqrt()
    silent = norm == 0
    ratio = (size.sum(dim=1) / norm.masked_fill(silent, 1.0)).masked_fill(silent, 1.0)
    hoyer = (math.sqrt(width) - ratio) / (math.sqrt(width) - 1)
    near = (size <= NEAR_ZERO * norm[:, None] / math.sqrt(width)).double().mean(dim=1)
    return Sparsity(float(hoyer.mean()), float(near.mean()))


@dataclass
class StageHistory:
    """One stage's training: mean loss of each epoch, and sparsity once it is trained.

    Attributes
    ----------
    validation_score
        The task's main score of the readout up to this stage. The last stage's is known wherever there were
        validation rows, those before it where a readout up to them comes for nothing.
    notes
        What the user should know of it, in words: features and outputs that carry nothing, a loss that rose.
    """

    stage: int
    losses: list[float] = field(default_factory=list)
    validation_score: float | None = None
    sparsity: Sparsity | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def validation_accuracy(self) -> float | None:
        """The score by the name that it has in a classification."""
        return self.validation_score

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> StageHistory:
        """What :meth:`as_dict` gave, or that of a version that called the score an accuracy."""
        known, sparse = dict(found), found["sparsity"]
        score = known.pop(EARLIER_NAME, None)
        known.setdefault("validation_score", score)
        return cls(**{**known, "sparsity": None if sparse is None else Sparsity(**sparse)})


@dataclass
class History:
    """A whole fit.

    Attributes
    ----------
    rows
        Device rows that it took, validation included.
    digital_seconds
        Time in which no device was measuring.
    uses_model
        What the trainer knew of the device beyond its measured rows.
    """

    stages: list[StageHistory]
    rows: int
    digital_seconds: float
    uses_model: str = ""

    @property
    def losses(self) -> list[float]:
        """Losses of all stages, one after the other."""
        return [loss for stage in self.stages for loss in stage.losses]

    @property
    def notes(self) -> list[str]:
        """Notes on all stages, one after the other."""
        return [note for stage in self.stages for note in stage.notes]

    def plot(self) -> Figure:
        """Mean loss of each epoch, a panel a stage that has one, as a figure of matplotlib.

        A notebook shows it where it is a cell's value; elsewhere ``history.plot().savefig("losses.png")``.

        Raises
        ------
        ConfigError
            No stage was trained by epochs, as with a readout in closed form.
        """
        from hwloop.html_report.figures import loss_figure

        trained = [(self._title(stage), [stage.losses]) for stage in self.stages if stage.losses]
        if not trained:
            raise ConfigError("no stage was trained by epochs, so there are no losses to plot")
        return loss_figure(trained)

    @staticmethod
    def _title(stage: StageHistory) -> str:
        score = stage.validation_score
        return f"stage {stage.stage + 1}" + ("" if score is None else f"; validation {score:.3f} after it")


logger = logging.getLogger(__name__)

SHOWN = 10  # channels that a note lists
FEWEST_STEPS = 256
MOST_CLIPPED = 0.1
LEAST_EXCURSION = 1e-6
CONSTANT = "are the same in every training row, but for rounding, and drive nothing"
MERGED = (
    f"take fewer than {FEWEST_STEPS} values of floating point within their range; subtract a constant from them "
    "before they are rounded"
)
BY_CHANNEL = "; scaling by 'channel' gives each feature a range of its own"
CLIPPED = f"are clipped at the device's limits in a tenth of the training rows or more{BY_CHANNEL}"
DROWNED = f"hardly reach the device beside wider ones{BY_CHANNEL}"


def insensitive_features(rows: Tensor, encoder: Encoder) -> Iterator[str]:
    """Notes on training rows (rows, n) of the first stage: features that its device hardly sees.

    Features that a projection mixes are not told apart. A sequence's count by step.
    """
    if not encoder.is_direct:
        return
    width = min(rows.shape[1], encoder.n_features)
    labels = rows.new_zeros(len(rows), encoder.n_features - width)
    excursions = encoder.excursions(torch.cat([rows, labels], dim=1))[:, :width]
    rows = rows.reshape(-1, width)
    low, high = rows.amin(dim=0), rows.amax(dim=0)
    varies = encoder.gain[:width] > 0
    clipped = (excursions > 1).double().mean(dim=0) > MOST_CLIPPED
    single = (rows == rows.to(torch.float32)).all(dim=0) & (rows != rows.round()).any(dim=0)
    steps = (high - low) / (torch.maximum(low.abs(), high.abs()) * torch.where(single, 2.0**-24, 2.0**-53))
    found = {
        CONSTANT: ~varies,
        MERGED: varies & (steps < FEWEST_STEPS),
        CLIPPED: varies & clipped,
        DROWNED: varies & (excursions.amax(dim=0) < LEAST_EXCURSION),
    }
    for said, which in found.items():
        if bool(which.any()):
            note = f"{_counted(which.nonzero()[:, 0], width, 'features')} {said}"
            logger.info(note)
            yield note


def constant_responses(number: int, stage: Stage) -> Iterator[str]:
    """Notes on the device outputs of a trained stage, from 0; where all are constant it is a warning too.

    An output counts as constant where its values differ by no more than rounding does.
    """
    silent = (stage.standardiser.inverse_std == 0).nonzero()[:, 0]
    if not len(silent):
        return
    counted = _counted(silent, len(stage.standardiser.inverse_std), "device outputs")
    note = f"stage {number + 1}: {counted} are the same in every training row and "
    if len(silent) < len(stage.standardiser.inverse_std):
        note += "carry nothing"
        logger.info(note)
    else:
        note += "the network learns nothing from it; check that the device is on, connected and driven"
        warnings.warn(note, HwloopWarning, stacklevel=2)
    yield note


def _counted(channels: Tensor, of: int, what: str) -> str:
    shown = ", ".join(str(int(channel)) for channel in channels[:SHOWN]) + (
        ", ..." if len(channels) > SHOWN else ""
    )
    if len(channels) == of:
        return f"all {of:,} {what}"
    return f"{len(channels):,} of {of:,} {what} ({shown})"


LARGEST = 1e18
RISE, LEAST_LOSS = 3.0, 1.0  # a loss beyond this multiple of the first epoch's, and above this, has risen
# What torch says of numbers that it cannot go on with: anomaly detection, and a step that no float32 holds.
SAID_BY_TORCH = {
    "returned nan values": "a gradient is not a number",
    "without overflow": "a step is too large a number",
}


def require_finite(what: str, tensors: Iterable[Tensor]) -> None:
    """Refuse tensors with a value that is not finite, or so large that its square is none in float32.

    Raises
    ------
    TrainingDiverged
    """
    for tensor in tensors:
        if not bool((tensor.abs() < LARGEST).all()):  # NaN is not below anything
            raise TrainingDiverged(f"{what} left the numbers that can be computed with")


class FitProgress:
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
            what = next((what for text, what in SAID_BY_TORCH.items() if text in str(error)), "")
            if not what:
                raise
            raise TrainingDiverged(self._in_words(what)) from error

    def _in_words(self, what: str) -> str:
        epoch = f", epoch {min(self._epoch, self._epochs)} of {self._epochs}" if self._epochs else ""
        rates = " and ".join(f"{name} = {rate:g}" for name, rate in self._rates.items())
        advice = f" with {rates}; take a lower one" if rates else "; look at the scale of the data"
        return (
            f"training diverged in stage {self._stage + 1} of {self._n_stages}{epoch}{advice}: {what}. The device "
            "answered every row, and going on from here would end here again"
        )
