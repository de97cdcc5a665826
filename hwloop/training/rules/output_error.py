"""Rules that learn from the error at the output: its head, a batch's pass, and the gradient of every map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from hwloop.device.spec import Float64Array
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.tasks import LearningTask
from hwloop.training.objectives.class_scores import first_bias
from hwloop.training.optimiser import MapGradient

LABEL_SMOOTHING = 0.1


@dataclass(frozen=True)
class Verdict:
    """What the output says of a batch.

    Attributes
    ----------
    losses
        Cross-entropy of each row, shape (rows,).
    error
        Its derivative by the logits, softmax minus target, shape (rows, classes).
    """

    losses: Tensor
    error: Tensor


class OutputHead(nn.Module):
    """A linear classifier on the features of all stages, concatenated; it starts at zero.

    Its gradient is written out: no automatic differentiation anywhere near a device.

    Parameters
    ----------
    sizes
        Features of each stage.
    """

    def __init__(self, sizes: Sequence[int], task: LearningTask) -> None:
        super().__init__()
        self.task = task
        self.weight = nn.Parameter(torch.zeros(task.n_outputs, sum(sizes), dtype=torch.float32))
        self.bias = nn.Parameter(first_bias(task))
        ends = torch.tensor(sizes, dtype=torch.int64).cumsum(0).tolist()
        self._columns = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    def judge(self, features: Tensor, labels: Tensor) -> Verdict:
        """Loss and error of features (rows, sum of sizes)."""
        with torch.no_grad():
            outputs = features @ self.weight.T + self.bias
            return Verdict(*self.task.judge(outputs, labels, LABEL_SMOOTHING))

    def feature_gradient(self, error: Tensor, stage: int) -> Tensor:
        """Derivative of each row's loss by the features of a stage, shape (rows, n_features)."""
        return error @ self.weight.detach()[:, self._columns[stage]]

    def set_gradient(self, features: Tensor, verdict: Verdict) -> None:
        """Derivative of the mean loss, for the optimiser."""
        self.weight.grad = verdict.error.T @ features / len(features)
        self.bias.grad = verdict.error.mean(dim=0)


class PendingResponses(Protocol):
    """PendingResponses on their way, such as a :class:`hwloop.session.Measurement`."""

    def result(self) -> Float64Array:
        """All of them, shape (rows, n_outputs), when the last one is known."""
        ...

    def cancel(self) -> None:
        """Measure no more than the block in batch."""


@dataclass
class BatchPass:
    """A batch on its way through the stages, variant after variant: row v * samples + k is sample k in variant v.

    Attributes
    ----------
    samples, labels
        Which training samples, and their classes, each of shape (samples,).
    variants
        How often each sample is under way.
    stage
        The stage that was asked last, from 0; -1 before the first one is.
    inputs, stimuli, responses, features
        By stage, from the first that this pass was measured in: what was encoded (rows, n), what that became
        (rows, n_inputs), what came back (rows, n_outputs), and that standardised (rows, n_features). The first
        stage's features are there from the start where its rows are known.
    perturbations
        By stage whose outputs or weights a rule perturbed: what it added in the first variant.
    earlier
        The pass whose verdict called for this one.
    steps
        By stage, gradients that a second pass tries out.
    """

    samples: Tensor
    labels: Tensor
    variants: int = 1
    stage: int = 0
    inputs: dict[int, Tensor] = field(default_factory=dict)
    stimuli: dict[int, Float64Array] = field(default_factory=dict)
    responses: dict[int, Float64Array] = field(default_factory=dict)
    features: dict[int, Tensor] = field(default_factory=dict)
    perturbations: dict[int, Tensor] = field(default_factory=dict)
    measurement: PendingResponses | None = None
    earlier: BatchPass | None = None
    steps: dict[int, MapGradient] = field(default_factory=dict)

    def mean_features(self, stage: int) -> Tensor:
        """Features of each sample, averaged over its variants: (samples, n_features)."""
        return self.features[stage].reshape(self.variants, len(self.samples), -1).mean(dim=0)


class ErrorRule(ABC):
    """Turns the output's error into a gradient of every map.

    Attributes
    ----------
    variants
        Variants of a sample that a batch sends through each stage after the first.
    second_variants
        Variants that its second pass sends through them, for a rule that calls for one.
    second_from_the_start
        Whether a second pass is measured in the first stage too.
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

    def begin(self, network: PhysicalNetwork, task: LearningTask, rng: torch.Generator) -> None:
        """Draw what the rule draws once a fit."""

    def outputs(self, batch: BatchPass, number: int, stage: Stage) -> Tensor:
        """What the next stage encodes for the rows of a batch, (rows, width)."""
        return stage.map(batch.features[number])

    def epoch_done(self, epoch: int) -> None:
        """Called after every epoch, from 1; nothing is under way then."""

    def second(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> BatchPass | None:
        """Another pass of the same samples, where the rule learns from how it compares; else ``None``."""
        return None

    @abstractmethod
    def gradients(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> Mapping[int, MapGradient]:
        """The gradient of every stage's map but the last one's, by stage, from 0.

        ``batch`` is the last pass of its samples; :attr:`BatchPass.earlier` is the one before, if there was one.
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


class OutputGradients(ErrorRule):
    """A rule that estimates the derivative of the loss by the outputs z of each stage."""

    @abstractmethod
    def by_outputs(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> Mapping[int, Tensor]:
        """Derivative of each sample's loss by z, (samples, width), by stage."""

    def gradients(self, batch: BatchPass, verdict: Verdict, head: OutputHead) -> dict[int, MapGradient]:
        """With z = W f + b, the derivative by W is the outer product with f."""
        samples = len(batch.samples)
        return {
            number: MapGradient(delta.T @ batch.mean_features(number) / samples, delta.mean(dim=0))
            for number, delta in self.by_outputs(batch, verdict, head).items()
        }
