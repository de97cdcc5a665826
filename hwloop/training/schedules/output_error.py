"""The schedule of rules that need the error at the output: all stages learn together, batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from hwloop.device.spec import Float64Array
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.session import Measurement, Session
from hwloop.tasks import LearningTask
from hwloop.training.optimiser import AdamSettings, ResponseNoise, Update, one_cycle_adamw
from hwloop.training.options import COUNT, FINITE_NOT_NEGATIVE, NOT_NEGATIVE, POSITIVE, Settings, option
from hwloop.training.rules.output_error import BatchPass, ErrorRule, OutputHead, PendingResponses, Verdict
from hwloop.training.schedules import EpochFit, Fit, Schedule
from hwloop.training.state import TrainingState, named, optimiser_values, restore_optimiser


class Holders(ABC):
    """Measures rows where their samples are held."""

    @abstractmethod
    def submit(self, stimuli: Float64Array, samples: Tensor, fresh: bool) -> PendingResponses:
        """Begin to measure stimuli (rows, n_inputs) and return at once.

        Row v * len(samples) + k belongs to sample number ``samples[k]``, whatever v.
        """


class OneHolder(Holders):
    """One device holds all samples."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def submit(self, stimuli: Float64Array, samples: Tensor, fresh: bool) -> Measurement:
        return self._session.submit(stimuli, "train", fresh=fresh)


class Clients(Holders):
    """Client c holds the samples c, c + clients, ...; all measure at the same time, each on its own device."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions

    def submit(self, stimuli: Float64Array, samples: Tensor, fresh: bool) -> Gathered:
        clients = len(self._sessions)
        holder = np.tile(samples.numpy() % clients, len(stimuli) // len(samples))
        rows = [np.flatnonzero(holder == client) for client in range(clients)]
        parts = [
            (mine, session.submit(stimuli[mine], "train", fresh=fresh))
            for mine, session in zip(rows, self._sessions, strict=True)
            if len(mine)
        ]
        return Gathered(len(stimuli), parts)


class Gathered:
    """PendingResponses to rows of several clients, in the order of the rows; ``parts`` says whose are which."""

    def __init__(self, rows: int, parts: Sequence[tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Measurement]]):
        self._rows, self._parts = rows, parts

    def result(self) -> Float64Array:
        """All responses; a client that fails stops the others."""
        try:
            answers = [measurement.result() for _, measurement in self._parts]
        except BaseException:
            self.cancel()
            raise
        responses = np.empty((self._rows, answers[0].shape[1]))
        for (rows, _), answer in zip(self._parts, answers, strict=True):
            responses[rows] = answer
        return responses

    def cancel(self) -> None:
        """Of every client."""
        for _, measurement in self._parts:
            measurement.cancel()


def holders(network: PhysicalNetwork) -> list[Holders]:
    """Who measures in each stage: the network's clients where it has any."""
    if network.clients:
        return [Clients(network.clients)] * len(network)
    return [OneHolder(session) for _, _, session in network]


# Batches under way at a time: the device measures one while another is computed with, so that a batch's
# stimuli come from maps that are at most one update old. Their order never depends on the device's pace.
UNDER_WAY = 2


@dataclass(frozen=True)
class OutputErrorSettings(Settings):
    """How output head and maps are trained.

    Attributes
    ----------
    epochs
        Passes over the training samples.
    batch_samples
        Training samples an update.
    head_lr
        Peak learning rate of the output head's AdamW.
    weight_decay
        Decoupled decay, multiplied by the learning rate in each step.
    response_noise
        Standard deviation of the noise added to the features that the output head sees in training, in units of a
        channel's standard deviation.
    """

    epochs: int = option(64, COUNT)
    batch_samples: int = option(64, COUNT)
    head_lr: float = option(0.01, POSITIVE)
    weight_decay: float = option(1.0, NOT_NEGATIVE)
    response_noise: float = option(0.2, NOT_NEGATIVE)


@dataclass(frozen=True)
class InterfaceNoise(Settings):
    """Noise that maps see in training.

    Attributes
    ----------
    interface_noise
        Standard deviation of the noise added to the features that maps and output head see in training; later
        stages are measured on what the maps make of it, so it costs no row, in units of a channel's standard
        deviation.
    """

    interface_noise: float = option(0.0, FINITE_NOT_NEGATIVE)


