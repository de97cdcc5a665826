"""Events of a run: one stream that progress bar, metrics file and report all read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    def as_dict(self) -> dict[str, Any]:
        """The event's name and its fields, for a metrics file."""
        return {"event": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class RowsMeasured(Event):
    """A block of rows came back from the device (``rows``), from memory (``recalled``) or from an earlier run
    (``reused``).
    """

    purpose: str
    rows: int
    recalled: int = 0
    reused: int = 0


@dataclass(frozen=True)
class EarlierRowsFound(Event):
    """So many rows of earlier runs were measured on the device ``identity`` with its present settings.

    ``different`` says, where there are none, in what the recorded device was another one.
    """

    rows: int
    identity: str
    different: str = ""


@dataclass(frozen=True)
class DeviceDoubted(Event):
    """Recorded rows stand for the device ``identity``, and it may be another one all the same: ``doubts`` say why.

    ``rows`` are those of a journal that goes on (``doing`` is ``"resume"``) or of earlier runs (``"reuse"``).
    """

    doing: str
    identity: str
    rows: int
    doubts: str


@dataclass(frozen=True)
class StageStarted(Event):
    """Training of a stage begins; stages count from 0."""

    stage: int
    n_stages: int


@dataclass(frozen=True)
class EpochFinished(Event):
    """One pass of the digital update over the measured rows, with its mean loss."""

    stage: int
    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True)
class StageFinished(Event):
    """A stage is trained."""

    stage: int
    n_stages: int


class ScoreTold(Event):
    """Base of events that tell a ``score`` of the metric whose key is ``metric``; ``shown`` is for people."""

    score: float
    metric: str

    @property
    def accuracy(self) -> float:
        """The score, by the name that it has in a classification.

        Raises
        ------
        AttributeError
            It is another one.
        """
        if self.metric != "accuracy":
            raise AttributeError(f"the score is {self.metric}, not accuracy; read event.score")
        return self.score


@dataclass(frozen=True)
class ValidationScored(ScoreTold):
    """The main score on the validation rows of the readout up to a stage; after the last training row."""

    stage: int
    score: float
    shown: str = ""
    metric: str = "accuracy"


@dataclass(frozen=True)
class Noticed(Event):
    """Something about data or devices that the user should know, in words, though it stops nothing."""

    text: str


@dataclass(frozen=True)
class DeviceFault(Event):
    """A device failed to answer some rows; ``action`` says what was done about it.

    ``fault`` counts from 1 within the run, so that each is entered once.
    """

    fault: int
    error: str
    rows: int
    action: str


@dataclass(frozen=True)
class StreamRedriven(Event):
    """The state of a device that streams was lost: ``rows`` recorded rows from ``first_row`` on, which begins at
    rest, were driven again to bring it back. They cost device time, and are in no ledger.
    """

    rows: int
    first_row: int


@dataclass(frozen=True)
class StimuliRounded(Event):
    """An instrument takes only some values: what was really sent in a call, on those channels where it differs.

    ``largest`` is the largest difference from what was asked for; ``sent`` holds a row each, of these channels.
    """

    channels: list[str]
    largest: float
    sent: list[list[float]]


@dataclass(frozen=True)
class StrayLines(Event):
    """A serial board wrote ``lines`` lines since it was opened that are no frames, and were passed over.

    ``last`` shows the last of them: a debug print, a boot message.
    """

    port: str
    lines: int
    last: str


@dataclass(frozen=True)
class ReferenceMeasured(Event):
    """The reference stimuli were measured; changes since the first time (:class:`hwloop.reference.Change`).

    Attributes
    ----------
    device
        What the device said of itself.
    row, passes
        Rows that the device had answered before, and how often each stimulus was measured.
    drift, noise_floor, gain, decorrelation
        Change of the device itself.
    most_moved_output, most_moved_drift
        The output that changed most (from 0), and its own drift; 0 where noise alone may have caused it.
    remaining
        Drift of what the session returns: smaller where responses are corrected.
    action
        What follows from it, ``on_drift`` of :class:`hwloop.reference.Reference`; empty within the limit.
    """

    device: str
    row: int
    passes: int
    drift: float
    noise_floor: float
    gain: float
    decorrelation: float
    most_moved_output: int
    most_moved_drift: float
    remaining: float
    action: str = ""


@dataclass(frozen=True)
class MayStand(Event):
    """Told before hardware is moved: from now on it may stand anywhere between two stimuli.

    It goes to the journal alone, which has it on the disk before the hardware moves.

    Attributes
    ----------
    place
        Which of the devices of a rig, such as ``1/SlewLimited``: the members of a pool are told apart.
    low, high
        By channel, in the unit of the stimuli; of tunables by value, in theirs.
    closed
        It was brought to its safe state and closed, and stands there.
    boot
        Of the computer, see :func:`hwloop.process.boot`: after another one the device may have lost its power too.
    """

    place: str
    low: list[float]
    high: list[float]
    closed: bool = False
    boot: str = ""


Listener = Callable[[Event], None]
