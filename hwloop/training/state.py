"""Where a fit stands: what it needs, beside the network's own tensors, to go on from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from hwloop.errors import CheckpointError
from hwloop.layers import PhysicalNetwork
from hwloop.session.account import Place

# What a learning-rate schedule changes in a parameter group.
SCHEDULED = ("lr", "betas", "momentum")


def optimiser_tensors(prefix: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts, named ``prefix`` + parameter number + name."""
    return {
        f"{prefix}{parameter}.{name}": torch.as_tensor(value)
        for parameter, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def optimiser_values(optimiser: torch.optim.Optimizer, rate: LRScheduler | None) -> dict[str, Any]:
    """Present learning rates and momenta, and the steps that the schedule has taken; plain JSON values."""
    groups = [{name: group[name] for name in SCHEDULED if name in group} for group in optimiser.param_groups]
    return {"groups": groups, "steps": None if rate is None else rate.last_epoch}


def restore_optimiser(
    optimiser: torch.optim.Optimizer,
    rate: LRScheduler | None,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Any],
) -> None:
    """Put a fresh optimiser and its schedule where others stood.

    Parameters
    ----------
    tensors
        As :func:`optimiser_tensors` gave them, without their prefix.
    values
        As :func:`optimiser_values` gave them.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        parameter, _, name = key.partition(".")
        state.setdefault(int(parameter), {})[name] = tensor.clone()
    groups = optimiser.state_dict()["param_groups"]
    for group, saved in zip(groups, values["groups"], strict=True):
        group |= {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    if rate is not None:
        steps = int(values["steps"])
        rate.last_epoch = steps
        rate._step_count = steps + 1
        rate._last_lr = [group["lr"] for group in optimiser.param_groups]


RNG = "rng"


@dataclass(frozen=True)
class TrainingState:
    """A point between two steps of a fit at which network, random state and optimisers belong together.

    Attributes
    ----------
    point
        Number of this point in the fit, from 1.
    stage, epoch
        What has just ended, from 1: a stage, or an epoch of all stages; the other is ``None``.
    rng
        The generator of every random choice still to come.
    optimisers
        By stage, from 0; none where a stage's training is over.
    resumable
        Whether the schedule can go on from here. If not, this point only tells whether a fit that is executed
        again comes to the same weights.
    is_last
        Whether no point that can be gone on from follows.
    tensors, values
        Whatever else the schedule goes on from: tensors by name, made when asked for, and plain JSON values.
    places
        Where each session stands, in the order of ``network.distinct_sessions``. The fit enters it.
    history
        What each stage's training came to so far, as plain JSON values. The fit enters it.
    """

    point: int
    rng: torch.Generator
    stage: int | None = None
    epoch: int | None = None
    optimisers: Mapping[int, torch.optim.Optimizer] = field(default_factory=dict)
    resumable: bool = False
    is_last: bool = False
    tensors: Callable[[], Mapping[str, Tensor]] = dict
    values: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """In words that can be part of a file's name, such as ``stage-1``."""
        return f"stage-{self.stage}" if self.stage is not None else f"epoch-{self.epoch}"

    def all_tensors(self) -> dict[str, Tensor]:
        """Random state, optimisers and what the schedule adds, by name; copies, for training goes on."""
        found = {RNG: self.rng.get_state(), **{name: value.detach() for name, value in self.tensors().items()}}
        for stage, optimiser in self.optimisers.items():
            found |= optimiser_tensors(f"optimiser.{stage}.", optimiser)
        return {name: tensor.contiguous().clone() for name, tensor in found.items()}

    def as_dict(self) -> dict[str, Any]:
        """All but the tensors, as plain JSON values."""
        return {
            "point": self.point,
            "stage": self.stage,
            "epoch": self.epoch,
            "resumable": self.resumable,
            "values": dict(self.values),
            "places": [place.as_dict() for place in self.places],
            "history": list(self.history),
        }


@dataclass(frozen=True)
class SavedState:
    """A :class:`TrainingState` as it was saved, with the network's tensors of that moment.

    Attributes
    ----------
    network
        The network's own tensors by name.
    tensors
        Those of training: :data:`RNG`, optimisers, and what the schedule added.
    """

    point: int
    stage: int | None
    epoch: int | None
    resumable: bool
    network: Mapping[str, Tensor]
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    places: tuple[Place, ...]
    history: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(
        cls, described: Mapping[str, Any], network: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> SavedState:
        """From :meth:`TrainingState.as_dict` and the tensors.

        Raises
        ------
        CheckpointError
            The description is not whole: an earlier version wrote it, or it is none.
        """
        try:
            return cls(
                int(described["point"]),
                described["stage"],
                described["epoch"],
                bool(described["resumable"]),
                network,
                tensors,
                dict(described["values"]),
                tuple(Place.from_dict(place) for place in described["places"]),
                tuple(dict(stage) for stage in described["history"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"it does not hold where its fit stood ({type(error).__name__}: {error})"
            ) from error

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors of training whose names begin with ``prefix``, without it."""
        return part(self.tensors, prefix)

    def restore_network(self, network: PhysicalNetwork) -> None:
        """Put every encoder, standardiser and map where it stood; the network is built, and has no readout yet."""
        network.load_state_dict(self.network)

    def restored_stages(self, network: PhysicalNetwork) -> int:
        """The same, where stages are trained one after the other: how many of them are trained."""
        self.restore_network(network)
        return self.stage or 0

    def restore_rng(self, rng: torch.Generator) -> None:
        """Every random choice from here on is the one that followed the checkpoint."""
        rng.set_state(self.tensors[RNG])


Checkpoint = Callable[[TrainingState], None]


def keep_no_checkpoint(state: TrainingState) -> None:
    """The checkpoint of a fit that nobody wants to keep."""


def named(prefix: str, module: torch.nn.Module) -> dict[str, Tensor]:
    """The tensors of a module, each name with ``prefix`` before it."""
    return {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix``, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
