"""Hard negatives: wrong labels that the first physical layer itself finds probable."""

from __future__ import annotations

import torch
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.layers import Stage
from hwloop.registry import nearest
from hwloop.session import Session
from hwloop.training.magnitude import MOST_OF_SPREAD
from hwloop.training.plans import LabelOverlay
from hwloop.training.ridge import fit_ridge

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
        """The neutral row."""
        return 1

    def scout(self, stage: Stage, session: Session, inputs: Tensor, labels: Tensor, n_classes: int) -> None:
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


def label_overlay(negatives: str, wrong_labels: int | None) -> LabelOverlay:
    """The overlay with ``negatives`` ``"random"`` (``wrong_labels`` of them), ``"hard"`` or ``"all"``."""
    if negatives not in NEGATIVES:
        raise ConfigError(f"unknown negatives {negatives!r}: {nearest(negatives, NEGATIVES)}")
    if negatives == "hard":
        return HardLabels()
    return LabelOverlay(None if negatives == "all" else wrong_labels)
