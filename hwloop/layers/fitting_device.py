"""Open a device by name: built to fit the data, unless its settings say otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwloop.device import Device, DeviceSpec
from hwloop.errors import ConfigError
from hwloop.layers.encode import default_reference_slots
from hwloop.registry import DEVICES, accepted_settings, open_device, read_toml


def open_fitting_device(
    name: str,
    settings: Mapping[str, Any],
    n_features: int,
    defaults: Mapping[str, Any],
    reference_slots: int | None = None,
) -> Device:
    """A device for rows of ``n_features``.

    A device that takes ``n_inputs`` and is not told one gets as many as the features and the reference need.

    Parameters
    ----------
    name, settings
        As :func:`hwloop.open_device` takes them.
    n_features
        The widest rows that will be encoded for it.
    defaults
        Settings for a device that takes them and is not told them, such as a seed.
    reference_slots
        Of the stages that it serves; ``None`` for what the device needs.

    Raises
    ------
    ConfigError
        Unknown device or setting.
    """
    free = _settings_left_open(name, settings)
    chosen = {key: value for key, value in defaults.items() if key in free} | dict(settings)
    if "n_inputs" not in free:
        return open_device(name, **chosen)
    device = open_device(name, **chosen, n_inputs=n_features)
    n_inputs = _inputs_with_reference(device, n_features, reference_slots)
    return device if n_inputs == n_features else open_device(name, **chosen, n_inputs=n_inputs)


def _settings_left_open(name: str, settings: Mapping[str, Any]) -> set[str]:
    """Which settings the device takes and nobody has set."""
    told = set(settings)
    if name.endswith(".toml"):
        path, table = name, read_toml(Path(name))
        given = table.get("settings")
        name, told = table.get("device", ""), told | set(given if isinstance(given, dict) else ())
        if not isinstance(name, str):
            raise ConfigError(f"{path}: device must be a name such as optical-fibre")
    factory: Callable[..., Any] = DEVICES.load(name)
    return (accepted_settings(factory) or set()) - told


def _inputs_with_reference(device: Device, n_features: int, reference_slots: int | None) -> int:
    """The smallest number of inputs that leaves ``n_features`` beside the reference channels."""
    spec = device.spec
    # A wrapper may give the same limits one a channel; of another number of channels only their signs are known.
    low, high = float(spec.low[: spec.n_drives].min()), float(spec.high[: spec.n_drives].max())
    spec = replace(spec, n_inputs=spec.n_drives, n_nudges=0, input_low=low, input_high=high)
    n_inputs = n_features
    while n_inputs - _slots(replace(spec, n_inputs=n_inputs), reference_slots) < n_features:
        n_inputs += 1
    return n_inputs


def _slots(spec: DeviceSpec, reference_slots: int | None) -> int:
    return default_reference_slots(spec) if reference_slots is None else reference_slots
