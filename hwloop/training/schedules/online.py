"""The online schedule: measure afresh in every epoch, for hardware that drifts; PhyLL as it was published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import torch
from torch import Tensor, nn

from hwloop.layers import PhysicalNetwork, Stage
from hwloop.session import Measurement, Session
from hwloop.tasks import LearningTask
from hwloop.training.objectives import LocalObjective, StageObjective
from hwloop.training.options import COUNT, POSITIVE, Settings, option
from hwloop.training.schedules import EpochFit, Fit, Schedule
from hwloop.training.state import TrainingState, named, optimiser_values, restore_optimiser


@dataclass(frozen=True)
class OnlineSettings(Settings):
    """How maps are trained on rows that are measured in every epoch.

    Attributes
    ----------
    epochs
        Passes over the training samples, each of which is measured.
    batch_samples
        Training samples a batch.
    inner_steps
        Adam steps on each measured batch.
    lr
        Learning rate of Adam.
    """

    epochs: int = option(200, COUNT)
    batch_samples: int = option(256, COUNT)
    inner_steps: int = option(10, COUNT)
    lr: float = option(0.001, POSITIVE)


@dataclass
class _StageState:
    """A stage with its session, objective and optimiser, and what it is fitted to."""

    stage: Stage
    session: Session
    objective: StageObjective
    optimiser: torch.optim.Optimizer
    epoch: EpochFit
    activity: Tensor


@dataclass
class _Batch:
    """Planned rows of a batch on their way: ``stage`` is measuring them, from 0.

    ``inputs`` are what it encoded, ``before`` what the stages before it carried over.
    """

    labels: Tensor
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

    def check(self, network: PhysicalNetwork, task: LearningTask) -> None:
        for _, stage, _ in network:
            self.objective.check(stage, task)

    @property
    def resumable(self) -> bool:
        return self.objective.resumable

    @property
    def needs_classes(self) -> str:
        return self.objective.needs_classes

    @property
    def learning_rates(self) -> Mapping[str, float]:
        return {"lr": self.settings.lr}

    def measurements(self, stage: int, n_stages: int) -> int:
        return self.settings.epochs

    def run(self, fit: Fit) -> None:
        """All stages advance together, batch by batch."""
        states = [self._state(stage, session, fit) for _, stage, session in fit.network]
        for number in range(len(states)):
            fit.stage_begins(number)
        samples, batch = len(fit.labels), min(self.settings.batch_samples, len(fit.labels))
        for epoch in range(self._taken_up(fit, states), self.settings.epochs):
            order = torch.randperm(samples, generator=fit.rng)
            losses = self._epoch(fit, states, torch.split(order, batch))
            for number, state in enumerate(states):
                state.epoch.refit()
                mean = sum(loss[number] for loss in losses) / len(losses)
                fit.epoch_done(number, epoch + 1, self.settings.epochs, mean)
            fit.checkpoint(self._reached(fit, states, epoch + 1))
        for number, state in enumerate(states):
            fit.readout.add_stage(state.objective, torch.empty(0, dtype=torch.float32))
            fit.stage_done(number, state.activity)

    def _reached(self, fit: Fit, states: list[_StageState], epoch: int) -> TrainingState:
        """Where the fit stands after an epoch."""

        def tensors() -> dict[str, Tensor]:
            found = {f"activity.{number}": state.activity for number, state in enumerate(states)}
            for number, state in enumerate(states):
                found |= named(f"objective.{number}.", state.objective)
            return found

        return TrainingState(
            epoch,
            fit.rng,
            epoch=epoch,
            optimisers={number: state.optimiser for number, state in enumerate(states)},
            resumable=self.resumable,
            is_last=epoch == self.settings.epochs,
            tensors=tensors,
            values={"optimisers": [optimiser_values(state.optimiser, None) for state in states]},
        )

    def _taken_up(self, fit: Fit, states: list[_StageState]) -> int:
        """Epochs that are behind: everything is put where it stood after them."""
        saved = fit.saved
        if saved is None:
            return 0
        saved.restore_network(fit.network)
        for number, (state, values) in enumerate(zip(states, saved.values["optimisers"], strict=True)):
            state.objective.load_state_dict(saved.part(f"objective.{number}."))
            restore_optimiser(state.optimiser, None, saved.part(f"optimiser.{number}."), values)
            state.activity = saved.tensors[f"activity.{number}"]
            state.epoch = EpochFit(state.stage, is_fitted=True)
        fit.restore(saved)
        return int(saved.epoch or 0)

    def _state(self, stage: Stage, session: Session, fit: Fit) -> _StageState:
        stage.reset_map(fit.rng)
        objective = self.objective.for_stage(stage, fit.task, fit.rng)
        parameters: list[nn.Parameter] = [*stage.linear.parameters(), *objective.parameters()]
        optimiser = torch.optim.Adam(parameters, lr=self.settings.lr, fused=True)
        activity = torch.empty(0, stage.width, dtype=torch.float32)
        return _StageState(stage, session, objective, optimiser, EpochFit(stage, is_fitted=False), activity)

    def _epoch(self, fit: Fit, states: list[_StageState], parts: Sequence[Tensor]) -> list[list[float]]:
        """Send every batch through all stages; returns the losses of each batch, by stage."""
        order = _in_pipeline if fit.network.one_device_a_stage else _in_sequence
        batches: list[_Batch] = []
        try:
            for number in order(len(parts), len(states)):
                if number == len(batches):
                    batches.append(self._begun(fit, states[0], parts[number]))
                else:
                    self._advance(states, batches[number])
        finally:
            for batch in batches:
                batch.measurement.cancel()
        return [batch.losses for batch in batches]

    def _begun(self, fit: Fit, state: _StageState, part: Tensor) -> _Batch:
        labels = fit.labels[part]
        inputs = fit.plan.rows(fit.inputs[part], labels, fit.task.n_outputs, fit.rng)
        return _Batch(labels, inputs, _asked(state, inputs))

    def _advance(self, states: list[_StageState], batch: _Batch) -> None:
        """Wait for the stage's answer; it takes its steps before it passes z on to the next."""
        state = states[batch.stage]
        features = state.epoch.features(batch.inputs, batch.measurement.result())
        batch.losses.append(self._take_steps(state, features, batch.labels, batch.before))
        z = state.stage.map(features)
        state.activity = state.stage.activate(z)
        batch.before = self.objective.carry(batch.before, state.objective, state.stage, z)
        batch.inputs = z
        batch.stage += 1
        if batch.stage < len(states):
            batch.measurement = _asked(states[batch.stage], z)

    def _take_steps(self, state: _StageState, features: Tensor, labels: Tensor, before: Tensor | None) -> float:
        total = 0.0
        for _ in range(self.settings.inner_steps):
            loss = state.objective.loss(state.stage, state.stage.linear(features), labels, before)
            state.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            state.optimiser.step()
            total += float(loss.detach())
        return total / self.settings.inner_steps


def _asked(state: _StageState, inputs: Tensor) -> Measurement:
    return state.session.submit(state.epoch.encoded(inputs), "train", fresh=True)


def _in_sequence(batches: int, stages: int) -> Iterator[int]:
    """Whose turn it is: each batch begins, and is through all stages before the next one begins."""
    for batch in range(batches):
        yield from repeat(batch, 1 + stages)


def _in_pipeline(batches: int, stages: int) -> Iterator[int]:
    """A batch begins, then those before it advance by a stage each, the youngest first."""
    for wave in range(batches + stages):
        yield from range(min(wave, batches - 1), max(-1, wave - stages - 1), -1)
