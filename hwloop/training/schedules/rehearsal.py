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
from hwloop.training.optimiser import Adam, AdamSettings, MapGradient, ResponseNoise, one_cycle_adamw
from hwloop.training.options import (
    COUNT,
    FINITE_NOT_NEGATIVE,
    INNER_SHARE,
    POSITIVE,
    chosen,
    option,
    whole_number,
)
from hwloop.training.plans import typical_deviation
from hwloop.training.rules.chain_rule import TWINS, input_gradient
from hwloop.training.rules.output_error import OutputHead
from hwloop.training.schedules import Fit, Schedule
from hwloop.training.schedules.output_error import OutputErrorSettings
from hwloop.training.state import SavedState, TrainingState
from hwloop.twin import Candidate, Twin
from hwloop.twin import fit as fit_twin
from hwloop.twin.fitting import MIN_ROWS


@dataclass(frozen=True)
class RehearsalSettings(OutputErrorSettings):
    """How a map is trained against a twin: passes over the training rows go through the twin, and cost no row.

    Attributes
    ----------
    share
        Share of the training rows that a later stage is measured with for its twin, on the outputs of a random
        map; 20 rows at least.
    twin_rows
        The last rows of a device, to which its twin is fitted.
    lr
        Peak learning rate of the map's AdamW.
    input_noise
        Standard deviation of the noise added to the inputs in training; the twins of the stages say what they
        would have answered, in units of that of all inputs. 0: the measured responses are used as they are.
    interface_noise
        Standard deviation of the noise added to the features that the map sees in training, in units of a
        channel's standard deviation.
    """

    share: float = option(0.2, INNER_SHARE)
    twin_rows: int = option(1200, whole_number(MIN_ROWS))
    epochs: int = option(120, COUNT)
    batch_samples: int = option(128, COUNT)
    lr: float = option(0.02, POSITIVE)
    input_noise: float = option(0.4, FINITE_NOT_NEGATIVE)
    interface_noise: float = option(0.2, FINITE_NOT_NEGATIVE)


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
    rows: TwinnedDevice
    inputs: Tensor
    features: Tensor


