"""The online schedule: measure afresh in every epoch, for hardware that drifts; PhyLL as it was published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import torch
from torch import Tensor, nn

from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.rowwise import rows_as_tensor
from hwloop.layers.stage import StageMoments
from hwloop.session import Measurement, Session
from hwloop.training.objectives import LocalObjective, StageObjective
from hwloop.training.optimiser import check_settings
from hwloop.training.optimiser_state import optimiser_values, restore_optimiser
from hwloop.training.schedules import Schedule, Task
from hwloop.training.state import TrainingState, named


@dataclass(frozen=True)
class OnlineSettings:
    """Epochs over the training samples, samples a batch, Adam steps on each measured batch, learning rate."""

    epochs: int = 200
    batch_samples: int = 256
    inner_steps: int = 10
    lr: float = 1e-3

    def __post_init__(self) -> None:
        check_settings(self, counts=("epochs", "batch_samples", "inner_steps"), positive=("lr",))


@dataclass
class _StageState:
    """A stage with its session, objective and optimiser, what the epoch encoded and the moments of the answers."""

    stage: Stage
    session: Session
    objective: StageObjective
    optimiser: torch.optim.Optimizer
    inputs: list[Tensor]
    moments: StageMoments
    activity: Tensor


@dataclass
class _Batch:
    """Planned rows of a batch on their way: ``stage`` is measuring them, from 0.

    ``inputs`` are what it encoded, ``before`` what the stages before it carried over.
    """

    labels: Tensor
    first: bool
    inputs: Tensor
    measurement: Measurement
    stage: int = 0
    before: Tensor | None = None
    losses: list[float] = field(default_factory=list)


class Online(Schedule):
    """Every epoch measures every planned row through every stage, a batch at a time.

    Encoders and standardisers are fitted on the first batch, and again on what each epoch measured: they
    follow the device and the maps before them. Nothing is recalled from memory.

    Where every stage has a device of its own, a stage takes the next batch while those after it are still at the
    one before. A stage learns from its own rows alone and every device is asked for the same rows in the same
    order, so the weights are to the last bit those of one stage after the other.
    """

    def __init__(self, objective: LocalObjective, settings: OnlineSettings) -> None:
        self.objective = objective
        self.settings = settings

    def check(self, network: PhysicalNetwork, n_classes: int) -> None:
        """As the objective says."""
        for _, stage, _ in network:
            self.objective.check(stage, n_classes)

    @property
    def resumable(self) -> bool:
        """As the objective promises."""
        return self.objective.resumable

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """Adam's."""
        return {"lr": self.settings.lr}

    def measurements(self, stage: int, n_stages: int) -> int:
        """Once an epoch."""
        return self.settings.epochs

    def run(self, task: Task) -> None:
        """All stages advance together, batch by batch."""
        states = [self._state(stage, session, task) for _, stage, session in task.network]
        for number in range(len(states)):
            task.stage_begins(number)
        samples, batch = len(task.labels), min(self.settings.batch_samples, len(task.labels))
        for epoch in range(self._taken_up(task, states), self.settings.epochs):
            order = torch.randperm(samples, generator=task.rng)
            losses = self._epoch(task, states, torch.split(order, batch), first=epoch == 0)
            for number, state in enumerate(states):
                self._refit(state)
                mean = sum(loss[number] for loss in losses) / len(losses)
                task.epoch_done(number, epoch + 1, self.settings.epochs, mean)
            task.checkpoint(self._reached(task, states, epoch + 1))
        for number, state in enumerate(states):
            task.readout.add_stage(state.objective, torch.empty(0, dtype=torch.float32))
            task.stage_done(number, state.activity)

    def _reached(self, task: Task, states: list[_StageState], epoch: int) -> TrainingState:
        """Where the fit stands after an epoch."""

        def tensors() -> dict[str, Tensor]:
            found = {f"activity.{number}": state.activity for number, state in enumerate(states)}
            for number, state in enumerate(states):
                found |= named(f"objective.{number}.", state.objective)
            return found

        return TrainingState(
            epoch,
            task.rng,
            epoch=epoch,
            optimisers={number: state.optimiser for number, state in enumerate(states)},
            resumable=self.resumable,
            is_last=epoch == self.settings.epochs,
            tensors=tensors,
            values={"optimisers": [optimiser_values(state.optimiser, None) for state in states]},
        )

    def _taken_up(self, task: Task, states: list[_StageState]) -> int:
        """Epochs that are behind: everything is put where it stood after them."""
        saved = task.saved
        if saved is None:
            return 0
        saved.restore_network(task.network)
        for number, (state, values) in enumerate(zip(states, saved.values["optimisers"], strict=True)):
            state.objective.load_state_dict(saved.part(f"objective.{number}."))
            restore_optimiser(state.optimiser, None, saved.part(f"optimiser.{number}."), values)
            state.activity = saved.tensors[f"activity.{number}"]
        task.take_up(saved)
        return int(saved.epoch or 0)

    def _state(self, stage: Stage, session: Session, task: Task) -> _StageState:
        stage.reset_map(task.rng)
        objective = self.objective.for_stage(stage, task.n_classes, task.rng)
        parameters: list[nn.Parameter] = [*stage.linear.parameters(), *objective.parameters()]
        optimiser = torch.optim.Adam(parameters, lr=self.settings.lr, fused=True)
        return _StageState(
            stage,
            session,
            objective,
            optimiser,
            [],
            stage.moments(),
            torch.empty(0, stage.width, dtype=torch.float32),
        )

    def _epoch(
        self, task: Task, states: list[_StageState], parts: Sequence[Tensor], first: bool
    ) -> list[list[float]]:
        """Send every batch through all stages; returns the losses of each batch, by stage."""
        order = _in_pipeline if task.network.one_device_a_stage else _in_sequence
        batches: list[_Batch] = []
        try:
            for number in order(len(parts), len(states)):
                if number == len(batches):
                    batches.append(self._begun(task, states[0], parts[number], first and number == 0))
                else:
                    self._advance(states, batches[number])
        finally:
            for batch in batches:
                batch.measurement.cancel()
        return [batch.losses for batch in batches]

    def _begun(self, task: Task, state: _StageState, part: Tensor, first: bool) -> _Batch:
        labels = task.labels[part]
        inputs = task.plan.rows(task.inputs[part], labels, task.n_classes, task.rng)
        return _Batch(labels, first, inputs, self._asked(state, inputs, first))

    def _asked(self, state: _StageState, inputs: Tensor, first: bool) -> Measurement:
        if first:
            state.stage.encoder.fit(inputs)
        return state.session.submit(state.stage.encoder(inputs), "train", fresh=True)

    def _advance(self, states: list[_StageState], batch: _Batch) -> None:
        """Wait for the stage's answer; it takes its steps before it passes z on to the next."""
        state, inputs = states[batch.stage], batch.inputs
        stage, responses = state.stage, batch.measurement.result()
        state.inputs.append(inputs)
        state.moments.add(inputs, rows_as_tensor(responses))
        if batch.first:
            stage.fit_standardisers(inputs, rows_as_tensor(responses))
        features = stage.features(inputs, responses)
        batch.losses.append(self._take_steps(state, features, batch.labels, batch.before))
        z = stage.map(features)
        state.activity = stage.activate(z)
        batch.before = self.objective.carry(batch.before, state.objective, stage, z)
        batch.inputs = z
        batch.stage += 1
        if batch.stage < len(states):
            batch.measurement = self._asked(states[batch.stage], z, batch.first)

    def _take_steps(self, state: _StageState, features: Tensor, labels: Tensor, before: Tensor | None) -> float:
        total = 0.0
        for _ in range(self.settings.inner_steps):
            loss = state.objective.loss(state.stage, state.stage.linear(features), labels, before)
            state.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            state.optimiser.step()
            total += float(loss.detach())
        return total / self.settings.inner_steps

    def _refit(self, state: _StageState) -> None:
        state.stage.encoder.fit(torch.cat(state.inputs))
        state.stage.fit_standardisers_to(state.moments)
        state.inputs.clear()
        state.moments = state.stage.moments()


def _in_sequence(batches: int, stages: int) -> Iterator[int]:
    """Whose turn it is: each batch begins, and is through all stages before the next one begins."""
    for batch in range(batches):
        yield from repeat(batch, 1 + stages)


def _in_pipeline(batches: int, stages: int) -> Iterator[int]:
    """A batch begins, then those before it advance by a stage each, the youngest first."""
    for wave in range(batches + stages):
        yield from range(min(wave, batches - 1), max(-1, wave - stages - 1), -1)
