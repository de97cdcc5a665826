"""Local rules: how one stage's digital map is found from what was measured through that stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from hwloop.device.spec import Float64Array
from hwloop.layers import Stage
from hwloop.tasks import UNSAID, LearningTask
from hwloop.training.objectives import LocalObjective, StageObjective
from hwloop.training.optimiser import (
    AdamSettings,
    AveragedWeights,
    OtherDevices,
    ResponseNoise,
    one_cycle_adamw,
    shuffled_batches,
)

# Training starts on the rows that are there while the rest is being measured. Which step sees which rows is
# fixed by these numbers, never by the clock: a run ends the same on a fast device, a slow one and a replay.
WINDOWS = 4
WINDOWED_SHARE = 0.5


class Answers(Protocol):
    """Responses that become known from the first row on, such as a :class:`hwloop.session.Measurement`."""

    def wait_for(self, rows: int) -> Float64Array:
        """The first ``rows`` responses, shape (rows, n_outputs), as soon as they are known."""
        ...


@dataclass
class StageRows:
    """A stage's training rows, some of them still being measured.

    Attributes
    ----------
    inputs
        What was encoded, shape (samples * rows_a_sample, n_features).
    measurement
        The responses to them, in the same order.
    labels
        True class of each sample, shape (samples,).
    rows_a_sample
        Rows that stand side by side for one sample.
    before
        What the objective carried over from the stages before, (rows, m), in the order of the inputs.
    """

    inputs: Tensor
    measurement: Answers
    labels: Tensor
    rows_a_sample: int
    task: LearningTask
    before: Tensor | None = None

    def features(self, stage: Stage, samples: int) -> Tensor:
        """Features of the first samples as soon as they are measured; the standardiser is fitted on them."""
        rows = samples * self.rows_a_sample
        responses = self.measurement.wait_for(rows)
        return stage.fitted_features(self.inputs[:rows], responses)


EpochReport = Callable[[int, int, float], None]


def no_progress_report(epoch: int, epochs: int, loss: float) -> None:
    """No progress is shown."""


class LocalRule(ABC):
    """Trains one stage and returns what the readout needs of it."""

    @property
    def needs_classes(self) -> str:
        """Why it serves classifications alone, in words; empty where it serves other targets too."""
        return UNSAID

    @property
    def resumable(self) -> bool:
        """Whether :meth:`trained` gives a stage back; by default it is trained again."""
        return False

    @abstractmethod
    def train(
        self, stage: Stage, rows: StageRows, rng: torch.Generator, report: EpochReport
    ) -> tuple[nn.Module, Tensor]:
        """Train the stage's map; return its objective and the features (rows, n) it was trained on.

        ``report(epoch, epochs, mean loss)`` is called after each pass.
        """

    def trained(self, stage: Stage, rows: StageRows, objective: Mapping[str, Tensor]) -> tuple[nn.Module, Tensor]:
        """What :meth:`train` returned for a stage whose map is back in it, from the tensors of its objective."""
        raise NotImplementedError(f"{type(self).__name__} trains again")

    def check(self, stage: Stage, task: LearningTask) -> None:
        """Refuse a stage that the rule cannot train, before anything is measured.

        Raises
        ------
        ConfigError
        """

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """By the name of the trainer's option; empty for a rule without."""
        return {}

    def carry(self, before: Tensor | None, objective: nn.Module, stage: Stage, z: Tensor) -> Tensor | None:
        """What the next stage's training is told of these rows, see :meth:`LocalObjective.carry`."""
        return None


class GradientRule(LocalRule):
    """Adam steps on the measured features of this stage towards a local objective."""

    def __init__(self, objective: LocalObjective, settings: AdamSettings) -> None:
        self.objective = objective
        self.settings = settings

    @property
    def resumable(self) -> bool:
        return self.objective.resumable

    @property
    def needs_classes(self) -> str:
        return self.objective.needs_classes

    def train(
        self, stage: Stage, rows: StageRows, rng: torch.Generator, report: EpochReport
    ) -> tuple[StageObjective, Tensor]:
        """Draw the map afresh, then train it."""
        stage.reset_map(rng)
        return self.go_on(stage, rows, rng, report)

    def trained(
        self, stage: Stage, rows: StageRows, objective: Mapping[str, Tensor]
    ) -> tuple[StageObjective, Tensor]:
        made = self.objective.for_stage(stage, rows.task, torch.Generator().manual_seed(0))
        made.load_state_dict(objective)
        return made, rows.features(stage, len(rows.labels))

    def check(self, stage: Stage, task: LearningTask) -> None:
        self.objective.check(stage, task)

    @property
    def learning_rates(self) -> Mapping[str, float]:
        return {"lr": self.settings.lr}

    def carry(self, before: Tensor | None, objective: nn.Module, stage: Stage, z: Tensor) -> Tensor | None:
        return self.objective.carry(before, cast(StageObjective, objective), stage, z)

    def go_on(
        self, stage: Stage, rows: StageRows, rng: torch.Generator, report: EpochReport
    ) -> tuple[StageObjective, Tensor]:
        """Train the map from where it stands, in growing windows of rows, then on all of them."""
        samples, width = len(rows.labels), rows.rows_a_sample
        objective = self.objective.for_stage(stage, rows.task, rng)
        parts = (
            (rows.features(stage, window).reshape(window, width, -1), steps)
            for window, steps in windows(samples, self.settings.steps(samples))
        )
        before = None if rows.before is None else rows.before.reshape(samples, width, -1)
        features = train_on(stage, objective, self.settings, parts, rows.labels, rng, width, before, report)
        return objective, features.flatten(0, 1)


