"""The schedule of rules that need the error at the output: all stages learn together, batch by batch."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.rowwise import rows_as_tensor
from hwloop.training.clients import Holders, holders
from hwloop.training.credit import Credit
from hwloop.training.flight import Flight
from hwloop.training.optimiser import AdamSettings, ResponseNoise, check_settings, one_cycle_adamw
from hwloop.training.optimiser_state import optimiser_values, restore_optimiser
from hwloop.training.output_head import OutputHead, Verdict
from hwloop.training.schedules import Schedule, Task
from hwloop.training.state import TrainingState, named
from hwloop.training.updates import Update

# Batches under way at a time: the device measures one while another is computed with, so that a batch's
# stimuli come from maps that are at most one update old. Their order never depends on the device's pace.
IN_FLIGHT = 2


@dataclass(frozen=True)
class OutputErrorSettings:
    """How output head and maps are trained.

    Attributes
    ----------
    epochs
        Passes over the training samples, each of which is measured.
    batch_samples
        Training samples an update.
    head_lr, weight_decay
        Of the output head's AdamW, see :class:`hwloop.training.optimiser.AdamSettings`.
    response_noise
        Standard deviation of the noise added to the features that the output head sees in training.
    interface_noise
        Standard deviation of the noise added to the features that maps and output head see in training; later
        stages are measured on what the maps make of it, so it costs no row.
    """

    epochs: int = 64
    batch_samples: int = 64
    head_lr: float = 0.01
    weight_decay: float = 1.0
    response_noise: float = 0.2
    interface_noise: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self, counts=("epochs", "batch_samples"), positive=("head_lr",))
        AdamSettings(weight_decay=self.weight_decay, response_noise=self.response_noise)
        if not 0 <= self.interface_noise < math.inf:
            raise ValueError(f"interface_noise must be finite and not negative, not {self.interface_noise}")


class OutputError(Schedule):
    """Measures every batch through all stages, and gives each map the update that the output error calls for.

    The first stage's rows never change: they are measured once. The stages after it are measured in every epoch,
    because their inputs move with the maps, and once more at the end, when the maps stand still: encoders,
    standardisers and the network's readout are fitted on that. An output head, a softmax on the features of all
    stages, learns along and gives the error; it is thrown away. A network of one stage has no map to train.

    Parameters
    ----------
    credit
        What the output error means for every map; it may send variants of a sample, each of which costs rows.
    update
        What a map does with it.
    """

    def __init__(self, credit: Credit, update: Update, settings: OutputErrorSettings) -> None:
        self.credit = credit
        self.update = update
        self.settings = settings

    @property
    def uses_model(self) -> str:
        """As the credit rule says."""
        return self.credit.uses_model

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """Of the maps and of the output head."""
        return {"lr": self.update.lr, "head_lr": self.settings.head_lr}

    def measurements(self, stage: int, n_stages: int) -> int:
        """Once, and in every epoch as often as the credit rule says."""
        return 1 + (self.settings.epochs * self.credit.rows_a_sample(stage) if n_stages > 1 else 0)

    @property
    def resumable(self) -> bool:
        """As the credit rule promises; the updaters' optimisers and rates are all that they remember."""
        return self.credit.resumable

    @property
    def clients(self) -> int:
        """As the credit rule says."""
        return self.credit.clients

    def check(self, network: PhysicalNetwork, n_classes: int) -> None:
        """As the credit rule says."""
        self.credit.check(network)

    def run(self, task: Task) -> None:
        """Measure the first stage, train all maps together, then measure the other stages once more."""
        stages = [(stage, session) for _, stage, session in task.network]
        for number, (stage, _) in enumerate(stages):
            task.stage_begins(number)
            stage.reset_map(task.rng)
        inputs = task.plan.rows(task.inputs, task.labels, task.n_classes, task.rng)
        measures = holders(task.network)
        features = first = _features_of_all(stages[0][0], measures[0], inputs, fresh=False)
        if len(stages) > 1:
            _Descent(self, task, inputs, first).run()
        for number, (stage, _) in enumerate(stages):
            if number > 0:
                features = _features_of_all(stage, measures[number], inputs, fresh=True)
            inputs = stage.map(features)
            task.readout.add_stage(nn.Identity(), features)
            task.stage_done(number, stage.activate(inputs))
        point = self.settings.epochs + 1
        task.checkpoint(TrainingState(point, task.rng, stage=len(stages)))


