"""BAFFLE: federated learning by finite differences; clients send losses, never gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.training.optimiser import AdamSettings
from hwloop.training.output_error import OutputErrorSettings
from hwloop.training.output_error_trainer import output_error_trainer
from hwloop.training.trainer import Trainer
from hwloop.training.tuning import Choice, LogRange, tunable
from hwloop.training.updates import Adam
from hwloop.training.weight_perturbation import Gaussians, WeightPerturbation


class ClientPerturbation(WeightPerturbation):
    """All clients measure the same changes, each on samples of its own; their losses are averaged.

    Client c holds the samples c, c + clients, ...; every batch takes as many from each as it can.
    """

    def __init__(self, clients: int, size: float, pairs: int) -> None:
        if isinstance(clients, bool) or not isinstance(clients, int) or clients < 1:
            raise ConfigError(f"clients must be a whole number of at least 1, not {clients!r}")
        super().__init__(Gaussians(), size, pairs)
        self.clients = clients

    def order(self, samples: int, rng: torch.Generator) -> Tensor:
        """Each client's samples in an order of their own, one from each client in turn."""
        held = [torch.arange(client, samples, self.clients) for client in range(min(self.clients, samples))]
        shuffled = [own[torch.randperm(len(own), generator=rng)] for own in held]
        padded = torch.full((len(held[0]), len(held)), -1, dtype=torch.int64)
        for client, own in enumerate(shuffled):
            padded[: len(own), client] = own
        turns = padded.flatten()
        return turns[turns >= 0]


@tunable(lr=LogRange(3e-4, 3e-2), pairs=Choice((1, 2, 4)), fills_budget="epochs")
def baffle(
    *,
    clients: int = 4,
    pairs: int = 2,
    size: float = 0.3,
    epochs: int = OutputErrorSettings.epochs,
    batch_samples: int = OutputErrorSettings.batch_samples,
    lr: float = 3e-3,
    head_lr: float = OutputErrorSettings.head_lr,
    weight_decay: float = AdamSettings.weight_decay,
    response_noise: float = OutputErrorSettings.response_noise,
    seed: int = 0,
) -> Trainer:
    """BAFFLE: dW = mean over K changes of (L(W + c U) - L(W - c U)) / 2c U; 2 K epochs + 1 rows a later stage.

    In each round the clients are told W and the seed of K Gaussian changes U, and answer with the differences of
    their own samples' losses; the server averages these. One device measures for all clients, as many rows as
    theirs together, or each client's rows go to a device of its own, all at once:
    ``PhysicalNetwork(session, layers, clients=[...])``. The devices must be equal: they share the maps.

    Parameters
    ----------
    clients
        Among whom the samples are divided.
    pairs
        K, changes a round, each measured with both signs.
    size
        c, in units of the standard deviation of a freshly drawn weight.

    Rows: 1 a sample in the first stage, 2 ``pairs`` ``epochs`` + 1 in each later one; 1 a stage to predict. Needs
    nothing of the device.

    Source: Feng et al., "BAFFLE: a baseline of backpropagation-free federated learning", ECCV 2024. See
    :class:`hwloop.training.output_error.OutputErrorSettings` for the other options; ``lr`` is that of the maps.
    """
    settings = OutputErrorSettings(epochs, batch_samples, head_lr, weight_decay, response_noise)
    return output_error_trainer(ClientPerturbation(clients, size, pairs), Adam(lr, weight_decay), settings, seed)
