"""Gradients of a physical layer in one PyTorch model: accuracy, rows, and agreement with the exact gradient.

Digits, 64 -> 32 -> a simulated fibre of 200 outputs -> 10; Adam at 0.01, batches of 100. ``none`` trains what is
behind the layer alone. Agreement is the cosine with the exact gradient by the first map's weights, before training
and after it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
import torch
from sizes import sized
from sklearn.datasets import load_digits
from table import print_table
from torch import Tensor, nn

from hwloop.nn import (
    ExactGradient,
    FeedbackGradient,
    LayerGradient,
    NoGradient,
    PerturbationGradient,
    PhysicalLayer,
    TwinGradient,
)

TRAINED = 1200
RULES: dict[str, Callable[[nn.Module], LayerGradient]] = {
    "none": lambda head: NoGradient(),
    "feedback": lambda head: FeedbackGradient(output=head),
    "perturbation": lambda head: PerturbationGradient(),
    "perturbation, 4 pairs": lambda head: PerturbationGradient(pairs=4),
    "twin (intensity)": lambda head: TwinGradient(rows=sized(300, short=40), twin="intensity"),
    "exact": lambda head: ExactGradient(),
}


def built(rule: Callable[[nn.Module], LayerGradient], seed: int, outputs: int) -> nn.Sequential:
    """The model; normalised activations stay in the range that the layer maps to the device's."""
    torch.manual_seed(seed)
    first, head = nn.Linear(64, 32), nn.Linear(outputs, 10)
    settings = {"n_outputs": outputs}
    layer = PhysicalLayer(
        "optical-fibre", 32, gradient=rule(head), input_range=(-3, 3), device_settings=settings, seed=seed
    )
    return nn.Sequential(first, nn.BatchNorm1d(32, affine=False), layer, head)


def first_gradient(model: nn.Sequential, rule: LayerGradient, x: Tensor, y: Tensor) -> Tensor:
    """Of the first map's weights by a rule; the model stays as it was, but for the running figures."""
    layer = model[2]
    kept, layer.gradient = layer.gradient, rule
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    found = model[0].weight.grad.clone()
    model.zero_grad()
    layer.gradient = kept
    return found


def agreement(model: nn.Sequential, x: Tensor, y: Tensor) -> float:
    """Cosine between the model's own gradient and the exact one."""
    if isinstance(model[2].gradient, NoGradient):
        return float("nan")
    own, exact = (first_gradient(model, rule, x, y) for rule in (model[2].gradient, ExactGradient()))
    return float(nn.functional.cosine_similarity(own.flatten(), exact.flatten(), dim=0))


def trained(name: str, seed: int, arguments: argparse.Namespace) -> tuple[float, float, float, int]:
    """Accuracy, agreement at both ends, and device rows of the training."""
    x, y = load_digits(return_X_y=True)
    inputs, labels = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
    model = built(RULES[name], seed, arguments.outputs)
    if name == "none":
        model[0].requires_grad_(False)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    begun = agreement(model, inputs[:100], labels[:100])
    before = model[2].ledger.total
    for _ in range(arguments.epochs):
        for rows in torch.randperm(TRAINED).split(100):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimiser.step()
    measured = model[2].ledger.total - before + model[2].gradient.first_rows
    ended = agreement(model, inputs[:100], labels[:100])
    model.eval()
    with torch.no_grad():
        right = model(inputs[TRAINED:]).argmax(dim=1) == labels[TRAINED:]
    return float(right.float().mean()), begun, ended, measured


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=sized(5, short=1))
    parser.add_argument("--outputs", type=int, default=sized(200, short=30))
    parser.add_argument("--seeds", type=int, default=sized(5, short=1))
    arguments = parser.parse_args()
    lines = []
    for name in RULES:
        found = np.array([trained(name, seed, arguments) for seed in range(arguments.seeds)])
        accuracy, begun, ended, rows = found.T
        spread = accuracy.std(ddof=1) if len(accuracy) > 1 else 0.0
        reached = f"{100 * accuracy.mean():.1f} ± {100 * spread:.1f}"
        agreed = ["–" if np.isnan(ends.mean()) else f"{ends.mean():.2f}" for ends in (begun, ended)]
        lines.append([name, reached, f"{rows.mean():,.0f}", *agreed])
        print(*lines[-1], file=sys.stderr, flush=True)
    header = ["gradient", "accuracy, %", "device rows", "agreement at first", "at the end"]
    print_table(f"digits, {arguments.epochs} epochs, {arguments.seeds} seeds", header, lines)
