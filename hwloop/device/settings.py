"""Settings of devices, checked and declared: a bad one is refused with the nearest allowed value."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

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


# -- settings that a class declares ------------------------------------------------------------------------------

NOTHING: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class DeclaredSetting:
    """A declared setting.

    Attributes
    ----------
    default
        Its value if none is given; :data:`NOTHING` for one that must be given, first and without its name.
    check
        Called with name and value; gives the value that is used, or raises ValueError. ``None`` passes unchecked
        where it is the default.
    quiet
        The value without noise and drift; :data:`NOTHING` where it has no part in them.
    """

    default: Any
    check: Callable[[str, Any], Any] | None = None
    quiet: Any = NOTHING

    def checked(self, name: str, value: Any) -> Any:
        """The value that is used."""
        if self.check is None or (value is None and self.default is None):
            return value
        return self.check(name, value)


def real(default: Any, low: float = -math.inf, high: float = math.inf, *, quiet: Any = NOTHING) -> Any:
    """Declare a number within [low, high]."""
    return DeclaredSetting(default, lambda name, value: real_number(name, value, low, high), quiet)


def whole(default: Any, low: int, high: int | None = None, *, quiet: Any = NOTHING) -> Any:
    """Declare a whole number within [low, high]."""
    return DeclaredSetting(default, lambda name, value: whole_number(name, value, low, high), quiet)


def choice(default: Any, known: Iterable[str]) -> Any:
    """Declare one of several names."""
    names = tuple(known)
    return DeclaredSetting(default, lambda name, value: one_of(name, value, names))


def switch(default: bool, *, quiet: Any = NOTHING) -> Any:
    """Declare a setting that is true or false."""
    return DeclaredSetting(default, flag, quiet)


def noise(default: Any = 0.0, *, quiet: Any = 0.0) -> Any:
    """Declare the size of a noise that is checked where it is made."""
    return DeclaredSetting(default, quiet=quiet)


def declared_in(cls: type) -> dict[str, Any]:
    """The settings, and groups of settings, that a class's own body declares, in their order.

    These are its annotated names with a value, but for class variables and names that begin with ``_``.
    """
    hints = inspect.get_annotations(cls)
    names = [n for n, hint in hints.items() if not n.startswith("_") and not str(hint).startswith("ClassVar")]
    return {name: _as_declared(cls.__dict__[name]) for name in names if name in cls.__dict__}


def _as_declared(value: Any) -> Any:
    return value if isinstance(value, DeclaredSetting | SettingsGroup) else DeclaredSetting(value)


class SettingsGroup:
    """Settings that belong together, declared once; a constructor takes them one by one.

    A subclass declares them as annotated names with a default, or with :func:`real` and its like. An object holds
    the checked values. A device's class has one with its own defaults, ``camera: Camera = Camera(read_noise=0)``.
    """

    declared: ClassVar[Mapping[str, DeclaredSetting]] = {}
    without: ClassVar[tuple[str, ...]] = ()
    """Settings of a base class that this one does not have: it holds their value itself."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = {**cls.declared, **declared_in(cls)}
        cls.declared = {name: setting for name, setting in declared.items() if name not in cls.without}

    def __init__(self, **given: Any) -> None:
        self._given = {name: given.pop(name, setting.default) for name, setting in self.declared.items()}
        if given:
            raise TypeError(f"{type(self).__name__} has no setting {', '.join(given)}")
        for name, setting in self.declared.items():
            setattr(self, name, setting.checked(name, self._given[name]))

    def settings(self) -> dict[str, DeclaredSetting]:
        """Its settings with this object's values as the defaults."""
        return {name: replace(setting, default=self._given[name]) for name, setting in self.declared.items()}


class Declarations:
    """All settings of a class, one by one, in the order of its signature.

    Parameters
    ----------
    entries
        Settings and groups by the attribute that holds the checked value.
    """

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self.entries = dict(entries)
        self.settings: dict[str, DeclaredSetting] = {}
        for name, entry in self.entries.items():
            self.settings |= entry.settings() if isinstance(entry, SettingsGroup) else {name: entry}
        parameters = [_parameter(name, setting.default) for name, setting in self.settings.items()]
        self.signature = inspect.Signature([_parameter("self", NOTHING), *parameters])

    @property
    def quiet(self) -> dict[str, Any]:
        """The values without noise and drift, of those settings that have a part in them."""
        return {name: s.quiet for name, s in self.settings.items() if s.quiet is not NOTHING}

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the attributes hold for the settings ``given``, all of them.

        Raises
        ------
        ValueError
            A setting that is not allowed; the message gives the reason and the nearest allowed value.
        """
        found: dict[str, Any] = {}
        for name, entry in self.entries.items():
            if isinstance(entry, SettingsGroup):
                found[name] = type(entry)(**{key: given[key] for key in entry.declared})
            else:
                found[name] = entry.checked(name, given[name])
        return found


def _parameter(name: str, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if default is NOTHING else inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default)
