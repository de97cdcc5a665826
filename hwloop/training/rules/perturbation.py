"""Perturbation rules: what a small change of weights or outputs does to the loss, measured."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwloop.layers import PhysicalNetwork, Stage
from hwloop.tasks import LearningTask
from hwloop.training.optimiser import MapGradient
from hwloop.training.options import COUNT, POSITIVE, WithOptions, one_of, option, whole_number
from hwloop.training.rules.output_error import BatchPass, ErrorRule, OutputGradients, OutputHead, Verdict
from hwloop.training.state import named, optimiser_tensors, optimiser_values, part, restore_optimiser


class Codes(ABC):
    """The random changes of a map, all entries with mean square 1."""

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """Independent entries."""


class Signs(Codes):
    """Plus or minus one (Spall 1992)."""

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        return 2.0 * torch.randint(0, 2, shape, generator=rng, dtype=torch.uint8).to(torch.float32) - 1.0


class Gaussians(Codes):
    """Normal deviates (Nesterov & Spokoiny 2017)."""

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float32)


@dataclass(eq=False)
class WeightPerturbation(WithOptions, ErrorRule):
    """Central differences of a batch's loss along random changes of all maps at once.

    Parameters
    ----------
    codes
        How a change is drawn.
    size
        Standard deviation of a weight's change, in units of that of a freshly drawn weight,
        n_features^-1/2.
    pairs
        Changes that every sample is measured with, each with both signs.
    groups
        Parts of a batch that have changes of their own: more directions for the same rows, each known less well;
        0 for one a sample.
    """

    codes: Codes
    size: float = option(0.3, POSITIVE)
    pairs: int = option(1, COUNT)
    groups: int = option(1, whole_number(0))

    resumable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.variants = 2 * self.pairs  # both signs of every change

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        self._rng = rng

    def outputs(self, batch: BatchPass, number: int, stage: Stage) -> Tensor:
        """Z of the changed maps, for every pair first plus, then minus."""
        samples, features = len(batch.samples), batch.features[number]
        width = stage.width
        z = stage.map(features).reshape(self.pairs, 2, samples, width)
        shape = (self.pairs, self._count(samples), width, stage.n_features + 1)
        codes = self._change(stage) * self.codes.draw(shape, self._rng)
        batch.perturbations[number] = codes
        seen, members = features.reshape(self.pairs, 2, samples, -1), self._members(samples)
        parts = [
            torch.einsum("pvsn,pwn->pvsw", seen[:, :, members == group], codes[:, group, :, :-1])
            for group in range(codes.shape[1])
        ]
        change = torch.cat(parts, dim=2) + codes[:, members, :, -1][:, None]
        sides = torch.tensor([1.0, -1.0], dtype=torch.float32)[None, :, None, None]
        return (z + sides * change).reshape(-1, width)

    def gradients(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> dict[int, MapGradient]:
        """(L+ - L-) / (2 size^2) times the change, averaged over groups and pairs."""
        samples = len(batch.samples)
        losses = verdict.losses.reshape(self.pairs, 2, samples)
        halves = (losses[:, 0] - losses[:, 1]) / 2
        members = self._members(samples)
        sums = torch.zeros(self.pairs, self._count(samples), dtype=torch.float32).index_add(1, members, halves)
        # Each group's mean counts as much as it has samples: a group's own gradient is that of its own samples.
        factors = sums / (self.pairs * samples)
        found = {}
        for number, codes in batch.perturbations.items():
            whole = torch.einsum("pg,pgwn->wn", factors, codes) / self._change_of(codes) ** 2
            found[number] = MapGradient(whole[:, :-1], whole[:, -1])
        return found

    def _count(self, samples: int) -> int:
        return min(self.groups or samples, samples)

    def _members(self, samples: int) -> Tensor:
        """The group of each sample, in rising order."""
        return torch.arange(samples) * self._count(samples) // samples

    def _change(self, stage: Stage) -> float:
        return float(self.size * stage.n_features**-0.5)

    def _change_of(self, codes: Tensor) -> float:
        return float(self.size * (codes.shape[-1] - 1) ** -0.5)


TRIED = (1.0, 0.0, -1.0)  # the step as estimated, none, and its opposite


@dataclass(eq=False)
class ConservativePerturbation(WeightPerturbation):
    """Of W - lr G, W and W + lr G, the one with the least measured loss; G is a :class:`WeightPerturbation`'s.

    Parameters
    ----------
    lr
        As the update that follows takes it: it multiplies what :meth:`gradients` gives by it.
    """

    lr: float = 0.1

    second_variants = len(TRIED)

    def outputs(self, batch: BatchPass, number: int, stage: Stage) -> Tensor:
        """In the second pass, z of the three candidates."""
        if batch.earlier is None:
            return super().outputs(batch, number, stage)
        z, step = stage.map(batch.features[number]), batch.steps[number]
        change = batch.features[number] @ step.weight.T + step.bias
        sizes = torch.tensor(TRIED, dtype=torch.float32).repeat_interleave(len(batch.samples))[:, None]
        return z - self.lr * sizes * change

    def second(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> BatchPass:
        """The same samples, through the three candidates."""
        second = BatchPass(batch.samples, batch.labels, self.second_variants, earlier=batch)
        second.steps = super().gradients(batch, verdict, head)
        second.features[0] = batch.features[0][: len(batch.samples)].repeat(self.second_variants, 1)
        return second

    def gradients(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> dict[int, MapGradient]:
        """The estimate, nothing, or the estimate turned round."""
        taken = TRIED[int(verdict.losses.reshape(len(TRIED), -1).mean(dim=1).argmin())]
        return {n: MapGradient(taken * step.weight, taken * step.bias) for n, step in batch.steps.items()}


@dataclass(eq=False)
class ClientPerturbation(WeightPerturbation):
    """All clients measure the same changes, each on samples of its own; their losses are averaged.

    Client c holds the samples c, c + clients, ...; every batch takes as many from each as it can.

    Attributes
    ----------
    clients
        Among whom the samples are divided.
    """

    clients: int = option(4, COUNT)

    def order(self, samples: int, rng: torch.Generator) -> Tensor:
        """Each client's samples in an order of their own, one from each client in turn."""
        held = [torch.arange(client, samples, self.clients) for client in range(min(self.clients, samples))]
        shuffled = [own[torch.randperm(len(own), generator=rng)] for own in held]
        padded = torch.full((len(held[0]), len(held)), -1, dtype=torch.int64)
        for client, own in enumerate(shuffled):
            padded[: len(own), client] = own
        turns = padded.flatten()
        return turns[turns >= 0]


