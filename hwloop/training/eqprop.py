"""Equilibrium propagation: what nudging a device's outputs does to where its inputs push, measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork
from hwloop.registry import nearest
from hwloop.session import Session
from hwloop.training.backward import PullBack, output_gradients
from hwloop.training.credit import OutputGradients
from hwloop.training.flight import Flight
from hwloop.training.optimiser import AdamSettings
from hwloop.training.output_error import OutputErrorSettings
from hwloop.training.output_error_trainer import output_error_trainer
from hwloop.training.output_head import OutputHead, Verdict
from hwloop.training.trainer import Trainer
from hwloop.training.tuning import Choice, LogRange, tunable
from hwloop.training.updates import Adam

# By name: at which nudges, in units of beta, states are measured; a single one is contrasted with the free state.
STATES: dict[str, tuple[float, ...]] = {"symmetric": (1.0, -1.0), "one-sided": (1.0,)}


class Contrast:
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


class NudgedStates(OutputGradients):
    """The chain rule through every stage, with a contrast of nudged states in the place of a derivative.

    Each device after the first is measured free, as a part of the network; then, from the last to the second,
    with the loss's derivative by its outputs for nudges. What a derivative would tell is measured: nothing is
    known of a device but that it is reciprocal.

    Parameters
    ----------
    size
        See :class:`Contrast`.
    states
        ``"symmetric"``: at +beta and -beta; ``"one-sided"``: at beta, contrasted with the free state.
    """

    resumable = True

    def __init__(self, size: float, states: str) -> None:
        if not 0 < size <= 1:
            raise ConfigError(f"size must be a share of the nudges' range, above 0 and at most 1, not {size!r}")
        if states not in STATES:
            raise ConfigError(f"unknown states {states!r}: {nearest(states, STATES)}")
        self._size, self._states = size, STATES[states]

    def rows_a_sample(self, stage: int) -> int:
        """A free row and the nudged ones in every stage but the first."""
        return 1 + len(self._states) if stage > 0 else 0

    def check(self, network: PhysicalNetwork) -> None:
        """Every device after the first stage's must take nudges."""
        for number, _, session in network:
            if number > 0 and not session.device.spec.n_nudges:
                raise ConfigError(
                    f"eqprop needs a nudged state, which the device of stage {number + 1}, "
                    f"{type(session.device).__name__}, does not have: its spec names no inputs that push on what "
                    "its outputs read (DeviceSpec.n_nudges; settled-oscillators has them). Take a trainer that "
                    "needs nothing of the device, such as local or node-perturbation"
                )

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """The devices are the network's; the first one's derivative is never asked for."""
        self._network = network
        self._contrasts = [Contrast(session, self._size, self._states) for session in network.sessions]

    def by_outputs(self, flight: Flight, verdict: Verdict, head: OutputHead) -> Mapping[int, Tensor]:
        """Backpropagation in which every device answers for itself."""

        def pull_back(number: int) -> PullBack:
            return lambda stimuli, gradients: self._contrasts[number](flight.responses[number], stimuli, gradients)

        answering = [pull_back(number) for number in range(len(self._contrasts))]
        return output_gradients(self._network, flight, verdict, head, answering)


@tunable(lr=LogRange(3e-4, 3e-2), size=Choice((0.1, 0.2, 0.4)), fills_budget="epochs")
def eqprop(
    *,
    states: str = "symmetric",
    size: float = 0.2,
    epochs: int = OutputErrorSettings.epochs,
    batch_samples: int = OutputErrorSettings.batch_samples,
    lr: float = 3e-3,
    head_lr: float = OutputErrorSettings.head_lr,
    weight_decay: float = AdamSettings.weight_decay,
    response_noise: float = OutputErrorSettings.response_noise,
    seed: int = 0,
) -> Trainer:
    """Equilibrium propagation: nudged states of the device give the gradient; 3 epochs + 1 rows a later stage.

    A device after the first is measured free and, with g = dL/dy for forces on its outputs y, nudged by +beta g
    and by -beta g. It settles where an energy is least, so it is reciprocal: how far its driven degrees of freedom
    move is the gradient by the forces u that drive them, dL/du = (y(+beta) - y(-beta)) / 2 beta there, and
    dW = E^T dL/du f^T, E the encoder. Its error grows as beta^2, that from the noise of readings as 1 / beta.
    g is the error at the output, carried back by the transposed weights of head and maps.

    Parameters
    ----------
    states
        ``"symmetric"``, or ``"one-sided"``: beta against the free state, one row less, and an error that grows as
        beta.
    size
        The largest nudge of a row in units of its limit, from which beta follows row by row: small against the
        device's curvature, large against its noise.

    Rows: 1 a sample in the first stage, 3 ``epochs`` + 1 in each later one (2 ``epochs`` + 1 one-sided); 1 a stage
    to predict. Needs devices with nudges (``DeviceSpec.n_nudges``) in all stages but the first.

    Source: Scellier and Bengio, Frontiers in Computational Neuroscience 11, 24 (2017); symmetric: Laborieux et
    al., Frontiers in Neuroscience 15, 633674 (2021); in oscillators: Wang, Wanjura and Marquardt, Neuromorphic
    Computing and Engineering 4, 034014 (2024). See
    :class:`hwloop.training.output_error.OutputErrorSettings` for the other options; ``lr`` is that of the maps.
    """
    settings = OutputErrorSettings(epochs, batch_samples, head_lr, weight_decay, response_noise)
    return output_error_trainer(NudgedStates(size, states), Adam(lr, weight_decay), settings, seed)
