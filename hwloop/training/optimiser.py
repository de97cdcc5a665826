"""How digital weights are found: AdamW, updates by an estimated gradient, ridge regression in closed form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from hwloop.device.spec import Float64Array
from hwloop.training.options import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Settings, WithOptions, option


@dataclass(frozen=True)
class AdamSettings(Settings):
    """How a stage's digital map is trained by AdamW (Loshchilov & Hutter 2019) on stored features.

    Attributes
    ----------
    epochs
        Passes over the training rows.
    min_steps
        Steps that even a small training set gets.
    batch_samples
        Training samples a step.
    lr
        Peak learning rate of the one-cycle schedule (Smith & Topin 2018).
    weight_decay
        Decoupled decay, multiplied by the learning rate in each step.
    response_noise
        Standard deviation of the noise added to stored, standardised responses while training, in units of a
        channel's standard deviation. It stands for the device's noise and more, and costs no row.
    device_spread
        How much another device may differ, as the share of another channel that each channel takes in while
        training. Every step tries two such devices and learns from the worse; it costs no row.
    averaged_share
        Share of the steps, the last ones, over which the weights are averaged (Izmailov et al. 2018).
    """

    epochs: int = option(30, COUNT)
    min_steps: int = option(300, COUNT)
    batch_samples: int = option(128, COUNT)
    lr: float = option(0.01, POSITIVE)
    weight_decay: float = option(1.0, NOT_NEGATIVE)
    response_noise: float = option(0.4, NOT_NEGATIVE)
    device_spread: float = option(0.0, NOT_NEGATIVE)
    averaged_share: float = option(0.0, SHARE)

    def steps(self, samples: int) -> int:
        """Steps of a whole training."""
        return max(self.min_steps, self.epochs * -(-samples // self.batch_samples))


def one_cycle_adamw(
    parameters: list[nn.Parameter], settings: AdamSettings, steps: int
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """AdamW whose learning rate rises over the first tenth and falls to zero at the last step."""
    optimiser = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=settings.lr,
        total_steps=max(11, steps),  # with ten, the rise would end at step 0: torch divides by zero
        pct_start=0.1,
    )
    return optimiser, schedule


def shuffled_batches(samples: int, batch: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of sample numbers; each pass over the samples is a new permutation."""
    batch = min(batch, samples)
    while True:
        order = torch.randperm(samples, generator=rng)
        for start in range(0, samples - batch + 1, batch):
            yield order[start : start + batch]


class ResponseNoise:
    """Gaussian noise drawn once and read from random offsets: fresh draws would take most of a step's time."""

    def __init__(self, std: float, values: int, rng: torch.Generator) -> None:
        self._pool = std * torch.randn(2 * values, generator=rng, dtype=torch.float32) if std > 0 else None
        self._rng = rng

    def added_to(self, features: Tensor) -> Tensor:
        """The features with noise, shape unchanged; at most as many values as announced."""
        if self._pool is None:
            return features
        count = features.numel()
        start = int(torch.randint(len(self._pool) - count + 1, (), generator=self._rng))
        return features + self._pool[start : start + count].view_as(features)


