"""The cached schedule: measure the training rows once through a stage, train it on them, go on to the next."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from hwloop.layers import PhysicalNetwork, Stage
from hwloop.session import Session
from hwloop.training.rules import LocalRule, StageData
from hwloop.training.schedules import Schedule, Task
from hwloop.training.state import TrainingState, named


class Cached(Schedule):
    """One measurement a planned row a stage, the least that any local trainer can do."""

    def __init__(self, rule: LocalRule) -> None:
        self.rule = rule

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
        """Stage by stage; each trains on the rows that are there while the rest is being measured."""
        inputs = task.plan.rows(task.inputs, task.labels, task.n_classes, task.rng)
        before: Tensor | None = None
        objectives: dict[str, Tensor] = {}
        trained = 0 if task.saved is None else task.saved.restored_stages(task.network)
        for number, stage, session in task.network:
            task.stage_begins(number)
            inputs, before, objective = self._train_stage(task, number, stage, session, inputs, before)
            task.stage_done(number, stage.activate(inputs))
            objectives |= named(f"objective.{number}.", objective)
            if number >= trained:
                state = TrainingState(
                    number + 1,
                    task.rng,
                    stage=number + 1,
                    resumable=self.resumable,
                    is_last=number + 1 == len(task.network),
                    tensors=partial(dict, objectives),
                )
                task.checkpoint(state)
            elif number + 1 == trained and task.saved is not None:
                task.saved.restore_rng(task.rng)

    def _train_stage(
        self, task: Task, number: int, stage: Stage, session: Session, inputs: Tensor, before: Tensor | None
    ) -> tuple[Tensor, Tensor | None, nn.Module]:
        """What the next stage is given: inputs, and what the rule carries over; and the objective.

        A stage that was trained already is measured like any other, which its journal answers.
        """
        stage.encoder.fit(inputs)
        rows_a_sample = task.plan.rows_a_sample(task.n_classes)
        with session.submit(stage.encoder(inputs), "train") as measurement:
            data = StageData(inputs, measurement, task.labels, rows_a_sample, task.n_classes, before)
            objective, features = trained_stage(self.rule, task, number, stage, data)
        z = stage.map(features)
        task.readout.add_stage(objective, features)
        return z, self.rule.carry(before, objective, stage, z), objective


def trained_stage(
    rule: LocalRule, task: Task, number: int, stage: Stage, data: StageData
) -> tuple[nn.Module, Tensor]:
    """Train a stage, or take up what it had been trained to: objective, and features of the training rows."""
    saved = task.saved
    if saved is not None and number < (saved.stage or 0):
        return rule.trained(stage, data, saved.part(f"objective.{number}."))
    return rule.train(stage, data, task.rng, partial(task.epoch_done, number))
