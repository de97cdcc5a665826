"""Blocks of stages, each trained as one local unit: a head on the outputs of all stages of the block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from hwloop.layers import Stage
from hwloop.session import Measurement, Session
from hwloop.training.objectives.class_scores import BlockHead, BlockHeads
from hwloop.training.optimiser import AdamSettings
from hwloop.training.options import COUNT, SHARE, WithOptions, option
from hwloop.training.rules import GradientRule, StageRows
from hwloop.training.schedules import Fit, Schedule
from hwloop.training.state import SavedState, TrainingState, named


@dataclass(frozen=True)
class BlockSettings(WithOptions):
    """The size of a block and how often it is gone through.

    Attributes
    ----------
    stages
        Stages of a block.
    sweeps
        Times that the stages of a block are trained in turn.
    label_smoothing
        Share of a target that is spread over all classes.
    """

    stages: int = option(2, COUNT)
    sweeps: int = option(1, COUNT)
    label_smoothing: float = option(0.1, SHARE)


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
    """Blocks of stages, one block after the other; each is swept a few times.

    A sweep goes through the block's stages in order. A stage is measured on the outputs that the stage before it
    has now, then its map and a new head are trained: the head sees the activations of all stages of the block, of
    which this stage's alone can change. So gradients run inside the digital part of a block, from the head into
    one map after another (block coordinate descent), and none through the device: how a map changes what a later
    device will answer is never asked, but measured in the next sweep. The head of the last step is the block's
    readout. The first stage's inputs are the same in every sweep: it is measured once.
    """

    resumable = True
    needs_classes = ""

    def __init__(self, blocks: BlockSettings, settings: AdamSettings) -> None:
        self.blocks = blocks
        self.settings = settings

    @property
    def learning_rates(self) -> Mapping[str, float]:
        return {"lr": self.settings.lr}

    def measurements(self, stage: int, n_stages: int) -> int:
        """Once for a block's first stage, once a sweep for the others."""
        return 1 if stage % self.blocks.stages == 0 else self.blocks.sweeps

    def run(self, fit: Fit) -> None:
        inputs = fit.planned_rows()
        stages, heads = list(fit.network), list[BlockHead]()
        trained = 0
        if fit.saved is not None:
            inputs, heads, trained = _taken_up(fit, fit.saved)
        for start in range(trained, len(stages), self.blocks.stages):
            # Members are made for their block and end with it: what was measured of other blocks is not held.
            members = [_Member(*one) for one in stages[start : start + self.blocks.stages]]
            inputs, head = self._train_block(fit, members, inputs)
            heads.append(head)
            fit.checkpoint(_reached(fit, members[-1].number + 1, inputs, heads))

    def _train_block(self, fit: Fit, block: list[_Member], inputs: Tensor) -> tuple[Tensor, BlockHead]:
        sweeps = self.blocks.sweeps if len(block) > 1 else 1
        for sweep in range(sweeps):
            z = inputs
            for member in block:
                if sweep == 0:
                    fit.stage_begins(member.number)
                z, head, features = self._train_member(fit, member, block, z, (sweep, sweeps))
        numbers = [member.number for member in block]
        head.members = [numbers[-1], *numbers[:-1]]  # it saw the last stage first, then the others in order
        fit.readout.add_stage(head, features)
        for member in block:
            fit.stage_done(member.number, cast(Tensor, member.activity))
        return z, head

    def _train_member(
        self, fit: Fit, member: _Member, block: list[_Member], inputs: Tensor, sweep: tuple[int, int]
    ) -> tuple[Tensor, BlockHead, Tensor]:
        others = [m.activity for m in block if m is not member and m.activity is not None]
        before = torch.cat(others, dim=1) if others else None
        width = 0 if before is None else before.shape[1]
        rule = GradientRule(BlockHeads(self.blocks.label_smoothing, width), self.settings)
        stage = member.stage
        if member.measurement is None or member is not block[0]:
            stage.encoder.fit(inputs)
            member.measurement = member.session.submit(stage.encoder(inputs), "train")
        with member.measurement as measurement:
            rows = StageRows(inputs, measurement, fit.labels, fit.rows_a_sample, fit.task, before)
            learn = rule.train if member.z is None else rule.go_on
            head, features = learn(stage, rows, fit.rng, partial(_report, fit, member.number, sweep))
        member.z = stage.map(features)
        return member.z, cast(BlockHead, head), features


def _report(fit: Fit, stage: int, sweep: tuple[int, int], epoch: int, epochs: int, loss: float) -> None:
    """Epochs count on from sweep to sweep."""
    done, sweeps = sweep
    fit.epoch_done(stage, done * epochs + epoch, sweeps * epochs, loss)


def _reached(fit: Fit, stages: int, z: Tensor, heads: list[BlockHead]) -> TrainingState:
    """Where the fit stands after a block."""

    def tensors() -> dict[str, Tensor]:
        found = {"z": z}
        for number, head in enumerate(heads):
            found |= named(f"head.{number}.", head.linear)
        return found

    return TrainingState(
        stages,
        fit.rng,
        stage=stages,
        resumable=True,
        is_last=stages == len(fit.network),
        tensors=tensors,
        values={"members": [head.members for head in heads]},
    )


def _taken_up(fit: Fit, saved: SavedState) -> tuple[Tensor, list[BlockHead], int]:
    """What the next block encodes after those that are trained, their heads, and the stages that they are of."""
    saved.restore_network(fit.network)
    heads = []
    for number, members in enumerate(saved.values["members"]):
        tensors = saved.part(f"head.{number}.")
        head = BlockHead(tensors["weight"].shape[1], fit.task, 0.0, torch.Generator())
        head.linear.load_state_dict(tensors)
        head.members = list(members)
        heads.append(head)
        fit.readout.add_stage(head, torch.empty(0, dtype=torch.float32))
    fit.restore(saved)
    return saved.tensors["z"], heads, saved.stage or 0
