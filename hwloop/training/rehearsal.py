"""Rehearsal: a map is trained against a twin of the next device, which is measured once a row all the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers import Stage
from hwloop.layers.rowwise import rows_as_tensor
from hwloop.session import Session
from hwloop.training.backward import input_gradient
from hwloop.training.flight import MapGradient
from hwloop.training.magnitude import typical_deviation
from hwloop.training.optimiser import AdamSettings, ResponseNoise, check_settings, one_cycle_adamw
from hwloop.training.output_head import OutputHead
from hwloop.training.schedules import Schedule, Task
from hwloop.training.state import SavedState, TrainingState
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
    """What was measured of a device so far, and the twin that was fitted to it last.

    Attributes
    ----------
    fitted
        Stimuli and responses that the twin was fitted to, and its seed.
    """

    session: Session
    stimuli: list[Float64Array] = field(default_factory=list)
    responses: list[Float64Array] = field(default_factory=list)
    twin: Twin | None = None
    fitted: tuple[Float64Array, Float64Array, int] | None = None

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
        self._fit_to((stimuli, responses, seed), candidates)

    def _fit_to(self, rows: tuple[Float64Array, Float64Array, int], candidates: tuple[Candidate, ...]) -> None:
        self.fitted = rows
        self.twin = fit_twin(*rows, candidates)

    def state(self, rows: int) -> dict[str, Tensor]:
        """The last so many rows, and those that the twin was fitted to, which with its seed make it again."""
        if not self.stimuli:
            return {}
        kept = {
            "stimuli": np.concatenate(self.stimuli)[-rows:],
            "responses": np.concatenate(self.responses)[-rows:],
        }
        if self.fitted is not None:
            kept["fitted_stimuli"], kept["fitted_responses"], _ = self.fitted
        return {name: torch.from_numpy(array.copy()) for name, array in kept.items()}

    def restore(self, state: Mapping[str, Tensor], seed: int | None, candidates: tuple[Candidate, ...]) -> None:
        """Take up what :meth:`state` gave; the twin is fitted again."""
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        if arrays:
            self.stimuli, self.responses = [arrays["stimuli"]], [arrays["responses"]]
        if seed is not None:
            self._fit_to((arrays["fitted_stimuli"], arrays["fitted_responses"], seed), candidates)

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

    resumable = True
    uses_model = "a twin of each device, fitted to rows that training measured"

    def __init__(self, candidates: tuple[Candidate, ...], settings: RehearsalSettings) -> None:
        self.candidates = candidates
        self.settings = settings

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """Of the maps and of the output head."""
        return {"lr": self.settings.lr, "head_lr": self.settings.head_lr}

    def measurements(self, stage: int, n_stages: int) -> int:
        """Once: every row of a later stage either teaches the twin or is measured in the end."""
        return 1

    def run(self, task: Task) -> None:
        """Stage by stage."""
        inputs = task.plan.rows(task.inputs, task.labels, task.n_classes, task.rng)
        explored = self._explored(len(inputs), len(task.network))
        rows = {session: DeviceRows(session) for session in task.network.distinct_sessions}
        known: list[Rehearsed] = []
        if task.saved is not None:
            known = self._taken_up(task, task.saved, inputs, list(rows.values()))
        for number, stage, session in list(task.network)[len(known) :]:
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
            task.stage_done(number, stage.activate(stage.map(features)))
            task.checkpoint(self._reached(task, known, list(rows.values())))

    def _reached(self, task: Task, known: list[Rehearsed], devices: list[DeviceRows]) -> TrainingState:
        """Where the fit stands after a stage."""

        def tensors() -> dict[str, Tensor]:
            found = {f"features.{number}": one.features for number, one in enumerate(known)}
            for number, device in enumerate(devices):
                kept = device.state(self.settings.twin_rows)
                found |= {f"device.{number}.{name}": tensor for name, tensor in kept.items()}
            return found

        return TrainingState(
            len(known),
            task.rng,
            stage=len(known),
            resumable=True,
            is_last=len(known) == len(task.network),
            tensors=tensors,
            values={"twin_seeds": [device.fitted and device.fitted[2] for device in devices]},
        )

    def _taken_up(
        self, task: Task, saved: SavedState, inputs: Tensor, devices: list[DeviceRows]
    ) -> list[Rehearsed]:
        """The stages that are known; the readout is given what it was given then."""
        saved.restore_network(task.network)
        for number, (device, seed) in enumerate(zip(devices, saved.values["twin_seeds"], strict=True)):
            device.restore(saved.part(f"device.{number}."), seed, self.candidates)
        of = {device.session: device for device in devices}
        known: list[Rehearsed] = []
        for number, stage, session in list(task.network)[: saved.stage]:
            if number > 0:
                inputs = known[-1].stage.map(known[-1].features)
            known.append(Rehearsed(stage, of[session], inputs, saved.tensors[f"features.{number}"]))
            task.readout.add_stage(nn.Identity(), known[-1].features)
        task.take_up(saved)
        return known

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
        first, jitter = known[0].inputs, settings.input_noise * typical_deviation(known[0].inputs)
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