class Directions(ABC):
    """In which directions of the outputs a stage is perturbed."""

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
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
        return 2.0 * torch.randint(0, 2, z.shape, generator=self._rng).to(z.dtype) - 1.0


class LocalGuesses(Directions):
    """The gradient of a local head's loss: a guess that the measured difference scales, or turns round.

    Where the guess is good, one difference tells most of the gradient (Fournier et al., ICML 2023). A random part
    keeps every direction in reach. The head is a softmax on the stage's outputs z, trained along.
    """

    resumable = True
    RANDOM_SHARE = 0.5
    LR = 0.01

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        super().begin(network, task, rng)
        self._heads = [OutputHead([stage.width], task) for _, stage, _ in network][:-1]
        self._optimisers = [torch.optim.Adam(head.parameters(), lr=self.LR, fused=True) for head in self._heads]
        self._random = RandomDirections()
        self._random.begin(network, task, rng)

    def state(self) -> dict[str, Tensor]:
        """Heads and their optimisers, whose learning rate never changes."""
        found: dict[str, Tensor] = {}
        for number, (head, optimiser) in enumerate(zip(self._heads, self._optimisers, strict=True)):
            found |= named(f"head.{number}.", head) | optimiser_tensors(f"optimiser.{number}.", optimiser)
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
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


@dataclass(eq=False)
class NodePerturbation(WithOptions, OutputGradients):
    """Central differences of each sample's loss along one direction of every stage's outputs at once.

    Attributes
    ----------
    directions
        'random': a random sign for every channel of every sample; 'local': half of it the gradient of a local
        head's loss (local-loss guesses).
    size
        Root mean square of the change: small against the device's curvature, large against its noise, in units of
        the outputs' standard deviation over the batch.
    """

    directions: str = option("random", one_of(DIRECTIONS))
    size: float = option(0.2, POSITIVE)

    variants = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._directions = DIRECTIONS[self.directions]()

    @property
    def resumable(self) -> bool:
        return self._directions.resumable

    def state(self) -> dict[str, Tensor]:
        return self._directions.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._directions.restore(state)

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        self._directions.begin(network, task, rng)

    def outputs(self, batch: BatchPass, number: int, stage: Stage) -> Tensor:
        """The outputs plus the change, then the outputs minus the change."""
        z = stage.map(batch.features[number])
        plus, minus = z.chunk(2)
        change = self.size * z.std() * self._directions.draw(number, (plus + minus) / 2, batch.labels)
        batch.perturbations[number] = change
        return torch.cat([plus + change, minus - change])

    def by_outputs(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> dict[int, Tensor]:
        """(L+ - L-) / 2 along each change; a direction's own mean square makes the estimate unbiased."""
        plus, minus = verdict.losses.chunk(2)
        half = ((plus - minus) / 2)[:, None]
        return {
            number: half * change / change.square().mean(dim=1, keepdim=True).clamp_min(1e-30)
            for number, change in batch.perturbations.items()
        }
