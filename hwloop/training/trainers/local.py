"""Local trainers: a stage learns from class scores of its own outputs; every row is measured once a stage."""

from __future__ import annotations

from hwloop.training.objectives import Collaborative
from hwloop.training.objectives.class_scores import AuxiliaryHeads, ChannelCompetition, LocalHeads, Prototypes
from hwloop.training.optimiser import AdamSettings
from hwloop.training.plans import PlainRows
from hwloop.training.readouts import BlockHeadsBuilder, HeadSumBuilder
from hwloop.training.readouts.linear import RidgeBuilder
from hwloop.training.rules import GradientRule, RandomInterface
from hwloop.training.schedules.blocks import Blocks, BlockSettings
from hwloop.training.schedules.stage_by_stage import StageByStage, Streaming
from hwloop.training.trainer import Trainer
from hwloop.training.trainers import declared
from hwloop.training.tuning import Choice, LogRange

ADAM: dict[str, LogRange | Choice] = {
    "lr": LogRange(1e-3, 3e-2),
    "weight_decay": LogRange(0.03, 3.0),
    "response_noise": Choice((0.1, 0.2, 0.4, 0.8)),
}


@declared(learns="a linear head on its own outputs", rows="1", tuned=ADAM)
def local(
    heads: LocalHeads = LocalHeads(), settings: AdamSettings = AdamSettings(), streaming: Streaming = Streaming()
) -> Trainer:
    """Local heads (Mono-Forward): a linear head a stage, summed to predict; 1 row a sample a stage.

    Each stage's map W and head V minimise cross-entropy(V a(W f)) on measured features f; z = W f goes on to
    the next stage. No label is overlaid, no gradient crosses a device.

    Needs nothing of the device.

    Source: Gong, Li and Abdulla, "Mono-Forward" (2025); Lee et al., "Deeply-supervised nets", AISTATS 2015.
    """
    return Trainer(PlainRows(), StageByStage(GradientRule(heads, settings), streaming.map_share), HeadSumBuilder)


@declared(
    learns="the same, told what the stages before predict: it learns what they get wrong",
    rows="1",
    tuned=ADAM | {"trust": Choice((0.0, 0.5, 1.0))},
)
def collab(
    heads: LocalHeads = LocalHeads(),
    settings: AdamSettings = AdamSettings(),
    streaming: Streaming = Streaming(),
    *,
    trust: float = 1.0,
) -> Trainer:
    """Local heads that see the other stages' predictions as constants; 1 row a sample a stage.

    Stage l's map W and head V minimise cross-entropy(V a(W f) + trust * log-probabilities of stages 1 to l - 1),
    those being constants: additive logistic regression with a physical layer a term. The sum predicts.

    Needs nothing of the device.

    Source: Friedman, Hastie and Tibshirani, Ann. Statist. 28, 337 (2000); Huang et al., "Learning deep ResNet
    blocks sequentially using boosting theory", ICML 2018.

    Parameters
    ----------
    trust
        What the predictions of the stages before are multiplied with; 0 ignores them.
    """
    rule = GradientRule(Collaborative(heads, trust), settings)
    return Trainer(PlainRows(), StageByStage(rule, streaming.map_share), lambda: HeadSumBuilder(trust))


@declared(
    learns="one head on all stages of a block, one map changing at a time",
    rows="1 (`sweeps` for a block's later stages)",
    tuned=ADAM,
)
def block(blocks: BlockSettings = BlockSettings(), settings: AdamSettings = AdamSettings()) -> Trainer:
    """Blocks of stages, each one local unit with one head; 1 + sweeps (stages - 1) rows a sample a block.

    In every sweep a block's stages are measured and trained in turn: stage l's map and a new head V minimise
    cross-entropy(V [a(z_1) .. a(z_B)]) over the block's ``stages`` outputs, of which z_l alone can change. The
    gradient goes from the head into that map, digitally; none goes through a device: what a new map does to the
    later stages is measured in the next sweep. Blocks are trained one after the other, and their predictions
    summed.

    Needs nothing of the device.

    Source: the blocks of the Scalable Forward-Forward algorithm (Krutsylo 2025), whose gradients cross the
    layers inside a block; here the layers are physical, so block coordinate descent takes their place.
    """
    return Trainer(PlainRows(), Blocks(blocks, settings), BlockHeadsBuilder)