class OutputError(Schedule):
    """Measures every batch through all stages, and gives each map the update that the output error calls for.

    The first stage's rows never change: they are measured once. The stages after it are measured in every epoch,
    because their inputs move with the maps, and once more at the end, when the maps stand still: encoders,
    standardisers and the network's readout are fitted on that. An output head, a softmax on the features of all
    stages, learns along and gives the error; it is thrown away. A network of one stage has no map to train.

    Parameters
    ----------
    rule
        What the output error means for every map; it may send variants of a sample, each of which costs rows.
    update
        What a map does with it.
    """

    needs_classes = ""

    def __init__(
        self,
        rule: ErrorRule,
        update: Update,
        settings: OutputErrorSettings,
        interface_noise: InterfaceNoise | None = None,
    ) -> None:
        self.rule = rule
        self.update = update
        self.settings = settings
        self.interface_noise = 0.0 if interface_noise is None else interface_noise.interface_noise

    @property
    def uses_model(self) -> str:
        return self.rule.uses_model

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """Of the maps and of the output head."""
        return {"lr": self.update.lr, "head_lr": self.settings.head_lr}

    def measurements(self, stage: int, n_stages: int) -> int:
        """Once, and in every epoch as often as the rule says."""
        return 1 + (self.settings.epochs * self.rule.rows_a_sample(stage) if n_stages > 1 else 0)

    @property
    def resumable(self) -> bool:
        """As the rule promises; the updaters' optimisers and rates are all that they remember."""
        return self.rule.resumable

    @property
    def clients(self) -> int:
        return self.rule.clients

    def check(self, network: PhysicalNetwork, task: LearningTask) -> None:
        self.rule.check(network)

    def run(self, fit: Fit) -> None:
        """Measure the first stage, train all maps together, then measure the other stages once more."""
        stages = [stage for _, stage, _ in fit.network]
        for number, stage in enumerate(stages):
            fit.stage_begins(number)
            stage.reset_map(fit.rng)
        inputs = fit.planned_rows()
        measures = holders(fit.network)
        features = _features_of_all(stages[0], measures[0], inputs, fresh=False)
        if len(stages) > 1:
            _Descent(self, fit, inputs, features).run()
        for number, stage in enumerate(stages):
            if number > 0:
                features = _features_of_all(stage, measures[number], inputs, fresh=True)
            inputs = stage.map(features)
            fit.readout.add_stage(nn.Identity(), features)
            fit.stage_done(number, stage.activate(inputs))
        point = self.settings.epochs + 1
        fit.checkpoint(TrainingState(point, fit.rng, stage=len(stages)))


def _features_of_all(stage: Stage, measures: Holders, inputs: Tensor, fresh: bool) -> Tensor:
    """Features of all training samples in a stage, to which its encoder and standardiser are fitted."""
    stage.encoder.fit(inputs)
    responses = measures.submit(stage.encoder(inputs), torch.arange(len(inputs)), fresh).result()
    return stage.fitted_features(inputs, responses)


