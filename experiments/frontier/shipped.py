"""The devices and tasks of ``hwloop frontier`` without a name, and the ways in which each device may be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig, validated
from hwloop.experiments.frontier.physics import Way
from hwloop.registry import nearest

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
    "passive-cavity": ({"n_nodes": 200}, {"bias": (1.0, 3.0)}),
    "programmable-speckle": ({"n_outputs": 256, "read_noise": 0.01}, {"exposure": (1.0, 3.0)}),
}


def _optoelectronic(rng: np.random.Generator) -> dict[str, Any]:
    """A delay loop whose delay is longer than the clock's cycle, drawn."""
    return {
        "model": str(rng.choice(["sine", "ikeda"])),
        "gain": float(rng.uniform(0.5, 1.1)),
        "bias": float(rng.uniform(0.0, 1.5)),
        "input_scale": float(10 ** rng.uniform(-1.5, 0.4)),
        "mask": str(rng.choice(["uniform", "binary"])),
        "excess_nodes": int(rng.choice([1, 3, 7])),
        "node_spacing": 50.0,
        "laps_per_step": 1,
        "seed": int(rng.integers(1 << 30)),
    }


def _passive(rng: np.random.Generator) -> dict[str, Any]:
    """A passive cavity read by intensity, drawn."""
    return {
        "round_trip_gain": float(rng.uniform(0.1, 0.97)),
        "round_trip_phase": float(rng.uniform(0.0, 2 * np.pi)),
        "input_scale": 1.0,
        "bias": float(10 ** rng.uniform(-0.7, 0.8)),
        "mask": str(rng.choice(["uniform", "phase"])),
        "seed": int(rng.integers(1 << 30)),
    }


# Of devices with memory, on series: nodes, noise, converters; how the rest is drawn. A mask is part of the rig.
LOOP = {"n_nodes": 200, "read_noise": 0.003, "adc_bits": 10, "dac_bits": 10}
LOOPS: dict[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "delay-loop": _optoelectronic,
    "passive-cavity": _passive,
}
TASKS: dict[str, Mapping[str, Any]] = {
    "digits": {},
    "mnist1d": {},
    "wine": {},
    "narma10": {},
    "mackey-glass": {"ahead": 10},
    "channel": {"sequences": 12, "steps": 600, "snr_db": 20.0},
    "santa-fe": {},
}
TEST = 0.25
WINDOWS = (10, 20)  # steps that a device without memory is shown


def shipped_set() -> list[ExperimentConfig]:
    """Every device on every task."""
    return [_pair(device, task) for task in TASKS for device in DEVICES]


def shipped_pair(name: str) -> ExperimentConfig:
    """One of the set, as in ``santa-fe:delay-loop``.

    Raises
    ------
    ConfigError
        Unknown task or device.
    """
    task, _, device = name.partition(":")
    for what, known, given in (("task", TASKS, task), ("device", DEVICES, device)):
        if given not in known:
            raise ConfigError(f"unknown {what} {given!r} of the shipped set: {nearest(given, known)}")
    return _pair(device, task)


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

    Every way costs a trial, and all rows once more. There are at most a quarter as many, for the heads need some;
    of a loop on a series as many, for a readout is its only head.
    """
    part = config.device[0]
    if series and part.name in LOOPS:
        rng = np.random.default_rng(0)
        own = [Way()] if "sequence_length" in part.settings else []
        drawn = [Way({**LOOP, **LOOPS[part.name](rng)}) for _ in range(trials)]
        return [*own, *drawn][:trials]
    grid: list[dict[str, Any]] = [{}]
    choices = DEVICES[part.name][1] if part.name in DEVICES else {}
    for name, values in choices.items():
        if name not in part.settings:
            grid = [{**each, name: value} for value in values for each in grid]
    windows = WINDOWS if series else WINDOWS[:1]
    ways = [Way(each, window) for each in grid for window in windows]
    return ways[: max(1, trials // 4)]
