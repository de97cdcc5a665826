"""The chain rule through stages, with a derivative of the device: exact, a twin's, or measured by nudges."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hwloop.device import Device
from hwloop.device.spec import Differentiable, Float64Array
from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.session import Session
from hwloop.tasks import LearningTask
from hwloop.training.options import WithOptions, one_of, option, real_number, whole_number
from hwloop.training.rules.output_error import BatchPass, OutputGradients, OutputHead, Verdict
from hwloop.training.state import part
from hwloop.twin import Candidate
from hwloop.twin import fit as fit_twin
from hwloop.twin.fitting import MIN_ROWS, default_candidates
from hwloop.twin.modulus import Intensity

# From stimuli (rows, n_inputs) and the derivative by the responses (rows, n_outputs) to that by the stimuli.
PullBack = Callable[[Float64Array, Float64Array], Float64Array]


def input_gradient(stage: Stage, stimuli: Float64Array, by_features: Tensor, pull_back: PullBack) -> Tensor:
    """Derivative by what a stage encoded (rows, n), from that by its features; float32, no gradient of its own."""
    n_outputs = stage.spec.n_outputs
    by_responses = by_features[:, :n_outputs].to(torch.float64) * stage.standardiser.inverse_std
    by_stimuli = pull_back(stimuli, by_responses.numpy())
    by_inputs = stage.encoder.pull_back(stimuli, torch.from_numpy(np.ascontiguousarray(by_stimuli)))
    if stage.bypass:
        by_inputs = by_inputs + by_features[:, n_outputs:] * stage.bypass_standardiser.inverse_std
    return by_inputs.to(torch.float32).detach()


class ChainRule(OutputGradients):
    """Backpropagation from the last stage to the second; what stands for a device's derivative differs."""

    resumable = True

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        self._network = network

    def check(self, network: PhysicalNetwork) -> None:
        """Refuse a device after the first stage's that lacks what the rule needs."""
        for number, _, session in network:
            if number > 0 and (missing_capability := self.missing_capability(number + 1, session.device)):
                raise ConfigError(missing_capability)

    def missing_capability(self, stage: int, device: Device) -> str:
        """What the device of a stage, from 1, lacks; empty if nothing."""
        return ""

    @abstractmethod
    def pull_backs(self, batch: BatchPass) -> Sequence[PullBack]:
        """The derivative of each stage's device; the first stage's is not asked."""

    def by_outputs(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> dict[int, Tensor]:
        """Derivative of each row's loss by the outputs z of every stage but the last, (rows, width)."""
        found: dict[int, Tensor] = {}
        pull_backs, stages = self.pull_backs(batch), [stage for _, stage, _ in self._network]
        by_features = head.feature_gradient(verdict.error, len(stages) - 1)
        for number in range(len(stages) - 1, 0, -1):
            by_inputs = input_gradient(stages[number], batch.stimuli[number], by_features, pull_backs[number])
            found[number - 1] = by_inputs
            weight = stages[number - 1].linear.effective_weight
            by_features = head.feature_gradient(verdict.error, number - 1) + by_inputs @ weight
        return found


class ExactChainRule(ChainRule):
    """The chain rule through every stage, with the derivative that the device itself tells."""

    uses_model = "the simulated device's own derivative, which no hardware can tell"

    def missing_capability(self, stage: int, device: Device) -> str:
        """A derivative, which only a simulation can have."""
        if isinstance(device, Differentiable):
            return ""
        return (
            f"exact-gradient needs the derivative of the device of stage {stage}, which {type(device).__name__} "
            "cannot tell: only simulations with a method pull_back can (optical-fibre, relu-layer). Take a "
            "trainer that learns from measured rows alone, such as local, or physics-aware, which fits a model to "
            "them"
        )

    def pull_backs(self, batch: BatchPass) -> Sequence[PullBack]:
        return [cast(Differentiable, session.device).pull_back for session in self._network.sessions]


TWINS: dict[str, tuple[Candidate, ...]] = {c.name: (c,) for c in (*default_candidates(), Intensity())} | {
    "best": default_candidates()
}


# An epoch that is a power of this ends with a new fit: soon while the maps move fast, seldom when they hardly do.
REFITTED = 4


def nothing_known(stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
    """The derivative before there is a twin."""
    return np.zeros_like(stimuli)


class _Rows:
    """The last rows that a stage was measured with, and the twin fitted to them."""

    def __init__(self, rows: int, candidates: tuple[Candidate, ...], seed: int) -> None:
        self._rows, self._candidates, self._seed = rows, candidates, seed
        self._batches: deque[tuple[Float64Array, Float64Array]] = deque()
        self._count = 0
        self.pull_back: PullBack = nothing_known
        self._fitted: tuple[Float64Array, Float64Array] | None = None

    def add(self, stimuli: Float64Array, responses: Float64Array) -> None:
        """Forgets what is not among the last rows any more."""
        self._batches.append((stimuli, responses))
        self._count += len(stimuli)
        while self._count - len(self._batches[0][0]) >= self._rows:
            self._count -= len(self._batches.popleft()[0])

    def refit(self) -> None:
        """Fit the twin to them, where there are enough."""
        if self._count >= MIN_ROWS:
            stimuli, responses = (np.concatenate(part) for part in zip(*self._batches, strict=True))
            self._fit_to(stimuli, responses)

    def _fit_to(self, stimuli: Float64Array, responses: Float64Array) -> None:
        self._fitted = stimuli, responses
        self.pull_back = fit_twin(stimuli, responses, self._seed, self._candidates).pull_back

    def state(self) -> dict[str, Tensor]:
        """The rows, batch by batch, and those that the twin was fitted to: a fit to the same is the same twin."""
        found = {}
        for number, (stimuli, responses) in enumerate([*self._batches, *([self._fitted] if self._fitted else [])]):
            name = "fitted" if number == len(self._batches) else str(number)
            found[f"{name}.stimuli"] = torch.from_numpy(stimuli.copy())
            found[f"{name}.responses"] = torch.from_numpy(responses.copy())
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The rows; the twin is fitted again."""
        number = 0
        while f"{number}.stimuli" in state:
            self.add(state[f"{number}.stimuli"].numpy(), state[f"{number}.responses"].numpy())
            number += 1
        if "fitted.stimuli" in state:
            self._fit_to(state["fitted.stimuli"].numpy(), state["fitted.responses"].numpy())


@dataclass(eq=False)
class TwinChainRule(WithOptions, ChainRule):
    """The chain rule, with the derivative of a twin for each device in the place of its own.

    The twins are fitted to the rows that training measured, after epochs 1, 4, 16 and so on: as the maps move,
    so do the stimuli. In the first epoch the output head learns alone.

    Attributes
    ----------
    twin
        ``'linear'``, ``'modulus'`` (coherent waves), ``'intensity'`` (the same on a camera that saturates),
        ``'mlp'``, or ``'best'`` of linear, modulus and mlp on held-out rows.
    twin_rows
        The last rows of a stage that its twin is fitted to.
    """

    twin: str = option("modulus", one_of(TWINS))
    twin_rows: int = option(2000, whole_number(MIN_ROWS))

    uses_model = "a twin of each device, fitted to the rows that training measured"

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        super().begin(network, task, rng)
        seeds = torch.randint(2**31, (len(network),), generator=rng).tolist()
        self._seen = [_Rows(self.twin_rows, TWINS[self.twin], seed) for seed in seeds]

    def state(self) -> dict[str, Tensor]:
        """Of every stage whose twin is asked."""
        return {
            f"{number}.{name}": tensor
            for number, seen in enumerate(self._seen)
            if number > 0
            for name, tensor in seen.state().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Of every stage whose twin is asked."""
        for number, seen in enumerate(self._seen):
            seen.restore(part(state, f"{number}."))

    def pull_backs(self, batch: BatchPass) -> Sequence[PullBack]:
        """Those of the twins; the batch's rows are kept for the next ones."""
        for number, responses in batch.responses.items():
            self._seen[number].add(batch.stimuli[number], responses)
        return [seen.pull_back for seen in self._seen]

    def epoch_done(self, epoch: int) -> None:
        """Fit after epochs 1, 4, 16, ..."""
        while epoch % REFITTED == 0:
            epoch //= REFITTED
        if epoch == 1:
            for seen in self._seen[1:]:
                seen.refit()


NUDGE_SHARE = real_number("be a share of the nudges' range, above 0 and at most 1", lambda value: 0 < value <= 1)
# By name: at which nudges, in units of beta, states are measured; a single one is contrasted with the free state.
STATES: dict[str, tuple[float, ...]] = {"symmetric": (1.0, -1.0), "one-sided": (1.0,)}


class NudgeContrast:
    """The transposed Jacobian of one device times a vector, from rows that it answered.

    A device that settles where an energy is least answers reciprocally: pushing on what output k reads moves what
    input j pushes on as much as the other way round. So with the loss's derivative by the outputs, times beta, for
    nudges, the outputs that stand beside the drives move by beta times its derivative by the drives.

    Parameters
    ----------
    session
        Measures, fresh and for ``train``.
    size
        The largest nudge of a row, as a share of what is allowed: beta follows from it, row by row.
    states
        Of :data:`STATES`.
    """

    def __init__(self, session: Session, size: float, states: tuple[float, ...]) -> None:
        self._session, self._states = session, states
        spec = session.device.spec
        self._n_drives = spec.n_drives
        self._room = size * np.minimum(spec.high, -spec.low)[spec.n_drives :]

    def __call__(self, free: Float64Array, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative by the stimuli (rows, n_inputs), zero for nudges, from that by responses (rows, n_outputs).

        ``free`` are the responses to the stimuli without any nudge.
        """
        share = np.abs(gradients / self._room).max(axis=1, keepdims=True)  # 1 / beta
        nudges = np.divide(gradients, share, out=np.zeros_like(gradients), where=share > 0)  # no error, no nudge
        rows = np.concatenate([stimuli] * len(self._states))
        rows[:, self._n_drives :] = np.concatenate([state * nudges for state in self._states])
        answers = np.split(self._session.measure(rows, "train", fresh=True), len(self._states))
        states, ends = (*self._states, 0.0), (*answers, free)
        moved = (ends[0] - ends[1]) / (states[0] - states[1])
        found = np.zeros_like(stimuli)
        found[:, : self._n_drives] = moved[:, : self._n_drives] * share
        return found


@dataclass(eq=False)
class NudgedStates(WithOptions, ChainRule):
    """The chain rule through every stage, with a contrast of nudged states in the place of a derivative.

    Each device after the first is measured free, as a part of the network; then, from the last to the second,
    with the loss's derivative by its outputs for nudges. What a derivative would tell is measured: nothing is
    known of a device but that it is reciprocal.

    Attributes
    ----------
    size
        The largest nudge of a row, from which beta follows row by row: small against the device's curvature,
        large against its noise, in units of its limit.
    states
        'symmetric': at +beta and -beta; 'one-sided': beta against the free state, one row less, and an error
        that grows as beta.
    """

    size: float = option(0.2, NUDGE_SHARE)
    states: str = option("symmetric", one_of(STATES))

    def rows_a_sample(self, stage: int) -> int:
        """A free row and the nudged ones in every stage but the first."""
        return 1 + len(STATES[self.states]) if stage > 0 else 0

    def missing_capability(self, stage: int, device: Device) -> str:
        if device.spec.n_nudges:
            return ""
        return (
            f"eqprop needs a nudged state, which the device of stage {stage}, {type(device).__name__}, does not "
            "have: its spec names no inputs that push on what its outputs read (DeviceSpec.n_nudges; "
            "settled-oscillators has them). Take a trainer that needs nothing of the device, such as local or "
            "node-perturbation"
        )

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        """The first device's derivative is never asked for."""
        super().begin(network, task, rng)
        self._contrasts = [NudgeContrast(session, self.size, STATES[self.states]) for session in network.sessions]

    def pull_backs(self, batch: BatchPass) -> Sequence[PullBack]:
        asked = range(1, len(self._contrasts))
        return [nothing_known, *(partial(self._contrasts[n], batch.responses[n]) for n in asked)]
