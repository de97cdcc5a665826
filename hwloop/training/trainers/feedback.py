"""Feedback trainers: the output's error goes straight to every stage's map, by random matrices."""

from __future__ import annotations

from hwloop.training.optimiser import Adam
from hwloop.training.rules.feedback import SLOPES, DirectFeedback, InputModulation, ProductFeedback
from hwloop.training.trainers.output_error import Learning, learns_from_output_error
from hwloop.training.tuning import Choice, LogRange


@learns_from_output_error(
    learns="the error through a fixed random matrix; `slope` in the place of the device's derivative",
    later="E + 1",
    tuned={"lr": LogRange(3e-4, 3e-2), "slope": Choice(tuple(SLOPES))},
)
def dfa(rule: DirectFeedback = DirectFeedback(), update: Adam = Adam(lr=1e-3)) -> Learning:
    """Augmented direct feedback alignment: dW_l = ((B_l e) g(z_l)) f^T; epochs + 1 rows a sample a later stage.

    e is the output's error, softmax minus target, and B_l a fixed random matrix for each stage: the maps and the
    head learn to agree with it. ``slope`` is g, fixed too, in place of the device's derivative.

    Needs nothing of the device.

    Source: Nøkland, NeurIPS 2016; on physical layers Nakajima et al., Nature Communications 13, 7847 (2022).
    """
    return rule, update


@learns_from_output_error(
    learns="the error through a fixed and a learned matrix",
    later="E + 1",
    tuned={"lr": LogRange(3e-4, 3e-2), "decay": Choice((0.001, 0.01, 0.1))},
)
def product_feedback(rule: ProductFeedback = ProductFeedback(), update: Adam = Adam(lr=1e-3)) -> Learning:
    """Product feedback alignment: dW_l = (R_l C_l e) f^T, R learned along; epochs + 1 rows a later stage.

    The output's error e goes straight to every stage through two matrices: C fixed and random, R learned by
    R -= rate z (C e)^T + decay R. In a digital layer R C comes to point along the transposed forward weight.
    Through a device, whose weights nobody knows, it points along the linear map from z to the output that gradient
    descent would learn in its place.

    Needs nothing of the device.

    Source: Li and Benna, "Deep learning without weight symmetry" (2024), here straight from the output.
    """
    return rule, update


@learns_from_output_error(
    learns="what the error, added to the input, changes about its activity (its output where the interface is "
    "linear)",
    rows="E + 1",
    later="2 E + 1",
    tuned={"lr": LogRange(1e-4, 1e-2), "size": Choice((0.03, 0.1, 0.3))},
)
def pepita(rule: InputModulation = InputModulation(), update: Adam = Adam(lr=1e-3)) -> Learning:
    """PEPITA: dW_l = (a_l - a_l') f_l'^T, a' measured with x - F e as input; 3 epochs + 2 rows for 2 stages.

    A batch is measured twice, as it is and with its error e, by a fixed random matrix F, added to the input. What
    that changes about a stage's activity a is taken for the gradient, times the modulated features. With a linear
    interface a is the output z itself; with a relu one an idle channel learns nothing, as in the paper.

    Needs nothing of the device.

    Source: Dellaferrera and Kreiman, ICML 2022.
    """
    return rule, update
