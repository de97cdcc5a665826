"""What every policy is, policies by name, and the simplest one: a rule that mends a stage from a few rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from hwloop.adapt.anchors import Anchors
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.rowwise import rows_as_tensor
from hwloop.registry import ADAPTERS
from hwloop.tasks import LearningTask
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
    needs_classes
        Why it mends classifications alone, in words; empty where it mends other networks too.
    """

    needs_labels: ClassVar[bool] = False
    needs_anchors: ClassVar[bool] = False
    uses_model: ClassVar[bool] = False
    needs_classes: str = ""

    def require_serves(self, task: LearningTask) -> None:
        """Refuse a task whose networks it cannot mend.

        Raises
        ------
        ConfigError
        """
        if self.needs_classes and not task.has_classes:
            raise ConfigError(
                f"{type(self).__name__} cannot mend a {task.kind}: {self.needs_classes}. Take a policy that can, "
                "such as restandardise or heads"
            )

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
        self.needs_classes = next((part.needs_classes for part in self.policies if part.needs_classes), "")

    def begin(self, network: PhysicalNetwork, anchors: Anchors | None, rng: torch.Generator) -> None:
        super().begin(network, anchors, rng)
        for part in self.policies:
            part.begin(network, anchors, rng)

    def mend_stage(self, observed: Observed) -> None:
        """Each sees what the one before it has mended."""
        for part in self.policies:
            part.mend_stage(observed)

    def finish(self) -> None:
        for part in self.policies:
            part.finish()


def policy(name: str, **options: Any) -> Policy:
    """A policy by name; ``"restandardise+heads"`` is one after the other in each stage (without options).

    Raises
    ------
    ConfigError
        Unknown name or option; the nearest is named.
    """
    names = name.split("+")
    if len(names) > 1:
        if options:
            raise ConfigError(f"{name!r} takes no options; build its parts and give hwloop.adapt.Together")
        return Together([policy(part) for part in names])
    built = ADAPTERS.build(name, **options)
    if not isinstance(built, Policy):
        raise ConfigError(f"adaptation policy {name!r} gave a {type(built).__name__}, not a hwloop.adapt.Policy")
    return built


FEWEST_ROWS = 4
LEAST_SLOPE = 1e-6  # a channel that anchors move less than this no longer answers


class Restandardise(Policy):
    """Fit offset and scale of every channel afresh on rows that the device has just answered.

    With anchors by least squares of their old responses on the new ones, channel by channel: a gain and an offset
    (of either sign) are taken out to rounding, and a channel that no longer follows fades. With other rows so
    that they have mean 0 and deviation 1, as training rows had (adaptive batch normalisation; Li et al.,
    Pattern Recognition 80, 109, 2018).

    Needs: rows, no labels.
    """

    def begin(self, network: PhysicalNetwork, anchors: Anchors | None, rng: torch.Generator) -> None:
        """Keep the standardisers as they were trained."""
        super().begin(network, anchors, rng)
        self._trained = [(s.standardiser.mean.clone(), s.standardiser.inverse_std.clone()) for _, s, _ in network]

    def mend_stage(self, observed: Observed) -> None:
        responses = rows_as_tensor(observed.responses)
        if len(responses) < FEWEST_ROWS:
            return
        if observed.anchors is None or self.anchors is None:
            observed.stage.standardiser.fit(responses)
        else:
            then = self.anchors.stages[observed.number].responses[observed.anchors]
            self._pair(observed.number, observed.stage, responses, then)

    def _pair(self, number: int, stage: Stage, now: torch.Tensor, then: torch.Tensor) -> None:
        """Standardise so that ``slope * now + offset``, fitted to ``then``, gives the features of training."""
        trained_mean, trained_scale = self._trained[number]
        middle, target = now.mean(dim=0), then.mean(dim=0)
        power = (now - middle).square().sum(dim=0).clamp_min(1e-300)
        slope = ((now - middle) * (then - target)).sum(dim=0) / power
        live = slope.abs() > LEAST_SLOPE
        slope = torch.where(live, slope, torch.ones_like(slope))
        stage.standardiser.mean = middle - (target - trained_mean) / slope
        stage.standardiser.inverse_std = torch.where(live, slope * trained_scale, 0.0)