class OtherDevices:
    """Features as other devices of the kind might give them: each channel takes in a share of another's.

    Of two such devices, which differ from the measured one in opposite ways, the worse is found by two forward
    passes: sharpness-aware (Foret et al., ICLR 2021) in what the device does in the place of the weights.
    """

    def __init__(self, share: float, rng: torch.Generator) -> None:
        self._share, self._rng = share, rng

    def worse(self, features: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Features (rows, n) of the device with the larger ``loss``; with a share of 0 those that were given."""
        if self._share == 0:
            return features
        channels = features.shape[1]
        other = torch.randperm(channels, generator=self._rng)
        sign = 2.0 * torch.randint(2, (channels,), generator=self._rng).to(features.dtype) - 1.0
        taken_in = self._share * sign * features[:, other]
        candidates = (features + taken_in, features - taken_in)
        with torch.no_grad():
            losses = [float(loss(each)) for each in candidates]
        return candidates[int(losses[1] > losses[0])]


class AveragedWeights:
    """The mean of parameters over the last steps of a training; nothing is kept for a share of 0."""

    def __init__(self, parameters: list[nn.Parameter], share: float, steps: int) -> None:
        self._parameters = parameters
        self._first = steps - round(share * steps)
        self._sums = [torch.zeros_like(each, dtype=torch.float64) for each in parameters]
        self._taken = self._count = 0

    def step(self) -> None:
        """Called after each step."""
        self._taken += 1
        if self._taken > self._first:
            self._count += 1
            for total, each in zip(self._sums, self._parameters, strict=True):
                total += each.detach()

    def put_in_place(self) -> None:
        """Give the parameters their means."""
        if self._count:
            with torch.no_grad():
                for total, each in zip(self._sums, self._parameters, strict=True):
                    each.copy_(total / self._count)


MOMENTUM = 0.9
RISE = 0.1  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class MapGradient:
    """Estimated derivative of the mean loss by a map's weight (width, n_features) and bias (width,)."""

    weight: Tensor
    bias: Tensor


class Updater(ABC):
    """Updates one map.

    Attributes
    ----------
    optimiser, rate
        All that it remembers from step to step, for checkpoints; a fit whose updater has no ``rate`` is executed
        again from its start.
    """

    optimiser: torch.optim.Optimizer
    rate: LRScheduler | None = None

    @abstractmethod
    def step(self, gradient: MapGradient) -> None:
        """One update."""


@dataclass(frozen=True)
class Update(WithOptions, ABC):
    """Makes the updater of every map.

    Attributes
    ----------
    lr
        Peak learning rate of the maps' one-cycle schedule (Smith & Topin 2018).
    """

    lr: float = option(0.003, POSITIVE)

    @abstractmethod
    def start(self, linear: nn.Linear, steps: int) -> Updater:
        """An updater for a map that will take so many steps."""


class _ByOptimiser(Updater):
    """Hands the gradient to a torch optimiser."""

    rate: LRScheduler

    def __init__(self, linear: nn.Linear, optimiser: torch.optim.Optimizer, rate: LRScheduler) -> None:
        self._linear, self.optimiser, self.rate = linear, optimiser, rate

    def step(self, gradient: MapGradient) -> None:
        self._linear.weight.grad, self._linear.bias.grad = self.direction(gradient)
        self.optimiser.step()
        self.rate.step()

    def direction(self, gradient: MapGradient) -> tuple[Tensor, Tensor]:
        """What the optimiser descends along."""
        return gradient.weight, gradient.bias


class _BySign(_ByOptimiser):
    def direction(self, gradient: MapGradient) -> tuple[Tensor, Tensor]:
        return gradient.weight.sign(), gradient.bias.sign()


@dataclass(frozen=True)
class Adam(Update):
    """AdamW.

    Attributes
    ----------
    weight_decay
        Decoupled decay, multiplied by the learning rate in each step.
    """

    weight_decay: float = option(1.0, NOT_NEGATIVE)

    def start(self, linear: nn.Linear, steps: int) -> Updater:
        settings = AdamSettings(lr=self.lr, weight_decay=self.weight_decay)
        return _ByOptimiser(linear, *one_cycle_adamw(list(linear.parameters()), settings, steps))


@dataclass(frozen=True)
class GradientDescent(Update):
    """Plain steps with momentum 0.9."""

    def start(self, linear: nn.Linear, steps: int) -> Updater:
        """Stochastic gradient descent on weight and bias."""
        return _ByOptimiser(linear, *_one_cycle_sgd(linear, self.lr, MOMENTUM, steps))


@dataclass(frozen=True)
class SignDescent(Update):
    """Steps of one size, along the sign of the gradient (signSGD, Bernstein et al., ICML 2018)."""

    def start(self, linear: nn.Linear, steps: int) -> Updater:
        """The sign of each entry, without momentum."""
        return _BySign(linear, *_one_cycle_sgd(linear, self.lr, 0.0, steps))


@dataclass(frozen=True)
class FixedStep(Update):
    """Plain steps of one learning rate, without momentum: for a rule that has tried the step itself."""

    def start(self, linear: nn.Linear, steps: int) -> Updater:
        """Gradient descent whose learning rate never changes."""
        optimiser = torch.optim.SGD(linear.parameters(), lr=self.lr)
        return _ByOptimiser(linear, optimiser, torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0))


