"""Perturbation trainers: a map learns from what a small change, there and back, does to the measured loss."""

from __future__ import annotations

from collections.abc import Callable

from hwloop.errors import ConfigError
from hwloop.training.optimiser import Adam, FixedStep, GradientDescent, SignDescent, Update
from hwloop.training.options import chosen
from hwloop.training.rules.output_error import ErrorRule
from hwloop.training.rules.perturbation import (
    ClientPerturbation,
    ConservativePerturbation,
    Gaussians,
    NodePerturbation,
    Signs,
    WeightPerturbation,
)
from hwloop.training.schedules.output_error import OutputErrorSettings
from hwloop.training.trainers import offering
from hwloop.training.trainers.output_error import Learning, learns_from_output_error
from hwloop.training.tuning import Choice, LogRange

# By update: how the gradient is estimated and used, from (perturbation, lr, weight decay); and its own lr.
Strategy = Callable[[WeightPerturbation, float, float], tuple[ErrorRule, Update]]
STRATEGIES: dict[str, tuple[Strategy, float]] = {
    "sgd": (lambda changes, lr, decay: (changes, GradientDescent(lr)), 0.03),
    "sign": (lambda changes, lr, decay: (changes, SignDescent(lr)), 1e-3),
    "adam": (lambda changes, lr, decay: (changes, Adam(lr, decay)), 3e-3),
    "conservative": (
        lambda changes, lr, decay: (ConservativePerturbation(changes.codes, changes.size, lr=lr), FixedStep(lr)),
        0.1,
    ),
}


@learns_from_output_error(
    learns='the loss at device inputs moved there and back; `directions="local"`: half of it a local head\'s '
    "gradient",
    later="2 E + 1",
    tuned={"lr": LogRange(3e-4, 3e-2), "size": Choice((0.1, 0.2, 0.4))},
)
def node_perturbation(rule: NodePerturbation = NodePerturbation(), update: Adam = Adam(lr=1e-3)) -> Learning:
    """Node perturbation, a forward gradient through the device; 2 epochs + 1 rows a sample a later stage.

    Every device after the first is asked with its inputs moved by +u and by -u, in all stages at once; a sample's
    dL/dz_l is estimated as (L+ - L-) / 2 u_l / |u_l|^2 (times the width), and dW = dL/dz f^T. Batch and pair see
    the same maps, and the noise of the device is all that is between them.

    Needs nothing of the device.

    Source: Williams, Machine Learning 8, 229 (1992); forward gradients: Ren, Kornblith, Liao and Hinton, ICLR
    2023; guesses: Fournier et al., ICML 2023.
    """
    return rule, update


@learns_from_output_error(
    learns="the loss at weights moved by random signs there and back",
    later="2 E + 1",
    tuned={
        "lr": LogRange(3e-4, 3e-2),
        "size": Choice((0.1, 0.3, 1.0)),
        "groups": Choice((1, 4)),
        "batch_samples": Choice((64, 128)),
    },
)
def spsa(
    rule: WeightPerturbation = offering(WeightPerturbation(Signs()), "size", "groups"), update: Adam = Adam()
) -> Learning:
    """SPSA: a random sign a weight, dW = (L(W + c D) - L(W - c D)) / 2c D; 2 epochs + 1 rows a later stage.

    A batch is measured with all maps changed by +c D and by -c D, D of random signs; the difference of the two
    losses is the derivative along D, and D times it an unbiased estimate of the gradient, for Adam. ``size`` is c,
    and ``groups`` is 1 as published.

    Needs nothing of the device.

    Source: Spall, IEEE Trans. Automatic Control 37, 332 (1992).
    """
    return rule, update


@learns_from_output_error(
    learns="the same with signs of its own for every sample, integrated over a batch",
    later="2 E + 1",
    tuned={"lr": LogRange(1e-3, 1.0), "size": Choice((0.1, 0.3, 1.0))},
)
def mgd(
    rule: WeightPerturbation = offering(WeightPerturbation(Signs(), groups=0), "size", codes="groups"),
    update: GradientDescent = GradientDescent(lr=0.1),
) -> Learning:
    """Multiplexed gradient descent: W -= lr sum over codes of (L+ - L-) / 2c D; 2 epochs + 1 rows a later stage.

    All weights are perturbed at once, each with a code of its own: random signs that change with every sample. The
    loss, one number, is correlated with every code; the correlations are integrated over a batch, and W descends
    along them, with momentum. The perturbation's time constant is a sample, the update's a batch. ``size`` is c,
    ``codes`` are the codes a batch, and ``weight_decay`` is the head's.

    Needs nothing of the device.

    Source: McCaughan et al., APL Machine Learning 1, 026118 (2023).
    """
    return rule, update


@learns_from_output_error(
    learns='Gaussian changes; `update="sgd"`, `"sign"`, `"adam"` or `"conservative"`',
    later="2 `pairs` E + 1; conservative 5 E + 1",
    tuned={"update": Choice(tuple(STRATEGIES)), "size": Choice((0.1, 0.3, 1.0))},
)
def zo(
    settings: OutputErrorSettings,
    rule: WeightPerturbation = offering(WeightPerturbation(Gaussians()), "size", "pairs"),
    *,
    update: str = "adam",
    lr: float | None = None,
) -> Learning:
    """Zeroth order: G = (L(W + c U) - L(W - c U)) / 2c U, U Gaussian; 2 pairs epochs + 1 rows a later stage.

    ``size`` is c; every pair of directions U a batch costs two rows a sample.

    Needs nothing of the device.

    Source: Ghadimi and Lan, SIAM J. Optim. 23, 2341 (2013); Liu et al., "signSGD via zeroth-order oracle",
    ICLR 2019; Chen et al., "ZO-AdaMM", NeurIPS 2019; Zhang et al., ICML 2024, for the conservative update;
    Feng et al., "ZeroFlow" (2025), for the set.

    Parameters
    ----------
    update
        ``"sgd"``: W -= lr G, with momentum; ``"sign"``: W -= lr sign(G); ``"adam"``; ``"conservative"``: of
        W - lr G, W and W + lr G the one whose loss on the batch, measured, is the least: three rows more a sample
        and epoch, and one pair.
    lr
        ``None`` for the update's own.
    """
    make, own_lr = chosen("update", update, STRATEGIES)
    if update == "conservative" and rule.pairs != 1:
        raise ConfigError(f"a conservative update takes one pair of directions, not {rule.pairs}; leave pairs out")
    return make(rule, own_lr if lr is None else lr, settings.weight_decay)


@learns_from_output_error(
    learns="`pairs` Gaussian changes that all clients measure, losses averaged",
    later="2 `pairs` E + 1",
    tuned={"lr": LogRange(3e-4, 3e-2), "pairs": Choice((1, 2, 4))},
)
def baffle(
    rule: ClientPerturbation = offering(ClientPerturbation(Gaussians(), pairs=2), "clients", "pairs", "size"),
    update: Adam = Adam(),
) -> Learning:
    """BAFFLE: dW = mean over K changes of (L(W + c U) - L(W - c U)) / 2c U; 2 K epochs + 1 rows a later stage.

    In each round the clients are told W and the seed of K Gaussian changes U, and answer with the differences of
    their own samples' losses; the server averages these. K is ``pairs``, and ``size`` is c. One device measures
    for all clients, as many rows as theirs together, or each client's rows go to a device of its own, all at once:
    ``PhysicalNetwork(session, layers, clients=[...])``. The devices must be equal: they share the maps.

    Needs nothing of the device.

    Source: Feng et al., "BAFFLE: a baseline of backpropagation-free federated learning", ECCV 2024.
    """
    return rule, update
