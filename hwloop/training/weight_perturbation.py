"""Weight perturbation: what a small random change of the maps does to the loss, measured."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.training.credit import Credit
from hwloop.training.flight import Flight, MapGradient
from hwloop.training.output_head import OutputHead, Verdict


class Codes(ABC):
    """The random changes of a map, all entries with mean square 1."""

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """Independent entries."""


class Signs(Codes):
    """Plus or minus one (Spall 1992)."""

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """Signs."""
        return 2.0 * torch.randint(0, 2, shape, generator=rng, dtype=torch.uint8).to(torch.float32) - 1.0


class Gaussians(Codes):
    """Normal deviates (Nesterov & Spokoiny 2017)."""

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """Normal deviates."""
        return torch.randn(shape, generator=rng, dtype=torch.float32)


class WeightPerturbation(Credit):
    """Central differences of a batch's loss along random changes of all maps at once.

    Parameters
    ----------
    codes
        How a change is drawn.
    size
        Standard deviation of a weight's change, in units of that of a freshly drawn weight, n_features^-1/2.
    pairs
        Changes that every sample is measured with, each with both signs.
    groups
        Parts of a batch that have changes of their own: more directions for the same rows, each known less well;
        0 for one a sample.
    """

    resumable = True

    def __init__(self, codes: Codes, size: float, pairs: int = 1, groups: int = 1) -> None:
        if not 0 < size < math.inf:
            raise ConfigError(f"size must be positive and finite, not {size!r}")
        for name, value, least in (("pairs", pairs, 1), ("groups", groups, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")
        self.variants = 2 * pairs
        self._codes, self._size, self._pairs, self._groups = codes, size, pairs, groups

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """Nothing is drawn once a fit."""
        self._rng = rng

    def outputs(self, flight: Flight, number: int, stage: Stage) -> Tensor:
        """Z of the changed maps, for every pair first plus, then minus."""
        samples, features = len(flight.samples), flight.features[number]
        width = stage.width
        z = stage.map(features).reshape(self._pairs, 2, samples, width)
        shape = (self._pairs, self._count(samples), width, stage.n_features + 1)
        codes = self._change(stage) * self._codes.draw(shape, self._rng)
        flight.perturbations[number] = codes
        seen, members = features.reshape(self._pairs, 2, samples, -1), self._members(samples)
        parts = [
            torch.einsum("pvsn,pwn->pvsw", seen[:, :, members == group], codes[:, group, :, :-1])
            for group in range(codes.shape[1])
        ]
        change = torch.cat(parts, dim=2) + codes[:, members, :, -1][:, None]
        sides = torch.tensor([1.0, -1.0], dtype=torch.float32)[None, :, None, None]
        return (z + sides * change).reshape(-1, width)

    def gradients(self, flight: Flight, verdict: Verdict, head: OutputHead) -> dict[int, MapGradient]:
        """(L+ - L-) / (2 size^2) times the change, averaged over groups and pairs."""
        samples = len(flight.samples)
        losses = verdict.losses.reshape(self._pairs, 2, samples)
        halves = (losses[:, 0] - losses[:, 1]) / 2
        members = self._members(samples)
        sums = torch.zeros(self._pairs, self._count(samples), dtype=torch.float32).index_add(1, members, halves)
        # Each group's mean counts as much as it has samples: a group's own gradient is that of its own samples.
        factors = sums / (self._pairs * samples)
        found = {}
        for number, codes in flight.perturbations.items():
            whole = torch.einsum("pg,pgwn->wn", factors, codes) / self._change_of(codes) ** 2
            found[number] = MapGradient(whole[:, :-1], whole[:, -1])
        return found

    def _count(self, samples: int) -> int:
        return min(self._groups or samples, samples)

    def _members(self, samples: int) -> Tensor:
        """The group of each sample, in rising order."""
        return torch.arange(samples) * self._count(samples) // samples

    def _change(self, stage: Stage) -> float:
        return float(self._size * stage.n_features**-0.5)

    def _change_of(self, codes: Tensor) -> float:
        return float(self._size * (codes.shape[-1] - 1) ** -0.5)
