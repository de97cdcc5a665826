"""Checks of a device's settings: a bad one is refused with the reason and the nearest allowed value."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the closest one, then all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names) if names else 'none'}."


def real_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """``value`` as a float within [low, high].

    Raises
    ------
    ValueError
        It is no finite number or lies outside; the message names the nearest allowed value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{name} must be a number, not {value!r}")
    if math.isnan(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    if not low <= value <= high:
        bound = low if value < low else high
        side = "at least" if value < low else "at most"
        raise ValueError(f"{name} must be {side} {bound:g}, not {value!r}; the nearest allowed value is {bound:g}")
    if math.isinf(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def whole_number(name: str, value: Any, low: int, high: int | None = None) -> int:
    """``value`` as an int within [low, high]; raises ValueError as :func:`real_number` does."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        hint = ""
        if isinstance(value, float) and math.isfinite(value):
            near = max(low, round(value)) if high is None else min(high, max(low, round(value)))
            hint = f"; the nearest allowed value is {near}"
        raise ValueError(f"{name} must be a whole number, not {value!r}{hint}")
    if value < low or (high is not None and value > high):
        bound, side = (low, "at least") if value < low else (high, "at most")
        raise ValueError(f"{name} must be {side} {bound}, not {value}; the nearest allowed value is {bound}")
    return int(value)


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """``value`` if it is a known name; raises ValueError that names the nearest."""
    names = list(known)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be one of {', '.join(names)}, not {value!r}")
    if value not in names:
        raise ValueError(f"unknown {name} {value!r}: {nearest(value, names)}")
    return value


def flag(name: str, value: Any) -> bool:
    """``value`` if it is true or false; raises ValueError."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return bool(value)
