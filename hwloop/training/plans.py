"""Stimulus plans: which rows are measured for a training sample, and with which labels overlaid."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.layers import Stage
from hwloop.layers.encode import Encoder
from hwloop.session import Session
from hwloop.training.magnitude import amplitude


class StimulusPlan(ABC):
    """Turns training samples into the input rows of the first stage, sample after sample."""

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
        """Rows that :meth:`scout` measures a training sample, in the first stage alone."""
        return 0

    def scout(self, stage: Stage, session: Session, inputs: Tensor, labels: Tensor, n_classes: int) -> None:
        """Measure what the plan must know of the training samples before it can plan their rows."""

    @abstractmethod
    def rows(self, inputs: Tensor, labels: Tensor, n_classes: int, rng: torch.Generator) -> Tensor:
        """Planned rows, shape (samples * rows_a_sample, n_features), those of a sample side by side."""


class PlainRows(StimulusPlan):
    """Every sample once, as it is."""

    def rows_a_sample(self, n_classes: int) -> int:
        """One."""
        return 1

    def rows(self, inputs: Tensor, labels: Tensor, n_classes: int, rng: torch.Generator) -> Tensor:
        """The inputs."""
        return inputs


class LabelOverlay(StimulusPlan):
    """Every sample with its true label first, then with ``wrong_labels`` different wrong ones.

    A label is a one-hot code in extra features, its amplitude that of the training inputs
    (:func:`hwloop.training.magnitude.amplitude`): fixed at fit, never taken from a batch. Wrong labels are
    (y + k) mod K with k drawn from 1..K-1 without replacement, so none is ever the true one.

    Parameters
    ----------
    wrong_labels
        Wrong labels a sample, 1 to K - 1; ``None`` for all of them.
    """

    def __init__(self, wrong_labels: int | None = 1) -> None:
        if wrong_labels is not None and (not isinstance(wrong_labels, int) or wrong_labels < 1):
            raise ConfigError(f"wrong_labels must be a whole number (0 or none for all), not {wrong_labels!r}")
        self.wrong_labels = wrong_labels
        self.amplitude = 1.0

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
        """The data and a one-hot label."""
        return n_inputs + n_classes

    def fit(self, inputs: Tensor) -> None:
        """Fix the label's amplitude."""
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
