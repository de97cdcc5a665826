"""Readouts that add up what every stage says by itself, and how any readout is built while stages are trained."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from hwloop.layers import PhysicalNetwork
from hwloop.layers.network import Readout
from hwloop.layers.rowwise import exact_linear, rowwise
from hwloop.tasks import UNSAID, LearningTask, kind_of
from hwloop.training.objectives.class_scores import BlockHead, ClassScores, Head
from hwloop.training.objectives.goodness import Goodness
from hwloop.training.plans import LabelOverlay


class ReadoutBuilder(ABC):
    """Builds a network's readout, stage by stage while it is trained.

    Attributes
    ----------
    seed
        Of every random choice; the fit enters its own.
    needs_classes
        Why it serves classifications alone, in words; empty where it serves other targets too.
    """

    seed: int = 0
    needs_classes: str = UNSAID

    def rows_a_sample(self) -> int:
        """Rows that building it costs a training sample in each stage, beyond those of training."""
        return 0

    def passes(self, n_classes: int) -> int:
        """Rows that one prediction costs in each stage."""
        return 1

    @abstractmethod
    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Take over what was trained as a unit: its objective, and its features of the training rows."""

    def up_to(self, stage: int) -> Readout | None:
        """The readout of the stages up to this one, from 0, where it costs nothing to build."""
        return None

    @abstractmethod
    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, task: LearningTask) -> Readout:
        """The readout of the whole network, from its training inputs (samples, n) and labels."""


class HeadSum(Readout):
    """What the local heads of all stages say together: their log-probabilities add up, values are averaged.

    Parameters
    ----------
    trust
        Factor on the scores of the stages before that each head has learned to add to; ``None`` where every head
        has learned by itself.
    """

    kind = "head-sum"

    def __init__(self, heads: Sequence[ClassScores], trust: float | None = None) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.trust = trust

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """All stages together; one row a stage."""
        # Where not all stages are trained yet, no more are measured than have a head.
        passes = zip(self.heads, network.passes(inputs, stages=len(self.heads)), strict=True)
        scores = [cast(ClassScores, head).scores(stage, z) for head, (stage, _, z) in passes]
        return cast(ClassScores, self.heads[0]).task.together(scores, self.trust)

    def settings(self) -> dict[str, Any]:
        """Kind, sizes, what each stage's scores are, and the trust where there is one."""
        heads = [cast(ClassScores, head) for head in self.heads]
        trust = {} if self.trust is None else {"trust": self.trust}
        return {"kind": self.kind, **heads[0].task.sizes(), "heads": [h.settings() for h in heads], **trust}

    @classmethod
    def from_settings(cls, network: PhysicalNetwork, settings: Mapping[str, Any]) -> Self:
        pairs, task = zip(network, settings["heads"], strict=True), kind_of(settings).of_sizes(settings)
        return cls(
            [
                ClassScores.of_kind(head["kind"]).from_settings(stage.width, task, head)
                for (_, stage, _), head in pairs
            ],
            settings.get("trust"),
        )

    @property
    def multiply_adds(self) -> int:
        return sum(cast(ClassScores, head).multiply_adds for head in self.heads)


class BlockHeadSum(Readout):
    """What the heads of all blocks say together; ``members`` are the stages of each, the last trained first."""

    kind = "block-head-sum"

    def __init__(self, heads: Sequence[nn.Linear], members: Sequence[Sequence[int]], task: LearningTask) -> None:
        super().__init__()
        self.task = task
        self.heads = nn.ModuleList(heads)
        self.members = [list(stages) for stages in members]

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """All blocks together; one row a stage."""
        last = max(stage for stages in self.members for stage in stages)
        activity = [stage.activate(z) for stage, _, z in network.passes(inputs, stages=last + 1)]
        logits = [
            exact_linear(cast(nn.Linear, head), torch.cat([activity[stage] for stage in stages], dim=1))
            for head, stages in zip(self.heads, self.members, strict=True)
        ]
        return self.task.together([rowwise(self.task.scores, each) for each in logits])

    def settings(self) -> dict[str, Any]:
        """Kind, classes, and which stages each head sees."""
        return {"kind": self.kind, **self.task.sizes(), "members": self.members}

    @classmethod
    def from_settings(cls, network: PhysicalNetwork, settings: Mapping[str, Any]) -> Self:
        members, widths = settings["members"], [stage.width for _, stage, _ in network]
        if sorted(stage for stages in members for stage in stages) != list(range(len(network))):
            raise ValueError(f"its blocks {members!r:.100} do not hold each of {len(network)} stages once")
        task = kind_of(settings).of_sizes(settings)
        heads = [Head.from_settings(sum(widths[stage] for stage in stages), task, {}).linear for stages in members]
        return cls(heads, members, task)

    @property
    def multiply_adds(self) -> int:
        return sum(cast(nn.Linear, head).weight.numel() for head in self.heads)


