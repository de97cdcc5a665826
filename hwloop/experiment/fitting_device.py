"""Open an experiment's device: built to fit the data, and seeded, unless its settings say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwloop.device import Device, DeviceSpec
from hwloop.errors import ConfigError
from hwloop.experiment.config import Part
from hwloop.layers.encode import default_reference_slots
from hwloop.registry import DEVICES, accepted_settings, open_device, read_toml


def open_fitting_device(part: Part, n_features: int, reference_slots: int | None, seed: int) -> Device:
    """A device for rows of ``n_features``.

    A device that takes ``n_inputs`` and is not told one gets as many as the features and the reference need; a
    device that takes a ``seed`` and is not told one gets the run's.

    Parameters
    ----------
    n_features
        The widest rows that will be encoded for it.
    reference_slots
        As in the network's configuration; ``None`` for what the device needs.

    Raises
    ------
    ConfigError
        Unknown device or setting.
    """
    settings: dict[str, Any] = dict(part.settings)
    free = _settings_left_open(part)
    if "seed" in free:
        settings["seed"] = seed
    if "n_inputs" not in free:
        return open_device(part.name, **settings)
    device = open_device(part.name, **settings, n_inputs=n_features)
    n_inputs = _inputs_with_reference(device, n_features, reference_slots)
    return device if n_inputs == n_features else open_device(part.name, **settings, n_inputs=n_inputs)


def _settings_left_open(part: Part) -> set[str]:
    """Which of ``n_inputs`` and ``seed`` the device takes and nobody has set."""
    name, told = part.name, set(part.settings)
    if name.endswith(".toml"):
        table = read_toml(Path(name))
        given = table.get("settings")
        name, told = table.get("device", ""), told | set(given if isinstance(given, dict) else ())
        if not isinstance(name, str):
            raise ConfigError(f"{part.name}: device must be a name such as optical-fibre")
    factory: Callable[..., Any] = DEVICES.load(name)
    accepted = accepted_settings(factory)
    return set() if accepted is None else ({"n_inputs", "seed"} & accepted) - told


def _inputs_with_reference(device: Device, n_features: int, reference_slots: int | None) -> int:
    """The smallest number of inputs that leaves ``n_features`` beside the reference channels."""
    spec = device.spec
    n_inputs = n_features
    while n_inputs - _slots(replace(spec, n_inputs=n_inputs), reference_slots) < n_features:
        n_inputs += 1
    return n_inputs


def _slots(spec: DeviceSpec, reference_slots: int | None) -> int:
    return default_reference_slots(spec) if reference_slots is None else reference_slots
