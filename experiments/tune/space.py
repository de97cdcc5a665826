"""Which settings are searched, and between what: what trainer and devices declare, or what the user asks for."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig
from hwloop.registry import DEVICES, TRAINERS
from hwloop.toml_text import parse_setting, setting_text
from hwloop.training.tuning import Choice, LogRange, Range, tuning_of

Allowed = LogRange | Range | Choice
Space = Mapping[str, Allowed]
# What is learned, and which rows are for what, must be the same in every trial.
SEARCHED = ("device", "network", "trainer")
EXAMPLES = "--search device.settings.gain=0.2:1.6, trainer.settings.lr=1e-4:0.1:log or network.width=40,80,160"


def default_space(experiment: ExperimentConfig) -> dict[str, Allowed]:
    """What the experiment's trainer and devices declare worth searching, by key; also what the experiment sets."""
    found: dict[str, Allowed] = {
        f"trainer.settings.{name}": allowed
        for name, allowed in tuning_of(TRAINERS.load(experiment.trainer.name)).options.items()
    }
    for number, part in enumerate(experiment.device):
        if part.name.endswith(".toml"):
            continue
        place = "device" if len(experiment.device) == 1 else f"device.{number}"
        for name, (low, high, *log) in getattr(DEVICES.load(part.name), "searched", {}).items():
            found[f"{place}.settings.{name}"] = LogRange(low, high) if log else Range(low, high)
    return found


def parsed_search(texts: Iterable[str]) -> dict[str, Allowed]:
    """From ``key=low:high``, ``key=low:high:log`` and ``key=value,value,...``.

    Raises
    ------
    ConfigError
        It is none of these, a key stands twice, or is none of device, network and trainer.
    """
    found: dict[str, Allowed] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")) or not values.strip():
            raise ConfigError(f"--search {text!r} is no key with what to try, such as {EXAMPLES}")
        if key.split(".")[0] not in SEARCHED:
            raise ConfigError(
                f"--search {key}: a search changes {', '.join(SEARCHED)}; what is learned, and from which rows, "
                "stays, for scores could not be compared (set it with --set)"
            )
        if key in found:
            raise ConfigError(f"--search names {key} twice; give it once, with all that is to be tried")
        found[key] = _allowed(text, key, values.strip())
    return found


def _allowed(text: str, key: str, values: str) -> Allowed:
    parts = [part.strip() for part in values.split(":")]
    is_range = len(parts) in (2, 3) and all(_number(part) is not None for part in parts[:2])
    try:
        if is_range:
            if parts[2:] not in ([], ["log"]):
                raise ValueError(f"{parts[2]!r} behind a range can only be log")
            low, high = _number(parts[0]), _number(parts[1])
            assert low is not None
            assert high is not None
            return LogRange(low, high) if parts[2:] else Range(low, high)
        tried = [parse_setting(f"{key}={part.strip()}")[1] for part in values.split(",")]
        if len(tried) < 2 or len({repr(each) for each in tried}) < len(tried):
            raise ValueError("give a range, or two values or more that differ")
        return Choice(tuple(tried))
    except ValueError as error:
        raise ConfigError(f"--search {text!r}: {error}; such as {EXAMPLES}") from error


def _number(text: str) -> float | int | None:
    """A finite number, whole where it is written as one."""
    value = parse_setting(f"number={text}")[1] if text else None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or value != value
        or abs(value) == float("inf")
    ):
        return None
    return value


def own_values(experiment: ExperimentConfig, space: Space) -> dict[str, Any]:
    """The values that the experiment has at the keys of a space: its own, or the defaults of trainer and device.

    A key whose value nobody declares is left out.
    """
    table = experiment.as_table()
    found = {}
    for key in space:
        *path, name = key.split(".")
        place: Any = table
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place.get(part, {})
        values = place if name in place or path[-1] != "settings" else _defaults(experiment, path)
        if name in values:
            found[key] = values[name]
    return found


def _defaults(experiment: ExperimentConfig, path: list[str]) -> dict[str, Any]:
    """What the trainer, or the device, takes where the experiment says nothing."""
    if path[0] == "trainer":
        registry, name = TRAINERS, experiment.trainer.name
    else:
        registry, name = DEVICES, experiment.device[int(path[1]) if path[1].isdigit() else 0].name
    if name.endswith(".toml"):
        return {}
    parameters = inspect.signature(registry.load(name)).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def as_settings(drawn: Mapping[str, Any]) -> tuple[str, ...]:
    """What ``--set`` would be given, sorted, so that the same choice is the same text."""
    return tuple(sorted(setting_text(key, value) for key, value in drawn.items()))


def in_words(space: Space) -> list[str]:
    """A line a key."""
    return [f"{key}: {_said(allowed)}" for key, allowed in sorted(space.items())]


def _said(allowed: Allowed) -> str:
    if isinstance(allowed, Choice):
        return ", ".join(str(value) for value in allowed.values)
    return f"{allowed.low:g} to {allowed.high:g}{', by decades' if isinstance(allowed, LogRange) else ''}"