class LabelScan(Readout):
    """Try every label: the class whose overlay gives the highest goodness, summed over the stages."""

    kind = "label-scan"

    def __init__(self, goodnesses: Sequence[Goodness], overlay: LabelOverlay, n_classes: int) -> None:
        super().__init__()
        self.goodnesses = nn.ModuleList(goodnesses)
        self.overlay = overlay
        self.passes = n_classes

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """Each label's log-odds, summed over the stages: K rows a stage."""
        n_classes = self.passes
        labels = torch.arange(n_classes).repeat(len(inputs))
        rows = self.overlay.with_labels(inputs.repeat_interleave(n_classes, dim=0), labels, n_classes)
        total = torch.zeros(len(rows), dtype=torch.float32)
        passes = network.passes(rows, stages=len(self.goodnesses))
        for module, (stage, _, z) in zip(self.goodnesses, passes, strict=True):
            total = total + cast(Goodness, module).scores(stage, z)[:, 0]
        return total.reshape(len(inputs), n_classes)

    @property
    def label_channels(self) -> int:
        return self.passes

    def settings(self) -> dict[str, Any]:
        """Kind, classes, the label's amplitude, and each stage's goodness."""
        goodnesses = [cast(Goodness, goodness).settings() for goodness in self.goodnesses]
        amplitude = self.overlay.amplitude
        return {"kind": self.kind, "n_classes": self.passes, "amplitude": amplitude, "goodnesses": goodnesses}

    @classmethod
    def from_settings(cls, network: PhysicalNetwork, settings: Mapping[str, Any]) -> Self:
        pairs = zip(network, settings["goodnesses"], strict=True)
        goodnesses = [Goodness.from_settings(stage.width, found) for (_, stage, _), found in pairs]
        return cls(goodnesses, LabelOverlay.of_amplitude(settings["amplitude"]), settings["n_classes"])

    @property
    def multiply_adds(self) -> int:
        """A goodness for each label and stage."""
        return sum(self.passes * cast(Goodness, g).measure.multiply_adds for g in self.goodnesses)


class HeadSumBuilder(ReadoutBuilder):
    """Collects the heads that the stages were trained with; ``trust`` is as in :class:`HeadSum`."""

    needs_classes = ""

    def __init__(self, trust: float | None = None) -> None:
        self._heads: list[ClassScores] = []
        self._trust = trust

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        self._heads.append(cast(ClassScores, objective))

    def up_to(self, stage: int) -> Readout:
        return HeadSum(self._heads[: stage + 1], self._trust)

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, task: LearningTask) -> Readout:
        return HeadSum(self._heads, self._trust)


class BlockHeadsBuilder(ReadoutBuilder):
    """Collects the head that each block was trained with last."""

    needs_classes = ""

    def __init__(self) -> None:
        self._heads: list[BlockHead] = []

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """Keep a block's head, which knows its stages."""
        self._heads.append(cast(BlockHead, objective))

    def up_to(self, stage: int) -> Readout:
        """The blocks up to that of the stage."""
        blocks = next(number for number, head in enumerate(self._heads, start=1) if stage in head.members)
        return self._sum(blocks)

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, task: LearningTask) -> Readout:
        return self._sum(len(self._heads))

    def _sum(self, blocks: int) -> Readout:
        heads = self._heads[:blocks]
        return BlockHeadSum([head.linear for head in heads], [head.members for head in heads], heads[0].task)


class LabelScanBuilder(ReadoutBuilder):
    """Collects the goodnesses that the stages were trained with."""

    needs_classes = "its readout tries every class"

    def __init__(self, overlay: LabelOverlay) -> None:
        self._overlay = overlay
        self._goodnesses: list[Goodness] = []

    def passes(self, n_classes: int) -> int:
        return n_classes

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        self._goodnesses.append(cast(Goodness, objective))

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, task: LearningTask) -> Readout:
        # A copy: the trainer may fit another network, and its label's amplitude with it.
        return LabelScan(self._goodnesses, copy.copy(self._overlay), task.n_outputs)
