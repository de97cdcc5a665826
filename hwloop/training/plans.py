"""Stimulus plans: which rows are measured for a training sample, and with which labels overlaid."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hwloop.errors import ConfigError, DatasetError
from hwloop.layers import Stage
from hwloop.layers.encode import Encoder
from hwloop.session import Session
from hwloop.tasks import UNSAID
from hwloop.training.optimiser import fit_ridge
from hwloop.training.options import Range, WithOptions, one_of, option

# Of the spread about the columns' own means: a standard deviation of all values together counts up to this often.
MOST_OF_SPREAD = 2.0


def largest_spread(inputs: Tensor) -> float:
    """The widest range of a column of (rows, n)."""
    return float((inputs.amax(dim=0) - inputs.amin(dim=0)).max())


def amplitude(inputs: Tensor) -> float:
    """The largest magnitude, but no more than :func:`largest_spread`; 1 where nothing varies.

    For features from 0 up, as pixels are, the two are the same, and for features around 0 it is the magnitude. An
    offset, which says nothing, cannot make it larger.
    """
    return min(float(inputs.abs().max()), largest_spread(inputs)) or 1.0


def typical_deviation(inputs: Tensor) -> float:
    """The standard deviation of all values, but no more than twice that about the columns' own means."""
    about_means = float((inputs - inputs.mean(dim=0)).square().mean().sqrt())
    return min(float(inputs.std()), MOST_OF_SPREAD * about_means)


class StimulusPlan(ABC):
    """Turns training samples into the input rows of the first stage, sample after sample.

    Attributes
    ----------
    needs_classes
        Why it serves classifications alone, in words; empty where it serves other targets too.
    """

    needs_classes: str = UNSAID

    @abstractmethod
    def rows_a_sample(self, n_classes: int) -> int:
        """Rows that a training sample costs in each stage."""

    def n_features(self, n_inputs: int, n_classes: int) -> int:
        """Features of a planned row, for data with ``n_inputs`` features."""
        return n_inputs

    def fit(self, inputs: Tensor) -> None:
        """Fit what the plan needs on training inputs of shape (samples, n_inputs)."""

    def check(self, encoder: Encoder, n_classes: int) -> None:
        """Refuse a device that has no room for the rows, before anything is measured.

        Raises
        ------
        ConfigError
        """

    def scouting_rows_a_sample(self) -> int:
        """Rows that :meth:`measure_pilot` measures a training sample, in the first stage alone."""
        return 0

    def measure_pilot(
        self, stage: Stage, session: Session, inputs: Tensor, labels: Tensor, n_classes: int
    ) -> None:
        """Measure what the plan must know of the training samples before it can plan their rows."""

    @abstractmethod
    def rows(self, inputs: Tensor, labels: Tensor, n_classes: int, rng: torch.Generator) -> Tensor:
        """Planned rows, shape (samples * rows_a_sample, n_features), those of a sample side by side."""


class PlainRows(StimulusPlan):
    """Every sample once, as it is."""

    needs_classes = ""

    def rows_a_sample(self, n_classes: int) -> int:
        return 1

    def rows(self, inputs: Tensor, labels: Tensor, n_classes: int, rng: torch.Generator) -> Tensor:
        return inputs