def _features_of_all(stage: Stage, measures: Holders, inputs: Tensor, fresh: bool) -> Tensor:
    """Features of all training samples in a stage, to which its encoder and standardiser are fitted."""
    stage.encoder.fit(inputs)
    responses = measures.submit(stage.encoder(inputs), torch.arange(len(inputs)), fresh).result()
    stage.fit_standardisers(inputs, rows_as_tensor(responses))
    return stage.features(inputs, responses)


class _Seen:
    """What a stage encoded and answered in this epoch, to which it is fitted for the next.

    Of the answers, which are much larger, moments are kept.
    """

    def __init__(self, stage: Stage, is_fitted: bool) -> None:
        self._stage = stage
        self._encodes = self._fitted = is_fitted
        self._inputs: list[Tensor] = []
        self._moments = stage.moments()

    def begin(self, inputs: Tensor) -> None:
        """The first batch is what the encoder is fitted to."""
        if not self._encodes:
            self._stage.encoder.fit(inputs)
            self._encodes = True

    def add(self, inputs: Tensor, responses: Tensor) -> None:
        """Take in a measured batch; the first one is what the standardisers are fitted to."""
        self._inputs.append(inputs)
        self._moments.add(inputs, responses)
        if not self._fitted:
            self._stage.fit_standardisers(inputs, responses)
            self._fitted = True

    def refit(self) -> None:
        """Fit the stage to the epoch that has ended."""
        self._stage.encoder.fit(torch.cat(self._inputs))
        self._stage.fit_standardisers_to(self._moments)
        self._inputs.clear()
        self._moments = self._stage.moments()


