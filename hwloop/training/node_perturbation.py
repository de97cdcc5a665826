"""Node perturbation: what a small change of a device's inputs does to the loss, measured."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.registry import nearest
from hwloop.training.credit import OutputGradients
from hwloop.training.flight import Flight
from hwloop.training.optimiser import AdamSettings
from hwloop.training.optimiser_state import optimiser_tensors, optimiser_values, restore_optimiser
from hwloop.training.output_error import OutputErrorSettings
from hwloop.training.output_error_trainer import output_error_trainer
from hwloop.training.output_head import OutputHead, Verdict
from hwloop.training.state import named, part
from hwloop.training.trainer import Trainer
from hwloop.training.tuning import Choice, LogRange, tunable
from hwloop.training.updates import Adam


class Directions(ABC):
    """In which directions of the outputs a stage is perturbed."""

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """Prepare for a fit."""
        self._rng = rng

    @property
    def resumable(self) -> bool:
        """Promises that :meth:`state` and :meth:`restore` carry all that training changes."""
        return False

    def state(self) -> dict[str, Tensor]:
        """What training has changed since :meth:`begin`."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`state` gave, after :meth:`begin`."""

    @abstractmethod
    def draw(self, number: int, z: Tensor, labels: Tensor) -> Tensor:
        """A direction for each sample, (samples, width), of mean square 1 over its channels."""


class RandomDirections(Directions):
    """A random sign for every channel of every sample."""

    resumable = True

    def draw(self, number: int, z: Tensor, labels: Tensor) -> Tensor:
        """Signs."""
        return 2.0 * torch.randint(0, 2, z.shape, generator=self._rng).to(z.dtype) - 1.0


class LocalGuesses(Directions):
    """The gradient of a local head's loss: a guess that the measured difference scales, or turns round.

    Where the guess is good, one difference tells most of the gradient (Fournier et al., ICML 2023). A random part
    keeps every direction in reach. The head is a softmax on the stage's outputs z, trained along.
    """

    resumable = True
    RANDOM_SHARE = 0.5
    LR = 0.01

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """A head a stage."""
        super().begin(network, n_classes, rng)
        self._heads = [OutputHead([stage.width], n_classes) for _, stage, _ in network][:-1]
        self._optimisers = [torch.optim.Adam(head.parameters(), lr=self.LR, fused=True) for head in self._heads]
        self._random = RandomDirections()
        self._random.begin(network, n_classes, rng)

    def state(self) -> dict[str, Tensor]:
        """Heads and their optimisers, whose learning rate never changes."""
        found: dict[str, Tensor] = {}
        for number, (head, optimiser) in enumerate(zip(self._heads, self._optimisers, strict=True)):
            found |= named(f"head.{number}.", head) | optimiser_tensors(f"optimiser.{number}.", optimiser)
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Heads and their optimisers."""
        for number, (head, optimiser) in enumerate(zip(self._heads, self._optimisers, strict=True)):
            head.load_state_dict(part(state, f"head.{number}."))
            moments = part(state, f"optimiser.{number}.")
            restore_optimiser(optimiser, None, moments, optimiser_values(optimiser, None))

    def draw(self, number: int, z: Tensor, labels: Tensor) -> Tensor:
        """Guess and random part, each at its share of the mean square; the head learns from the same rows."""
        head, rows = self._heads[number], z / z.std().clamp_min(1e-12)
        verdict = head.judge(rows, labels)
        guess = head.feature_gradient(verdict.error, 0)
        head.set_gradient(rows, verdict)
        self._optimisers[number].step()
        length = guess.square().mean(dim=1, keepdim=True).sqrt()
        guess = torch.where(length > 0, guess / length.clamp_min(1e-30), 0.0)
        share = math.sqrt(self.RANDOM_SHARE)
        return share * self._random.draw(number, z, labels) + math.sqrt(1 - self.RANDOM_SHARE) * guess


DIRECTIONS: dict[str, type[Directions]] = {"random": RandomDirections, "local": LocalGuesses}


class NodePerturbation(OutputGradients):
    """Central differences of each sample's loss along one direction of every stage's outputs at once.

    Parameters
    ----------
    size
        Root mean square of the change, in units of the outputs' standard deviation over the batch.
    """

    variants = 2

    def __init__(self, directions: Directions, size: float) -> None:
        if not 0 < size < math.inf:
            raise ConfigError(f"size must be positive and finite, not {size!r}")
        self._directions = directions
        self._size = size

    @property
    def resumable(self) -> bool:
        """As the directions promise."""
        return self._directions.resumable

    def state(self) -> dict[str, Tensor]:
        """Of the directions."""
        return self._directions.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Of the directions."""
        self._directions.restore(state)

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """As the directions need."""
        self._directions.begin(network, n_classes, rng)

    def outputs(self, flight: Flight, number: int, stage: Stage) -> Tensor:
        """The outputs plus the change, then the outputs minus the change."""
        z = stage.map(flight.features[number])
        plus, minus = z.chunk(2)
        change = self._size * z.std() * self._directions.draw(number, (plus + minus) / 2, flight.labels)
        flight.perturbations[number] = change
        return torch.cat([plus + change, minus - change])

    def by_outputs(self, flight: Flight, verdict: Verdict, head: OutputHead) -> dict[int, Tensor]:
        """(L+ - L-) / 2 along each change; a direction's own mean square makes the estimate unbiased."""
        plus, minus = verdict.losses.chunk(2)
        half = ((plus - minus) / 2)[:, None]
        return {
            number: half * change / change.square().mean(dim=1, keepdim=True).clamp_min(1e-30)
            for number, change in flight.perturbations.items()
        }


