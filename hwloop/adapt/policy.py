"""What every policy is: a rule that mends a stage from a few rows that the moved device has just answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from hwloop.adapt.anchors import Anchors
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.training.objectives.class_scores import Head
from hwloop.training.readouts import HeadSum


@dataclass(frozen=True, eq=False)
class Observed:
    """What one stage has just answered.

    Attributes
    ----------
    number, stage
        Which stage, from 0.
    inputs
        What it encoded, shape (rows, n_features).
    responses
        What the device answered, shape (rows, n_outputs).
    labels
        Classes of the rows, or ``None``.
    anchors
        Which anchors the rows are, shape (rows,), or ``None`` if they are others.
    """

    number: int
    stage: Stage
    inputs: Tensor
    responses: Float64Array
    labels: Tensor | None
    anchors: Tensor | None

    @property
    def features(self) -> Tensor:
        """As the stage standardises the responses now, shape (rows, n_features)."""
        return self.stage.features(self.inputs, self.responses)


class Policy(ABC):
    """Mends a network stage by stage, in the order in which the rows pass through it.

    Attributes
    ----------
    needs_labels, needs_anchors
        What the rows of a step must have.
    uses_model
        Whether it fits a model of the device; every output says so.
    """

    needs_labels: ClassVar[bool] = False
    needs_anchors: ClassVar[bool] = False
    uses_model: ClassVar[bool] = False

    def begin(self, network: PhysicalNetwork, anchors: Anchors | None, rng: torch.Generator) -> None:
        """Look at the network as it was trained; nothing is measured."""
        self.network, self.anchors, self.rng = network, anchors, rng

    @abstractmethod
    def mend_stage(self, observed: Observed) -> None:
        """Mend a stage before its outputs go on to the next."""

    def finish(self) -> None:
        """Mend what needs the rows of all stages."""

    def head(self, number: int) -> Head:
        """The local head of a stage.

        Raises
        ------
        ConfigError
            The network reads out otherwise.
        """
        readout = self.network.readout
        if not isinstance(readout, HeadSum):
            raise ConfigError(
                f"{type(self).__name__} mends local heads, and this network reads out by "
                f"{type(readout).__name__}; train it with trainer local, or take another policy"
            )
        return cast(Head, readout.heads[number])


class Together(Policy):
    """Several policies on the same rows, one after the other in each stage."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = list(policies)
        needed = ("needs_labels", "needs_anchors", "uses_model")
        for name in needed:
            setattr(self, name, any(getattr(part, name) for part in self.policies))

    def begin(self, network: PhysicalNetwork, anchors: Anchors | None, rng: torch.Generator) -> None:
        """All of them."""
        super().begin(network, anchors, rng)
        for part in self.policies:
            part.begin(network, anchors, rng)

    def mend_stage(self, observed: Observed) -> None:
        """Each sees what the one before it has mended."""
        for part in self.policies:
            part.mend_stage(observed)

    def finish(self) -> None:
        """All of them."""
        for part in self.policies:
            part.finish()
