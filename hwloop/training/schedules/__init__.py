"""Schedules: in which order rows are measured and stages are trained; and the fit that they work on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from hwloop.device.spec import Float64Array
from hwloop.events import EpochFinished, Event, Listener, Noticed, StageFinished, StageStarted
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.rowwise import rows_as_tensor
from hwloop.tasks import UNSAID, LearningTask
from hwloop.torch_state import own_torch_state
from hwloop.training.history import (
    FitProgress,
    StageHistory,
    constant_responses,
    insensitive_features,
    require_finite,
    sparsity,
)
from hwloop.training.plans import StimulusPlan
from hwloop.training.readouts import ReadoutBuilder
from hwloop.training.state import Checkpoint, SavedState, TrainingState, keep_no_checkpoint


@dataclass(eq=False)
class Fit:
    """One fit in progress: what a schedule works on, and where it reports to.

    Attributes
    ----------
    inputs, labels
        Training rows (samples, n_features) and their classes (samples,), in the order of this fit.
    plan, readout
        The trainer's plan, and the builder of this fit's readout.
    rng
        Of every random choice.
    progress
        Where the fit is, for the message of what diverges.
    callbacks, keep
        Told of every event, and of every point that the fit could go on from.
    saved
        The point that a resumable schedule goes on from; ``None`` to begin at the beginning. Where it has put
        everything as it stood there, it calls :meth:`restore`.
    stages
        What each stage's training came to.
    """

    network: PhysicalNetwork
    inputs: Tensor
    labels: Tensor
    task: LearningTask
    plan: StimulusPlan
    readout: ReadoutBuilder
    rng: torch.Generator
    progress: FitProgress
    callbacks: Sequence[Listener] = ()
    keep: Checkpoint = keep_no_checkpoint
    saved: SavedState | None = None
    stages: list[StageHistory] = field(init=False)

    def __post_init__(self) -> None:
        self.stages = [StageHistory(number) for number in range(len(self.network))]
        if self.saved is not None:
            self.stages = [StageHistory.from_dict(stage) for stage in self.saved.history]

    @property
    def rows_a_sample(self) -> int:
        """Planned rows of a sample, which stand side by side."""
        return self.plan.rows_a_sample(self.task.n_outputs)

    def planned_rows(self) -> Tensor:
        """The input rows of the first stage, those of a sample side by side."""
        return self.plan.rows(self.inputs, self.labels, self.task.n_outputs, self.rng)

    def stage_begins(self, stage: int) -> None:
        """A stage begins, from 0."""
        self.progress.begun(stage)
        self.emit(StageStarted(stage, len(self.stages)))

    def epoch_done(self, stage: int, epoch: int, epochs: int, loss: float) -> None:
        """A stage has seen its rows once more, from 1, at this mean loss."""
        self.stages[stage].losses.append(loss)
        self.progress.done(stage, epoch, epochs, loss)
        self.emit(EpochFinished(stage, epoch, epochs, loss))

    def stage_done(self, number: int, activity: Tensor) -> None:
        """A stage is trained; ``activity`` is what it gives for training rows, (rows, width)."""
        stage = cast(Stage, self.network.stages[number])
        require_finite("the stage's weights", stage.linear.state_dict().values())
        require_finite("what the stage gives", [activity])
        self.stages[number].sparsity = sparsity(activity)
        notes = [*constant_responses(number, stage), *self.progress.rising(number, self.stages[number].losses)]
        self.stages[number].notes = []  # a stage that was trained before a resume is looked at again
        for note in [*(insensitive_features(self.inputs, stage.encoder) if number == 0 else ()), *notes]:
            self.notice(number, note)
        self.emit(StageFinished(number, len(self.stages)))

    def checkpoint(self, state: TrainingState) -> None:
        """The fit could go on from here; where sessions and history stand is entered."""
        if self.keep is keep_no_checkpoint:
            return
        places = tuple(session.place() for session in self.network.distinct_sessions)
        history = tuple(stage.as_dict() for stage in self.stages)
        self.keep(replace(state, places=places, history=history))

    def restore(self, saved: SavedState) -> None:
        """Go past the rows that were measured before a saved point, and draw at random what followed it."""
        for session, place in zip(self.network.distinct_sessions, saved.places, strict=True):
            session.skip_to(place)
        saved.restore_rng(self.rng)

    def notice(self, stage: int, note: str) -> None:
        """Tell the user something about a stage."""
        self.stages[stage].notes.append(note)
        self.emit(Noticed(note))

    def emit(self, event: Event) -> None:
        """Tell the callbacks."""
        for callback in self.callbacks:
            with own_torch_state():  # what a callback does to torch ends with it
                callback(event)


class EpochFit:
    """What a stage encoded and answered in this epoch, to which it is fitted for the next.

    Of the answers, which are much larger, moments are kept.

    Parameters
    ----------
    is_fitted
        Whether encoder and standardisers are fitted already; if not, the first batch is what they are fitted to.
    """

    def __init__(self, stage: Stage, is_fitted: bool) -> None:
        self._stage = stage
        self._encodes = self._fitted = is_fitted
        self._inputs: list[Tensor] = []
        self._moments = stage.moments()

    def encoded(self, inputs: Tensor) -> Float64Array:
        """Stimuli for a batch of inputs (rows, n)."""
        if not self._encodes:
            self._stage.encoder.fit(inputs)
            self._encodes = True
        stimuli: Float64Array = self._stage.encoder(inputs)
        return stimuli

    def features(self, inputs: Tensor, responses: Float64Array) -> Tensor:
        """Take in a measured batch; gives its features."""
        answers = rows_as_tensor(responses)
        self._inputs.append(inputs)
        self._moments.add(inputs, answers)
        if not self._fitted:
            self._stage.fit_standardisers(inputs, answers)
            self._fitted = True
        return self._stage.features(inputs, responses)

    def refit(self) -> None:
        """Fit the stage to the epoch that has ended."""
        self._stage.encoder.fit(torch.cat(self._inputs))
        self._stage.fit_standardisers_to(self._moments)
        self._inputs.clear()
        self._moments = self._stage.moments()


class Schedule(ABC):
    """Trains every stage of a network."""

    @property
    def needs_classes(self) -> str:
        """Why it serves classifications alone, in words; empty where it serves other targets too."""
        return UNSAID

    @property
    def uses_model(self) -> str:
        """What it knows of the device beyond its measured rows, in words; empty if nothing."""
        return ""

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """By the name of the trainer's option; empty for a schedule without."""
        return {}

    @property
    def clients(self) -> int:
        """How many clients can have a device each; 0 for a schedule without clients."""
        return 0

    @property
    def resumable(self) -> bool:
        """Whether :meth:`run` goes on from ``fit.saved``; by default it knows of no such thing."""
        return False

    @abstractmethod
    def measurements(self, stage: int, n_stages: int) -> int:
        """How often each planned row is measured in a stage, from 0, of a network of so many stages."""

    def extra_rows(self) -> int:
        """Rows of each stage that do not depend on how many samples there are."""
        return 0

    def writes(self, samples: int) -> int:
        """Writes of tunables in each stage, at most, where one write bears every change."""
        return 0

    def check(self, network: PhysicalNetwork, task: LearningTask) -> None:
        """Refuse a network, built but not measured yet, that cannot be trained like this.

        Raises
        ------
        ConfigError
        """

    @abstractmethod
    def run(self, fit: Fit) -> None:
        """Measure and train; leaves the stages trained and the readout builder filled."""