class _Descent:
    """The epochs of one fit; ``first`` are the first stage's features of the planned rows ``inputs``."""

    def __init__(self, schedule: OutputError, task: Task, inputs: Tensor, first: Tensor) -> None:
        self.task, self.inputs, self.first = task, inputs, first
        self.credit, self.settings = schedule.credit, schedule.settings
        self.stages = [stage for _, stage, _ in task.network]
        self.holders = holders(task.network)
        samples, settings = len(first), schedule.settings
        self.batch = min(settings.batch_samples, samples)
        steps = settings.epochs * -(-samples // self.batch)
        sizes = [stage.n_features for stage in self.stages]
        self.head = OutputHead(sizes, task.n_classes)
        adam = AdamSettings(lr=settings.head_lr, weight_decay=settings.weight_decay)
        self.optimiser, self.rate = one_cycle_adamw(list(self.head.parameters()), adam, steps)
        self.updaters = [schedule.update.start(stage.linear, steps) for stage in self.stages[:-1]]
        self.noise = ResponseNoise(settings.response_noise, self.batch * sum(sizes), task.rng)
        self.interface_noise = ResponseNoise(settings.interface_noise, self.batch * max(sizes), task.rng)
        self.credit.begin(task.network, task.n_classes, task.rng)
        self.credit.see_inputs(inputs)
        # The first stage was fitted to all its rows.
        self.seen = [_Seen(stage, is_fitted=number == 0) for number, stage in enumerate(self.stages)]

    def run(self) -> None:
        """Every epoch takes the samples in a new order."""
        epochs, last = self.settings.epochs, len(self.stages) - 1
        for epoch in range(self._taken_up(), epochs):
            loss = self._epoch()
            for seen in self.seen[1:]:
                seen.refit()
            self.credit.epoch_done(epoch + 1)
            self.task.epoch_done(last, epoch + 1, epochs, loss)
            self.task.checkpoint(self._reached(epoch + 1))

    @property
    def _learners(self) -> list[tuple[torch.optim.Optimizer, LRScheduler | None]]:
        """By stage; the last stage's map learns nothing: in its place stands the head."""
        maps = [(updater.optimiser, updater.rate) for updater in self.updaters]
        return [*maps, (self.optimiser, self.rate)]

    def _reached(self, epoch: int) -> TrainingState:
        """Where the fit stands after an epoch."""

        def tensors() -> dict[str, Tensor]:
            credit = {f"credit.{name}": tensor for name, tensor in self.credit.state().items()}
            return named("head.", self.head) | credit

        return TrainingState(
            epoch,
            self.task.rng,
            epoch=epoch,
            optimisers={number: optimiser for number, (optimiser, _) in enumerate(self._learners)},
            resumable=self.credit.resumable and all(rate is not None for _, rate in self._learners),
            is_last=epoch == self.settings.epochs,
            tensors=tensors,
            values={"optimisers": [optimiser_values(*learner) for learner in self._learners]},
        )

    def _taken_up(self) -> int:
        """Epochs that are behind: everything is put where it stood after them."""
        saved = self.task.saved
        if saved is None:
            return 0
        saved.restore_network(self.task.network)
        self.head.load_state_dict(saved.part("head."))
        for number, (learner, values) in enumerate(zip(self._learners, saved.values["optimisers"], strict=True)):
            restore_optimiser(*learner, saved.part(f"optimiser.{number}."), values)
        self.credit.restore(saved.part("credit."))
        self.seen = [_Seen(stage, is_fitted=True) for stage in self.stages]
        self.task.take_up(saved)
        return int(saved.epoch or 0)

    def _epoch(self) -> float:
        order = self.credit.order(len(self.first), self.task.rng)
        batches = iter(torch.split(order, self.batch))
        under_way: deque[Flight] = deque()
        total = torch.zeros((), dtype=torch.float32)
        while True:
            while len(under_way) < IN_FLIGHT and (samples := next(batches, None)) is not None:
                under_way.append(self._started(samples))
            if not under_way:
                return float(total) / len(order)
            flight = under_way.popleft()
            self._receive(flight)
            if flight.stage < len(self.stages) - 1:
                self._send_on(flight)
                under_way.append(flight)
            elif (second := self._judge(flight)) is not None:
                under_way.append(second)
            else:
                total += self._learn(flight)

    def _started(self, samples: Tensor) -> Flight:
        variants = self.credit.variants
        flight = Flight(samples, self.task.labels[samples], variants)
        flight.inputs[0] = self.inputs[samples]
        flight.features[0] = self.interface_noise.added_to(self.first[samples]).repeat(variants, 1)
        self._send_on(flight)
        return flight

    def _send_on(self, flight: Flight) -> None:
        """Ask the next stage."""
        if flight.stage >= 0:
            with torch.no_grad():
                inputs = self.credit.outputs(flight, flight.stage, self.stages[flight.stage])
            flight.inputs[flight.stage + 1] = inputs
        flight.stage += 1
        stage = self.stages[flight.stage]
        inputs = flight.inputs[flight.stage]
        self.seen[flight.stage].begin(inputs)
        flight.stimuli[flight.stage] = stage.encoder(inputs)
        holder = self.holders[flight.stage]
        flight.measurement = holder.submit(flight.stimuli[flight.stage], flight.samples, fresh=True)

    def _receive(self, flight: Flight) -> None:
        assert flight.measurement is not None
        responses = flight.measurement.result()
        stage, inputs = self.stages[flight.stage], flight.inputs[flight.stage]
        if flight.stage > 0:
            self.seen[flight.stage].add(inputs, rows_as_tensor(responses))
        flight.responses[flight.stage] = responses
        features = stage.features(inputs, responses)
        if flight.stage < len(self.stages) - 1:
            # The same for every variant of a sample.
            noise = self.interface_noise.added_to(torch.zeros_like(features[: len(flight.samples)]))
            features = features + noise.repeat(flight.variants, 1)
        flight.features[flight.stage] = features

    def _verdict(self, flight: Flight) -> tuple[Tensor, Verdict]:
        """What the head saw of a flight, and its verdict."""
        features = torch.cat([flight.features[number] for number in range(len(self.stages))], dim=1)
        # The same for every variant of a sample: a difference between variants is the device's alone.
        noise = self.noise.added_to(torch.zeros_like(features[: len(flight.samples)]))
        noisy = features + noise.repeat(flight.variants, 1)
        return noisy, self.head.judge(noisy, flight.labels.repeat(flight.variants))

    def _judge(self, flight: Flight) -> Flight | None:
        """A second flight, under way, where the credit rule calls for one."""
        if not self.credit.second_variants or flight.earlier is not None:
            return None
        with torch.no_grad():
            _, verdict = self._verdict(flight)
            second = self.credit.second(flight, verdict, self.head)
        if second is not None:
            self._send_on(second)
        return second

    def _learn(self, flight: Flight) -> Tensor:
        """One update of head and maps; returns the sum of the samples' losses."""
        with torch.no_grad():
            noisy, verdict = self._verdict(flight)
            gradients = self.credit.gradients(flight, verdict, self.head)
            self.head.set_gradient(noisy, verdict)
        self.optimiser.step()
        self.rate.step()
        for number, updater in enumerate(self.updaters):
            updater.step(gradients[number])
        return verdict.losses.sum() / flight.variants
