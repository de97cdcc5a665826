"""PEPITA: a second forward pass whose input is modulated by the error of the first."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork
from hwloop.training.credit import OutputGradients
from hwloop.training.flight import Flight
from hwloop.training.magnitude import largest_spread
from hwloop.training.optimiser import AdamSettings
from hwloop.training.output_error import OutputErrorSettings
from hwloop.training.output_error_trainer import output_error_trainer
from hwloop.training.output_head import OutputHead, Verdict
from hwloop.training.trainer import Trainer
from hwloop.training.tuning import Choice, LogRange, tunable
from hwloop.training.updates import Adam


class InputModulation(OutputGradients):
    """dL/dz_l is taken to be what the error, added to the input, changes about the activity a(z_l).

    Parameters
    ----------
    size
        Root mean square of the modulation F e for an error of length 1, in units of the largest input's magnitude,
        or of the widest range of a feature where that is less.
    """

    second_variants = 1
    second_from_the_start = True

    resumable = True

    def __init__(self, size: float) -> None:
        if not 0 < size < math.inf:
            raise ConfigError(f"size must be positive and finite, not {size!r}")
        self._size = size

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """Draw F, (classes, n_features)."""
        self._stages = [stage for _, stage, _ in network]
        self._feedback = self._size * torch.randn(
            n_classes, network.n_features, generator=rng, dtype=torch.float64
        )

    def see_inputs(self, inputs: Tensor) -> None:
        """An offset is no magnitude."""
        self._largest = max(1e-30, largest_spread(inputs))

    def second(self, flight: Flight, verdict: Verdict, head: OutputHead) -> Flight:
        """The same samples, each with F e added."""
        second = Flight(flight.samples, flight.labels, stage=-1, earlier=flight)
        inputs, error = flight.inputs[0], verdict.error.to(torch.float64)
        scale = inputs.abs().max().clamp(1e-30, self._largest)
        second.inputs[0] = inputs - scale * error @ self._feedback
        return second

    def by_outputs(self, flight: Flight, verdict: Verdict, head: OutputHead) -> dict[int, Tensor]:
        """Activity in the plain pass minus that in the modulated one, in units of its standard deviation."""
        assert flight.earlier is not None
        found = {}
        for number, stage in enumerate(self._stages[:-1]):
            plain, modulated = (
                stage.activate(stage.linear(f.features[number])).detach() for f in (flight.earlier, flight)
            )
            found[number] = (plain - modulated) / plain.std().clamp_min(1e-30)
        return found


@tunable(lr=LogRange(1e-4, 1e-2), size=Choice((0.03, 0.1, 0.3)), fills_budget="epochs")
def pepita(
    *,
    size: float = 0.1,
    epochs: int = OutputErrorSettings.epochs,
    batch_samples: int = OutputErrorSettings.batch_samples,
    lr: float = 1e-3,
    head_lr: float = OutputErrorSettings.head_lr,
    weight_decay: float = AdamSettings.weight_decay,
    response_noise: float = OutputErrorSettings.response_noise,
    seed: int = 0,
) -> Trainer:
    """PEPITA: dW_l = (a_l - a_l') f_l'^T, a' measured with x - F e as input; 3 epochs + 2 rows for 2 stages.

    A batch is measured twice, as it is and with its error e, by a fixed random matrix F, added to the input. What
    that changes about a stage's activity a is taken for the gradient, times the modulated features. With a linear
    interface a is the output z itself; with a relu one an idle channel learns nothing, as in the paper.

    Parameters
    ----------
    size
        Root mean square of an entry of F, in units of the largest input.

    Rows: 1 + ``epochs`` a sample in the first stage, 2 ``epochs`` + 1 in each later one; 1 a stage to predict.
    Needs nothing of the device.

    Source: Dellaferrera and Kreiman, ICML 2022. See
    :class:`hwloop.training.output_error.OutputErrorSettings` for the other options; ``lr`` is that of the maps.
    """
    settings = OutputErrorSettings(epochs, batch_samples, head_lr, weight_decay, response_noise)
    return output_error_trainer(InputModulation(size), Adam(lr, weight_decay), settings, seed)