@tunable(lr=LogRange(3e-4, 3e-2), size=Choice((0.1, 0.2, 0.4)), fills_budget="epochs")
def node_perturbation(
    *,
    directions: str = "random",
    size: float = 0.2,
    epochs: int = OutputErrorSettings.epochs,
    batch_samples: int = OutputErrorSettings.batch_samples,
    lr: float = 1e-3,
    head_lr: float = OutputErrorSettings.head_lr,
    weight_decay: float = AdamSettings.weight_decay,
    response_noise: float = OutputErrorSettings.response_noise,
    seed: int = 0,
) -> Trainer:
    """Node perturbation, a forward gradient through the device; 2 epochs + 1 rows a sample a later stage.

    Every device after the first is asked with its inputs moved by +u and by -u, in all stages at once; a sample's
    dL/dz_l is estimated as (L+ - L-) / 2 u_l / |u_l|^2 (times the width), and dW = dL/dz f^T. Batch and pair see
    the same maps, and the noise of the device is all that is between them.

    Parameters
    ----------
    directions
        ``"random"``: a random sign for every channel of every sample; ``"local"``: half of it the gradient of a
        local head's loss (local-loss guesses).
    size
        Root mean square of u, in units of the standard deviation of z: small against the device's curvature, large
        against its noise.

    Rows: 1 a sample in the first stage, 2 ``epochs`` + 1 in each later one; 1 a stage to predict. Needs nothing of
    the device.

    Source: Williams, Machine Learning 8, 229 (1992); forward gradients: Ren, Kornblith, Liao and Hinton, ICLR
    2023; guesses: Fournier et al., ICML 2023. See :class:`hwloop.training.output_error.OutputErrorSettings` for
    the other options; ``lr`` is that of the maps.
    """
    if directions not in DIRECTIONS:
        raise ConfigError(f"unknown directions {directions!r}: {nearest(directions, DIRECTIONS)}")
    settings = OutputErrorSettings(epochs, batch_samples, head_lr, weight_decay, response_noise)
    credit = NodePerturbation(DIRECTIONS[directions](), size)
    return output_error_trainer(credit, Adam(lr, weight_decay), settings, seed)
