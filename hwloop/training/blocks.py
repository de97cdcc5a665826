"""Blocks of stages, each trained as one local unit: a head on the outputs of all stages of the block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.network import Readout
from hwloop.layers.rowwise import exact_linear, rowwise
from hwloop.session import Measurement, Session
from hwloop.training.class_scores import Head
from hwloop.training.objectives import LocalObjective, StageObjective
from hwloop.training.optimiser import AdamSettings
from hwloop.training.readouts import ReadoutBuilder
from hwloop.training.rules import GradientRule, StageData
from hwloop.training.schedules import Schedule, Task
from hwloop.training.state import SavedState, TrainingState, named, part


class BlockHead(StageObjective):
    """A linear classifier on this stage's activation beside the activations of its block, which are constants."""

    def __init__(
        self, stage: Stage, others: int, n_classes: int, label_smoothing: float, rng: torch.Generator
    ) -> None:
        super().__init__()
        self.linear = Head(stage.width + others, n_classes, label_smoothing, rng).linear
        self.label_smoothing = label_smoothing

    def loss(self, stage: Stage, z: Tensor, labels: Tensor, before: Tensor | None = None) -> Tensor:
        """Cross-entropy of the block's prediction."""
        own = stage.activate(z)
        logits = self.linear(own if before is None else torch.cat([own, before], dim=1))
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


class BlockHeads(LocalObjective):
    """A head over a block; ``others`` is the width of the block's other stages that are known already."""

    def __init__(self, label_smoothing: float, others: int = 0) -> None:
        self.label_smoothing = label_smoothing
        self.others = others

    def for_stage(self, stage: Stage, n_classes: int, rng: torch.Generator) -> BlockHead:
        """A head with random weights."""
        return BlockHead(stage, self.others, n_classes, self.label_smoothing, rng)


@dataclass
class _Member:
    """A stage of the block that is being trained, and what was last measured and computed of it."""

    number: int
    stage: Stage
    session: Session
    measurement: Measurement | None = None
    z: Tensor | None = None

    @property
    def activity(self) -> Tensor | None:
        return None if self.z is None else self.stage.activate(self.z)


class Blocks(Schedule):
    """Blocks of ``stages`` stages, one block after the other; each is swept ``sweeps`` times.

    A sweep goes through the block's stages in order. A stage is measured on the outputs that the stage before it
    has now, then its map and a new head are trained: the head sees the activations of all stages of the block, of
    which this stage's alone can change. So gradients run inside the digital part of a block, from the head into
    one map after another (block coordinate descent), and none through the device: how a map changes what a later
    device will answer is never asked, but measured in the next sweep. The head of the last step is the block's
    readout. The first stage's inputs are the same in every sweep: it is measured once.
    """

    def __init__(self, settings: AdamSettings, label_smoothing: float, stages: int = 2, sweeps: int = 2) -> None:
        for name, value in (("stages", stages), ("sweeps", sweeps)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"a block's {name} must be a whole number of at least 1, not {value!r}")
        Head(1, 2, label_smoothing, torch.Generator())  # refuses what is no share
        self.settings = settings
        self.label_smoothing = label_smoothing
        self.stages = stages
        self.sweeps = sweeps

    resumable = True

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """AdamW's."""
        return {"lr": self.settings.lr}

    def measurements(self, stage: int, n_stages: int) -> int:
        """Once for a block's first stage, once a sweep for the others."""
        return 1 if stage % self.stages == 0 else self.sweeps

    def run(self, task: Task) -> None:
        """Block by block."""
        inputs = task.plan.rows(task.inputs, task.labels, task.n_classes, task.rng)
        stages, trained = list(task.network), 0
        if task.saved is not None:
            inputs, trained = self._taken_up(task, task.saved), task.saved.stage or 0
        for start in range(trained, len(stages), self.stages):
            # Members are made for their block and end with it: what was measured of other blocks is not held.
            members = [_Member(*one) for one in stages[start : start + self.stages]]
            inputs = self._train_block(task, members, inputs)

    def _train_block(self, task: Task, block: list[_Member], inputs: Tensor) -> Tensor:
        sweeps = self.sweeps if len(block) > 1 else 1
        for sweep in range(sweeps):
            z = inputs
            for member in block:
                if sweep == 0:
                    task.stage_begins(member.number)
                z, head = self._train_member(task, member, block, z, (sweep, sweeps))
        builder = cast(BlockHeadsBuilder, task.readout)
        builder.add_block(head, [member.number for member in block])
        for member in block:
            task.stage_done(member.number, cast(Tensor, member.activity))
        state = TrainingState(
            block[-1].number + 1,
            task.rng,
            stage=block[-1].number + 1,
            resumable=True,
            is_last=block[-1].number + 1 == len(task.network),
            tensors=lambda: {"z": z, **builder.tensors()},
            values={"members": builder.members},
        )
        task.checkpoint(state)
        return z

    def _taken_up(self, task: Task, saved: SavedState) -> Tensor:
        """What the next block encodes, after those that are trained."""
        saved.restore_network(task.network)
        cast(BlockHeadsBuilder, task.readout).restore(saved.part("head."), saved.values["members"])
        task.take_up(saved)
        return saved.tensors["z"]

    def _train_member(
        self, task: Task, member: _Member, block: list[_Member], inputs: Tensor, sweep: tuple[int, int]
    ) -> tuple[Tensor, BlockHead]:
        others = [m.activity for m in block if m is not member and m.activity is not None]
        before = torch.cat(others, dim=1) if others else None
        rule = GradientRule(
            BlockHeads(self.label_smoothing, 0 if before is None else before.shape[1]), self.settings
        )
        stage, report = member.stage, partial(_report, task, member.number, sweep)
        rows_a_sample = task.plan.rows_a_sample(task.n_classes)
        if member.measurement is None or member is not block[0]:
            stage.encoder.fit(inputs)
            member.measurement = member.session.submit(stage.encoder(inputs), "train")
        with member.measurement as measurement:
            data = StageData(inputs, measurement, task.labels, rows_a_sample, task.n_classes, before)
            learn = rule.train if member.z is None else rule.go_on
            head, features = learn(stage, data, task.rng, report)
        member.z = stage.map(features)
        return member.z, cast(BlockHead, head)


