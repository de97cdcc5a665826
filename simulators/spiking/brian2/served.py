"""What a worker serves as the device ``spiking-brian2``'s engine: built from JSON and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from hwloop.simulators.spiking.brian2.engine import Brian2Engine
from hwloop.simulators.spiking.brian2.neuron_models import PER_NEURON, NeuronModel
from hwloop.simulators.spiking.engine import Window


def served_engine(
    *,
    neuron: Mapping[str, Any],
    window: Mapping[str, Any],
    target: str,
    noise_seed: Sequence[int],
    noise_scale: float,
    weights: NDArray[Any],
    bias: NDArray[Any],
    recurrent: NDArray[Any] | None = None,
    **per_neuron: NDArray[Any],
) -> Brian2Engine:
    """The engine, with its smallest block built: what Brian2 refuses is refused now, and compiled code is ready.

    Larger blocks have the same code, and are built in tenths of a second when first needed.
    """
    engine = Brian2Engine(
        NeuronModel(**neuron),
        weights,
        Window(**window),
        bias=bias,
        recurrent=recurrent,
        per_neuron={name.removeprefix(PER_NEURON): values for name, values in per_neuron.items()},
        target=target,
        noise_seed=noise_seed,
        noise_scale=noise_scale,
    )
    engine.build(engine.sizes[:1])
    return engine
