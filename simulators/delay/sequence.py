"""What a stimulus means to a device with a delayed feedback: steps of a sequence, each masked over the nodes."""

from __future__ import annotations

import numpy as np

from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream

MASKS = ("binary", "uniform")


def checked_steps(n_inputs: int, sequence_length: int) -> int:
    """The steps of a row, which divide its inputs."""
    steps = whole_number("sequence_length", sequence_length, 1, n_inputs)
    if n_inputs % steps:
        fits = min((n for n in range(1, n_inputs + 1) if n_inputs % n == 0), key=lambda n: abs(n - steps))
        raise ValueError(
            f"sequence_length {steps} does not divide n_inputs {n_inputs} into steps of equal size; the nearest "
            f"allowed value is {fits}"
        )
    return steps


def check_excess(excess_nodes: int, n_nodes: int) -> None:
    """Refuse a delay of more than two cycles: further back the nodes of no cycle are kept."""
    if excess_nodes > n_nodes:
        raise ValueError(
            f"excess_nodes {excess_nodes} is more than a cycle of {n_nodes} nodes; the nearest allowed value is "
            f"{n_nodes}"
        )


def drawn_mask(kind: str, stream: NoiseStream, channels: int, nodes: int) -> Float64Array:
    """Real masks of unit mean square, shape (channels, nodes).

    ``"binary"`` has values +1 and -1, ``"uniform"`` in [-sqrt(3), sqrt(3)].
    """
    rng, shape = stream.at_row(0), (channels, nodes)
    if kind == "binary":
        return np.asarray(2.0 * rng.integers(0, 2, shape) - 1.0, dtype=np.float64)
    return np.asarray(rng.uniform(-np.sqrt(3), np.sqrt(3), shape))
