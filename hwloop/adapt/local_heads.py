"""Policies that mend maps and local heads: recursive least squares, Hebbian steps, warm re-training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hwloop.adapt.anchors import Anchors
from hwloop.adapt.policy import Observed, Policy
from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.training.objectives.class_scores import Head
from hwloop.training.optimiser import AdamSettings
from hwloop.training.rules import train_on


class RecursiveLeastSquares:
    """Weights (features, targets) that follow pairs of rows as they come, the older ones forgotten.

    With A the strength times the identity at first, each batch F (rows, features), Y (rows, targets) gives

        A <- forgetting A + (1 - forgetting) strength I + F^T F,    W <- W + A^-1 F^T (Y - F W).

    With forgetting = 1 and W = 0 at first this is ridge regression on all rows so far, exactly (Haykin, Adaptive
    Filter Theory, chapter 10; in information form). The middle term keeps A from fading where rows say nothing.

    Parameters
    ----------
    weights
        Where to start, float64.
    strength
        How firmly the start is held, in rows of unit features.
    forgetting
        Share of what earlier batches said that is kept, in (0, 1].
    """

    def __init__(self, weights: Tensor, strength: float, forgetting: float = 1.0) -> None:
        check_recursion(strength, forgetting)
        self.weights = weights.to(torch.float64)
        self.strength, self.forgetting = strength, forgetting
        self.information = strength * torch.eye(len(weights), dtype=torch.float64)

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Take a batch: features (rows, features), targets (rows, targets)."""
        rows, wanted = features.to(torch.float64), targets.to(torch.float64)
        kept = self.forgetting * self.information
        kept.diagonal().add_((1 - self.forgetting) * self.strength)
        self.information = kept + rows.T @ rows
        surprise = rows.T @ (wanted - rows @ self.weights)
        self.weights = self.weights + torch.linalg.solve(self.information, surprise)


def check_recursion(strength: float, forgetting: float) -> None:
    """Refuse settings that have no meaning.

    Raises
    ------
    ConfigError
    """
    if not (0 < strength < math.inf and 0 < forgetting <= 1):
        raise ConfigError(
            f"strength must be positive and finite, and forgetting in (0, 1], not {strength!r} and {forgetting!r}"
        )


def with_constant(rows: Tensor) -> Tensor:
    """Rows with a last column of ones, for the bias."""
    return torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], dim=1)


def as_matrix(linear: nn.Linear) -> Tensor:
    """Weight and bias as one matrix (n_inputs + 1, n_outputs), float64."""
    return torch.cat([linear.weight.detach().T, linear.bias.detach()[None, :]]).to(torch.float64)


def set_matrix(linear: nn.Linear, matrix: Tensor) -> None:
    """The reverse of :func:`as_matrix`."""
    with torch.no_grad():
        linear.weight.copy_(matrix[:-1].T)
        linear.bias.copy_(matrix[-1])


class RecallOutputs(Policy):
    """Recursive least squares of each stage's map, from today's responses to the outputs of training time.

    Anchors are shown again; what the stage gave for them is known, so no label is needed, neither today nor
    ever. The next stage then sees what it always saw. A linear map of responses restores what is linear in them:
    after a change that mixes fields before they are detected, not all.

    Needs: anchors.

    Parameters
    ----------
    strength
        How firmly the trained weights are held, in rows of unit features.
    forgetting
        Share of what earlier steps said that is kept, in (0, 1].
    """

    needs_anchors = True

    def __init__(self, *, strength: float = 30.0, forgetting: float = 0.7) -> None:
        check_recursion(strength, forgetting)
        self.strength, self.forgetting = strength, forgetting

    def begin(self, network: PhysicalNetwork, anchors: Anchors | None, rng: torch.Generator) -> None:
        """One recursion a stage, from the trained map."""
        super().begin(network, anchors, rng)
        self._recursions = [
            RecursiveLeastSquares(as_matrix(stage.linear), self.strength, self.forgetting)
            for _, stage, _ in network
        ]

    def mend_stage(self, observed: Observed) -> None:
        assert self.anchors is not None
        assert observed.anchors is not None
        recursion = self._recursions[observed.number]
        wanted = self.anchors.stages[observed.number].outputs[observed.anchors]
        recursion.update(with_constant(observed.features), wanted)
        set_matrix(observed.stage.linear, recursion.weights)


