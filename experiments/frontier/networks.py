"""Digital networks pruned to a budget: linear, with hidden layers, with a convolution. Many are trained at once.

Networks of one shape are one batched product. Their connections are pruned by magnitude while they train, from
all of them to those that the budget pays, along a cubic (Zhu and Gupta, arXiv:1710.01878); then what is left is
trained on.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hwloop.experiments.frontier.problem import Part, Problem
from hwloop.experiments.frontier.rival import RIVALS, Job, Model, Rival
from hwloop.torch_state import own_torch_state

STEPS, BATCH = 1500, 64
SMOOTHING = 0.05
PRUNED_FROM, PRUNED_UNTIL, PRUNINGS = 0.15, 0.65, 24  # of the steps; and how often connections are cut
RISE = 0.15  # of the steps in which the learning rate rises; then it falls to zero
# Moments of pruned connections decay to numbers too small for the processor's fast path: they become 0 in time.
FLUSHED, NOTHING = 100, 1e-25
HIDDEN = ((16,), (48,), (24, 12))  # few shapes, so that networks of all budgets train as one product
# Filters, their length and stride.
KERNELS = ((1, 5, 3), (2, 7, 4), (3, 9, 6), (4, 5, 3), (8, 7, 4))
LEAST_KERNEL = 16  # features, for a convolution to make sense


@dataclass(frozen=True)
class Shape:
    """Of a network: features, hidden widths, values; the first layer may be a convolution along the features."""

    features: int
    hidden: tuple[int, ...]
    values: int
    kernel: tuple[int, int, int] | None = None  # filters, length, stride

    @property
    def sizes(self) -> list[int]:
        """Of what enters each dense layer, and of what leaves the last."""
        first = self.features
        if self.kernel is not None:
            first = self.kernel[0] * self.places
        return [first, *self.hidden, self.values]

    @property
    def places(self) -> int:
        """Where the kernel lies along the features."""
        assert self.kernel is not None
        _, length, stride = self.kernel
        return (self.features - length) // stride + 1

    @property
    def kernel_cost(self) -> int:
        """Multiply-adds of the convolution."""
        return 0 if self.kernel is None else self.kernel[0] * self.kernel[1] * self.places


class Population(nn.Module):
    """Networks of one shape, each with its settings and its number of connections."""

    def __init__(self, shape: Shape, jobs: Sequence[Job]) -> None:
        super().__init__()
        self.shape, count = shape, len(jobs)
        rng = torch.Generator().manual_seed(jobs[0].seed)

        def drawn(*size: int, fan_in: int) -> Tensor:
            return torch.randn(count, *size, generator=rng, dtype=torch.float32) * math.sqrt(2.0 / fan_in)

        self.weights = [drawn(a, b, fan_in=a) for a, b in itertools.pairwise(shape.sizes)]
        self.biases = [torch.zeros(count, 1, b, dtype=torch.float32) for b in shape.sizes[1:]]
        self.masks = [torch.ones_like(weight) for weight in self.weights]
        if shape.kernel is not None:
            filters, length, _ = shape.kernel
            self.kernel = drawn(length, filters, fan_in=length)
            self.kernel_bias = torch.zeros(count, 1, filters, dtype=torch.float32)
        self.kept = torch.tensor([max(0, job.budget - shape.kernel_cost) for job in jobs])

    @property
    def trained(self) -> list[Tensor]:
        """What is learned."""
        extra = [] if self.shape.kernel is None else [self.kernel, self.kernel_bias]
        return [*self.weights, *self.biases, *extra]

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs (networks, n, values) for rows (networks, n, features)."""
        h = rows
        if self.shape.kernel is not None:
            _, length, stride = self.shape.kernel
            count, n, _ = rows.shape
            places = rows.unfold(2, length, stride).reshape(count, -1, length)  # of all rows, one after the other
            h = torch.relu(torch.baddbmm(self.kernel_bias, places, self.kernel)).reshape(count, n, -1)
        for number, (weight, mask, bias) in enumerate(zip(self.weights, self.masks, self.biases, strict=True)):
            h = torch.baddbmm(bias, torch.relu(h) if number else h, weight * mask)
        return h

    @torch.no_grad()
    def prune(self, share: float) -> None:
        """Keep the largest connections of each; ``share`` of the way from all of them to its own number."""
        scores = [
            (weight * mask).abs() * size**0.5
            for weight, mask, size in zip(self.weights, self.masks, self.shape.sizes, strict=False)
        ]
        flat = torch.cat([score.flatten(1) for score in scores], dim=1)
        total = flat.shape[1]
        left = (self.kept + (total - self.kept).clamp_min(0) * (1 - share) ** 3).ceil().clamp(1, total).long()
        least = flat.sort(dim=1, descending=True).values.gather(1, (left - 1)[:, None])[:, :, None]
        self.masks = [((score >= least) & (score > 0)).to(torch.float32) for score in scores]

    def without_dead_ends(self, number: int) -> list[Tensor]:
        """Masks of one network without connections of hidden units that nothing enters or nothing leaves."""
        masks = [mask[number].clone() for mask in self.masks]
        for _ in masks:
            for before, after in itertools.pairwise(masks):
                entered, left = before.any(dim=0), after.any(dim=1)
                before *= left.to(before.dtype)
                after *= entered[:, None].to(after.dtype)
        return masks


