"""A softmax on the features of all stages, trained beside the maps: its error is what they learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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

    def __init__(self, sizes: Sequence[int], n_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_classes, sum(sizes), dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(n_classes, dtype=torch.float32))
        ends = torch.tensor(sizes, dtype=torch.int64).cumsum(0).tolist()
        self._columns = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    def judge(self, features: Tensor, labels: Tensor) -> Verdict:
        """Loss and error of features (rows, sum of sizes)."""
        with torch.no_grad():
            logarithms = torch.log_softmax(features @ self.weight.T + self.bias, dim=1)
            n_classes = len(self.bias)
            targets = torch.full_like(logarithms, LABEL_SMOOTHING / n_classes)
            targets[torch.arange(len(labels)), labels] += 1.0 - LABEL_SMOOTHING
            return Verdict(-(targets * logarithms).sum(dim=1), logarithms.exp() - targets)

    def feature_gradient(self, error: Tensor, stage: int) -> Tensor:
        """Derivative of each row's loss by the features of a stage, shape (rows, n_features)."""
        return error @ self.weight.detach()[:, self._columns[stage]]

    def set_gradient(self, features: Tensor, verdict: Verdict) -> None:
        """Derivative of the mean loss, for the optimiser."""
        self.weight.grad = verdict.error.T @ features / len(features)
        self.bias.grad = verdict.error.mean(dim=0)
