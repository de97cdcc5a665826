"""Physics-aware training: forward through the device, backward through a twin fitted to what it answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork
from hwloop.registry import nearest
from hwloop.training.backward import PullBack, output_gradients
from hwloop.training.credit import OutputGradients
from hwloop.training.flight import Flight
from hwloop.training.optimiser import AdamSettings
from hwloop.training.output_error import OutputErrorSettings
from hwloop.training.output_error_trainer import output_error_trainer
from hwloop.training.output_head import OutputHead, Verdict
from hwloop.training.state import part
from hwloop.training.trainer import Trainer
from hwloop.training.tuning import Choice, LogRange, tunable
from hwloop.training.updates import Adam
from hwloop.twin import Candidate
from hwloop.twin import fit as fit_twin
from hwloop.twin.fitting import MIN_ROWS, default_candidates
from hwloop.twin.intensity import Intensity

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


class TwinGradient(OutputGradients):
    """The chain rule, with the derivative of a twin for each device in the place of its own.

    The twins are fitted to the rows that training measured, after epochs 1, 4, 16 and so on: as the maps move,
    so do the stimuli. In the first epoch the output head learns alone.

    Parameters
    ----------
    candidates
        Models that a twin may be.
    rows
        Last rows of a stage that its twin is fitted to.
    """

    resumable = True
    uses_model = "a twin of each device, fitted to the rows that training measured"

    def __init__(self, candidates: tuple[Candidate, ...], rows: int) -> None:
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < MIN_ROWS:
            raise ConfigError(f"twin_rows must be a whole number of at least {MIN_ROWS}, not {rows!r}")
        self._candidates, self._rows = candidates, rows

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """No twin yet."""
        self._network = network
        seeds = torch.randint(2**31, (len(network),), generator=rng).tolist()
        self._seen = [_Rows(self._rows, self._candidates, seed) for seed in seeds]

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

    def by_outputs(self, flight: Flight, verdict: Verdict, head: OutputHead) -> Mapping[int, Tensor]:
        """Backpropagation through the twins; the rows are kept for the next ones."""
        for number, responses in flight.responses.items():
            self._seen[number].add(flight.stimuli[number], responses)
        return output_gradients(self._network, flight, verdict, head, [seen.pull_back for seen in self._seen])

    def epoch_done(self, epoch: int) -> None:
        """Fit after epochs 1, 4, 16, ..."""
        while epoch % REFITTED == 0:
            epoch //= REFITTED
        if epoch == 1:
            for seen in self._seen[1:]:
                seen.refit()


@tunable(lr=LogRange(3e-4, 3e-2), twin=Choice(("linear", "modulus")), fills_budget="epochs")
def physics_aware(
    *,
    twin: str = "modulus",
    twin_rows: int = 2000,
    epochs: int = OutputErrorSettings.epochs,
    batch_samples: int = OutputErrorSettings.batch_samples,
    lr: float = 3e-3,
    head_lr: float = OutputErrorSettings.head_lr,
    weight_decay: float = AdamSettings.weight_decay,
    response_noise: float = OutputErrorSettings.response_noise,
    interface_noise: float = OutputErrorSettings.interface_noise,
    seed: int = 0,
) -> Trainer:
    """Physics-aware training: forward through the device, backward through a twin; epochs + 1 rows a later stage.

    dL/dz_l = E^T J^T W'^T dL/dz_(l+1) as in backpropagation, with J the derivative of a twin (:mod:`hwloop.twin`)
    at the measured stimuli. The twin is fitted to the run's own rows and again as the stimuli move, after epochs
    1, 4, 16, ...; it costs no row. It uses a model, and every output says so.

    Parameters
    ----------
    twin
        ``"linear"``, ``"modulus"`` (coherent waves), ``"intensity"`` (the same on a camera that saturates),
        ``"mlp"``, or ``"best"`` of linear, modulus and mlp on held-out rows.
    twin_rows
        The last rows of a stage that its twin is fitted to.

    Rows: 1 a sample in the first stage, ``epochs`` + 1 in each later one; 1 a stage to predict. Needs a device
    that a twin can follow.

    Source: Wright et al., Nature 601, 549 (2022). See :class:`hwloop.training.output_error.OutputErrorSettings`
    for the other options; ``lr`` is that of the maps.
    """
    if twin not in TWINS:
        raise ConfigError(f"unknown twin {twin!r}: {nearest(twin, TWINS)}")
    settings = OutputErrorSettings(epochs, batch_samples, head_lr, weight_decay, response_noise, interface_noise)
    return output_error_trainer(TwinGradient(TWINS[twin], twin_rows), Adam(lr, weight_decay), settings, seed)