@declared(
    learns="groups of channels, one a class, that compete by their mean square",
    rows="1",
    tuned=ADAM | {"slope": Choice((1.0, 2.0, 4.0, 8.0))},
)
def channel_competition(
    groups: ChannelCompetition = ChannelCompetition(slope=4.0), settings: AdamSettings = AdamSettings()
) -> Trainer:
    """Channel-wise competition (CwComp): the channels of each class against the others'; 1 row a sample a stage.

    The channels of z belong to the K classes in turn. A class's goodness is the mean square activation of its
    group; loss -log softmax(slope goodness)[true class]. No label is overlaid, no wrong row is needed.

    Needs nothing of the device, but a width of K or more.

    Source: Papachristodoulou, Kyrkou, Timotheou and Theocharides, "Convolutional channel-wise competitive
    learning for the forward-forward algorithm", AAAI 2024.
    """
    return Trainer(PlainRows(), StageByStage(GradientRule(groups, settings)), HeadSumBuilder)


@declared(
    learns="the cosine with fixed vectors, one a class", rows="1", tuned=ADAM | {"slope": Choice((4.0, 8.0, 16.0))}
)
def prototypes(vectors: Prototypes = Prototypes(), settings: AdamSettings = AdamSettings()) -> Trainer:
    """Prototypes (FFzero): each stage aligns its outputs with a fixed vector a class; 1 row a sample a stage.

    Loss -log softmax(slope cos(a(z), p_k))[true class], p_k a fixed random vector for each class, orthonormal
    where the stage is wide enough, drawn anew for each stage. No label is overlaid, no head is trained.

    Needs nothing of the device.

    Source: FFzero ("Local learning for stable backpropagation-free neural network training towards physical
    learning", arXiv 2603.24790, 2026); it estimates its gradients by directional derivatives, here the stage's
    map is digital and has a gradient.
    """
    return Trainer(PlainRows(), StageByStage(GradientRule(vectors, settings)), HeadSumBuilder)


@declared(
    learns="a two-layer head that is thrown away; a ridge readout sees all responses ([depth](depth.md))",
    rows="1",
    tuned=ADAM | {"hidden": Choice((50, 100, 200, 400))},
)
def greedy(
    heads: AuxiliaryHeads = AuxiliaryHeads(),
    settings: AdamSettings = AdamSettings(),
    streaming: Streaming = Streaming(),
) -> Trainer:
    """Greedy depth: auxiliary heads with a hidden layer, ridge readout on all responses; 1 row a sample a stage.

    Each stage's map W and a two-layer head minimise cross-entropy(V relu(U W f + c) + b) on measured features f, U
    with ``hidden`` units. Then the head is thrown away: z = W f goes on, and the next device takes the place of
    the head's nonlinearity. At the end one ridge readout, its strength by leave-one-out, sees the responses of
    all stages. So every nonlinearity of a prediction is physical, and a second stage is worth its row.

    Needs nothing of the device.

    Source: the auxiliary problems of Belilovsky, Eickenberg and Oyallon, "Greedy layerwise learning can scale
    to ImageNet", ICML 2019, with physical stages and one closed-form readout.
    """
    return Trainer(PlainRows(), StageByStage(GradientRule(heads, settings), streaming.map_share), RidgeBuilder)


@declared(learns="nothing: random maps, ridge readout on all responses", rows="1")
def readout() -> Trainer:
    """Extreme learning machine: random maps, ridge readout on all responses; 1 row a sample a stage.

    The ridge strength is chosen by leave-one-out on the training rows.

    Needs nothing of the device.

    Source: Huang, Zhu and Siew, Neurocomputing 70, 489 (2006).
    """
    return Trainer(PlainRows(), StageByStage(RandomInterface()), RidgeBuilder)