@own_torch_state()
def trained_together(shape: Shape, jobs: Sequence[Job], share: float) -> list[Model]:
    """Train networks of one shape, one a job."""
    population, problems = Population(shape, jobs), list({id(job.problem): job.problem for job in jobs}.values())
    rng = torch.Generator().manual_seed(1 + jobs[0].seed)
    rows = torch.cat([torch.from_numpy(p.train.rows).to(torch.float32) for p in problems])
    starts = np.cumsum([0, *(len(p.train.rows) for p in problems)])
    places = [[p is job.problem for p in problems].index(True) for job in jobs]
    first = torch.tensor([int(starts[k]) for k in places])[:, None]
    sizes = torch.tensor([len(job.problem.train.rows) for job in jobs], dtype=torch.float32)[:, None]
    targets = torch.cat([torch.from_numpy(np.array(p.task.numbers(p.train.samples.targets))) for p in problems])
    task, steps = jobs[0].problem.task, max(20, round(share * STEPS))

    def each(name: str) -> Tensor:
        return torch.tensor([float(job.settings[name]) for job in jobs])[:, None, None]

    noise, loss_scale = each("noise"), len(jobs)
    optimiser = _Adam(population.trained, each("lr"), each("weight_decay"))
    cut = set(np.linspace(PRUNED_FROM * steps, PRUNED_UNTIL * steps, PRUNINGS).astype(int).tolist())
    for step in range(steps):
        part = first + (torch.rand(len(jobs), BATCH, generator=rng) * sizes).long()
        seen = rows[part] + noise * torch.randn(BATCH, shape.features, generator=rng)
        for parameter in population.trained:
            parameter.requires_grad_(True)
        outputs = population(seen).flatten(0, 1)
        loss = task.loss(outputs, targets[part].flatten(0, 1), SMOOTHING) * loss_scale
        gradients = torch.autograd.grad(loss, population.trained)
        for parameter in population.trained:
            parameter.requires_grad_(False)
        optimiser.step(gradients, step, steps)
        if step in cut:
            done = min(1.0, max(0.0, (step / steps - PRUNED_FROM) / (PRUNED_UNTIL - PRUNED_FROM)))
            population.prune(1.0 if step == max(cut) else done)
    return [Network(population, number) for number in range(len(jobs))]


