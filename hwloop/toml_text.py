"""Tables as TOML: --set key=value into an experiment's table, and a table as the text of a file."""

from __future__ import annotations

import copy
import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from hwloop.errors import ConfigError

PARTS = ("dataset", "device", "trainer")


def with_overrides(table: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """A copy of an experiment's table with each ``key=value`` applied.

    A key is dotted (``device.settings.n_outputs``); a number in it picks an entry of a list. A value is TOML,
    or text where it is none. A dataset, device or trainer itself may be set (``trainer=phyll``): another
    name comes with its own defaults, so it drops the old settings. Short keys are applied first, so such a
    change never undoes a setting given beside it.

    Raises
    ------
    ConfigError
        No ``=``, an empty key, or a key that leads through something that is no table.
    """
    changed = copy.deepcopy(table)
    for path, value in sorted((parse_setting(setting) for setting in settings), key=lambda s: len(s[0])):
        _assign(changed, path, value)
    return changed


def parse_setting(setting: str) -> tuple[tuple[str, ...], Any]:
    """Path and value of one ``key=value``; raises as :func:`with_overrides` does."""
    key, equals, text = setting.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError(f"--set {setting!r} is no key=value, such as trainer.settings.epochs=50")
    return path, _parse_value(text)


def setting_text(key: str, value: Any) -> str:
    """The ``key=value`` of which :func:`parse_setting` makes this value again.

    Raises
    ------
    ConfigError
        A value that TOML cannot hold.
    """
    try:
        return f"{key}={_value(os.fspath(value) if isinstance(value, os.PathLike) else value)}"
    except TypeError as error:
        raise ConfigError(f"the setting {key!r} is {value!r:.100}: {error}") from error


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # not TOML, or a number or nesting too large to be one
        return text
    # Text with line breaks could hold further entries; then it is text, not a value.
    return parsed["value"] if parsed.keys() == {"value"} else text


def _assign(table: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    inner: Any = table
    for depth, part in enumerate(path[:-1]):
        where = ".".join(path[: depth + 1])
        if isinstance(inner, dict) and depth == 0 and part in PARTS and isinstance(inner.get(part), str):
            inner[part] = {"name": inner[part]}
        inner = _descend(inner, part, where)
    last = path[-1]
    if isinstance(inner, list):
        inner[_index(inner, last, ".".join(path))] = value
    elif len(path) == 1 and last in PARTS and _is_named(table.get(last), value):
        return
    else:
        inner[last] = value


def _descend(inner: Any, part: str, where: str) -> Any:
    if isinstance(inner, list):
        found = inner[_index(inner, part, where)]
    else:
        found = inner.setdefault(part, {})
    if not isinstance(found, dict | list):
        raise ConfigError(f"--set {where}: this is {found!r}, no table; it has no keys of its own")
    return found


def _index(entries: list[Any], part: str, where: str) -> int:
    if part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(entries):
        return int(part)
    raise ConfigError(f"--set {where}: this is a list of {len(entries)}; name one by its number, from 0")


def _is_named(part: Any, name: Any) -> bool:
    """Whether a part already has that name: setting it again keeps its settings."""
    return isinstance(part, dict) and part.get("name") == name


BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
CONTROL = {character: f"\\u{character:04x}" for character in [*range(0x20), 0x7F]}


class Inline(dict[str, Any]):
    """A mapping that stands on one line, where its entries keep their order."""


def toml_text(table: Mapping[str, Any]) -> str:
    """A mapping of plain values as a TOML document; entries that are ``None`` are left out.

    Parameters
    ----------
    table
        Text, numbers, booleans, lists and mappings of these, keys are text.

    Raises
    ------
    TypeError
        A value that TOML cannot hold.
    """
    return "\n".join(_lines(table, ())).strip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """Plain entries first: in TOML they would otherwise belong to the table before them."""
    lines = [
        f"{_key(key)} = {_value(value)}"
        for key, value in table.items()
        if value is not None and not _nested(value)
    ]
    for key, value in table.items():
        if not _nested(value):
            continue
        inner = (*path, key)
        name = ".".join(_key(part) for part in inner)
        for part, header in (
            [(value, f"[{name}]")] if isinstance(value, Mapping) else [(item, f"[[{name}]]") for item in value]
        ):
            lines += ["", header, *_lines(part, inner)]
    return lines


def _nested(value: Any) -> bool:
    """Whether the value is a table, or a list of nothing but tables."""
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping) and not isinstance(value, Inline)


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').translate(CONTROL) + '"'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return json.dumps(value) if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        entries = (f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return "{ " + ", ".join(entries) + " }"
    if hasattr(value, "tolist") and not isinstance(plain := value.tolist(), type(value)):
        return _value(plain)  # a number or an array of numpy's
    raise TypeError(f"TOML cannot hold a {type(value).__name__}")
