"""The one interface of all trainers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.events import EpochFinished, Event, Listener, Noticed, StageFinished, StageStarted, ValidationScored
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.network import Readout, as_rows
from hwloop.registry import TRAINERS
from hwloop.torch_state import own_torch_state
from hwloop.training.divergence import Progress, only_class, require_finite
from hwloop.training.history import History, StageHistory
from hwloop.training.labels import as_labels, as_validation
from hwloop.training.lost_channels import what_is_lost, what_never_varies
from hwloop.training.plans import StimulusPlan
from hwloop.training.readouts import ReadoutBuilder
from hwloop.training.schedules import Schedule, Task
from hwloop.training.sparsity import sparsity
from hwloop.training.state import Checkpoint, SavedState, TrainingState, keep_nothing


def trainer(name: str, **options: Any) -> Trainer:
    """A trainer by name (``hwloop list`` shows all), built with its options.

    Raises
    ------
    ConfigError
        Unknown name or option; the nearest known one is named.
    """
    built = TRAINERS.build(name, **options)
    if not isinstance(built, Trainer):
        raise ConfigError(f"trainer {name!r} gave a {type(built).__name__}, not a hwloop.Trainer")
    return built


class Trainer:
    """A composition: a stimulus plan, a schedule with its local rule, and a readout.

    Parameters
    ----------
    plan
        Which rows are measured for a sample.
    schedule
        When they are measured, and how the stages learn from them.
    new_readout
        Makes the builder of the readout, afresh for every fit.
    seed
        Of every random choice in a fit.
    """

    def __init__(
        self,
        plan: StimulusPlan,
        schedule: Schedule,
        new_readout: Callable[[], ReadoutBuilder],
        seed: int = 0,
    ) -> None:
        self.plan = plan
        self.schedule = schedule
        self.new_readout = new_readout
        self.seed = seed

    @property
    def uses_model(self) -> str:
        """What the trainer knows of the device beyond its measured rows, in words; empty, but for yardsticks."""
        return self.schedule.uses_model

    @property
    def resumable(self) -> bool:
        """Whether a fit can go on from a checkpoint; if not, it is executed again and its journal answers."""
        return type(self).fit is Trainer.fit and self.schedule.resumable

    def cost(self, n_rows: int, n_classes: int, n_layers: int) -> int:
        """Device rows that a fit on ``n_rows`` samples will need, at most."""
        return sum(self.stage_cost(n_rows, n_classes, stage, n_layers) for stage in range(n_layers))

    def stage_cost(self, n_rows: int, n_classes: int, stage: int, n_layers: int) -> int:
        """Device rows of one stage of ``n_layers``, from 0, in a fit on ``n_rows`` samples, at most."""
        planned = self.plan.rows_a_sample(n_classes) * self.schedule.measurements(stage, n_layers)
        scouting = self.plan.scouting_rows_a_sample() if stage == 0 else 0
        return n_rows * (planned + scouting + self.new_readout().rows_a_sample())

    def predict_cost(self, n_rows: int, n_classes: int, n_layers: int) -> int:
        """Device rows that predicting ``n_rows`` samples will need, at most."""
        return n_rows * n_layers * self.new_readout().passes(n_classes)

    @own_torch_state()
    def fit(
        self,
        network: PhysicalNetwork,
        inputs: Any,
        labels: Any,
        validation: tuple[Any, Any] | None = None,
        callbacks: Sequence[Listener] = (),
        checkpoint: Checkpoint = keep_nothing,
        saved: SavedState | None = None,
    ) -> History:
        """Train every stage of ``network`` and give it its readout.

        Parameters
        ----------
        inputs, labels
            Training rows (samples, n_features), real and finite; classes (samples,) as whole numbers from 0.
        validation
            Rows and labels that are never trained on. Every trainer scores them, after its last training row: the
            weights are those of a fit without them, on a device with noise and memory too.
        callbacks
            Called with every event of the fit, in the fit's own torch state: float32, on the CPU, gradients on.
        checkpoint
            Called where the fit could go on from later: after every stage, or every epoch of an online schedule.
        saved
            Where to go on from: what ``checkpoint`` was called with in a fit of the same rows by an equal trainer,
            whose measured rows the sessions' journals hold. Only for a trainer that is ``resumable``.

        Raises
        ------
        DatasetError
            Fewer than two classes, or labels that are no classes, of training or validation rows.
        TrainingDiverged
            If losses or weights leave the finite numbers; the network has no readout then.
        ConfigError
            If the device or the network has no room for what the trainer needs, before anything is measured; or if
            the trainer cannot go on from where ``saved`` says.
        BudgetExceeded
            If a session's budget does not cover the fit, before anything is measured.
        DeviceError
            If a device fails; what was measured is kept in the session.
        """
        rows = as_rows(inputs)
        classes = as_labels(labels, len(rows))
        if saved is not None and not (self.resumable and saved.resumable):
            raise ConfigError(
                "this trainer offers no state to go on from; fit from the start, on the same journal"
            )
        fit = _Fit(self, network, rows, classes, validation, callbacks, checkpoint, saved)
        return fit.run()


class _Fit:
    """One fit in progress."""

    def __init__(
        self,
        trainer: Trainer,
        network: PhysicalNetwork,
        inputs: Tensor,
        labels: Tensor,
        validation: tuple[Any, Any] | None,
        callbacks: Sequence[Listener],
        checkpoint: Checkpoint,
        saved: SavedState | None = None,
    ) -> None:
        self.trainer = trainer
        self.network = network
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.n_classes = int(labels.max()) + 1
        self.validation = (
            None if validation is None else as_validation(validation, inputs.shape[1], self.n_classes)
        )
        self.rng = torch.Generator().manual_seed(trainer.seed)
        # Sorted data would show the first windows of a stage one class only.
        order = torch.randperm(len(inputs), generator=self.rng)
        self.inputs, self.labels = inputs[order], labels[order]
        self.stages = [StageHistory(number) for number in range(len(network))]
        self.progress = Progress(len(network), trainer.schedule.learning_rates)
        self.saved = saved
        if saved is not None:
            self.stages = [StageHistory.from_dict(stage) for stage in saved.history]

    def run(self) -> History:
        """Train; what diverges says where.

        Raises
        ------
        TrainingDiverged
        """
        with self.progress.where_it_diverged():
            return self._run()

    def _run(self) -> History:
        network, plan = self.network, self.trainer.plan
        self._check_clients()
        self._check_budgets()
        plan.fit(self.inputs)
        network.readout = None
        network.build(plan.n_features(self.inputs.shape[1], self.n_classes))
        first = next(iter(network))[1:]
        plan.check(first[0].encoder, self.n_classes)
        self.trainer.schedule.check(network, self.n_classes)
        builder = self.trainer.new_readout()
        task = Task(
            network,
            self.inputs,
            self.labels,
            self.n_classes,
            plan,
            builder,
            self.rng,
            self._stage_begins,
            self._epoch_done,
            self._stage_done,
            self._checkpoint,
            self.saved,
        )
        sessions = network.distinct_sessions
        rows, busy = sum(s.ledger.total for s in sessions), sum(s.ledger.busy_seconds for s in sessions)
        begin = time.perf_counter()
        with ExitStack() as stack:
            stack.enter_context(network.opened())
            for session in sessions:
                stack.enter_context(session.measuring_phase())
            plan.scout(*first, self.inputs, self.labels, self.n_classes)
            self.trainer.schedule.run(task)
            readout = builder.finish(network, self.inputs, self.labels, self.n_classes)
            require_finite("the readout's weights", readout.state_dict().values())
            network.readout = readout
            self._score_validation(builder, readout)
        seconds = time.perf_counter() - begin - (sum(s.ledger.busy_seconds for s in sessions) - busy)
        measured = sum(s.ledger.total for s in sessions) - rows
        return History(self.stages, measured, max(0.0, seconds), self.trainer.uses_model)

    def _check_clients(self) -> None:
        found, wanted = len(self.network.clients), self.trainer.schedule.clients
        if found not in (0, wanted):
            raise ConfigError(
                f"the network has devices for {found} clients, but the trainer "
                + (f"divides the samples among {wanted}" if wanted else "has no clients; leave them out")
            )

    def _check_budgets(self) -> None:
        """Refuse a fit that some session's budget does not cover, before anything is measured."""
        sessions, trainer = self.network.sessions, self.trainer
        held_out = 0 if self.validation is None else len(self.validation[0])
        for session in self.network.distinct_sessions:
            served = [number for number, serving in enumerate(sessions) if serving is session]
            samples, n_layers = len(self.inputs), len(sessions)
            trained = served
            if clients := self.network.clients:  # they measure for every stage, each for its samples
                samples = -(-samples // len(clients))
                trained = list(range(n_layers)) if session in clients else []
            rows = sum(trainer.stage_cost(samples, self.n_classes, number, n_layers) for number in trained)
            session.require(rows + trainer.predict_cost(held_out, self.n_classes, len(served)))

    def _stage_begins(self, stage: int) -> None:
        self.progress.begun(stage)
        self._emit(StageStarted(stage, len(self.stages)))

    def _epoch_done(self, stage: int, epoch: int, epochs: int, loss: float) -> None:
        self.stages[stage].losses.append(loss)
        self.progress.done(stage, epoch, epochs, loss)
        self._emit(EpochFinished(stage, epoch, epochs, loss))

    def _stage_done(self, number: int, activity: Tensor) -> None:
        stage = cast(Stage, self.network.stages[number])
        require_finite("the stage's weights", stage.linear.state_dict().values())
        require_finite("what the stage gives", [activity])
        self.stages[number].sparsity = sparsity(activity)
        notes = [*what_never_varies(number, stage), *self.progress.rising(number, self.stages[number].losses)]
        self.stages[number].notes = []  # a stage that was trained before a resume is looked at again
        for note in [*(what_is_lost(self.inputs, stage.encoder) if number == 0 else ()), *notes]:
            self._notice(number, note)
        self._emit(StageFinished(number, len(self.stages)))

    def _score_validation(self, builder: ReadoutBuilder, last: Readout) -> None:
        """The readout of all stages, and before it those of fewer that come for nothing."""
        if self.validation is None:
            return
        rows, labels = self.validation
        for number in range(len(self.stages)):
            readout = last if number == len(self.stages) - 1 else builder.up_to(number)
            if readout is None:
                continue
            with torch.no_grad():
                scores = readout.log_probabilities(self.network, rows)
            require_finite("what the readout says of the validation rows", [scores])
            accuracy = float((scores.argmax(dim=1).numpy() == labels).mean())
            self.stages[number].validation_accuracy = accuracy
            if readout is last and (guessed := only_class(scores, labels)) is not None:
                self._notice(number, f"every validation row is taken for class {guessed}: nothing was learned")
            self._emit(ValidationScored(number, accuracy))

    def _notice(self, stage: int, note: str) -> None:
        self.stages[stage].notes.append(note)
        self._emit(Noticed(note))

    def _checkpoint(self, state: TrainingState) -> None:
        """Enter where the sessions and the history of this fit stand."""
        if self.checkpoint is keep_nothing:
            return
        places = tuple(session.place() for session in self.network.distinct_sessions)
        history = tuple(stage.as_dict() for stage in self.stages)
        self.checkpoint(replace(state, places=places, history=history))

    def _emit(self, event: Event) -> None:
        for callback in self.callbacks:
            with own_torch_state():  # what a callback does to torch ends with it
                callback(event)