class LabelOverlay(StimulusPlan):
    """Every sample with its true label first, then with ``wrong_labels`` different wrong ones.

    A label is a one-hot code in extra features, its amplitude that of the training inputs
    (:func:`hwloop.training.plans.amplitude`): fixed at fit, never taken from a batch. Wrong labels are
    (y + k) mod K with k drawn from 1..K-1 without replacement, so none is ever the true one.

    Parameters
    ----------
    wrong_labels
        Wrong labels a sample, 1 to K - 1; ``None`` for all of them.
    """

    needs_classes = "it overlays right and wrong classes on the stimuli, and values are no classes"

    def __init__(self, wrong_labels: int | None = 1) -> None:
        if wrong_labels is not None and (not isinstance(wrong_labels, int) or wrong_labels < 1):
            raise ConfigError(f"wrong_labels must be a whole number (0 or none for all), not {wrong_labels!r}")
        self.wrong_labels = wrong_labels
        self.amplitude = 1.0

    @classmethod
    def of_amplitude(cls, amplitude: float) -> LabelOverlay:
        """An overlay that was fitted to training inputs of this amplitude."""
        overlay = cls()
        overlay.amplitude = float(amplitude)
        return overlay

    def check(self, encoder: Encoder, n_classes: int) -> None:
        """The label needs a free input a class, and the data one more."""
        if encoder.n_data <= n_classes:
            raise ConfigError(
                f"the device has {encoder.n_data} free inputs, too few for the label of {n_classes} classes that "
                f"this trainer overlays and for data beside it; give a device with {n_classes + 1} free inputs or "
                "more, or a trainer without overlay (local, collab, channel-competition)"
            )

    def rows_a_sample(self, n_classes: int) -> int:
        """The true label and the wrong ones."""
        return 1 + self._wrong(n_classes)

    def _wrong(self, n_classes: int) -> int:
        wrong = n_classes - 1 if self.wrong_labels is None else self.wrong_labels
        if wrong > n_classes - 1:
            raise ConfigError(f"{n_classes} classes have {n_classes - 1} wrong labels, not {wrong}")
        return wrong

    def n_features(self, n_inputs: int, n_classes: int) -> int:
        return n_inputs + n_classes

    def fit(self, inputs: Tensor) -> None:
        self.amplitude = amplitude(inputs)

    def rows(self, inputs: Tensor, labels: Tensor, n_classes: int, rng: torch.Generator) -> Tensor:
        """True label first, then the wrong ones."""
        overlaid = torch.cat([labels[:, None], self.negatives(labels, n_classes, rng)], dim=1)
        repeated = inputs.repeat_interleave(overlaid.shape[1], dim=0)
        return self.with_labels(repeated, overlaid.flatten(), n_classes)

    def negatives(self, labels: Tensor, n_classes: int, rng: torch.Generator) -> Tensor:
        """Wrong labels of each sample, shape (samples, wrong labels)."""
        wrong = self._wrong(n_classes)
        ranks = torch.rand(len(labels), n_classes - 1, generator=rng, dtype=torch.float32).argsort(dim=1)[
            :, :wrong
        ]
        return (labels[:, None] + ranks + 1) % n_classes

    def with_labels(self, inputs: Tensor, labels: Tensor, n_classes: int) -> Tensor:
        """Rows with the given label each."""
        code = torch.nn.functional.one_hot(labels, n_classes).to(inputs.dtype)
        return torch.cat([inputs, self.amplitude * code], dim=1)

    def without_label(self, inputs: Tensor, n_classes: int) -> Tensor:
        """Rows with the neutral label: the mean of all codes."""
        neutral = torch.full((len(inputs), n_classes), self.amplitude / n_classes, dtype=inputs.dtype)
        return torch.cat([inputs, neutral], dim=1)


SHARPNESS = 4.0  # log-odds for a least-squares score of 1: twice what the score of a coin toss stands for
NEGATIVES = ("random", "hard", "all")


class HardLabels(LabelOverlay):
    """One wrong label a sample, drawn by how probable a ridge readout of the first stage finds each.

    Every sample is measured once under the neutral label, in the first stage alone; the readout is fitted on
    these responses. Hinton (2022) draws his hard labels after a neutral pass in the same way. The most probable
    one is the model's second choice; to take that one always teaches nothing about the other labels.
    """

    def __init__(self) -> None:
        super().__init__(1)
        self._log_odds = torch.empty(0, 0, dtype=torch.float64)

    def scouting_rows_a_sample(self) -> int:
        return 1

    def measure_pilot(
        self, stage: Stage, session: Session, inputs: Tensor, labels: Tensor, n_classes: int
    ) -> None:
        """Measure the neutral rows and find the log-odds of every wrong label."""
        rows = self.without_label(inputs, n_classes)
        stage.encoder.fit(rows)
        responses = session.measure(stage.encoder(rows), "train")
        targets = torch.nn.functional.one_hot(labels, n_classes)
        # Of all responses, but no more than twice that about each channel's mean: an offset is no spread.
        about_means = (responses - responses.mean(axis=0)).std()
        features = responses / (min(responses.std(), MOST_OF_SPREAD * about_means) or 1.0)
        ridge = fit_ridge(features, 2.0 * targets.numpy() - 1.0)
        scores = torch.from_numpy(features @ ridge.weight + ridge.bias)
        self._log_odds = (SHARPNESS * scores).masked_fill(targets.bool(), -torch.inf)

    def negatives(self, labels: Tensor, n_classes: int, rng: torch.Generator) -> Tensor:
        """One for each of the samples that were scouted, in their order."""
        if len(labels) != len(self._log_odds):
            raise ConfigError("hard negatives belong to the whole training set: take the cached schedule")
        return torch.multinomial(self._log_odds.softmax(dim=1), 1, generator=rng)


