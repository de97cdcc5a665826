"""The streamed schedule: a stage's map is trained on the first samples, the others pass through as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from hwloop.errors import ConfigError, DeviceError
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.session.row_measurer import rows_a_call
from hwloop.training.cached import Cached, trained_stage
from hwloop.training.inflow import Inflow
from hwloop.training.rules import LocalRule, StageData
from hwloop.training.schedules import Schedule, Task
from hwloop.training.state import TrainingState, named

Carry = Callable[[Tensor | None, Tensor], Tensor | None]


def stage_by_stage(rule: LocalRule, map_share: float) -> Schedule:
    """Every row measured once a stage: maps trained on all samples, or on the first share of them.

    Parameters
    ----------
    map_share
        Above 0 and at most 1. Below 1 the next stage is measured as soon as that share is, see :class:`Streamed`.
    """
    return Cached(rule) if map_share == 1 else Streamed(rule, map_share)


class Streamed(Schedule):
    """Maps are trained on the first samples; the others pass through while they are being measured.

    As soon as a stage's map is trained it stands still, and what the device goes on to answer is sent to the next
    one, piece by piece. With a device a stage, L stages take 1 + (L - 1) ``map_share`` times as long as one, not
    L times. The last stage and a closed-form readout see all samples. Rows of all stages are held, for all are
    under way.

    Each device is asked for its rows in the order of the samples, so the weights depend on no device's pace; where
    stages share a device they are measured one after the other, with the same result.

    Parameters
    ----------
    rule
        Trains a stage.
    map_share
        Share of the samples that a map is trained on, above 0 and below 1.
    """

    def __init__(self, rule: LocalRule, map_share: float) -> None:
        if isinstance(map_share, bool) or not 0 < map_share < 1:
            raise ConfigError(f"map_share must be above 0 and at most 1, not {map_share!r}")
        self.rule = rule
        self.map_share = map_share

    def check(self, network: PhysicalNetwork, n_classes: int) -> None:
        """As the rule says."""
        for _, stage, _ in network:
            self.rule.check(stage, n_classes)

    @property
    def resumable(self) -> bool:
        """As the rule can."""
        return self.rule.resumable

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """As the rule says."""
        return self.rule.learning_rates

    def measurements(self, stage: int, n_stages: int) -> int:
        """Once."""
        return 1

    def run(self, task: Task) -> None:
        """Train every stage, then hand all of them to the readout: before, rows are still under way.

        A fit goes on from its only checkpoint by sending all rows on as before; the journal answers them.
        """
        if task.saved is not None:
            task.saved.restored_stages(task.network)
        flow = _Flow(self, task)
        try:
            objectives = flow.run()
        finally:
            flow.stop()
        for number, objective in enumerate(objectives):
            inflow = flow.inflows[number]
            stage = inflow.stage
            features = stage.features(inflow.inputs, inflow.wait_for(inflow.rows))
            task.readout.add_stage(objective, features)
            task.stage_done(number, stage.activate(stage.map(features)))
        if task.saved is not None:
            task.saved.restore_rng(task.rng)
            return
        tensors = {
            name: tensor
            for number, objective in enumerate(objectives)
            for name, tensor in named(f"objective.{number}.", objective).items()
        }
        state = TrainingState(
            1, task.rng, stage=len(objectives), resumable=self.resumable, is_last=True, tensors=lambda: tensors
        )
        task.checkpoint(state)


class _Flow:
    """The rows of one fit on their way through the stages."""

    def __init__(self, schedule: Streamed, task: Task) -> None:
        self.rule, self.task = schedule.rule, task
        self.samples = len(task.labels)
        self.first_samples = max(1, round(schedule.map_share * self.samples))
        self.rows_a_sample = task.plan.rows_a_sample(task.n_classes)
        self.piece = max(rows_a_call(session.device.spec) for session in task.network.sessions)
        self.inflows: list[Inflow] = []
        self._feeders: list[threading.Thread] = []

    def run(self) -> list[nn.Module]:
        """Train every stage; returns their objectives. The last stage waits for all rows."""
        task, objectives = self.task, []
        # What a stage is sent at once: all rows in the first, those that the map before it was trained on later.
        first = task.plan.rows(task.inputs, task.labels, task.n_classes, task.rng)
        carried: Tensor | None = None
        carry: Carry = partial(_nothing)
        early = self.first_samples * self.rows_a_sample
        for number, stage, session in task.network:
            task.stage_begins(number)
            stage.encoder.fit(first)
            inflow = Inflow(stage, session, self.samples * self.rows_a_sample)
            self.inflows.append(inflow)
            inflow.put(first, carried)
            if number > 0:
                self._feed(self.inflows[number - 1], inflow, early, carry)
            objective, features = self._train(number, inflow)
            objectives.append(objective)
            if number == len(task.network) - 1:
                break
            carry = partial(_carried, self.rule, objective, stage)
            first = stage.map(features)
            carried = carry(inflow.before_of(0, len(first)), first)
        return objectives

    def _train(self, number: int, inflow: Inflow) -> tuple[nn.Module, Tensor]:
        """Train a stage on the first samples, the last one on all."""
        samples = self.samples if number == len(self.task.network) - 1 else self.first_samples
        rows = samples * self.rows_a_sample
        before, labels = inflow.before_of(0, rows), self.task.labels[:samples]
        data = StageData(inflow.inputs[:rows], inflow, labels, self.rows_a_sample, self.task.n_classes, before)
        return trained_stage(self.rule, self.task, number, inflow.stage, data)

    def _feed(self, source: Inflow, sink: Inflow, start: int, carry: Carry) -> None:
        """Send what a trained stage answers on to the next: while training goes on, where devices allow it."""
        if not self.task.network.one_device_a_stage:
            self._pass_on(source, sink, start, carry)
            return
        feeder = threading.Thread(
            target=self._pass_on, args=(source, sink, start, carry), name="hwloop-feeder", daemon=True
        )
        self._feeders.append(feeder)
        feeder.start()

    def _pass_on(self, source: Inflow, sink: Inflow, start: int, carry: Carry) -> None:
        try:
            for begin in range(start, source.rows, self.piece):
                end = min(begin + self.piece, source.rows)
                answers = source.answers(begin, end)
                z = source.stage.map(source.stage.features(source.inputs[begin:end], answers))
                sink.put(z, carry(source.before_of(begin, end), z))
        except BaseException as failure:  # whoever waits for these rows is told
            sink.fail(failure)

    def stop(self) -> None:
        """Give up what is still under way, and wait for the threads."""
        for inflow in self.inflows:
            inflow.fail(DeviceError("the fit ended while rows were still to be measured"))
        for feeder in self._feeders:
            feeder.join()


def _nothing(before: Tensor | None, z: Tensor) -> None:
    """What is carried over to the first stage."""


def _carried(
    rule: LocalRule, objective: nn.Module, stage: Stage, before: Tensor | None, z: Tensor
) -> Tensor | None:
    return rule.carry(before, objective, stage, z)
