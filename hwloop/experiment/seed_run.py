"""One seed of an experiment: its rows forecast, its network trained and tested, then its floors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hwloop.device import Device, DeviceDescription
from hwloop.errors import BudgetExceeded
from hwloop.events import Event, Noticed
from hwloop.experiment import results
from hwloop.experiment.checkpoints import KEEPS_NOTHING, Keeper
from hwloop.experiment.columns import Score, Trial
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.events import MethodScored
from hwloop.experiment.floor import Floor
from hwloop.experiment.floors import FLOORS, in_running_order
from hwloop.experiment.partition import Partition
from hwloop.experiment.results import (
    DeviceResponse,
    SeedResult,
    measure_sweep,
    training_responses,
)
from hwloop.experiment.rigs import Rig, build_stages, build_trainer, features_of_devices, network_rows
from hwloop.input_scaling import AUTO, decided
from hwloop.layers import PhysicalNetwork
from hwloop.session import Forecast, Session
from hwloop.session.account import RUN_PURPOSES
from hwloop.training import History, Trainer
from hwloop.training.history import StageHistory


def seed_rows(config: ExperimentConfig, trainer: Trainer, data: Partition, first: bool) -> int:
    """Rows that one seed measures at most; the first also sweeps the device for the response plot.

    A device that moves beyond its limit costs more: its drift is confirmed, and rows that were forgotten are
    measured again.
    """
    rows = network_rows(trainer, data, config.network.stages)
    if config.evidence.floors:
        rows += sum(floor.rows(config, data) for floor in FLOORS if floor.suits(data.task))
    rows += config.evidence.response_rows if first else 0
    if config.reference is not None:
        rows += config.reference.settings().rows_of_run(rows, len(config.device))
    return rows


def seed_writes(config: ExperimentConfig, trainer: Trainer, data: Partition) -> int:
    """Writes of tunables that one seed makes at most; a change that must be walked costs more."""
    return trainer.writes(len(data.train), config.network.stages)


def run_forecast(rows: int, sessions: Sequence[Session], writes: int = 0) -> Forecast:
    """Rows, writes and time of the whole run; the stages share them evenly among their sessions."""
    shares = [session.forecast(rows, writes).seconds for session in sessions]
    known = [seconds for seconds in shares if seconds is not None]
    return Forecast(rows, sum(known) / len(shares) if len(known) == len(shares) else None, writes)


def require_budget(budget: int | None, forecast: Forecast, n_seeds: int, write_budget: int | None = None) -> None:
    """Refuse a run that its budgets of rows and of writes do not cover.

    Raises
    ------
    BudgetExceeded
        Before anything is measured; the message says how much is needed.
    """
    if write_budget is not None and forecast.writes > write_budget:
        raise BudgetExceeded(
            f"the run needs up to {forecast}, but its write_budget is {write_budget:,} writes of tunables; "
            f"nothing was measured. Give at least {forecast.writes:,} writes, fewer seeds, or a smaller dataset"
        )
    if budget is not None and forecast.rows > budget:
        seeds = f"{n_seeds} seeds" if n_seeds > 1 else "one seed"
        raise BudgetExceeded(
            f"the run needs up to {forecast} for {seeds}, but its budget is {budget:,} rows; nothing was "
            f"measured. Give a budget of at least {forecast.rows:,} rows, fewer seeds, or a smaller dataset"
        )


Emit = Callable[[Event], None]
Identified = Callable[[int, Device, DeviceDescription], None]


@dataclass
class SeedRun:
    """One seed, ready to run: nothing is measured yet.

    ``sessions`` holds one a stage; stages that share a device share its session. ``identified`` is told which
    device has opened under each number, from 0, before any is asked for a row; it may refuse one. ``notes`` say
    in words what was chosen for the user, and are told before the first row.
    """

    config: ExperimentConfig
    data: Partition
    trainer: Trainer
    sessions: list[Session]
    network: PhysicalNetwork
    emit: Emit
    identified: Identified = lambda number, device, description: None
    keep: Keeper = KEEPS_NOTHING
    notes: list[str] = field(default_factory=list)

    @property
    def distinct_sessions(self) -> list[Session]:
        """Every session once."""
        return self.network.distinct_sessions

    def run(self, response_rows: int, with_references: bool = True) -> tuple[SeedResult, list[DeviceResponse]]:
        """Train, test, then score floors; the devices are closed afterwards, whatever happens.

        ``response_rows`` rows sweep the first device for the report, 0 for none. Floors are left out
        without ``with_references``, or where the configuration asks for none.
        """
        begin = time.perf_counter()
        for note in self.notes:
            self.emit(Noticed(note))
        with ExitStack() as stack:
            for session in self.distinct_sessions:
                stack.callback(session.journal.close)
                if session.earlier is not None:
                    stack.callback(session.earlier.close)
                stack.enter_context(session)
            for number, session in enumerate(self.distinct_sessions):
                if session.description is not None:
                    self.identified(number, session.device, session.description)
            history, trial = self._train_and_test()
            for session in self.distinct_sessions:
                session.measure_reference()
            scores = {results.NETWORK: trial.score}
            self._announce(results.NETWORK, scores[results.NETWORK])
            responses = self._responses(response_rows)
            cost = self._cost()
            if with_references and self.config.evidence.floors:
                scores |= self._references(trial)
            floor_rows = sum(session.ledger.total for session in self.distinct_sessions) - sum(
                cost["rows"].values()
            )
        result = SeedResult(
            seed=self.data.seed,
            n_train=len(self.data.train),
            n_validation=len(self.data.validation) if self.data.validation else 0,
            n_test=len(self.data.test),
            scores=scores,
            floor_rows=floor_rows,
            details=trial.task.details(trial.targets, trial.predicted),
            kind=type(trial.task),
            losses=[stage.losses for stage in history.stages],
            sparsity=[_sparsity(stage) for stage in history.stages],
            uses_model=history.uses_model,
            notes=[*self.data.notes, *self.notes, *history.notes],
            input_scaling=self.config.network.input_scaling,
            own_test_rows=self.data.own_test_rows,
            validation_scores=[stage.validation_score for stage in history.stages],
            digital_seconds=history.digital_seconds,
            wall_seconds=time.perf_counter() - begin,
            devices=self.identities(),
            drift=[list(session.drift_curve) for session in self.distinct_sessions],
            **cost,
        )
        return result, responses

    def identities(self) -> list[str]:
        """Who the devices say they are."""
        return [session.identity for session in self.distinct_sessions]

    def versions(self) -> list[dict[str, str]]:
        """Of the software behind each device that lives in another process."""
        return [session.device.versions() for session in self.distinct_sessions]

    def _train_and_test(self) -> tuple[History, Trial]:
        data, held_out, network = self.data, self.data.validation, self.network
        validation = None if held_out is None else (held_out.inputs, held_out.targets)
        train = data.train
        saved = self.keep.resume_point(self.trainer)
        extra = data.fit_options
        if saved is not None:
            extra["saved"] = saved
        history = self.trainer.fit(
            network,
            train.inputs,
            train.targets,
            validation,
            [self.emit],
            self.keep.checkpoint,
            **extra,
        )
        predicted = network.predict(data.test.inputs)
        # A row costs what it costs, whichever run paid for it.
        trained = sum(s.ledger["train"] + s.ledger.reused["train"] for s in self.distinct_sessions)
        trial = Trial(
            data.task,
            data.test.targets,
            predicted,
            network.multiply_adds,
            trained / len(train),
            self.trainer.predict_cost(1, data.task.n_outputs, len(network), **data.task.cost_options()),
        )
        return history, trial

    def _cost(self) -> dict[str, Any]:
        """The network's own rows by purpose, busy time and time of the measuring phases."""
        ledgers = [session.ledger for session in self.distinct_sessions]
        phases = [
            ledger.seconds["train"] / ledger.duty_cycle for ledger in ledgers if ledger.duty_cycle is not None
        ]
        return {
            "rows": _summed(ledger.rows for ledger in ledgers),
            "recalled": _summed(ledger.recalled for ledger in ledgers),
            "reused": _summed(ledger.reused for ledger in ledgers),
            "writes": _counted(_summed(ledger.writes for ledger in ledgers)),
            "busy_seconds": sum(ledger.seconds["train"] for ledger in ledgers),
            "measuring_seconds": sum(phases) if phases else None,
        }

    def _responses(self, response_rows: int) -> list[DeviceResponse]:
        found = []
        for number, session in enumerate(self.distinct_sessions):
            sweep = measure_sweep(session, response_rows, self.data.seed) if number == 0 else None
            sample = training_responses(session.journal)
            found.append(DeviceResponse(session.device.spec, session.identity, sample, sweep))
        return found

    def _references(self, trial: Trial) -> dict[str, Score]:
        """Floors that suit the task, from the network's split; what is finished already is not computed again."""
        suited = [floor for floor in in_running_order() if floor.suits(self.data.task)]
        return {floor.key: self._reference(floor, trial) for floor in suited}

    def _reference(self, floor: Floor, trial: Trial) -> Score:
        if note := floor.note(self.config, self.data):
            self.notes.append(note)
            self.emit(Noticed(note))
        sessions = self.distinct_sessions
        finished = self.keep.finished_score(floor.key, sessions)
        if finished is None:
            score = floor.score(self.config, self.sessions, self.data).beside(trial)
            self.keep.keep_score(floor.key, score, sessions)
        else:
            score, places = finished
            for session, place in zip(sessions, places, strict=True):
                session.skip_to(place)
        self._announce(floor.key, score)
        return score

    def _announce(self, method: str, score: Score) -> None:
        main = self.data.task.main
        shown = self.data.task.in_short(score.figures)
        self.emit(MethodScored(self.data.seed, method, score[main.key], shown, main.key))


