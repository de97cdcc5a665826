"""The yardstick: backpropagation through a simulation that tells its own derivative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from hwloop.device.differentiable import Differentiable
from hwloop.errors import ConfigError
from hwloop.layers import PhysicalNetwork
from hwloop.training.backward import PullBack, output_gradients
from hwloop.training.credit import OutputGradients
from hwloop.training.flight import Flight
from hwloop.training.optimiser import AdamSettings
from hwloop.training.output_error import OutputErrorSettings
from hwloop.training.output_error_trainer import output_error_trainer
from hwloop.training.output_head import OutputHead, Verdict
from hwloop.training.trainer import Trainer
from hwloop.training.tuning import Choice, LogRange, tunable
from hwloop.training.updates import Adam


class ExactGradient(OutputGradients):
    """The chain rule through every stage, with the derivative that the device itself tells."""

    resumable = True
    uses_model = "the simulated device's own derivative, which no hardware can tell"

    def check(self, network: PhysicalNetwork) -> None:
        """Every device after the first stage's must be a simulation with a derivative."""
        for number, _, session in network:
            if number > 0 and not isinstance(session.device, Differentiable):
                raise ConfigError(
                    f"exact-gradient needs the derivative of the device of stage {number + 1}, which "
                    f"{type(session.device).__name__} cannot tell: only simulations with a method pull_back can "
                    "(optical-fibre, relu-layer). Take a trainer that learns from measured rows alone, such as "
                    "local, or physics-aware, which fits a model to them"
                )

    def begin(self, network: PhysicalNetwork, n_classes: int, rng: torch.Generator) -> None:
        """The devices are the network's."""
        self._network = network
        self._pull_backs: list[PullBack] = [
            cast(Differentiable, session.device).pull_back for _, _, session in network
        ]

    def by_outputs(self, flight: Flight, verdict: Verdict, head: OutputHead) -> Mapping[int, Tensor]:
        """Backpropagation."""
        return output_gradients(self._network, flight, verdict, head, self._pull_backs)


@tunable(
    lr=LogRange(3e-4, 3e-2),
    batch_samples=Choice((32, 64, 128)),
    weight_decay=LogRange(0.03, 3.0),
    response_noise=Choice((0.1, 0.2, 0.4, 0.8)),
    interface_noise=Choice((0.0, 0.2, 0.4, 0.8)),
    fills_budget="epochs",
)
def exact_gradient(
    *,
    epochs: int = OutputErrorSettings.epochs,
    batch_samples: int = OutputErrorSettings.batch_samples,
    lr: float = 3e-3,
    head_lr: float = OutputErrorSettings.head_lr,
    weight_decay: float = AdamSettings.weight_decay,
    response_noise: float = OutputErrorSettings.response_noise,
    interface_noise: float = OutputErrorSettings.interface_noise,
    seed: int = 0,
) -> Trainer:
    """Exact gradients, the yardstick: backpropagation with the simulated device's own derivative.

    Forward through the device, noise and all; backward dL/dz_l = E^T J^T W'^T dL/dz_(l+1), J the derivative of the
    noiseless response and E of the encoder; dW = dL/dz f^T.

    Rows: 1 a sample in the first stage, ``epochs`` + 1 in each later one; 1 a stage to predict. Needs a device
    that tells its derivative, as only a simulation can. It uses a model, and every output says so.

    Source: Rumelhart, Hinton and Williams, Nature 323, 533 (1986). See
    :class:`hwloop.training.output_error.OutputErrorSettings` for the options; ``lr`` is that of the maps.
    """
    settings = OutputErrorSettings(epochs, batch_samples, head_lr, weight_decay, response_noise, interface_noise)
    return output_error_trainer(ExactGradient(), Adam(lr, weight_decay), settings, seed)
