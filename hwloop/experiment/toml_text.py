"""Write a configuration as TOML: the standard library reads TOML only."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

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
    raise TypeError(f"TOML cannot hold a {type(value).__name__}")
