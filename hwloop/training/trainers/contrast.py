"""Contrast trainers (forward-forward): a stage tells good rows from bad ones by the goodness of its activity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwloop.training.objectives import Collaborative
from hwloop.training.objectives.goodness import (
    MEASURES,
    TARGETS,
    GoodnessContrast,
    Threshold,
    among_all,
    squared_activity,
)
from hwloop.training.optimiser import AdamSettings
from hwloop.training.options import POSITIVE, chosen
from hwloop.training.plans import Hybrids, LabelOverlay, SelfContrast, WrongLabels
from hwloop.training.readouts import LabelScanBuilder, ReadoutBuilder
from hwloop.training.readouts.linear import PositiveSoftmaxBuilder, SoftmaxBuilder
from hwloop.training.rules import GradientRule
from hwloop.training.schedules import Schedule
from hwloop.training.schedules.online import Online, OnlineSettings
from hwloop.training.schedules.stage_by_stage import StageByStage, Streaming
from hwloop.training.trainer import Trainer
from hwloop.training.trainers import declared
from hwloop.training.tuning import Choice, LogRange

READOUTS: dict[str, Callable[[LabelOverlay], ReadoutBuilder]] = {
    "label-scan": LabelScanBuilder,
    "softmax": SoftmaxBuilder,
}
SLOPES = {"squared": 4.0, "cosine": 16.0}
CONTRAST = AdamSettings(epochs=100, min_steps=1000, weight_decay=0.0, response_noise=0.3)
QUIET_CONTRAST = AdamSettings(epochs=100, min_steps=1000, weight_decay=0.0, response_noise=0.1)


@declared(
    learns="true label against wrong ones, cosine of abs(z) with a fixed vector",
    rows="2; 2 an epoch online",
    predict="K",
    tuned={
        "lr": LogRange(1e-3, 3e-2),
        "theta": LogRange(1.0, 16.0),
        "response_noise": Choice((0.05, 0.1, 0.2, 0.4)),
        "wrong_labels": Choice((1, 0)),
    },
)
def phyll(
    *,
    schedule: str = "cached",
    wrong_labels: int | None = 1,
    targets: str = "signed",
    readout: str = "label-scan",
    theta: float = 4.0,
    epochs: int | None = None,
    batch_samples: int | None = None,
    lr: float | None = None,
    inner_steps: int = OnlineSettings.inner_steps,
    min_steps: int = QUIET_CONTRAST.min_steps,
    weight_decay: float = QUIET_CONTRAST.weight_decay,
    response_noise: float = QUIET_CONTRAST.response_noise,
) -> Trainer:
    """PhyLL (Momeni et al., Science 2023): goodness of true against wrong labels; 2 rows a sample a stage cached.

    A sample is measured with its true label overlaid (positive) and with wrong ones (negative). Goodness
    g = cos(|z|, p), p a fixed random unit vector a stage; loss softplus(-theta (g_positive - g_negative)).

    1 + wrong_labels rows a sample a stage, times the epochs where online; to predict, one a class a stage
    (``readout="softmax"``: one a stage, and one more a sample a stage to train).

    Needs room for the label.

    Source: Momeni, Rahmani, Malléjac, del Hougne and Fleury, Science 382, 1297 (2023).

    Parameters
    ----------
    schedule
        ``"online"`` as published (every epoch measured, ``inner_steps`` Adam steps a batch), or ``"cached"``.
    wrong_labels
        Wrong labels measured a sample; 0 or ``None`` for all of them.
    targets
        ``"signed"`` as published, or ``"nonnegative"``.
    readout
        ``"label-scan"`` as published, or ``"softmax"``.
    theta
        Slope of the loss, positive.
    inner_steps
        Adam steps a batch, of the online schedule.
    epochs, batch_samples, lr
        ``None`` for the schedule's own: online 200 epochs of 256 samples at 1e-3, cached 100 of 128 at 0.01.
    weight_decay, response_noise, min_steps
        Of the cached schedule, see :class:`hwloop.training.optimiser.AdamSettings`.
    """
    measure, new_readout = chosen("targets", targets, TARGETS), chosen("readout", readout, READOUTS)
    POSITIVE.check("theta", theta)
    contrast = GoodnessContrast(measure, theta)
    options: dict[str, Any] = {"epochs": epochs, "batch_samples": batch_samples, "lr": lr}
    given = {name: value for name, value in options.items() if value is not None}
    schedules: dict[str, Callable[[], Schedule]] = {
        "online": lambda: Online(contrast, OnlineSettings(inner_steps=inner_steps, **given)),
        "cached": lambda: StageByStage(GradientRule(contrast, AdamSettings(**(cached | given)))),
    }
    cached: dict[str, Any] = {"epochs": QUIET_CONTRAST.epochs, "min_steps": min_steps}
    cached |= {"weight_decay": weight_decay, "response_noise": response_noise}
    overlay = LabelOverlay(wrong_labels or None)
    return Trainer(overlay, chosen("schedule", schedule, schedules)(), lambda: new_readout(overlay))


@declared(learns="true label against wrong ones, squared activity against a threshold", rows="2", predict="K")
def ff(
    wrong: WrongLabels = WrongLabels(),
    threshold: Threshold = Threshold(),
    settings: AdamSettings = CONTRAST,
    streaming: Streaming = Streaming(),
) -> Trainer:
    """Forward-forward (Hinton 2022): squared activity above a threshold for true labels; 2 rows a sample a stage.

    A sample is measured with its true label overlaid (positive) and with a wrong one (negative). Goodness g is the
    mean square of the stage's activation; loss softplus(slope (theta - g_positive)) + softplus(slope (g_negative -
    theta)). A label's goodness is summed over the stages to predict. 1 + wrong_labels rows a sample a stage.

    Needs room for the label.

    Source: Hinton, "The forward-forward algorithm: some preliminary investigations" (2022).
    """
    overlay = wrong.overlay()
    schedule = StageByStage(GradientRule(threshold.contrast(), settings), streaming.map_share)
    return Trainer(overlay, schedule, lambda: LabelScanBuilder(overlay))


@declared(learns="the same, without a threshold: the difference of the two", rows="2", predict="K")
def symba(wrong: WrongLabels = WrongLabels(), settings: AdamSettings = CONTRAST, *, alpha: float = 8.0) -> Trainer:
    """SymBa (Lee and Song 2023): the true label's squared activity above the wrong one's; 2 rows a sample a stage.

    As ``ff``, but the two rows of a sample are compared with each other and no threshold is set:
    loss softplus(-alpha (g_positive - g_negative)), g the mean square of the stage's activation.

    Needs room for the label.

    Source: Lee and Song, "SymBa: symmetric backpropagation-free contrastive learning with forward-forward
    algorithm for optimizing convergence" (2023).

    Parameters
    ----------
    alpha
        Slope of the loss, positive.
    """
    rule = GradientRule(GoodnessContrast(squared_activity, alpha), settings)
    overlay = wrong.overlay()
    return Trainer(overlay, StageByStage(rule), lambda: LabelScanBuilder(overlay))


@declared(learns="the same, counting the goodness of the stages before", rows="2", predict="K")
def collaboration(
    wrong: WrongLabels = WrongLabels(),
    threshold: Threshold = Threshold(),
    settings: AdamSettings = CONTRAST,
    *,
    trust: float = 1.0,
) -> Trainer:
    """Layer collaboration (Lorberbom et al. 2024): a stage counts the others' goodness; 2 rows a sample a stage.

    As ``ff``, but with log-odds that are slope (g - theta) summed over stages 1 to l, of which those before l
    are constants, times ``trust``. So a stage learns what those before it get wrong. The paper adds the later
    stages too: it runs every row through the whole network in every epoch, here each is measured once.

    Needs room for the label.

    Source: Lorberbom, Gat, Adi, Schwing and Hazan, "Layer collaboration in the forward-forward algorithm",
    AAAI 2024.

    Parameters
    ----------
    trust
        What the log-odds of the stages before are multiplied with; 0 ignores them.
    """
    contrast = Collaborative(threshold.contrast(), trust)
    overlay = wrong.overlay()
    return Trainer(overlay, StageByStage(GradientRule(contrast, settings)), lambda: LabelScanBuilder(overlay))


@declared(learns="cross-entropy over the goodnesses of all labels", rows="K", predict="K")
def all_labels(
    settings: AdamSettings = AdamSettings(epochs=50, min_steps=1000, weight_decay=0.0, response_noise=0.1),
    *,
    goodness: str = "squared",
    slope: float | None = None,
) -> Trainer:
    """Cross-entropy over the goodnesses of all labels, each of which is measured; K rows a sample a stage.

    A sample is measured once with every label; loss -log softmax(slope g)[true label], g the mean square of the
    stage's activation (``goodness="squared"``) or its magnitude's cosine with a fixed vector (``"cosine"``). The
    rows are those that a label scan asks for anyway: a training sample costs what a prediction costs.
    ``slope`` is 4 for squared activity, 16 for the cosine, unless it is given.

    Needs room for the label.

    Source: goodness of Hinton (2022) and of Momeni et al., Science 382, 1297 (2023), with every label shown.

    Parameters
    ----------
    goodness
        ``"squared"`` or ``"cosine"``.
    slope
        Of the loss; ``None`` for 4 with squared activity, 16 with the cosine.
    """
    measure = chosen("goodness", goodness, MEASURES)
    contrast = GoodnessContrast(measure, SLOPES[goodness] if slope is None else slope, among_all)
    overlay = LabelOverlay(None)
    return Trainer(overlay, StageByStage(GradientRule(contrast, settings)), lambda: LabelScanBuilder(overlay))


@declared(learns="no labels: a sample against its mean with another one; softmax readout", rows="2")
def scff(threshold: Threshold = Threshold(theta=8.0), settings: AdamSettings = QUIET_CONTRAST) -> Trainer:
    """Self-contrastive forward-forward (SCFF): features without labels, softmax readout; 2 rows a sample a stage.

    A sample with itself is positive, with another one negative: rows x and (x + x') / 2. Goodness and loss are
    those of ``ff``. Labels serve the readout alone: a softmax on the pattern of all stages' activities in the
    positive rows, which are measured already.

    Needs nothing of the device.

    Source: Chen, Liu, Laydevant and Grollier, "Self-contrastive forward-forward algorithm", Nat. Commun. 16,
    5978 (2025).
    """
    rule = GradientRule(threshold.contrast(), settings)
    return Trainer(SelfContrast(), StageByStage(rule), lambda: PositiveSoftmaxBuilder(2))


@declared(learns="no labels: a sample against a hybrid of two; softmax readout", rows="2")
def ff_unsupervised(
    hybrids: Hybrids = Hybrids(), threshold: Threshold = Threshold(), settings: AdamSettings = CONTRAST
) -> Trainer:
    """Unsupervised forward-forward: samples against hybrids of two, softmax readout; 2 rows a sample a stage.

    A negative row takes some regions from one sample and the rest from another, by a random mask with long
    regions. Goodness and loss are those of ``ff``. Labels serve the readout alone: a softmax on the pattern of all
    stages' activities in the samples' own rows, which are measured already.

    Needs nothing of the device.

    Source: Hinton, "The forward-forward algorithm: some preliminary investigations", section 3.2 (2022).
    """
    rule = GradientRule(threshold.contrast(), settings)
    return Trainer(hybrids, StageByStage(rule), lambda: PositiveSoftmaxBuilder(2))
