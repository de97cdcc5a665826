"""Which values a QCoDeS parameter takes, and what it sends for one."""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import partial
from typing import Any

from hwloop.devices.adapters.sent_values import Choices, Levels, Multiples, NumberFormat

Limits = tuple[float, float]


def source_chain(parameter: Any) -> list[Any]:
    """The parameter, the one that it delegates to, and so on."""
    chain = [parameter]
    while (source := getattr(chain[-1], "source", None)) is not None and hasattr(source, "validators"):
        chain.append(source)
    return chain


def levels_of(parameter: Any) -> Levels | None:
    """The only values that it takes; ``None`` where it takes any within its limits.

    Raises
    ------
    ValueError
        It takes words.
    """
    if parameter.val_mapping:
        return Choices.of(parameter.full_name, list(parameter.val_mapping))
    kinds = {type(validator).__name__: validator for validator in parameter.validators}
    if "Enum" in kinds:
        return Choices.of(parameter.full_name, list(kinds["Enum"].values))
    for name, whole in (("Multiples", True), ("PermissiveMultiples", False)):
        if name in kinds:
            return Multiples(kinds[name].divisor, whole)
    return Multiples(1, whole=True) if {"Ints", "PermissiveInts"} & set(kinds) else None


def own_limits(parameter: Any, levels: Levels | None) -> Limits | None:
    """What its validators and its sources' let through, in its own unit; ``None`` if they state nothing."""
    found = [(min(levels.values), max(levels.values))] if isinstance(levels, Choices) else []
    to_own: list[Callable[[float], float]] = []  # from a source's value to the parameter's, one a link
    for part in source_chain(parameter):
        for validator in part.validators:
            if hasattr(validator, "min_value") and getattr(validator, "is_numeric", False):
                ends = [_through(to_own, float(end)) for end in (validator.min_value, validator.max_value)]
                found.append((min(ends), max(ends)))
        scale, offset = part.scale, part.offset
        if any(isinstance(value, list | tuple) for value in (scale, offset)):
            break
        to_own.append(partial(_unscaled, scale=1.0 if scale is None else scale, offset=offset or 0.0))
    return (max(low for low, _ in found), min(high for _, high in found)) if found else None


def _unscaled(raw: float, scale: float, offset: float) -> float:
    return (raw - offset) / scale


def _through(to_own: list[Callable[[float], float]], value: float) -> float:
    for step in reversed(to_own):
        value = step(value)
    return value


def number_format_of(parameter: Any) -> NumberFormat | None:
    """The format of the command that sets it, or its source; ``None`` where a function sets it."""
    chain = source_chain(parameter)
    command = getattr(chain[-1].set_raw, "cmd_str", None)
    if not isinstance(command, str):
        return None
    fields = [each for each in string.Formatter().parse(command) if each[1] is not None]
    if len(fields) != 1 or fields[0][3]:
        return None
    spec = fields[0][2] or ""

    def process(value: Any) -> Any:
        for part in chain:
            value = _raw(part, value)
        return value

    return NumberFormat(command, process, lambda raw: format(raw, spec))


def _raw(part: Any, value: Any) -> Any:
    """As a parameter hands a value on: scale, then offset, then its parser."""
    if part.scale is not None:
        value = value * part.scale
    if part.offset is not None:
        value = value + part.offset
    parser = getattr(part, "set_parser", None)
    return value if parser is None else parser(value)