class _Descent:
    """The epochs of one fit; ``first`` are the first stage's features of the planned rows ``inputs``."""

    def __init__(self, schedule: OutputError, fit: Fit, inputs: Tensor, first: Tensor) -> None:
        self.fit, self.inputs, self.first = fit, inputs, first
        self.rule, self.settings = schedule.rule, schedule.settings
        self.stages = [stage for _, stage, _ in fit.network]
        self.holders = holders(fit.network)
        samples, settings = len(first), schedule.settings
        self.batch_rows = min(settings.batch_samples, samples)
        steps = settings.epochs * -(-samples // self.batch_rows)
        sizes = [stage.n_features for stage in self.stages]
        self.head = OutputHead(sizes, fit.task)
        adam = AdamSettings(lr=settings.head_lr, weight_decay=settings.weight_decay)
        self.optimiser, self.rate = one_cycle_adamw(list(self.head.parameters()), adam, steps)
        self.updaters = [schedule.update.start(stage.linear, steps) for stage in self.stages[:-1]]
        self.noise = ResponseNoise(settings.response_noise, self.batch_rows * sum(sizes), fit.rng)
        self.interface_noise = ResponseNoise(schedule.interface_noise, self.batch_rows * max(sizes), fit.rng)
        self.rule.begin(fit.network, fit.task, fit.rng)
        self.rule.see_inputs(inputs)
        # The first stage was fitted to all its rows.
        self.seen = [EpochFit(stage, is_fitted=number == 0) for number, stage in enumerate(self.stages)]

    def run(self) -> None:
        """Every epoch takes the samples in a new order."""
        epochs, last = self.settings.epochs, len(self.stages) - 1
        for epoch in range(self._taken_up(), epochs):
            loss = self._epoch()
            for seen in self.seen[1:]:
                seen.refit()
            self.rule.epoch_done(epoch + 1)
            self.fit.epoch_done(last, epoch + 1, epochs, loss)
            self.fit.checkpoint(self._reached(epoch + 1))

    @property
    def _learners(self) -> list[tuple[torch.optim.Optimizer, LRScheduler | None]]:
        """By stage; the last stage's map learns nothing: in its place stands the head."""
        maps = [(updater.optimiser, updater.rate) for updater in self.updaters]
        return [*maps, (self.optimiser, self.rate)]

    def _reached(self, epoch: int) -> TrainingState:
        """Where the fit stands after an epoch."""

        def tensors() -> dict[str, Tensor]:
            rule = {f"credit.{name}": tensor for name, tensor in self.rule.state().items()}
            return named("head.", self.head) | rule

        return TrainingState(
            epoch,
            self.fit.rng,
            epoch=epoch,
            optimisers={number: optimiser for number, (optimiser, _) in enumerate(self._learners)},
            resumable=self.rule.resumable and all(rate is not None for _, rate in self._learners),
            is_last=epoch == self.settings.epochs,
            tensors=tensors,
            values={"optimisers": [optimiser_values(*learner) for learner in self._learners]},
        )

    def _taken_up(self) -> int:
        """Epochs that are behind: everything is put where it stood after them."""
        saved = self.fit.saved
        if saved is None:
            return 0
        saved.restore_network(self.fit.network)
        self.head.load_state_dict(saved.part("head."))
        for number, (learner, values) in enumerate(zip(self._learners, saved.values["optimisers"], strict=True)):
            restore_optimiser(*learner, saved.part(f"optimiser.{number}."), values)
        self.rule.restore(saved.part("credit."))
        self.seen = [EpochFit(stage, is_fitted=True) for stage in self.stages]
        self.fit.restore(saved)
        return int(saved.epoch or 0)

    def _epoch(self) -> float:
        order = self.rule.order(len(self.first), self.fit.rng)
        batches = iter(torch.split(order, self.batch_rows))
        under_way: deque[BatchPass] = deque()
        total = torch.zeros((), dtype=torch.float32)
        while True:
            while len(under_way) < UNDER_WAY and (samples := next(batches, None)) is not None:
                under_way.append(self._started(samples))
            if not under_way:
                return float(total) / len(order)
            batch = under_way.popleft()
            self._receive(batch)
            if batch.stage < len(self.stages) - 1:
                self._send_on(batch)
                under_way.append(batch)
            elif (second := self._judge(batch)) is not None:
                under_way.append(second)
            else:
                total += self._learn(batch)

    def _started(self, samples: Tensor) -> BatchPass:
        variants = self.rule.variants
        batch = BatchPass(samples, self.fit.labels[samples], variants)
        batch.inputs[0] = self.inputs[samples]
        batch.features[0] = self.interface_noise.added_to(self.first[samples]).repeat(variants, 1)
        self._send_on(batch)
        return batch

    def _send_on(self, batch: BatchPass) -> None:
        """Ask the next stage."""
        if batch.stage >= 0:
            with torch.no_grad():
                inputs = self.rule.outputs(batch, batch.stage, self.stages[batch.stage])
            batch.inputs[batch.stage + 1] = inputs
        batch.stage += 1
        batch.stimuli[batch.stage] = self.seen[batch.stage].encoded(batch.inputs[batch.stage])
        holder = self.holders[batch.stage]
        batch.measurement = holder.submit(batch.stimuli[batch.stage], batch.samples, fresh=True)

    def _receive(self, batch: BatchPass) -> None:
        assert batch.measurement is not None
        responses = batch.measurement.result()
        stage, inputs = self.stages[batch.stage], batch.inputs[batch.stage]
        batch.responses[batch.stage] = responses
        known = self.seen[batch.stage] if batch.stage > 0 else stage  # the first was fitted to all its rows
        features = known.features(inputs, responses)
        if batch.stage < len(self.stages) - 1:
            # The same for every variant of a sample.
            noise = self.interface_noise.added_to(torch.zeros_like(features[: len(batch.samples)]))
            features = features + noise.repeat(batch.variants, 1)
        batch.features[batch.stage] = features

    def _verdict(self, batch: BatchPass) -> tuple[Tensor, Verdict]:
        """What the head saw of a batch, and its verdict."""
        features = torch.cat([batch.features[number] for number in range(len(self.stages))], dim=1)
        # The same for every variant of a sample: a difference between variants is the device's alone.
        noise = self.noise.added_to(torch.zeros_like(features[: len(batch.samples)]))
        noisy = features + noise.repeat(batch.variants, 1)
        return noisy, self.head.judge(noisy, torch.cat([batch.labels] * batch.variants))

    def _judge(self, batch: BatchPass) -> BatchPass | None:
        """A second pass, under way, where the rule calls for one."""
        if not self.rule.second_variants or batch.earlier is not None:
            return None
        with torch.no_grad():
            _, verdict = self._verdict(batch)
            second = self.rule.second(batch, verdict, self.head)
        if second is not None:
            self._send_on(second)
        return second

    def _learn(self, batch: BatchPass) -> Tensor:
        """One update of head and maps; returns the sum of the samples' losses."""
        with torch.no_grad():
            noisy, verdict = self._verdict(batch)
            gradients = self.rule.gradients(batch, verdict, self.head)
            self.head.set_gradient(noisy, verdict)
        self.optimiser.step()
        self.rate.step()
        for number, updater in enumerate(self.updaters):
            updater.step(gradients[number])
        return verdict.losses.sum() / batch.variants