def _one_cycle_sgd(
    linear: nn.Linear, lr: float, momentum: float, steps: int
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    optimiser = torch.optim.SGD(linear.parameters(), lr=lr, momentum=momentum)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=lr, total_steps=max(11, steps), pct_start=RISE, cycle_momentum=False
    )
    return optimiser, rate


STRENGTHS = np.logspace(-3, 5, 33)


@dataclass(frozen=True)
class Ridge:
    """Coefficients (features, targets), intercepts (targets,), chosen strength and leave-one-out error."""

    weight: Float64Array
    bias: Float64Array
    strength: float
    leave_one_out_error: float


def fit_ridge(
    features: Float64Array,
    targets: Float64Array,
    strengths: Float64Array = STRENGTHS,
    weights: Float64Array | None = None,
) -> Ridge:
    """Minimise |F w + b - y|^2 + strength |w|^2, with the strength of the least leave-one-out error.

    One eigendecomposition of the smaller Gram matrix serves every strength: with F = U S V^T (centred), the
    hat matrix is U diag(s^2 / (s^2 + strength)) U^T + 1/n, and a row's leave-one-out residual is its residual
    over one minus its leverage (Golub, Heath and Wahba, Technometrics 21, 215, 1979).

    Parameters
    ----------
    features
        Shape (rows, features).
    targets
        Shape (rows, targets).
    weights
        Above zero, shape (rows,): what a row's squared error counts. Whole rows are left out.
    """
    if weights is not None:
        return _fit_weighted_ridge(features, targets, strengths, weights)
    rows = len(features)
    centre, mean = features.mean(axis=0), targets.mean(axis=0)
    f, y = features - centre, targets - mean
    left, singular, right = _thin_svd(f)
    projected = left.T @ y
    best: tuple[float, float] | None = None
    for strength in strengths:
        kept = singular**2 / (singular**2 + strength)
        residuals = y - left @ (kept[:, None] * projected)
        leverage = np.square(left) @ kept + 1.0 / rows
        error = float(np.mean(np.square(residuals / np.maximum(1.0 - leverage, 1e-9)[:, None])))
        if best is None or error < best[0]:
            best = (error, float(strength))
    assert best is not None
    weight = right @ ((singular / (singular**2 + best[1]))[:, None] * projected)
    return Ridge(weight, mean - centre @ weight, best[1], best[0])


def _fit_weighted_ridge(
    features: Float64Array, targets: Float64Array, strengths: Float64Array, weights: Float64Array
) -> Ridge:
    """The same of rows times the root of their weights."""
    total, root = float(weights.sum()), np.sqrt(weights)[:, None]
    centre, mean = weights @ features / total, weights @ targets / total
    f, y = root * (features - centre), root * (targets - mean)
    left, singular, right = _thin_svd(f)
    projected = left.T @ y
    errors = []
    for strength in strengths:
        kept = singular**2 / (singular**2 + strength)
        residuals = y - left @ (kept[:, None] * projected)
        leverage = np.square(left) @ kept + weights / total
        squares = np.square(residuals / np.maximum(1.0 - leverage, 1e-9)[:, None])
        errors.append(float(squares.sum() / (total * targets.shape[1])))
    best = int(np.argmin(errors))
    strength = float(strengths[best])
    weight = right @ ((singular / (singular**2 + strength))[:, None] * projected)
    return Ridge(weight, mean - centre @ weight, strength, errors[best])


def _thin_svd(f: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """U (rows, r), s (r,), V (features, r) by the smaller Gram matrix, without its null space."""
    tall = f.shape[0] >= f.shape[1]
    values, vectors = eigh(f.T @ f if tall else f @ f.T)
    keep = values > max(values[-1], 0.0) * 1e-12
    singular, vectors = np.sqrt(values[keep]), vectors[:, keep]
    other = (f @ vectors if tall else f.T @ vectors) / singular
    return (other, singular, vectors) if tall else (vectors, singular, other)