def _sparsity(stage: StageHistory) -> results.StageSparsity | None:
    found = stage.sparsity
    return None if found is None else results.StageSparsity(found.hoyer, found.near_zero)


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Rows by purpose, over several sessions."""
    every = list(counts)
    return {purpose: sum(count[purpose] for count in every) for purpose in RUN_PURPOSES}


def prepare_seed(
    config: ExperimentConfig,
    data: Partition,
    rig: Rig,
    budget: int | None,
    emit: Emit,
    write_budget: int | None = None,
) -> SeedRun:
    """Build trainer, devices, sessions and network of one seed; nothing is measured.

    What the configuration leaves open is decided from the training rows.

    Raises
    ------
    ConfigError
        Unknown trainer, device or setting.
    """
    config, notes = _with_input_scaling(config, data)
    if split := data.task.split_in_words:
        notes.insert(0, f"split: {split}")
    trainer = build_trainer(config, data.seed)
    trainer.require_serves(data.task)
    trainer.require_told_of(data.fit_options)
    planned = trainer.plan.n_features(data.n_features, data.task.n_outputs)
    stages = config.network.stages
    reference = None if config.reference is None else config.reference.settings()
    sessions = []
    for number, n_features in enumerate(features_of_devices(config, planned)):
        device, journal = rig.device(number, n_features, data.seed), rig.journal(number, data.seed)
        sessions.append(
            Session(
                device,
                journal=journal,
                budget=budget,
                reference=reference,
                listeners=[emit],
                earlier=rig.earlier(),
                write_budget=write_budget,
            )
        )
    sessions = sessions * stages if len(sessions) == 1 else sessions
    network = PhysicalNetwork(sessions, build_stages(config, trainer, data.task), seed=data.seed)
    network.class_names = data.task.class_names
    for number, stage, session in network:
        encoded = planned if number == 0 else config.network.width
        if note := stage.projection_note(session.device.spec, encoded):
            notes.append(f"stage {number + 1}: {note}")
    return SeedRun(config, data, trainer, sessions, network, emit, notes=notes)


def _with_input_scaling(config: ExperimentConfig, data: Partition) -> tuple[ExperimentConfig, list[str]]:
    """The configuration with the scaling that the training rows call for, and what to tell of it."""
    network = config.network
    if network.input_scaling != AUTO:
        return config, []
    found = decided(network.input_scaling, data.train.inputs, max(network.sequence_steps, data.task.steps))
    settled = network.model_copy(update={"input_scaling": found.name})
    return config.model_copy(update={"network": settled}), [f"input scaling: {found.text}"]


def _counted(writes: dict[str, int]) -> dict[str, int]:
    """Writes by purpose, of those that had some."""
    return {purpose: count for purpose, count in writes.items() if count}