@dataclass(eq=False)
class TwinnedDevice:
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
    twin
        Models that a twin may be, one of :data:`hwloop.training.rules.chain_rule.TWINS`.
    """

    resumable = True
    needs_classes = ""
    uses_model = "a twin of each device, fitted to rows that training measured"

    def __init__(self, twin: str, settings: RehearsalSettings) -> None:
        self.candidates = chosen("twin", twin, TWINS)
        self.settings = settings

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """Of the maps and of the output head."""
        return {"lr": self.settings.lr, "head_lr": self.settings.head_lr}

    def measurements(self, stage: int, n_stages: int) -> int:
        """Once: every row of a later stage either teaches the twin or is measured in the end."""
        return 1

    def run(self, fit: Fit) -> None:
        inputs = fit.planned_rows()
        explored = self._explored(len(inputs), len(fit.network))
        rows = {session: TwinnedDevice(session) for session in fit.network.distinct_sessions}
        known: list[Rehearsed] = []
        if fit.saved is not None:
            known = self._taken_up(fit, fit.saved, inputs, list(rows.values()))
        for number, stage, session in list(fit.network)[len(known) :]:
            fit.stage_begins(number)
            stage.reset_map(fit.rng)
            if number == 0:
                stage.encoder.fit(inputs)
                responses = rows[session].measure(stage.encoder(inputs))
                known.append(_known(stage, rows[session], inputs, responses))
            else:
                known.append(self._rehearsed(fit, number, stage, rows[session], known, explored))
            features = known[-1].features
            fit.readout.add_stage(nn.Identity(), features)
            fit.stage_done(number, stage.activate(stage.map(features)))
            fit.checkpoint(self._reached(fit, known, list(rows.values())))

    def _reached(self, fit: Fit, known: list[Rehearsed], devices: list[TwinnedDevice]) -> TrainingState:
        """Where the fit stands after a stage."""

        def tensors() -> dict[str, Tensor]:
            found = {f"features.{number}": one.features for number, one in enumerate(known)}
            for number, device in enumerate(devices):
                kept = device.state(self.settings.twin_rows)
                found |= {f"device.{number}.{name}": tensor for name, tensor in kept.items()}
            return found

        return TrainingState(
            len(known),
            fit.rng,
            stage=len(known),
            resumable=True,
            is_last=len(known) == len(fit.network),
            tensors=tensors,
            values={"twin_seeds": [device.fitted and device.fitted[2] for device in devices]},
        )

    def _taken_up(
        self, fit: Fit, saved: SavedState, inputs: Tensor, devices: list[TwinnedDevice]
    ) -> list[Rehearsed]:
        """The stages that are known; the readout is given what it was given then."""
        saved.restore_network(fit.network)
        for number, (device, seed) in enumerate(zip(devices, saved.values["twin_seeds"], strict=True)):
            device.restore(saved.part(f"device.{number}."), seed, self.candidates)
        of = {device.session: device for device in devices}
        known: list[Rehearsed] = []
        for number, stage, session in list(fit.network)[: saved.stage]:
            if number > 0:
                inputs = known[-1].stage.map(known[-1].features)
            known.append(Rehearsed(stage, of[session], inputs, saved.tensors[f"features.{number}"]))
            fit.readout.add_stage(nn.Identity(), known[-1].features)
        fit.restore(saved)
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
        self, fit: Fit, number: int, stage: Stage, rows: TwinnedDevice, known: list[Rehearsed], explored: int
    ) -> Rehearsed:
        """Trains the map before a stage, then measures what is left to measure."""
        before, settings = known[-1], self.settings
        drawn = before.stage.map(before.features)
        stage.encoder.fit(drawn)
        rows.measure(stage.encoder(drawn[:explored]))
        rows.fit_twin(settings.twin_rows, self.candidates, fit.rng)
        for one in known if settings.input_noise > 0 else ():
            if one.rows.twin is None:
                one.rows.fit_twin(settings.twin_rows, self.candidates, fit.rng)
        _Rehearsing(fit, number, stage, rows, known, settings).run()
        inputs = before.stage.map(before.features)
        stage.encoder.fit(inputs)
        measured = rows.measure(stage.encoder(inputs[explored:]))
        return _known(
            stage, rows, inputs, np.concatenate([rows.answer(stage.encoder(inputs[:explored])), measured])
        )


def _known(stage: Stage, rows: TwinnedDevice, inputs: Tensor, responses: Float64Array) -> Rehearsed:
    return Rehearsed(stage, rows, inputs, stage.fitted_features(inputs, responses))


class _Rehearsing:
    """The epochs of one map, that of the last known stage; ``stage`` is the next one, whose twin answers."""

    def __init__(
        self,
        fit: Fit,
        number: int,
        stage: Stage,
        rows: TwinnedDevice,
        known: list[Rehearsed],
        settings: RehearsalSettings,
    ) -> None:
        self.fit, self.number, self.settings = fit, number, settings
        self.stage, self.rows, self.known = stage, rows, known
        self.linear = known[-1].stage.linear
        samples = len(known[0].inputs)
        self.batch = min(settings.batch_samples, samples)
        steps = settings.epochs * -(-samples // self.batch)
        sizes = [*(one.features.shape[1] for one in known), stage.n_features]
        self.head = OutputHead(sizes, fit.task)
        adam = AdamSettings(lr=settings.head_lr, weight_decay=settings.weight_decay)
        self.optimiser, self.rate = one_cycle_adamw(list(self.head.parameters()), adam, steps)
        self.updater = Adam(settings.lr, settings.weight_decay).start(self.linear, steps)
        first, jitter = known[0].inputs, settings.input_noise * typical_deviation(known[0].inputs)
        self.input_noise = ResponseNoise(jitter, self.batch * first.shape[1], fit.rng)
        self.interface_noise = ResponseNoise(settings.interface_noise, self.batch * sizes[-2], fit.rng)
        self.response_noise = ResponseNoise(settings.response_noise, self.batch * sum(sizes), fit.rng)

    def run(self) -> None:
        """Encoder and standardiser follow the map once an epoch."""
        epochs = self.settings.epochs
        before = self.known[-1]
        for epoch in range(epochs):
            inputs = before.stage.map(before.features)
            self.stage.encoder.fit(inputs)
            answers = self.rows.answer(self.stage.encoder(inputs))
            self.stage.fit_standardisers(inputs, rows_as_tensor(answers))
            order = torch.randperm(len(inputs), generator=self.fit.rng)
            losses = [self._step(samples) for samples in torch.split(order, self.batch)]
            self.fit.epoch_done(self.number - 1, epoch + 1, epochs, float(torch.cat(losses).mean()))

    def _step(self, samples: Tensor) -> Tensor:
        """One update of map and head; returns the samples' losses."""
        known = self._known_features(samples)
        noisy = self.interface_noise.added_to(known[-1])
        with torch.no_grad():
            inputs = self.linear(noisy)
        stimuli = self.stage.encoder(inputs)
        features = self.stage.features(inputs, self.rows.answer(stimuli))
        seen = self.response_noise.added_to(torch.cat([*known, features], dim=1))
        verdict = self.head.judge(seen, self.fit.labels[samples])
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
