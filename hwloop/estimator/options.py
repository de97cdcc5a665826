"""What an estimator's options may be, said in words before anything else is done with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hwloop.device import Device
from hwloop.errors import ConfigError


def is_whole(least: int, most: float = np.inf) -> Callable[[Any], bool]:
    """Whether a value is a whole number in a range."""

    def check(value: Any) -> bool:
        return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(least <= value <= most)

    return check


def or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a value passes, or is ``None``."""
    return lambda value: value is None or check(value)


def is_real(above: float, most: float) -> Callable[[Any], bool]:
    """Whether a value is a number above a bound, up to another one."""

    def check(value: Any) -> bool:
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        return number and bool(above < value <= most)

    return check


def _are_settings(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _are_devices(value: Any) -> bool:
    if isinstance(value, str | Device):
        return True
    return isinstance(value, Sequence) and len(value) > 0 and all(isinstance(each, str | Device) for each in value)


DEVICE = "a name of hwloop list, a TOML file or a hwloop.Device"
CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "device": (f"{DEVICE}, or a list of one a stage", _are_devices),
    "stages": ("a whole number, at least one stage", is_whole(1)),
    "width": ("a whole number from 1", is_whole(1)),
    "activation": ('None or text such as "relu"', or_none(lambda value: isinstance(value, str))),
    "trainer": ("the name of a trainer of hwloop list", lambda value: isinstance(value, str)),
    "trainer_settings": ("None or a dict of options by name", or_none(_are_settings)),
    "device_settings": ("None or a dict of settings by name", or_none(_are_settings)),
    "budget": ("None or a whole number of rows", or_none(is_whole(0))),
    "random_state": (
        "None, a whole number from 0 to 2**32 - 1 or a numpy RandomState",
        or_none(lambda value: isinstance(value, np.random.RandomState) or is_whole(0, 2**32 - 1)(value)),
    ),
    "verbose": ("a whole number from 0", lambda value: isinstance(value, bool) or is_whole(0)(value)),
    "journal": ("None or a folder", or_none(lambda value: isinstance(value, str | os.PathLike))),
    "memory": ('"physical" or "digital"', lambda value: value in ("physical", "digital")),
    "window": ("None or a whole number of steps, at least 2", or_none(is_whole(2))),
    "feedback_channels": ("a whole number from 1", is_whole(1)),
    "spectral_radius": ("a positive number", is_real(0, 1e6)),
    "ridge": ("None or a positive number", or_none(is_real(0, 1e12))),
    "input_gain": ("a number above 0 and at most 1", is_real(0, 1)),
}


def require_options(options: Mapping[str, Any]) -> None:
    """Refuse options of another type or range than :data:`CHECKS` says.

    Raises
    ------
    ConfigError
        The first of them, by name, with what it may be.
    """
    for name, value in options.items():
        text, is_right = CHECKS.get(name, ("", lambda value: True))
        try:
            right = bool(is_right(value))
        except (TypeError, ValueError):  # an array, whose comparison is no single answer
            right = False
        if not right:
            raise ConfigError(f"{name} must be {text}, not {value!r:.100}")


def require_path(path: Any) -> None:
    """Refuse what is no name of a file.

    Raises
    ------
    ConfigError
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"the file must be given by its name, such as 'model.safetensors', not {path!r:.100}")
