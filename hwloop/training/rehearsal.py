"""Rehearsal: a map is trained against a twin of the next device, which is measured once a row all the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers import Stage
from hwloop.layers.tensors import rows_as_tensor
from hwloop.session import Session
from hwloop.training.backward import input_gradient
from hwloop.training.flight import MapGradient
from hwloop.training.optimiser import AdamSettings, ResponseNoise, check_settings, one_cycle_adamw
from hwloop.training.output_head import OutputHead
from hwloop.training.schedules import Schedule, Task
from hwloop.training.state import TrainingState
from hwloop.training.updates import Adam
from hwloop.twin import Candidate, Twin
from hwloop.twin import fit as fit_twin
from hwloop.twin.fitting import MIN_ROWS


@dataclass(frozen=True)
class RehearsalSettings:
    """How a map is trained against a twin.

    Attributes
    ----------
    share
        Of the training rows: those that a later stage is measured with for its twin, on the outputs of a random
        map; 20 rows at least.
    twin_rows
        The last rows of a device, to which its twin is fitted.
    epochs, batch_samples
        Passes over the training rows, through the twin, and the samples an update; they cost no row.
    lr, head_lr, weight_decay
        Of the map's and the head's AdamW, see :class:`hwloop.training.optimiser.AdamSettings`.
    input_noise
        Standard deviation of the noise added to the inputs in training, in units of that of all inputs; the twins
        of the stages say what they would have answered. 0: the measured responses are used as they are.
    interface_noise
        Standard deviation of the noise added to the features that the map sees in training.
    response_noise
        The same of those that the head sees.
    """

    share: float = 0.2
    twin_rows: int = 1200
    epochs: int = 120
    batch_samples: int = 128
    lr: float = 0.02
    head_lr: float = 0.01
    weight_decay: float = 1.0
    input_noise: float = 0.4
    interface_noise: float = 0.2
    response_noise: float = 0.2

    def __post_init__(self) -> None:
        check_settings(self, counts=("twin_rows", "epochs", "batch_samples"), positive=("lr", "head_lr"))
        if not 0 < self.share < 1:
            raise ConfigError(f"share must lie between 0 and 1, not {self.share!r}")
        if self.twin_rows < MIN_ROWS:
            raise ConfigError(f"twin_rows must be at least {MIN_ROWS}, not {self.twin_rows}")
        for name in ("input_noise", "interface_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be finite and not negative, not {getattr(self, name)!r}")
        AdamSettings(weight_decay=self.weight_decay, response_noise=self.response_noise)


@dataclass
class Rehearsed:
    """A stage whose rows are known.

    Attributes
    ----------
    rows
        All that was measured of its device.
    inputs
        What it encodes of every training row, (rows, n).
    features
        What it gave, or what its twin says it would have given, (rows, n_features).
    """

    stage: Stage
    rows: DeviceRows
    inputs: Tensor
    features: Tensor


@dataclass(eq=False)
class DeviceRows:
    """What was measured of a device so far, and the twin that was fitted to it last."""

    session: Session
    stimuli: list[Float64Array] = field(default_factory=list)
    responses: list[Float64Array] = field(default_factory=list)
    twin: Twin | None = None

    def measure(self, stimuli: Float64Array) -> Float64Array:
        """Measured now, and remembered."""
        responses = self.session.measure(stimuli, "train")
        self.stimuli.append(stimuli)
        self.responses.append(responses)
        return responses

    def fit_twin(self, rows: int, candidates: tuple[Candidate, ...], rng: torch.Generator) -> None:
        """To the last so many rows."""
        stimuli, responses = np.concatenate(self.stimuli)[-rows:], np.concatenate(self.responses)[-rows:]
        seed = int(torch.randint(2**31, (), generator=rng))
        self.twin = fit_twin(stimuli, responses, seed, candidates)

    def answer(self, stimuli: Float64Array) -> Float64Array:
        """The twin's, without noise; a trained map may leave the range that a random one explored."""
        assert self.twin is not None
        return self.twin.model(self.twin.scaling.forward(stimuli))

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """The twin's derivative."""
        assert self.twin is not None
        return self.twin.pull_back(stimuli, gradients)