def train_on(
    stage: Stage,
    objective: StageObjective,
    settings: AdamSettings,
    parts: Iterable[tuple[Tensor, int]],
    labels: Tensor,
    rng: torch.Generator,
    rows_a_sample: int = 1,
    before: Tensor | None = None,
    report: EpochReport = no_progress_report,
) -> Tensor:
    """Adam steps on a stage's map and its objective, from where they are; returns the last features.

    Parameters
    ----------
    parts
        Features of the first samples, shape (samples, rows_a_sample, n), and how many steps to take on them; the
        next part is asked for when these are taken.
    labels, before
        Of all samples: the class (samples,), and what was carried over (samples, rows_a_sample, m).
    """
    samples, steps = len(labels), settings.steps(len(labels))
    parameters = [*stage.linear.parameters(), *objective.parameters()]
    optimiser, schedule = one_cycle_adamw(parameters, settings, steps)
    batch_rows = min(settings.batch_samples, samples) * rows_a_sample
    noise = ResponseNoise(settings.response_noise, batch_rows * stage.n_features, rng)
    others = OtherDevices(settings.device_spread, rng)
    averaged = AveragedWeights(parameters, settings.averaged_share, steps)
    progress = _EpochProgress(steps, -(-samples // settings.batch_samples), report)
    for features, part_steps in parts:
        batches = shuffled_batches(len(features), settings.batch_samples, rng)
        for _ in range(part_steps):
            batch = next(batches)
            known = None if before is None else before[batch].flatten(0, 1)

            def loss_of(given: Tensor, wanted: Tensor = labels[batch], known: Tensor | None = known) -> Tensor:
                return objective.loss(stage, stage.linear(given), wanted, known)

            loss = loss_of(others.worse(noise.added_to(features[batch]).flatten(0, 1), loss_of))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            averaged.step()
            progress.add(loss.detach())
    averaged.put_in_place()
    return features


def windows(samples: int, steps: int) -> list[tuple[int, int]]:
    """(first samples to use, steps to take on them), ending with all samples."""
    early = [max(1, samples * (k + 1) // (WINDOWS + 1)) for k in range(WINDOWS)]
    each = int(steps * WINDOWED_SHARE) // WINDOWS
    return [*((window, each) for window in early), (samples, steps - WINDOWS * each)]


class _EpochProgress:
    """Collects losses and reports their mean once an epoch, without asking torch for a number each step."""

    def __init__(self, steps: int, epoch_steps: int, report: EpochReport) -> None:
        self._epochs = -(-steps // epoch_steps)
        self._epoch_steps = epoch_steps
        self._steps = steps
        self._losses: list[Tensor] = []
        self._taken = 0
        self._report = report

    def add(self, loss: Tensor) -> None:
        self._losses.append(loss)
        self._taken += 1
        if len(self._losses) == self._epoch_steps or self._taken == self._steps:
            epoch = -(-self._taken // self._epoch_steps)
            self._report(epoch, self._epochs, float(torch.stack(self._losses).mean()))
            self._losses.clear()


class RandomInterface(LocalRule):
    """The map stays as it was drawn; only the readout learns (extreme learning machine)."""

    resumable = True
    needs_classes = ""

    def trained(self, stage: Stage, rows: StageRows, objective: Mapping[str, Tensor]) -> tuple[nn.Module, Tensor]:
        return nn.Identity(), rows.features(stage, len(rows.labels))

    def train(
        self, stage: Stage, rows: StageRows, rng: torch.Generator, report: EpochReport
    ) -> tuple[nn.Module, Tensor]:
        """Draw the map, and standardise on the training rows."""
        stage.reset_map(rng)
        return nn.Identity(), rows.features(stage, len(rows.labels))