def _report(task: Task, stage: int, sweep: tuple[int, int], epoch: int, epochs: int, loss: float) -> None:
    """Epochs count on from sweep to sweep."""
    done, sweeps = sweep
    task.epoch_done(stage, done * epochs + epoch, sweeps * epochs, loss)


class BlockHeadSum(Readout):
    """The sum of every block's log-probabilities; ``members`` are the stages of each, the last trained first."""

    def __init__(self, heads: Sequence[nn.Linear], members: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.members = [list(stages) for stages in members]

    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """Sum over the blocks; one row a stage."""
        activity: dict[int, Tensor] = {}
        total: Tensor | None = None
        last = max(stage for stages in self.members for stage in stages)
        for number, (stage, _, z) in enumerate(network.passes(inputs, stages=last + 1)):
            activity[number] = stage.activate(z)
        for head, stages in zip(self.heads, self.members, strict=True):
            logits = exact_linear(cast(nn.Linear, head), torch.cat([activity[s] for s in stages], dim=1))
            scores = rowwise(lambda rows: torch.log_softmax(rows, dim=1), logits)
            total = scores if total is None else total + scores
        assert total is not None
        return total

    def settings(self) -> dict[str, Any]:
        """Kind, classes, and which stages each head sees."""
        return {
            "kind": "block-head-sum",
            "n_classes": cast(nn.Linear, self.heads[0]).out_features,
            "members": self.members,
        }

    @property
    def multiply_adds(self) -> int:
        """One matrix a head."""
        return sum(cast(nn.Linear, head).weight.numel() for head in self.heads)


class BlockHeadsBuilder(ReadoutBuilder):
    """Collects the head that each block was trained with last."""

    def __init__(self) -> None:
        self._heads: list[nn.Linear] = []
        self._members: list[list[int]] = []

    def add_stage(self, objective: nn.Module, features: Tensor) -> None:
        """A stage alone is no block."""
        raise NotImplementedError("a block's readout is collected by add_block")

    def add_block(self, head: BlockHead, stages: Sequence[int]) -> None:
        """Keep a block's head, which saw its last stage first and then the others in order."""
        self._heads.append(head.linear)
        self._members.append([stages[-1], *stages[:-1]])

    @property
    def members(self) -> list[list[int]]:
        """The stages of each block so far, in the order in which its head sees them."""
        return self._members

    def tensors(self) -> dict[str, Tensor]:
        """Of every head so far."""
        heads = [named(f"head.{number}.", head) for number, head in enumerate(self._heads)]
        return {name: tensor for head in heads for name, tensor in head.items()}

    def restore(self, heads: Mapping[str, Tensor], members: Sequence[Sequence[int]]) -> None:
        """Take up the heads of blocks that are trained, by number, and their members."""
        for number, stages in enumerate(members):
            weight = heads[f"{number}.weight"]
            head = nn.Linear(weight.shape[1], weight.shape[0], device="meta", dtype=weight.dtype)
            head.to_empty(device="cpu")
            head.load_state_dict(part(heads, f"{number}."))
            self._heads.append(head)
            self._members.append(list(stages))

    def up_to(self, stage: int) -> Readout:
        """The blocks up to that of the stage."""
        blocks = next(number for number, members in enumerate(self._members, start=1) if stage in members)
        return BlockHeadSum(self._heads[:blocks], self._members[:blocks])

    def finish(self, network: PhysicalNetwork, inputs: Tensor, labels: Tensor, n_classes: int) -> Readout:
        """All blocks."""
        return BlockHeadSum(self._heads, self._members)