class Rehearsal(Schedule):
    """Every map is trained for the device after it, through a twin of that device; one row a sample a stage.

    The first stage measures all rows. Each later stage measures a ``share`` of them on the outputs of a random
    map, and a twin is fitted to its device's rows: those, and what earlier stages measured if they share the
    device. Through it, forward and backward, the map before the stage is trained under a linear head on the
    features of all stages so far. Then the stage measures the other rows, on what the trained map gives; for those
    of the share, the twin's answers stand in, as the rows are spent. The last map is not trained: the readout
    stands in its place.

    Parameters
    ----------
    candidates
        Models that a twin may be.
    """

    uses_model = "a twin of each device, fitted to rows that training measured"

    def __init__(self, candidates: tuple[Candidate, ...], settings: RehearsalSettings) -> None:
        self.candidates = candidates
        self.settings = settings

    def measurements(self, stage: int, n_stages: int) -> int:
        """Once: every row of a later stage either teaches the twin or is measured in the end."""
        return 1

    def run(self, task: Task) -> None:
        """Stage by stage."""
        inputs = task.plan.rows(task.inputs, task.labels, task.n_classes, task.rng)
        explored = self._explored(len(inputs), len(task.network))
        rows = {session: DeviceRows(session) for session in task.network.distinct_sessions}
        known: list[Rehearsed] = []
        for number, stage, session in task.network:
            task.stage_begins(number)
            stage.reset_map(task.rng)
            if number == 0:
                stage.encoder.fit(inputs)
                responses = rows[session].measure(stage.encoder(inputs))
                known.append(_known(stage, rows[session], inputs, responses))
            else:
                known.append(self._rehearsed(task, number, stage, rows[session], known, explored))
            features = known[-1].features
            task.readout.add_stage(nn.Identity(), features)
            task.stage_done(number, None, stage.activate(stage.map(features)))
            task.checkpoint(TrainingState(number + 1, task.rng, stage=number + 1))

    def _explored(self, samples: int, n_stages: int) -> int:
        explored = max(MIN_ROWS, math.ceil(self.settings.share * samples))
        if n_stages > 1 and explored >= samples:
            raise ConfigError(
                f"a twin needs {explored} training rows (share {self.settings.share:.3g}, at least {MIN_ROWS}), "
                f"and there are {samples}: none would be left for the trained map; give more rows or less share"
            )
        return explored

    def _rehearsed(
        self, task: Task, number: int, stage: Stage, rows: DeviceRows, known: list[Rehearsed], explored: int
    ) -> Rehearsed:
        """Trains the map before a stage, then measures what is left to measure."""
        before, settings = known[-1], self.settings
        drawn = before.stage.map(before.features)
        stage.encoder.fit(drawn)
        rows.measure(stage.encoder(drawn[:explored]))
        rows.fit_twin(settings.twin_rows, self.candidates, task.rng)
        for one in known if settings.input_noise > 0 else ():
            if one.rows.twin is None:
                one.rows.fit_twin(settings.twin_rows, self.candidates, task.rng)
        _Rehearsing(task, number, stage, rows, known, settings).run()
        inputs = before.stage.map(before.features)
        stage.encoder.fit(inputs)
        measured = rows.measure(stage.encoder(inputs[explored:]))
        return _known(
            stage, rows, inputs, np.concatenate([rows.answer(stage.encoder(inputs[:explored])), measured])
        )


def _known(stage: Stage, rows: DeviceRows, inputs: Tensor, responses: Float64Array) -> Rehearsed:
    stage.fit_standardisers(inputs, rows_as_tensor(responses))
    return Rehearsed(stage, rows, inputs, stage.features(inputs, responses))


class _Rehearsing:
    """The epochs of one map, that of the last known stage; ``stage`` is the next one, whose twin answers."""

    def __init__(
        self,
        task: Task,
        number: int,
        stage: Stage,
        rows: DeviceRows,
        known: list[Rehearsed],
        settings: RehearsalSettings,
    ) -> None:
        self.task, self.number, self.settings = task, number, settings
        self.stage, self.rows, self.known = stage, rows, known
        self.linear = known[-1].stage.linear
        samples = len(known[0].inputs)
        self.batch = min(settings.batch_samples, samples)
        steps = settings.epochs * -(-samples // self.batch)
        sizes = [*(one.features.shape[1] for one in known), stage.n_features]
        self.head = OutputHead(sizes, task.n_classes)
        adam = AdamSettings(lr=settings.head_lr, weight_decay=settings.weight_decay)
        self.optimiser, self.rate = one_cycle_adamw(list(self.head.parameters()), adam, steps)
        self.updater = Adam(settings.lr, settings.weight_decay).start(self.linear, steps)
        first, jitter = known[0].inputs, settings.input_noise * float(known[0].inputs.std())
        self.input_noise = ResponseNoise(jitter, self.batch * first.shape[1], task.rng)
        self.interface_noise = ResponseNoise(settings.interface_noise, self.batch * sizes[-2], task.rng)
        self.response_noise = ResponseNoise(settings.response_noise, self.batch * sum(sizes), task.rng)

    def run(self) -> None:
        """Encoder and standardiser follow the map once an epoch."""
        epochs = self.settings.epochs
        before = self.known[-1]
        for epoch in range(epochs):
            inputs = before.stage.map(before.features)
            self.stage.encoder.fit(inputs)
            answers = self.rows.answer(self.stage.encoder(inputs))
            self.stage.fit_standardisers(inputs, rows_as_tensor(answers))
            order = torch.randperm(len(inputs), generator=self.task.rng)
            losses = [self._step(samples) for samples in torch.split(order, self.batch)]
            self.task.epoch_done(self.number - 1, epoch + 1, epochs, float(torch.cat(losses).mean()))

    def _step(self, samples: Tensor) -> Tensor:
        """One update of map and head; returns the samples' losses."""
        known = self._known_features(samples)
        noisy = self.interface_noise.added_to(known[-1])
        with torch.no_grad():
            inputs = self.linear(noisy)
        stimuli = self.stage.encoder(inputs)
        features = self.stage.features(inputs, self.rows.answer(stimuli))
        seen = self.response_noise.added_to(torch.cat([*known, features], dim=1))
        verdict = self.head.judge(seen, self.task.labels[samples])
        by_features = self.head.feature_gradient(verdict.error, len(known))
        by_inputs = input_gradient(self.stage, stimuli, by_features, self.rows.pull_back)
        self.head.set_gradient(seen, verdict)
        self.optimiser.step()
        self.rate.step()
        self.updater.step(MapGradient(by_inputs.T @ noisy / len(samples), by_inputs.mean(dim=0)))
        return verdict.losses

    def _known_features(self, samples: Tensor) -> list[Tensor]:
        """Of each known stage: as measured, or what the twins say of inputs with noise."""
        if self.settings.input_noise == 0:
            return [one.features[samples] for one in self.known]
        rows = self.input_noise.added_to(self.known[0].inputs[samples])
        found: list[Tensor] = []
        for number, one in enumerate(self.known):
            if number > 0:
                rows = self.known[number - 1].stage.map(found[-1])
            found.append(one.stage.features(rows, one.rows.answer(one.stage.encoder(rows))))
        return found
