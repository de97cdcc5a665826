"""The one interface of all trainers."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwloop.errors import ConfigError, DatasetError
from hwloop.events import Listener, ValidationScored
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.network import as_rows
from hwloop.layers.rowwise import plain_array
from hwloop.registry import TRAINERS
from hwloop.tasks import TASKS, Classification, LearningTask
from hwloop.torch_state import own_torch_state
from hwloop.training.history import FitProgress, History, require_finite
from hwloop.training.plans import StimulusPlan
from hwloop.training.readouts import ReadoutBuilder
from hwloop.training.schedules import Fit, Schedule
from hwloop.training.state import Checkpoint, SavedState, keep_no_checkpoint

Validation = tuple[Tensor, NDArray[Any]]  # rows (rows, n_features) and their targets (rows,)


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
        self, plan: StimulusPlan, schedule: Schedule, new_readout: Callable[[], ReadoutBuilder], seed: int = 0
    ) -> None:
        self.plan = plan
        self.schedule = schedule
        self.new_readout = new_readout
        self.seed = seed

    @property
    def uses_model(self) -> str:
        """What the trainer knows of the device beyond its measured rows, in words; empty, but for yardsticks."""
        return self.schedule.uses_model

    def reason_against(self, task: LearningTask | type[LearningTask]) -> str:
        """Why it cannot learn such a task, in words; empty if it can.

        A plan, a schedule with its rule and objective, and a readout each say whether they need classes.
        """
        if task.steps > 1:
            return "it learns one target a row, and a sequence has one at every step"
        if task.has_classes:
            return ""
        if not self._is_told_of_tasks:
            return "its fit is told of no task, so it knows classes alone"
        return self._needs_classes

    @property
    def _needs_classes(self) -> str:
        parts = (self.plan, self.schedule, self.new_readout())
        return next((part.needs_classes for part in parts if part.needs_classes), "")

    @property
    def reason_against_weights(self) -> str:
        """Why a fit takes no ``sample_weight``, in words; empty if it does.

        What needs no classes asks of a target nothing but the task's loss, which a weight multiplies.
        """
        if "sample_weight" not in inspect.signature(self.fit).parameters:
            return "its fit takes none"
        return self._needs_classes

    def require_weights(self, name: str = "this trainer") -> None:
        """Refuse ``sample_weight`` where a fit takes none.

        Raises
        ------
        ConfigError
        """
        if reason := self.reason_against_weights:
            raise ConfigError(
                f"{name} cannot weight rows: {reason}. Leave the weights out, or take a trainer such as local, "
                "greedy or readout"
            )

    @property
    def serves(self) -> frozenset[str]:
        """The kinds of :data:`hwloop.tasks.TASKS` that it can learn."""
        return frozenset(kind for kind, task in TASKS.items() if not self.reason_against(task))

    def require_serves(self, task: LearningTask) -> None:
        """Refuse a task that it cannot learn.

        Raises
        ------
        ConfigError
        """
        if reason := self.reason_against(task):
            raise ConfigError(
                f"this trainer cannot learn a {task.kind}: {reason}. Take one that can, such as {task.learned_by}"
            )

    @property
    def _is_told_of_tasks(self) -> bool:
        return "task" in inspect.signature(self.fit).parameters

    def require_told_of(self, options: Mapping[str, Any]) -> None:
        """Refuse what a fit must be told (:meth:`LearningTask.options_for`) where it takes no task.

        Raises
        ------
        ConfigError
        """
        if "task" in options and not self._is_told_of_tasks:
            raise ConfigError(
                "the last classes have no training row, and this trainer's fit is told of no task, so it would "
                "not know of them; leave their rows out, give it training rows of them, or let fit take task"
            )

    @property
    def resumable(self) -> bool:
        """Whether a fit can go on from a checkpoint; if not, it is executed again and its journal answers."""
        return type(self).fit is Trainer.fit and self.schedule.resumable

    def new_stage(self, settings: Mapping[str, Any], number: int, task: LearningTask) -> Stage:
        """The stage ``number``, from 0, of an experiment's network, from what :class:`hwloop.Stage` takes."""
        return Stage(**settings)

    def cost(self, n_rows: int, n_classes: int, n_layers: int, steps: int = 1) -> int:
        """Device rows that a fit on ``n_rows`` samples will need, at most; of sequences of so many steps."""
        return sum(self.stage_cost(n_rows, n_classes, stage, n_layers, steps) for stage in range(n_layers))

    def stage_cost(self, n_rows: int, n_classes: int, stage: int, n_layers: int, steps: int = 1) -> int:
        """Device rows of one stage of ``n_layers``, from 0, in a fit on ``n_rows`` samples, at most."""
        planned = self.plan.rows_a_sample(n_classes) * self.schedule.measurements(stage, n_layers)
        scouting = self.plan.scouting_rows_a_sample() if stage == 0 else 0
        return n_rows * (planned + scouting + self.new_readout().rows_a_sample()) + self.schedule.extra_rows()

    def writes(self, n_rows: int, n_layers: int = 1) -> int:
        """Writes of tunables that a fit on ``n_rows`` samples will make, at most; 0 for most trainers.

        A device that bears small changes alone (``Tunable.max_change``) may take more.
        """
        return n_layers * self.schedule.writes(n_rows)

    def predict_cost(self, n_rows: int, n_classes: int, n_layers: int, steps: int = 1) -> int:
        """Device rows that predicting ``n_rows`` samples will need, at most; of sequences of so many steps."""
        return n_rows * n_layers * self.new_readout().passes(n_classes)

    @own_torch_state()
    def fit(
        self,
        network: PhysicalNetwork,
        inputs: Any,
        labels: Any,
        validation: tuple[Any, Any] | None = None,
        callbacks: Sequence[Listener] = (),
        checkpoint: Checkpoint = keep_no_checkpoint,
        saved: SavedState | None = None,
        task: LearningTask | None = None,
        sample_weight: Any = None,
    ) -> History:
        """Train every stage of ``network`` and give it its readout.

        Parameters
        ----------
        inputs, labels
            Training rows (samples, n_features), real and finite; their targets as the task has them: classes as
            whole numbers from 0, shape (samples,), unless ``task`` says something else.
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
        task
            What is learned; by default a classification.
        sample_weight
            What each training row counts (samples,), above zero: it multiplies the row's loss, and costs no device
            row. A constant factor changes nothing, and weights that are all the same are none, as by default. Not
            every trainer takes weights (:attr:`reason_against_weights`).

        Raises
        ------
        DatasetError
            Targets of training or validation rows that the task cannot learn, such as fewer than two classes, or
            labels that are no classes.
        TrainingDiverged
            If losses or weights leave the finite numbers; the network has no readout then.
        ConfigError
            If the trainer cannot learn the task or weight rows, or the device or the network has no room for what
            it needs, all before anything is measured; or if the trainer cannot go on from where ``saved`` says.
        BudgetExceeded
            If a session's budget does not cover the fit, before anything is measured.
        DeviceError
            If a device fails; what was measured is kept in the session.
        """
        rows = as_rows(inputs)
        task = task or Classification(0)
        self.require_serves(task)
        weights = None if sample_weight is None else self._counted(sample_weight, len(rows))
        task, fitted = task.fitted_to_weighted(plain_array(labels, "labels"), len(rows), weights)
        held_out = None if validation is None else _as_validation(validation, rows.shape[1], task)
        if weights is not None:
            from hwloop.tasks.weighted import Weighted

            task, fitted = Weighted.of(task, fitted, weights)
        targets = torch.from_numpy(fitted)
        if saved is not None and not (self.resumable and saved.resumable):
            raise ConfigError(
                "this trainer offers no state to go on from; fit from the start, on the same journal"
            )
        rng = torch.Generator().manual_seed(self.seed)
        # Sorted data would show the first windows of a stage one class only.
        order = torch.randperm(len(rows), generator=rng)
        progress = FitProgress(len(network), self.schedule.learning_rates)
        builder = self.new_readout()
        builder.seed = self.seed
        fit = Fit(
            network,
            rows[order],
            targets[order],
            task,
            self.plan,
            builder,
            rng,
            progress,
            callbacks,
            checkpoint,
            saved,
        )
        with progress.where_it_diverged():
            return self._run(fit, held_out)

    def _counted(self, sample_weight: Any, samples: int) -> NDArray[np.float64] | None:
        """What each row counts, whatever unit it was given in; ``None`` where all count the same."""
        from hwloop.tasks.weighted import as_weights, in_own_unit

        self.require_weights()
        weights = in_own_unit(as_weights(sample_weight, samples)) if samples else np.ones(0)
        return None if bool((weights == 1.0).all()) else weights

    def _run(self, fit: Fit, validation: Validation | None) -> History:
        network, plan, n_outputs = fit.network, self.plan, fit.task.n_outputs
        self._check_clients(network)
        self._check_budgets(fit, 0 if validation is None else len(validation[0]))
        plan.fit(fit.inputs)
        network.readout = network.task = None
        network.build(plan.n_features(fit.inputs.shape[1], n_outputs))
        first = next(iter(network))[1:]
        plan.check(first[0].encoder, n_outputs)
        self.schedule.check(network, fit.task)
        sessions = network.distinct_sessions
        rows, busy = sum(s.ledger.total for s in sessions), sum(s.ledger.busy_seconds for s in sessions)
        begin = time.perf_counter()
        with ExitStack() as stack:
            stack.enter_context(network.opened())
            for session in sessions:
                stack.enter_context(session.measuring_phase())
            plan.measure_pilot(*first, fit.inputs, fit.labels, n_outputs)
            self.schedule.run(fit)
            for _, stage, session in network:
                if stage.tuning is None:  # whatever the user's session was told; predictions are measured under it
                    stage.tuning = session.tuning
            readout = fit.readout.finish(network, fit.inputs, fit.labels, fit.task)
            require_finite("the readout's weights", readout.state_dict().values())
            network.readout, network.task = readout, fit.task.unweighted
            if validation is not None:
                _score_validation(fit, validation)
        seconds = time.perf_counter() - begin - (sum(s.ledger.busy_seconds for s in sessions) - busy)
        measured = sum(s.ledger.total for s in sessions) - rows
        return History(fit.stages, measured, max(0.0, seconds), self.uses_model)

    def _check_clients(self, network: PhysicalNetwork) -> None:
        found, wanted = len(network.clients), self.schedule.clients
        if found not in (0, wanted):
            raise ConfigError(
                f"the network has devices for {found} clients, but the trainer "
                + (f"divides the samples among {wanted}" if wanted else "has no clients; leave them out")
            )

    def _check_budgets(self, fit: Fit, held_out: int) -> None:
        """Refuse a fit that some session's budget does not cover, before anything is measured."""
        network, sessions = fit.network, fit.network.sessions
        for session in network.distinct_sessions:
            served = [number for number, serving in enumerate(sessions) if serving is session]
            samples, n_layers = len(fit.inputs), len(sessions)
            trained = served
            if clients := network.clients:  # they measure for every stage, each for its samples
                samples = -(-samples // len(clients))
                trained = list(range(n_layers)) if session in clients else []
            n_outputs, of_task = fit.task.n_outputs, fit.task.cost_options()
            rows = sum(self.stage_cost(samples, n_outputs, number, n_layers, **of_task) for number in trained)
            writes = self.writes(samples, len(trained))
            session.require(rows + self.predict_cost(held_out, n_outputs, len(served), **of_task), writes)


def _as_validation(validation: Any, n_features: int, task: LearningTask) -> Validation:
    """Validation rows and their targets, such as the training rows have.

    Raises
    ------
    DatasetError
    """
    try:
        inputs, labels = validation
    except (TypeError, ValueError) as error:
        raise DatasetError("validation must be a pair of rows and targets") from error
    rows = as_rows(inputs)
    if rows.shape[1] != n_features or len(rows) == 0:
        raise DatasetError(
            f"validation rows {tuple(rows.shape)} must have shape (rows, {n_features}), with at least one row"
        )
    return rows, task.held_out(plain_array(labels, "validation labels"), len(rows))


def _score_validation(fit: Fit, validation: Validation) -> None:
    """The readout of all stages, and before it those of fewer that come for nothing."""
    rows, targets = validation
    last = fit.network.readout
    for number, stage in enumerate(fit.stages):
        readout = last if number == len(fit.stages) - 1 else fit.readout.up_to(number)
        if readout is None:
            continue
        with torch.no_grad():
            outputs = readout.log_probabilities(fit.network, rows)
        require_finite("what the readout says of the validation rows", [outputs])
        predicted = fit.task.predicted(outputs)
        stage.validation_score = score = fit.task.score(targets, predicted)
        if readout is last and (doubt := fit.task.doubt(targets, predicted)):
            fit.notice(number, doubt)
        main = fit.task.main
        shown = fit.task.in_short(fit.task.figures(targets, predicted))
        fit.emit(ValidationScored(number, score, shown, main.key))
