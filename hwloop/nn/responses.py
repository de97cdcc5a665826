"""What a physical layer makes of its device's responses: the choices of its ``standardise``."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from hwloop.errors import ConfigError
from hwloop.layers.standardise import RESOLUTION, Standardiser

MOMENTUM = 0.1  # of a batch in the running figures, as in torch's BatchNorm
EPSILON = 1e-8  # added to a variance, in units of the mean variance of all outputs: a device has any unit


class ResponseScaling(nn.Module):
    """Maps responses (rows, n_outputs), float64, to features of the same shape, with a gradient.

    Parameters
    ----------
    n_outputs
        Of the device.
    """

    fewest_rows = 1  # of a training batch
    is_fitted_to_rows = True

    def __init__(self, n_outputs: int) -> None:
        super().__init__()

    @property
    def is_known(self) -> bool:
        """Whether rows in evaluation mode can be scaled without regard to each other."""
        return True

    def fit(self, responses: Tensor) -> None:
        """Forget what was fitted, and fit to training rows (rows, n_outputs)."""

    @abstractmethod
    def forward(self, responses: Tensor) -> Tensor:
        """Features; in training mode it may take note of the batch."""


class RawResponses(ResponseScaling):
    """``"none"``: responses as the device gives them, in its unit."""

    is_fitted_to_rows = False

    def forward(self, responses: Tensor) -> Tensor:
        return responses


class FittedResponses(ResponseScaling):
    """``"fitted"``: zero mean, unit variance on the first training batch, and the same map ever after.

    An output that does not vary in that batch becomes zero: fit to more rows (:meth:`PhysicalLayer.fit`) than a
    small batch has.
    """

    known: Tensor
    fewest_rows = 2

    def __init__(self, n_outputs: int) -> None:
        super().__init__(n_outputs)
        self.standardiser = Standardiser(n_outputs)
        self.register_buffer("known", torch.zeros((), dtype=torch.bool))

    @property
    def is_known(self) -> bool:
        return bool(self.known)

    def fit(self, responses: Tensor) -> None:
        self.standardiser.fit(responses)
        self.known = torch.ones((), dtype=torch.bool)

    def forward(self, responses: Tensor) -> Tensor:
        if self.training and not self.known:
            self.fit(responses.detach())
        scaling = self.standardiser
        if not self.known:  # evaluated before any training: by these rows, for this once
            scaling = Standardiser(responses.shape[1])
            scaling.fit(responses.detach())
        return (responses - scaling.mean) * scaling.inverse_std


class BatchResponses(ResponseScaling):
    """``"batch"``: as ``torch.nn.BatchNorm1d(affine=False)``.

    In training mode a batch is standardised by its own mean and variance, with the gradient through both; in
    evaluation mode by the running ones, so that a row does not depend on the rows beside it. Two things differ,
    because a device has any unit: epsilon counts in units of the mean variance of all outputs, and the running
    figures begin with the first batch, not with 0 and 1.
    """

    mean: Tensor
    var: Tensor
    batches: Tensor
    fewest_rows = 2

    def __init__(self, n_outputs: int) -> None:
        super().__init__(n_outputs)
        self.register_buffer("mean", torch.zeros(n_outputs, dtype=torch.float64))
        self.register_buffer("var", torch.ones(n_outputs, dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @property
    def is_known(self) -> bool:
        return bool(self.batches)

    def fit(self, responses: Tensor) -> None:
        self.batches = torch.zeros_like(self.batches)
        self._note(responses)

    def forward(self, responses: Tensor) -> Tensor:
        if self.training or not self.batches:
            mean, var = responses.mean(dim=0), responses.var(dim=0, correction=0)
        else:
            mean, var = self.mean, self.var
        if self.training:
            self._note(responses.detach())
        return (responses - mean) * _inverse_std(mean, var)

    def _note(self, responses: Tensor) -> None:
        self.batches = self.batches + 1
        share = max(MOMENTUM, 1 / int(self.batches))
        self.mean = self.mean + share * (responses.mean(dim=0) - self.mean)
        self.var = self.var + share * (responses.var(dim=0) - self.var)


def _inverse_std(mean: Tensor, var: Tensor) -> Tensor:
    """Zero for outputs that vary by rounding alone."""
    known = var.detach()
    varies = known.sqrt() > RESOLUTION * mean.detach().abs().clamp_min(1e-30)
    safe = torch.where(varies, var + EPSILON * known.mean(), 1.0)
    return torch.where(varies, safe.rsqrt(), 0.0)


STANDARDISATIONS: dict[str, type[ResponseScaling]] = {
    "batch": BatchResponses,
    "fitted": FittedResponses,
    "none": RawResponses,
}


def require_rows(scaling: ResponseScaling, rows: int) -> None:
    """Refuse a batch that is too small to be standardised by, before it is measured.

    Raises
    ------
    ConfigError
    """
    if rows >= scaling.fewest_rows:
        return
    if scaling.training:
        raise ConfigError(
            f"a training batch of {rows} row cannot be standardised, as in BatchNorm; leave the last, small batch "
            'out (DataLoader(drop_last=True)), or take standardise="none"'
        )
    if not scaling.is_known:
        raise ConfigError(
            f"a physical layer is evaluated before it has seen a training batch, and {rows} row alone cannot be "
            'standardised; train the layer, load a state, fit it to rows, layer.fit(x), or take standardise="none"'
        )
