"""The devices and tasks of ``hwloop frontier`` without a name, and the ways in which each device may be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwloop.experiment.config import ExperimentConfig, validated
from hwloop.experiments.frontier.physics import Way, remembers

# Settings of each device, as its shipped experiments have them, and those among which its ways choose.
DEVICES: dict[str, tuple[Mapping[str, Any], Mapping[str, Sequence[Any]]]] = {
    "optical-fibre": (
        {"n_outputs": 400, "read_noise": 0.01, "dac_bits": 10, "adc_bits": 10},
        {"exposure": (3.0, 1.0, 10.0), "encoding": ("amplitude", "phase")},
    ),
    "multimode-fibre-nonlinear": (
        {"n_modes": 100, "n_outputs": 256, "exposure": 3.0, "steps_per_segment": 8},
        {"nonlinear_phase": (1.0, 0.3, 3.0)},
    ),
    "second-harmonic": ({"readout": "both"}, {"coupling": (4.0, 1.0), "bandwidth": (1.5, 0.5)}),
    "microwave-cavity": (
        {"n_transmitters": 2, "n_receivers": 4, "n_frequencies": 25, "bandwidth": 0.2},
        {},
    ),
    "acoustic-cavity": ({"n_microphones": 16}, {"drive_level": (2.0, 0.5)}),
    "oscillators": ({"steps_per_period": 40}, {"amplitude": (2.8, 1.5), "duration_periods": (2.0, 1.0)}),
    "delay-loop": ({"n_nodes": 200}, {"input_scale": (2.0, 0.7), "gain": (1.0, 0.5)}),
}
# Of a device with memory, on series: drawn for every task.
LOOPS: Mapping[str, tuple[float, float]] = {
    "gain": (0.2, 1.1),
    "bias": (0.0, 1.6),
    "input_scale": (0.1, 2.0),
    "node_spacing": (0.2, 2.0),
}
LOOP = {
    "n_nodes": 200,
    "laps_per_step": 1,
    "full_scale": 1.0,
    "read_noise": 0.003,
    "adc_bits": 10,
    "dac_bits": 10,
    "mask": "uniform",
}
TASKS: dict[str, Mapping[str, Any]] = {
    "digits": {},
    "mnist1d": {},
    "wine": {},
    "narma10": {},
    "mackey-glass": {"ahead": 10},
    "channel": {"sequences": 12, "steps": 600},
}
TEST = 0.25
WINDOWS = (10, 20)  # steps that a device without memory is shown


def shipped_set() -> list[ExperimentConfig]:
    """Every device on every task."""
    return [_pair(device, task) for task in TASKS for device in DEVICES]


def _pair(device: str, task: str) -> ExperimentConfig:
    settings = dict(DEVICES[device][0])
    table = {
        "name": f"{task}-{device}",
        "dataset": {"name": task, "settings": dict(TASKS[task])},
        "device": {"name": device, "settings": settings},
        "trainer": "readout",
        "network": {"stages": 1},
        "split": {"test": TEST, "validation": 0.2},
    }
    return validated(table, "frontier")


def ways_of(config: ExperimentConfig, series: bool, trials: int) -> list[Way]:
    """How a device may be used: as the experiment says first, then with other settings of its kind.

    Every way costs two of the trials, so there are at most half as many; where a row is a sample a quarter, which
    leaves trials for the heads.
    """
    part = config.device[0]
    if series and part.name in DEVICES and remembers(part.name):
        rng = np.random.default_rng(0)
        drawn = [{name: float(rng.uniform(*ends)) for name, ends in LOOPS.items()} for _ in range(trials // 2)]
        own = [Way()] if "sequence_length" in part.settings else []
        return [*own, *(Way({**LOOP, **each}) for each in drawn)][: trials // 2]
    grid: list[dict[str, Any]] = [{}]
    choices = DEVICES[part.name][1] if part.name in DEVICES else {}
    for name, values in choices.items():
        if name not in part.settings:
            grid = [{**each, name: value} for value in values for each in grid]
    windows = WINDOWS if series else WINDOWS[:1]
    ways = [Way(each, window) for each in grid for window in windows]
    return ways[: max(1, trials // 4)]