class RecursiveHeads(Policy):
    """Recursive least squares of the local heads from labelled rows; the stages' maps stay.

    A head's targets are the logits that training with smoothed labels leads to: log((1 - s) + s/K) for the class
    and log(s/K) for the others, less their mean. Standardised values are their own targets.

    Needs: labels, and local heads.

    Parameters
    ----------
    strength
        How firmly the trained weights are held, in rows of unit features.
    forgetting
        Share of what earlier steps said that is kept, in (0, 1].
    label_smoothing
        The share s that is spread over all classes, in (0, 1).
    """

    needs_labels = True

    def __init__(self, *, strength: float = 30.0, forgetting: float = 0.7, label_smoothing: float = 0.1) -> None:
        check_recursion(strength, forgetting)
        if not 0 < label_smoothing < 1:
            raise ConfigError(f"label_smoothing must lie in (0, 1), not {label_smoothing!r}")
        self.strength, self.forgetting, self.label_smoothing = strength, forgetting, label_smoothing

    def begin(self, network: PhysicalNetwork, anchors: Anchors | None, rng: torch.Generator) -> None:
        """One recursion a head, from the trained one."""
        super().begin(network, anchors, rng)
        starts = [as_matrix(self.head(number).linear) for number in range(len(network))]
        if self.head(0).task.has_classes:
            # A constant in all logits changes no probability, but would have to be unlearned.
            starts = [start - start.mean(dim=1, keepdim=True) for start in starts]
        self._recursions = [RecursiveLeastSquares(start, self.strength, self.forgetting) for start in starts]

    def mend_stage(self, observed: Observed) -> None:
        assert observed.labels is not None
        recursion = self._recursions[observed.number]
        activity = observed.stage.activate(observed.stage.map(observed.features))
        wanted = self.head(observed.number).task.head_targets(observed.labels, self.label_smoothing)
        recursion.update(with_constant(activity), wanted)
        set_matrix(self.head(observed.number).linear, recursion.weights)


class Hebbian(Policy):
    """Unlabelled rows; what a head is sure of it learns: post-synaptic winner times pre-synaptic activity.

    dV = rate / rows * sum over sure rows of (winner - p) (activity, 1)^T, with p the head's probabilities, its
    winner one-hot, and sure a probability of at least ``sure``; a few passes. A Hebbian term (winner times
    activity) and an anti-Hebbian one (p times activity), as in a soft winner-take-all layer (Moraitis et al.,
    SoftHebb, Neuromorphic Computing and Engineering 2, 044017, 2022) with the third factor of confidence. It can
    follow a drift while most winners are right, and confirms its own errors where they are not.

    Needs: rows, no labels; local heads.

    Parameters
    ----------
    rate
        Of learning, positive.
    sure
        Probability from which a row counts, 0 to 1.
    passes
        How often the rows of a step are learned, at least 1.
    """

    needs_classes = "it learns from the class that a head is sure of"

    def __init__(self, *, rate: float = 0.05, sure: float = 0.5, passes: int = 5) -> None:
        if not (rate > 0 and 0 <= sure <= 1 and passes >= 1):
            raise ConfigError(
                f"rate must be positive, sure in [0, 1] and passes at least 1, not {rate!r}, {sure!r}, {passes!r}"
            )
        self.rate, self.sure, self.passes = rate, sure, passes

    def mend_stage(self, observed: Observed) -> None:
        head = self.head(observed.number)
        activity = observed.stage.activate(observed.stage.map(observed.features))
        pre = with_constant(activity.to(torch.float64))
        matrix = as_matrix(head.linear)
        for _ in range(self.passes):
            shares = torch.softmax(pre @ matrix, dim=1)
            strength, winner = shares.max(dim=1)
            post = torch.nn.functional.one_hot(winner, shares.shape[1]) - shares
            sure = (strength >= self.sure).to(torch.float64)[:, None]
            matrix = matrix + self.rate * pre.T @ (sure * post) / len(pre)
        set_matrix(head.linear, matrix)


def fine_tune(
    stage: Stage, head: Head, features: Tensor, labels: Tensor, settings: AdamSettings, rng: torch.Generator
) -> None:
    """Train a stage's map and head on from where they are, on measured features (rows, n)."""
    train_on(stage, head, settings, [(features[:, None], settings.steps(len(labels)))], labels, rng)


class WarmLocal(Policy):
    """Local heads (Mono-Forward) go on training on each step's labelled rows, from the weights that are there.

    Needs: labels, and local heads.

    Parameters
    ----------
    steps
        Steps of Adam in each step of the drift.
    lr, weight_decay, response_noise
        See :class:`hwloop.training.optimiser.AdamSettings`.
    """

    needs_labels = True

    def __init__(
        self, *, steps: int = 60, lr: float = 0.001, weight_decay: float = 0.1, response_noise: float = 0.4
    ) -> None:
        self.settings = AdamSettings(1, steps, AdamSettings.batch_samples, lr, weight_decay, response_noise)

    def mend_stage(self, observed: Observed) -> None:
        assert observed.labels is not None
        head = self.head(observed.number)
        fine_tune(observed.stage, head, observed.features, observed.labels, self.settings, self.rng)
