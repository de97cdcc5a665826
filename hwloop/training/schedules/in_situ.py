"""The schedule that tunes what lies inside the devices: every batch is measured under several tunings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.events import Noticed
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.session import Session
from hwloop.tasks import LearningTask
from hwloop.training.objectives.class_scores import LocalHeads
from hwloop.training.optimiser import AdamSettings, one_cycle_adamw
from hwloop.training.options import (
    COUNT,
    FINITE_NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Settings,
    one_of,
    option,
    whole_number,
)
from hwloop.training.plans import typical_deviation
from hwloop.training.rules import train_on
from hwloop.training.rules.output_error import OutputHead
from hwloop.training.rules.tuning import TunedBatch, TuningRule, TuningSpace, said_by
from hwloop.training.schedules import Fit, Schedule
from hwloop.training.state import TrainingState

STEPS = 2000  # batches of a fit, where nobody has chosen their size
LARGEST_BATCH, SMALLEST_BATCH = 100, 10
PROBED_ROWS = 8
PROBES = 16  # small sets of tunables, each moved by itself to see which outputs notice
PROBE_SHARE = 1 / 4
SLOPE_SHARE = 1 / 64
SIGNAL = 4.0  # a difference, root mean square, in units of the noise's
LEAST_SIZE, LARGEST_SIZE = 1 / 512, 1 / 16
SEEN = 4.0  # times the noise: an output has noticed
REST, RANDOM = "rest", "random"


@dataclass(frozen=True)
class InSituSettings(Settings):
    """How tunables and digital readout are trained on the same measured rows.

    Attributes
    ----------
    epochs
        Passes over the training samples.
    batch_samples
        Training samples a step; 0: as many as give 2,000 steps, from 10 to 100.
    head_lr
        Peak learning rate of the readout's AdamW.
    head_decay
        Decoupled decay of the readout's weights, multiplied by the learning rate in each step: small weights have
        responses that differ where it matters.
    input_noise
        Standard deviation of the noise added to the inputs in training, which costs no row, for every row is
        measured anew; in units of that of all inputs.
    averaged
        Share of the steps, the last ones, over which tuning and readout are averaged.
    start
        'rest': the device's tuning at rest; 'random': uniform within the limits.
    """

    epochs: int = option(50, COUNT)
    batch_samples: int = option(0, whole_number(0))
    head_lr: float = option(0.02, POSITIVE)
    head_decay: float = option(0.0, FINITE_NOT_NEGATIVE)
    input_noise: float = option(0.1, FINITE_NOT_NEGATIVE)
    averaged: float = option(0.0, SHARE)
    start: str = option(REST, one_of((REST, RANDOM)))

    def batch(self, samples: int) -> int:
        """Samples a step."""
        wanted = self.batch_samples or min(LARGEST_BATCH, max(SMALLEST_BATCH, self.epochs * samples // STEPS))
        return min(wanted, samples)


class InSitu(Schedule):
    """Tunes stage after stage, each with a linear head of its own, which learns from the same rows.

    Every batch is measured under the tunings that the rule asks for. The head on the responses gives losses and
    their derivative by the responses; what the rule makes of them moves the tuning. Then all samples are measured
    once under the tuning that was found: standardiser and readout are fitted on that, and the map to the next
    stage, by a local head.

    Parameters
    ----------
    new_rule
        Makes the rule of a stage.
    """

    needs_classes = ""

    def __init__(self, new_rule: Callable[[], TuningRule], settings: InSituSettings) -> None:
        self.new_rule = new_rule
        self.rule = new_rule()
        self.settings = settings

    @property
    def uses_model(self) -> str:
        return self.rule.uses_model

    @property
    def learning_rates(self) -> Mapping[str, float]:
        lr = getattr(self.rule, "lr", None)
        return {"head_lr": self.settings.head_lr} | ({} if lr is None else {"lr": lr})

    def measurements(self, stage: int, n_stages: int) -> int:
        """Every variant in every epoch, and once more at the end."""
        return 1 + self.settings.epochs * self.rule.variants

    def extra_rows(self) -> int:
        """Rows of a stage, however many samples there are: noise, slope, and which output a tunable acts on."""
        noise = 2 * PROBED_ROWS if self.rule.measures_noise or self.rule.checks_influence else 0
        slope = 2 * PROBED_ROWS if self.rule.measures_noise else 0
        return noise + slope + (PROBES * PROBED_ROWS if self.rule.checks_influence else 0)

    def writes(self, samples: int) -> int:
        """Writes of tunables in a stage, at most; more where a device bears small changes alone."""
        steps = self.settings.epochs * -(-samples // self.settings.batch(samples))
        pilot = (2 if self.rule.measures_noise else 0) + (PROBES if self.rule.checks_influence else 0) + 1
        return steps * self.rule.variants + pilot + 1

    def check(self, network: PhysicalNetwork, task: LearningTask) -> None:
        """Refuse devices without tunables, or that lack what the rule needs of them."""
        for number, stage, session in network:
            name = type(session.device).__name__
            if not session.device.spec.tunables:
                raise ConfigError(
                    f"the device of stage {number + 1}, {name}, has no tunables (DeviceSpec.tunables), and this "
                    "trainer learns nothing else; take another trainer, such as local, or a device with some, "
                    "such as programmable-speckle"
                )
            if missing := self.rule.missing(session.device):
                raise ConfigError(f"stage {number + 1}: this trainer {missing}")
            if stage.steps > 1:
                raise ConfigError("this trainer tunes stages of one step; leave steps out")

    def run(self, fit: Fit) -> None:
        """Stage after stage."""
        inputs = fit.planned_rows()
        last = len(fit.network) - 1
        for number, stage, session in fit.network:
            fit.stage_begins(number)
            stage.encoder.fit(inputs)
            stage.reset_map(fit.rng)
            tuned = _TunedStage(self, fit, number, stage, session, inputs)
            stage.tuning = tuned.run()
            responses = session.measure(stage.encoder(inputs), "train", fresh=True, tuning=stage.tuning)
            features = stage.fitted_features(inputs, responses)
            if number < last:
                _train_map(stage, features, fit)
            inputs = stage.map(features)
            fit.readout.add_stage(nn.Identity(), features)
            fit.stage_done(number, stage.activate(inputs))
            fit.stages[number].notes.insert(0, tuned.chosen)  # told before the first step already
            fit.checkpoint(TrainingState(number + 1, fit.rng, stage=number + 1))


def _train_map(stage: Stage, features: Tensor, fit: Fit) -> None:
    """By a local head on what the map makes of the features."""
    objective = LocalHeads().for_stage(stage, fit.task, fit.rng)
    settings = AdamSettings()
    rows = features.reshape(len(fit.labels), 1, -1)
    train_on(stage, objective, settings, [(rows, settings.steps(len(rows)))], fit.labels, fit.rng)


class _TunedStage:
    """The steps of one stage."""

    def __init__(
        self, schedule: InSitu, fit: Fit, number: int, stage: Stage, session: Session, inputs: Tensor
    ) -> None:
        self.fit, self.number, self.stage, self.session, self.inputs = fit, number, stage, session, inputs
        self.settings, self.rule = schedule.settings, schedule.new_rule()
        self.space = TuningSpace(session.device.spec)
        self.rng = np.random.default_rng(int(torch.randint(2**31, (), generator=fit.rng)))
        self.batch_samples = self.settings.batch(len(inputs))
        self.steps = self.settings.epochs * -(-len(inputs) // self.batch_samples)
        self.noise = self.settings.input_noise * typical_deviation(inputs)

    def run(self) -> Float64Array:
        """The tuning that was found, in the device's units."""
        start = self._start()
        self.rule.begin(self.space, self.session.device, start, self.steps, self.rng)
        self._look_around(start)
        self.head = OutputHead([self.space.spec.n_outputs], self.fit.task)
        adam = AdamSettings(lr=self.settings.head_lr, weight_decay=self.settings.head_decay)
        self.optimiser, self.rate = one_cycle_adamw(list(self.head.parameters()), adam, self.steps)
        self.scale: tuple[Float64Array, Float64Array] | None = None
        mean, taken = np.zeros(self.space.size), 0
        first = self.steps - round(self.settings.averaged * self.steps)
        step = 0
        for epoch in range(1, self.settings.epochs + 1):
            total = 0.0
            order = torch.randperm(len(self.inputs), generator=self.fit.rng)
            for samples in torch.split(order, self.batch_samples):
                total += self._step(samples)
                step += 1
                if step > first:
                    mean, taken = mean + self.rule.shares, taken + 1
            self.rule.epoch_done(epoch)
            self.fit.epoch_done(self.number, epoch, self.settings.epochs, total / len(order))
        return self.space.values(mean / taken if taken else self.rule.shares)

    def _start(self) -> Float64Array:
        if self.settings.start == RANDOM:
            return self.rng.uniform(size=self.space.size)
        return self.space.shares(self.space.spec.tunable_rest)

    def _step(self, samples: Tensor) -> float:
        """One batch under every tuning; returns the sum of the samples' losses."""
        inputs = self.inputs[samples]
        if self.noise > 0:
            inputs = inputs + self.noise * torch.randn(inputs.shape, generator=self.fit.rng, dtype=inputs.dtype)
        stimuli = self.stage.encoder(inputs)
        tunings = np.stack([self.space.values(shares) for shares in self.rule.ask()])
        responses = self._measured(stimuli, tunings)
        if self.scale is None:
            spread = responses[0].std(axis=0)
            self.scale = responses[0].mean(axis=0), 1.0 / np.maximum(spread, max(1e-3 * spread.max(), 1e-12))
        centre, gain = self.scale
        features = torch.from_numpy((responses - centre) * gain).to(torch.float32).flatten(0, 1)
        verdict = self.head.judge(features, torch.cat([self.fit.labels[samples]] * len(tunings)))
        by_features = self.head.feature_gradient(verdict.error, 0)
        self.head.set_gradient(features, verdict)
        self.optimiser.step()
        self.rate.step()
        losses = verdict.losses.reshape(len(tunings), -1)
        by_responses = by_features.to(torch.float64).numpy().reshape(responses.shape) * gain
        shares = self.space.shares(tunings)
        self.rule.tell(TunedBatch(stimuli, shares, responses, losses.to(torch.float64).numpy(), by_responses))
        return float(losses.sum()) / len(tunings)

    def _measured(self, stimuli: Float64Array, tunings: Float64Array) -> Float64Array:
        """Shape (variants, rows, n_outputs); all are asked for before the first is waited for."""
        asked = [self.session.submit(stimuli, "train", fresh=True, tuning=tuning) for tuning in tunings]
        try:
            return np.stack([measurement.result() for measurement in asked])
        except BaseException:
            for measurement in asked:
                measurement.cancel()
            raise

    # -- a few rows before the first step ----------------------------------------------------------------

    def _look_around(self, start: Float64Array) -> None:
        """Noise, slope and influence, where the rule asks for them; what is chosen is said."""
        samples, spec = len(self.inputs), self.space.spec
        batch = f"{self.rule.variants} tunings a batch of {self.batch_samples} samples"
        says = [f"{self.space.size:,} tunables, {batch}, {self.steps:,} steps"]
        size, influence = SLOPE_SHARE, None
        if self.rule.measures_noise or self.rule.checks_influence:
            some = self.inputs[torch.arange(PROBED_ROWS) % samples]
            stimuli = self.stage.encoder(some)
            here = self.space.values(start)
            base = self._measured(np.concatenate([stimuli, stimuli]), here[None])[0].reshape(
                2, *(PROBED_ROWS, spec.n_outputs)
            )
            noise = np.sqrt(np.square(base[0] - base[1]).mean(axis=0) / 2)
            if self.rule.measures_noise:
                size = self._chosen_size(start, stimuli, float(np.sqrt(np.square(noise).mean())), says)
            if self.rule.checks_influence:
                influence = self._influence(start, stimuli, base.mean(axis=0), noise, says)
        self.rule.told(size, influence)
        self.chosen = "; ".join(says)
        self.fit.emit(Noticed(self.chosen))

    def _chosen_size(self, start: Float64Array, stimuli: Float64Array, noise: float, says: list[str]) -> float:
        """As large as makes a row's difference stand out of the noise, as small as that allows."""
        signs = 2.0 * self.rng.integers(0, 2, self.space.size) - 1.0
        moves = np.maximum(SLOPE_SHARE, self.space.steps) * signs
        sides = self._measured(stimuli, np.stack([self.space.values(start + side * moves) for side in (1, -1)]))
        moved = np.square(sides[0] - sides[1]).mean() - 2 * noise**2
        slope = float(np.sqrt(max(moved, 0.0))) / (2 * SLOPE_SHARE)
        wanted = SIGNAL * np.sqrt(2) * noise / max(2 * slope, 1e-30)
        size = float(np.clip(wanted, LEAST_SIZE, LARGEST_SIZE))
        says.append(f"noise of a response {noise:.2g}, perturbed by {size:.2g} of the range")
        if wanted > LARGEST_SIZE:
            says[-1] += f" (the noise asks for {wanted:.2g}: larger batches or more epochs would help)"
        return size

    def _influence(
        self, start: Float64Array, stimuli: Float64Array, base: Float64Array, noise: Float64Array, says: list[str]
    ) -> NDArray[np.bool_] | None:
        """Which output each tunable acts on, where each acts on one; tried on small sets of tunables."""
        n_outputs, count = base.shape[1], self.space.size
        few = max(1, round(0.7 * n_outputs)) if n_outputs > 1 else 1
        sets = np.stack([self.rng.permutation(count) < min(few, count) for _ in range(PROBES)])
        # Of sizes of their own: equal ones may add up to a whole period.
        toward = np.where(start < 0.5, PROBE_SHARE, -PROBE_SHARE) * self.rng.uniform(0.5, 1.0, count)
        tunings = np.stack([self.space.values(start + np.where(chosen, toward, 0.0)) for chosen in sets])
        moved = np.sqrt(np.square(self._measured(stimuli, tunings) - base).mean(axis=1))
        floor = np.sqrt(1.5) * noise + 1e-9 * np.abs(base).max()
        noticed = moved > SEEN * np.maximum(floor, np.sqrt(np.square(floor).mean()) / 2)  # (probes, outputs)
        for layout, owner in self._layouts(n_outputs):
            influence: NDArray[np.bool_] = np.arange(n_outputs)[:, None] == owner
            touched = (sets.astype(int) @ influence.T.astype(int)) > 0
            if not (noticed & ~touched).any():
                says.append(
                    f"each tunable acts on one output ({layout}): it is credited with that output's error alone"
                )
                return influence
        says.append(
            "tunables act on several outputs: each is credited with the change of the whole loss, as spsa does"
        )
        return None

    def _layouts(self, n_outputs: int) -> list[tuple[str, NDArray[np.int64]]]:
        """What the device says, or the two orders in which tunables are mostly numbered."""
        said = said_by(self.session.device, "tunable_outputs")
        if said is not None and len(said) == self.space.size:
            return [("as the device says, and a few rows agree", np.asarray(said))]
        counts = [each.count for each in self.space.spec.tunables]
        if any(count % n_outputs for count in counts):
            return []
        by_output = np.concatenate([np.arange(count) // (count // n_outputs) for count in counts])
        in_turn = np.concatenate([np.arange(count) % n_outputs for count in counts])
        return [("output after output, by a few rows", by_output), ("in turn, by a few rows", in_turn)]
