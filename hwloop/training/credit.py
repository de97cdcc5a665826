"""Credit rules: what an error at the output means for the map of every stage before the last."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from hwloop.layers import PhysicalNetwork, Stage
from hwloop.training.flight import Flight, MapGradient
from hwloop.training.output_head import OutputHead, Verdict


class Credit(ABC):
    """Turns the output's error into a gradient of every map.

    Attributes
    ----------
    variants
        Variants of a sample that a batch sends through each stage after the first.
    second_variants
        Variants that its second flight sends through them, for a rule that calls for one.
    second_from_the_start
        Whether a second flight is measured in the first stage too.
    clients
        Among how many the samples are divided, sample k to client k modulo ``clients``; 0 for none.
    uses_model
        What the rule knows of the device beyond its measured rows, in words; empty for a rule without a model.
    """

    variants: int = 1
    second_variants: int = 0
    second_from_the_start: bool = False
    clients: int = 0
    uses_model: str = ""

    @property
    def resumable(self) -> bool:
        """Promises that :meth:`state` and :meth:`restore` carry all that training changes in the rule.

        What :meth:`begin` draws is drawn again by it, and need not be carried.
        """
        return False

    def state(self) -> dict[str, Tensor]:
        """What training has changed in the rule since :meth:`begin`, at the end of an epoch."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`state` gave, after :meth:`begin`."""

    def check(self, network: PhysicalNetwork) -> None:
        """Refuse a network whose devices cannot serve the rule, before anything is measured.

        Raises
        ------
        ConfigError
        """

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """Draw what the rule draws once a fit."""

    def outputs(self, flight: Flight, number: int, stage: Stage) -> Tensor:
        """What the next stage encodes for the rows of a flight, (rows, width)."""
        return stage.map(flight.features[number])

    def epoch_done(self, epoch: int) -> None:
        """Called after every epoch, from 1; nothing is under way then."""

    def second(self, flight: Flight, verdict: Verdict, head: OutputHead) -> Flight | None:
        """Another flight of the same samples, where the rule learns from how it compares; else ``None``."""
        return None

    @abstractmethod
    def gradients(self, flight: Flight, verdict: Verdict, head: OutputHead) -> Mapping[int, MapGradient]:
        """The gradient of every stage's map but the last one's, by stage, from 0.

        ``flight`` is the last one of its samples; :attr:`Flight.earlier` is the one before, if there was one.
        """

    def rows_a_sample(self, stage: int) -> int:
        """Rows that an epoch measures of a sample in a stage, from 0."""
        if stage == 0:
            return self.second_variants if self.second_from_the_start else 0
        return self.variants + self.second_variants

    def see_inputs(self, inputs: Tensor) -> None:
        """Told of all training inputs (samples, n_features) after :meth:`begin`."""

    def order(self, samples: int, rng: torch.Generator) -> Tensor:
        """The order of an epoch's samples."""
        return torch.randperm(samples, generator=rng)


class OutputGradients(Credit):
    """A rule that estimates the derivative of the loss by the outputs z of each stage."""

    @abstractmethod
    def by_outputs(self, flight: Flight, verdict: Verdict, head: OutputHead) -> Mapping[int, Tensor]:
        """Derivative of each sample's loss by z, (samples, width), by stage."""

    def gradients(self, flight: Flight, verdict: Verdict, head: OutputHead) -> dict[int, MapGradient]:
        """With z = W f + b, the derivative by W is the outer product with f."""
        samples = len(flight.samples)
        return {
            number: MapGradient(delta.T @ flight.mean_features(number) / samples, delta.mean(dim=0))
            for number, delta in self.by_outputs(flight, verdict, head).items()
        }
