"""Stage by stage: every row is measured once a stage, and the next stage is sent what a trained map gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceError
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.session import Measurement, Session
from hwloop.session.measurement import rows_a_call
from hwloop.tasks import LearningTask
from hwloop.training.options import WithOptions, option, real_number
from hwloop.training.rules import LocalRule, StageRows
from hwloop.training.schedules import Fit, Schedule
from hwloop.training.state import TrainingState, named

Carry = Callable[[Tensor | None, Tensor], Tensor | None]
MAP_SHARE = real_number("be above 0 and at most 1", lambda value: not isinstance(value, bool) and 0 < value <= 1)


@dataclass(frozen=True)
class Streaming(WithOptions):
    """How much of a stage's rows its map waits for.

    Attributes
    ----------
    map_share
        Share of the samples that a map is trained on; below 1 stages on several devices measure at once.
    """

    map_share: float = option(1.0, MAP_SHARE)


class StageByStage(Schedule):
    """Every planned row is measured once a stage, the least that any local trainer can do.

    Maps are trained on the first ``map_share`` of the samples, on the rows that are there while the rest is being
    measured. As soon as a map is trained it stands still, and what the device goes on to answer is sent to the
    next one, piece by piece. With a device a stage, L stages take 1 + (L - 1) ``map_share`` times as long as one,
    not L times. The last stage and a closed-form readout see all samples. With a share of 1 a stage is over when
    its map is trained, and its rows are let go; below 1 rows of all stages are held, for all are under way.

    Each device is asked for its rows in the order of the samples, so the weights depend on no device's pace; where
    stages share a device they are measured one after the other, with the same result.

    Parameters
    ----------
    rule
        Trains a stage.
    map_share
        Share of the samples that a map is trained on, above 0 and at most 1.
    """

    def __init__(self, rule: LocalRule, map_share: float = 1.0) -> None:
        MAP_SHARE.check("map_share", map_share)
        self.rule = rule
        self.map_share = map_share

    def check(self, network: PhysicalNetwork, task: LearningTask) -> None:
        for _, stage, _ in network:
            self.rule.check(stage, task)

    @property
    def resumable(self) -> bool:
        return self.rule.resumable

    @property
    def needs_classes(self) -> str:
        return self.rule.needs_classes

    @property
    def learning_rates(self) -> Mapping[str, float]:
        return self.rule.learning_rates

    def measurements(self, stage: int, n_stages: int) -> int:
        return 1

    def run(self, fit: Fit) -> None:
        """Stage by stage.

        A stage that was trained before a resume is sent its rows like any other, which its journal answers.
        """
        if fit.saved is not None:
            fit.saved.restore_network(fit.network)
        flow = _Flow(self, fit)
        try:
            flow.run()
        finally:
            flow.stop()


class _Flow:
    """The rows of one fit on their way through the stages."""

    def __init__(self, schedule: StageByStage, fit: Fit) -> None:
        self.rule, self.fit = schedule.rule, fit
        self.whole = schedule.map_share == 1
        self.samples = len(fit.labels)
        self.first_samples = max(1, round(schedule.map_share * self.samples))
        self.rows_a_sample = fit.rows_a_sample
        self.piece = max(rows_a_call(session.device.spec) for session in fit.network.sessions)
        self.streams: list[StreamedRows] = []
        self.objectives: list[nn.Module] = []
        self._feeders: list[threading.Thread] = []

    def run(self) -> None:
        """Train every stage, and hand it to the readout as soon as its last row is there."""
        # What a stage is sent at once: all rows in the first, those that the map before it was trained on later.
        first, carried = self.fit.planned_rows(), None
        carry: Carry = _nothing
        for number, stage, session in self.fit.network:
            self.fit.stage_begins(number)
            first, carried, carry = self._train_stage(number, stage, session, (first, carried), carry)
        if not self.whole:  # until here rows were under way
            for number, rows in enumerate(self.streams):
                features = rows.stage.features(rows.inputs, rows.wait_for(rows.rows))
                self._finish(number, rows.stage, features, rows.stage.map(features))
            self._reached(len(self.streams), point=1)

    def _train_stage(
        self, number: int, stage: Stage, session: Session, sent: tuple[Tensor, Tensor | None], carry: Carry
    ) -> tuple[Tensor, Tensor | None, Carry]:
        """The first rows for the next stage, what is carried over with them, and how more is carried over."""
        stage.encoder.fit(sent[0])
        rows = StreamedRows(stage, session, self.samples * self.rows_a_sample)
        source = self.streams[-1] if self.streams and not self.whole else None
        self.streams = [rows] if self.whole else [*self.streams, rows]
        rows.put(*sent)
        if source is not None:
            self._feed(source, rows, self.first_samples * self.rows_a_sample, carry)
        objective, features = self._train(number, rows)
        self.objectives.append(objective)
        carry = partial(_carried, self.rule, objective, stage)
        z = stage.map(features)
        if self.whole:
            self._finish(number, stage, features, z)
            self._reached(number + 1, point=number + 1)
        return z, carry(rows.before_of(0, len(z)), z), carry

    def _train(self, number: int, stream: StreamedRows) -> tuple[nn.Module, Tensor]:
        """Train a stage on the first samples, the last one on all; or take up what it had been trained to."""
        fit, saved = self.fit, self.fit.saved
        samples = self.samples if number == len(fit.network) - 1 else self.first_samples
        rows = samples * self.rows_a_sample
        known = StageRows(
            stream.inputs[:rows],
            stream,
            fit.labels[:samples],
            self.rows_a_sample,
            fit.task,
            stream.before_of(0, rows),
        )
        if saved is not None and number < (saved.stage or 0):
            return self.rule.trained(stream.stage, known, saved.part(f"objective.{number}."))
        return self.rule.train(stream.stage, known, fit.rng, partial(fit.epoch_done, number))

    def _finish(self, number: int, stage: Stage, features: Tensor, z: Tensor) -> None:
        self.fit.readout.add_stage(self.objectives[number], features)
        self.fit.stage_done(number, stage.activate(z))

    def _reached(self, stages: int, point: int) -> None:
        """A checkpoint after so many stages, or the random state of the one that the fit goes on from."""
        fit = self.fit
        behind = 0 if fit.saved is None else fit.saved.stage or 0
        if stages > behind:
            tensors: dict[str, Tensor] = {}
            for number, objective in enumerate(self.objectives):
                tensors |= named(f"objective.{number}.", objective)
            is_last = stages == len(fit.network)
            fit.checkpoint(
                TrainingState(
                    point,
                    fit.rng,
                    stage=stages,
                    resumable=self.rule.resumable,
                    is_last=is_last,
                    tensors=lambda: tensors,
                )
            )
        elif stages == behind and fit.saved is not None:
            fit.saved.restore_rng(fit.rng)

    def _feed(self, source: StreamedRows, sink: StreamedRows, start: int, carry: Carry) -> None:
        """Send what a trained stage answers on to the next: while training goes on, where devices allow it."""
        if not self.fit.network.one_device_a_stage:
            self._pass_on(source, sink, start, carry)
            return
        feeder = threading.Thread(
            target=self._pass_on, args=(source, sink, start, carry), name="hwloop-feeder", daemon=True
        )
        self._feeders.append(feeder)
        feeder.start()

    def _pass_on(self, source: StreamedRows, sink: StreamedRows, start: int, carry: Carry) -> None:
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
        for rows in self.streams:
            rows.fail(DeviceError("the fit ended while rows were still to be measured"))
        for feeder in self._feeders:
            feeder.join()


def _nothing(before: Tensor | None, z: Tensor) -> None:
    """What is carried over to the first stage."""


def _carried(
    rule: LocalRule, objective: nn.Module, stage: Stage, before: Tensor | None, z: Tensor
) -> Tensor | None:
    return rule.carry(before, objective, stage, z)


class StreamedRows:
    """The rows of a stage that come piece by piece, while those that came before are being measured.

    A single thread puts them in, any thread may wait for the answers.

    Parameters
    ----------
    stage, session
        Encodes the rows, and measures them in the order in which they come.
    rows
        How many will come.

    Attributes
    ----------
    inputs
        Shape (rows, n_features), filled as far as answers are there.
    before
        What the rule carried over from the stages before, (rows, m), filled likewise; ``None`` if it does not.
    """

    inputs: Tensor

    def __init__(self, stage: Stage, session: Session, rows: int) -> None:
        self.stage, self.session, self.rows = stage, session, rows
        self.before: Tensor | None = None
        self._rows_put = 0
        self._pieces: list[Measurement] = []
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, inputs: Tensor, before: Tensor | None) -> None:
        """Send the next rows on to the device, and return at once."""
        start, end = self._rows_put, self._rows_put + len(inputs)
        if len(inputs) == self.rows:
            self.inputs, self.before = inputs, before
        elif start == 0:
            self.inputs = torch.empty(self.rows, inputs.shape[1], dtype=inputs.dtype)
            if before is not None:
                self.before = torch.empty(self.rows, before.shape[1], dtype=before.dtype)
        if len(inputs) < self.rows:
            self.inputs[start:end] = inputs
            if self.before is not None and before is not None:
                self.before[start:end] = before
        self._rows_put = end
        with self._changed:
            if self._failure is not None:
                raise self._failure
            self._pieces.append(self.session.submit(self.stage.encoder(inputs), "train"))
            self._changed.notify_all()

    def before_of(self, start: int, end: int) -> Tensor | None:
        """What was carried over to some rows."""
        return None if self.before is None else self.before[start:end]

    def wait_for(self, rows: int) -> Float64Array:
        """The first ``rows`` answers, shape (rows, n_outputs), as soon as they are there.

        Raises
        ------
        HwloopError
            Why they will not come.
        """
        return self.answers(0, rows)

    def answers(self, start: int, end: int) -> Float64Array:
        """The answers to some rows, shape (end - start, n_outputs), as soon as they are there."""
        found: list[Float64Array] = []
        first, number = 0, 0  # row and number of a piece
        while first < end:
            piece = self._piece(number)
            wanted = min(end - first, piece.rows)
            if first + wanted > start:
                found.append(piece.wait_for(wanted)[max(0, start - first) :])
            first, number = first + piece.rows, number + 1
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _piece(self, number: int) -> Measurement:
        with self._changed:
            self._changed.wait_for(lambda: len(self._pieces) > number or self._failure is not None)
            if len(self._pieces) > number:
                return self._pieces[number]
            assert self._failure is not None
            raise self._failure

    def fail(self, failure: BaseException) -> None:
        """No more rows will come, and nothing more is measured."""
        with self._changed:
            self._failure = failure
            for piece in self._pieces:
                piece.cancel()
            self._changed.notify_all()