@dataclass(frozen=True)
class WrongLabels(WithOptions):
    """Which wrong labels stand beside the true one.

    Attributes
    ----------
    negatives
        'random' (wrong_labels of them a sample), 'all' wrong labels, or 'hard': drawn by how probable the first
        stage finds them, for which it measures one more row a sample.
    wrong_labels
        Wrong labels a sample where they are random.
    """

    negatives: str = option("random", one_of(NEGATIVES))
    wrong_labels: int | None = option(1)

    def overlay(self) -> LabelOverlay:
        """The plan."""
        if self.negatives == "hard":
            return HardLabels()
        return LabelOverlay(None if self.negatives == "all" else self.wrong_labels)


class UnlabelledContrast(StimulusPlan):
    """Every sample as it is, then a negative made of it and of another one, drawn anew each time."""

    needs_classes = ""

    def rows_a_sample(self, n_classes: int) -> int:
        return 2

    def rows(self, inputs: Tensor, labels: Tensor, n_classes: int, rng: torch.Generator) -> Tensor:
        """Samples and negatives in turn; the labels are not looked at."""
        if len(inputs) < 2:
            raise DatasetError("a negative is made of two samples, but there is only one")
        order = torch.randperm(len(inputs), generator=rng)
        others = torch.empty_like(inputs)
        others[order] = inputs[order.roll(1)]  # one cycle through all samples: none is its own partner
        return torch.stack([inputs, self.negatives(inputs, others, rng)], dim=1).flatten(0, 1)

    @abstractmethod
    def negatives(self, inputs: Tensor, others: Tensor, rng: torch.Generator) -> Tensor:
        """Negatives of samples and other samples, all of shape (samples, n_inputs)."""


class SelfContrast(UnlabelledContrast):
    """A sample with itself is positive, with another one negative (Chen et al., Nat. Commun. 16, 5978, 2025).

    The paper adds the two, x + x against x + x'; here both are halved, which the encoder's gain undoes. So a
    positive row is the sample itself, and a prediction needs no row of another kind.
    """

    def negatives(self, inputs: Tensor, others: Tensor, rng: torch.Generator) -> Tensor:
        return (inputs + others) / 2


@dataclass(eq=False)
class Hybrids(WithOptions, UnlabelledContrast):
    """Negatives take some regions from one sample and the rest from another (Hinton 2022).

    The mask is white noise, blurred along every axis with [1/4, 1/2, 1/4] and cut at its median, so that each
    sample gives half: long-range correlations are wrong in a hybrid, short-range ones right.

    Attributes
    ----------
    image_shape
        Lengths of the axes that a sample's features run over, the last one fastest; none for one axis.
    blurs
        How often the noise is blurred; regions are about 2 sqrt(blurs) features long.
    """

    image_shape: Sequence[int] | None = option(None)
    blurs: int = option(6, Range("not be negative", lambda value: value >= 0))

    def fit(self, inputs: Tensor) -> None:
        if self.image_shape is not None and math.prod(self.image_shape) != inputs.shape[1]:
            raise ConfigError(
                f"image_shape {list(self.image_shape)} holds {math.prod(self.image_shape)} features, but the data "
                f"have {inputs.shape[1]}; leave it out for data on one axis"
            )

    def negatives(self, inputs: Tensor, others: Tensor, rng: torch.Generator) -> Tensor:
        return torch.where(self.masks(inputs.shape[0], inputs.shape[1], rng), inputs, others)

    def masks(self, samples: int, n_inputs: int, rng: torch.Generator) -> Tensor:
        """Which features come from the first sample: bool, shape (samples, n_inputs)."""
        noise = torch.randn(samples, *(self.image_shape or (n_inputs,)), generator=rng, dtype=torch.float64)
        for _ in range(self.blurs):
            for axis in range(1, noise.ndim):
                noise = blurred(noise, axis)
        noise = noise.flatten(1)
        return noise > noise.median(dim=1, keepdim=True).values


def blurred(values: Tensor, axis: int) -> Tensor:
    """Weights 1/4, 1/2, 1/4 along an axis; beyond an end stands the value at that end."""
    length = values.shape[axis]
    first, last = values.narrow(axis, 0, 1), values.narrow(axis, length - 1, 1)
    before = torch.cat([first, values.narrow(axis, 0, length - 1)], dim=axis)
    after = torch.cat([values.narrow(axis, 1, length - 1), last], dim=axis)
    return before / 4 + values / 2 + after / 4