class _Adam:
    """AdamW of many networks at once, each with its own learning rate and decay (Loshchilov and Hutter 2019)."""

    def __init__(self, parameters: list[Tensor], lr: Tensor, decay: Tensor) -> None:
        self.parameters, self.lr, self.decay = parameters, lr, decay
        self.first = [torch.zeros_like(p) for p in parameters]
        self.second = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], number: int, of: int) -> None:
        """One update; the learning rate rises, and falls to zero at the last."""
        at = (number + 1) / of
        factor = at / RISE if at < RISE else 0.5 * (1 + np.cos(np.pi * (at - RISE) / (1 - RISE)))
        correct = (1 - 0.999 ** (number + 1)) ** 0.5 / (1 - 0.9 ** (number + 1))
        for parameter, gradient, first, second in zip(
            self.parameters, gradients, self.first, self.second, strict=True
        ):
            lr = factor * self.lr.reshape(-1, *[1] * (parameter.ndim - 1))
            decay = self.decay.reshape(lr.shape)
            first.mul_(0.9).add_(gradient, alpha=0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            parameter.mul_(1 - lr * decay).sub_(lr * correct * first / (second.sqrt() + 1e-8))
            if number % FLUSHED == 0:
                for moment in (first, second):
                    moment[moment.abs() < NOTHING] = 0.0


class Network(Model):
    """One network of a population."""

    def __init__(self, population: Population, number: int) -> None:
        shape = self._shape = population.shape
        masks = population.without_dead_ends(number)
        weights, biases = population.weights, population.biases
        self._layers = [
            (weight[number] * mask, bias[number, 0].clone())
            for weight, mask, bias in zip(weights, masks, biases, strict=True)
        ]
        self._kernel: tuple[Tensor, Tensor] | None = None
        if shape.kernel is not None:
            self._kernel = population.kernel[number].clone(), population.kernel_bias[number, 0].clone()
        self.multiply_adds = shape.kernel_cost + sum(int(torch.count_nonzero(w)) for w, _ in self._layers)

    @own_torch_state()
    def predicted(self, problem: Problem, part: Part) -> NDArray[Any]:
        rows = torch.from_numpy(part.rows).to(torch.float32)
        with torch.no_grad():
            outputs = self.exported()(rows[:, None] if self._kernel is not None else rows)
        return problem.predicted(outputs.to(torch.float64).numpy(), part, fitted_to_codes=False)

    def exported(self) -> nn.Module:
        layers: list[nn.Module] = []
        if self._kernel is not None:
            weight, bias = self._kernel
            filters, length, stride = self._shape.kernel or (0, 0, 0)
            first = nn.Conv1d(1, filters, length, stride, dtype=torch.float32)
            first.weight.data, first.bias.data = weight.T[:, None].contiguous(), bias  # type: ignore[union-attr]
            layers += [first, nn.ReLU(), _PlacesFirst()]
        for number, (weight, bias) in enumerate(self._layers):
            layer = nn.Linear(weight.shape[0], weight.shape[1], dtype=torch.float32)
            layer.weight.data, layer.bias.data = weight.T.contiguous(), bias
            layers += [nn.ReLU(), layer] if number else [layer]
        return nn.Sequential(*layers)


class _PlacesFirst(nn.Module):
    """(n, filters, places) as (n, places * filters)."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows.transpose(1, 2).flatten(1)


class NetworkRival(Rival):
    """Networks that a budget prunes; their learning rate, decay and noise on the inputs are drawn."""

    rungs: ClassVar[Sequence[tuple[float, float]]] = ((0.12, 0.34), (0.4, 0.4), (1.0, 1.0))

    def suits(self, problem: Problem) -> bool:
        return not problem.series

    @abstractmethod
    def shapes(self, problem: Problem, budget: int) -> list[Shape]:
        """To draw from."""

    def settings(
        self, problem: Problem, budget: int, trials: int, rng: np.random.Generator
    ) -> list[Mapping[str, Any]]:
        shapes = self.shapes(problem, budget)
        if not shapes:
            return []
        return [
            {
                "hidden": list(shape.hidden),
                "kernel": None if shape.kernel is None else list(shape.kernel),
                "lr": float(10 ** rng.uniform(-2.3, -1.5)),
                "weight_decay": float(10 ** rng.uniform(-2.5, 0.0)),
                "noise": float(rng.choice([0.0, 0.1, 0.3])),
            }
            for shape in itertools.islice(itertools.cycle(shapes), trials)
        ]

    def fit(self, jobs: Sequence[Job], share: float = 1.0) -> list[Model]:
        groups: dict[Shape, list[int]] = {}
        for number, job in enumerate(jobs):
            groups.setdefault(_shape_of(job), []).append(number)
        found: dict[int, Model] = {}
        for shape, members in groups.items():
            found |= dict(zip(members, trained_together(shape, [jobs[i] for i in members], share), strict=True))
        return [found[number] for number in range(len(jobs))]


def _shape_of(job: Job) -> Shape:
    kernel = job.settings["kernel"]
    return Shape(
        job.problem.n_features,
        tuple(job.settings["hidden"]),
        job.problem.n_values,
        None if kernel is None else (kernel[0], kernel[1], kernel[2]),
    )


class PrunedLinear(NetworkRival):
    """A linear model with as many weights as the budget pays."""

    key, name = "linear", "pruned linear model"

    def shapes(self, problem: Problem, budget: int) -> list[Shape]:
        return [Shape(problem.n_features, (), problem.n_values)]


class PrunedMLP(NetworkRival):
    """One or two hidden layers, of which the budget leaves some connections; units without any are none."""

    key, name = "mlp", "pruned MLP"

    def shapes(self, problem: Problem, budget: int) -> list[Shape]:
        return [Shape(problem.n_features, hidden, problem.n_values) for hidden in HIDDEN]


class Convolution(NetworkRival):
    """Filters along the features, as of a series or of pixels in a line, and a pruned dense layer."""

    key, name = "convolution", "small convolution"

    def suits(self, problem: Problem) -> bool:
        return super().suits(problem) and problem.n_features >= LEAST_KERNEL

    def shapes(self, problem: Problem, budget: int) -> list[Shape]:
        drawn = [Shape(problem.n_features, (), problem.n_values, kernel) for kernel in KERNELS]
        fitting = [shape for shape in drawn if shape.kernel_cost <= 0.6 * budget]
        return sorted(fitting, key=lambda shape: -shape.kernel_cost)[:4]


RIVALS += [PrunedLinear(), PrunedMLP(), Convolution()]
