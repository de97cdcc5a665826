"""Does anything fire? Asked once when a network is opened, with the likely reason where the answer is no."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.simulators.nir.network import FeedForward

ALWAYS = 0.99  # of all steps
MOST_ROWS, CELLS = 16, 2**23  # neurons times steps times rows


def probe_stimuli(low: Float64Array, high: Float64Array, cells_a_row: int) -> Float64Array:
    """Random stimuli over the whole range, fewer of them for a large network; the last is at the upper limits."""
    rows = int(np.clip(CELLS // max(1, cells_a_row), 1, MOST_ROWS))
    return np.concatenate([np.random.default_rng(0).uniform(low, high, (rows, len(low))), high[np.newaxis]])


def silent_or_stuck(
    network: FeedForward,
    drive: NDArray[np.floating],
    kinds: Mapping[str, str],
    step_seconds: float,
    input_gain: float,
) -> Iterator[str]:
    """Notes on populations of which no neuron fires, or all fire in every step.

    Parameters
    ----------
    drive
        Encoded stimuli.
    kinds
        NIR's kind of every node.
    """
    asked, quiet = f"{len(drive)} stimuli over the whole range", ""
    for name, shares in network.firing_shares(drive).items():
        neurons = f"the {len(shares)} neurons of node {name!r} ({kinds[name]})"
        if shares.max() == 0:
            likely = f"that node {quiet!r} is silent too" if quiet else _why_silent(kinds[name], step_seconds)
            quiet = quiet or name
            yield f"none of {neurons} fires at any of {asked}; the likely reason is {likely}"
        elif shares.min() >= ALWAYS:
            yield (
                f"all of {neurons} fire in every step at {asked}; the likely reason is an input that is too large "
                f"(input_gain = {input_gain:g}), or a time step (step_seconds = {step_seconds:g}) that is not "
                "that of the tool that wrote the file"
            )


def _why_silent(kind: str, step_seconds: float) -> str:
    if kind == "IF":
        return (
            f"that IF adds dt r S in a step of dt = {step_seconds:g} s where the tool that wrote the file adds "
            f"r S: give input_gain = {1 / step_seconds:g} if the input drives it"
        )
    return (
        f"the time step (step_seconds = {step_seconds:g}; snnTorch writes for 1e-4 s, Norse for 1e-3 s), or an "
        "input that is too small: give a larger input_gain"
    )
