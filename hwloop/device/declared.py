"""Settings that a device's class declares: from them follow its constructor, their checks and its signature."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hwloop.device.base import Device
from hwloop.device.settings import flag, one_of, real_number, whole_number

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


class DeclaredDevice(Device):
    """A device whose class body declares its settings.

    The settings are the annotated names of the class body that have a value, in their order: a plain default,
    one of :func:`real` and its like, or a :class:`SettingsGroup`. The constructor takes them by name, checks them,
    puts them into attributes and calls :meth:`_set_up`; ``_settings`` has them as they were given. The settings of
    a base class come after the class's own where that is ``shared`` by different devices, else before. The
    signature follows from the declarations.
    """

    declarations: ClassVar[Declarations] = Declarations({})
    rows_measured: int
    _shared: ClassVar[bool] = True
    _settings: dict[str, Any]

    def __init_subclass__(cls, *, shared: bool = False, **kwargs: Any) -> None:
        base = cls.__base__
        assert base is not None
        assert issubclass(base, DeclaredDevice)
        own, inherited = declared_in(cls), base.declarations.entries
        if base._shared:
            inherited = {name: entry for name, entry in inherited.items() if name not in own}
            cls.declarations = Declarations({**own, **inherited})
        else:
            cls.declarations = Declarations({**inherited, **own})
        cls._shared = shared
        if "__init__" not in cls.__dict__:
            cls.__init__ = _constructor(cls, cls.declarations)  # type: ignore[method-assign]
        super().__init_subclass__(**kwargs)

    def __init__(self, **settings: Any) -> None:
        raise NotImplementedError("every subclass has a constructor for the settings that it declares")

    def _take(self, given: Mapping[str, Any], declarations: Declarations) -> None:
        self._settings = self._completed(dict(given))
        for name, value in declarations.checked(self._settings).items():
            setattr(self, name, value)
        self.rows_measured = 0
        self._set_up()

    def _completed(self, given: dict[str, Any]) -> dict[str, Any]:
        """The settings, with those that others of them decide."""
        return given

    @abstractmethod
    def _set_up(self) -> None:
        """Make everything of the settings, which are attributes now, ``spec`` among it."""


def _constructor(cls: type[DeclaredDevice], declarations: Declarations) -> Any:
    signature = declarations.signature

    def __init__(self: DeclaredDevice, *args: Any, **settings: Any) -> None:  # noqa: N807
        try:
            bound = signature.bind(self, *args, **settings)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.__init__() {error}") from None
        bound.apply_defaults()
        given = dict(bound.arguments)
        del given["self"]
        self._take(given, declarations)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__
