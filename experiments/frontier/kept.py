"""Results kept on disk, by everything that they depend on: a second call is instant, and a change is seen."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hwloop._version import __version__
from hwloop.journal.durable_files import atomic_write, make_folder

# Files of this package that decide what a result is; ways, budgets and trials are part of the key by themselves.
DECIDING = ("problem.py", "rival.py", "sides.py", "matching.py")
LIBRARIES = ("numpy", "scipy", "sklearn", "torch")


def folder() -> Path:
    """``frontier`` in ``$HWLOOP_CACHE``, else ``$XDG_CACHE_HOME/hwloop``, else ``~/.cache/hwloop``."""
    named = os.environ.get("HWLOOP_CACHE")
    if named:
        return Path(named) / "frontier"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hwloop" / "frontier"


def kept(what: Mapping[str, Any], parts: list[Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``compute`` gives, from disk where the same was computed before.

    Parameters
    ----------
    what
        All that it depends on, as plain values; versions are added.
    parts
        Objects and classes whose code it depends on: rivals, heads.
    """
    key = json.dumps({**what, "code": _code(parts), "versions": versions()}, sort_keys=True, default=str)
    path = folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("key") == key:
            return dict(found["value"])
    except (OSError, ValueError):
        pass
    value = json.loads(json.dumps(compute()))
    make_folder(path.parent)
    atomic_write(path, json.dumps({"key": key, "value": value}).encode())
    return dict(value)


def versions() -> dict[str, str]:
    """Of hwloop, of Python and of what computes."""
    found = {name: str(importlib.import_module(name).__version__) for name in LIBRARIES}
    return {"hwloop": __version__, "python": platform.python_version(), **found}


def _code(parts: list[Any]) -> list[str]:
    """A digest of the file that each part stands in, and of those of this package."""
    modules = {inspect.getmodule(part if inspect.isclass(part) else type(part)) for part in parts}
    files = {Path(module.__file__) for module in modules if module is not None and module.__file__}
    files |= {Path(__file__).with_name(name) for name in DECIDING}
    return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.exists())
