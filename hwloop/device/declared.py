"""Settings that a device's class declares: from them follow its constructor, their checks and its signature."""

from __future__ import annotations

import inspect
import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, get_origin

from hwloop.device.base import Device
from hwloop.device.settings import flag, one_of, real_number, whole_number

NOTHING: Any = inspect.Parameter.empty
CLASS_VARIABLE = re.compile(r"""["']?(\w+\.)*(ClassVar|Final)\b""")


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
    or_none
        ``None`` passes unchecked although it is not the default, as the setting of a base class has it.
    takes
        The values that ``check`` passes, in words.
    """

    default: Any
    check: Callable[[str, Any], Any] | None = None
    quiet: Any = NOTHING
    or_none: bool = False
    takes: str = ""

    def checked(self, name: str, value: Any) -> Any:
        """The value that is used."""
        if self.check is None or (value is None and self._takes_none):
            return value
        return self.check(name, value)

    @property
    def _takes_none(self) -> bool:
        return self.or_none or self.default is None

    def over(self, base: DeclaredSetting) -> DeclaredSetting:
        """The same setting, with the check and the quiet value of ``base`` where it has none of its own."""
        quiet = base.quiet if self.quiet is NOTHING else self.quiet
        if self.check is not None:
            return replace(self, quiet=quiet)
        return replace(self, check=base.check, quiet=quiet, or_none=base._takes_none, takes=base.takes)


def real(default: Any, low: float = -math.inf, high: float = math.inf, *, quiet: Any = NOTHING) -> Any:
    """Declare a number within [low, high]."""
    takes = _bounds("number", low, high)
    return DeclaredSetting(default, lambda name, value: real_number(name, value, low, high), quiet, takes=takes)


def whole(default: Any, low: int, high: int | None = None, *, quiet: Any = NOTHING) -> Any:
    """Declare a whole number within [low, high]."""
    takes = _bounds("whole number", low, math.inf if high is None else high)
    return DeclaredSetting(default, lambda name, value: whole_number(name, value, low, high), quiet, takes=takes)


def _bounds(kind: str, low: float, high: float) -> str:
    """``number, 0 to 1``, as settings are shown."""
    if math.isinf(low) and math.isinf(high):
        return kind
    if math.isinf(high):
        return f"{kind}, at least {_figure(low)}"
    return f"{kind}, at most {_figure(high)}" if math.isinf(low) else f"{kind}, {_figure(low)} to {_figure(high)}"


def _figure(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) and abs(bound) < 1e9 else f"{bound:g}"


def choice(default: Any, known: Iterable[str]) -> Any:
    """Declare one of several names."""
    names = tuple(known)
    return DeclaredSetting(default, lambda name, value: one_of(name, value, names), takes=" or ".join(names))


def switch(default: bool, *, quiet: Any = NOTHING) -> Any:
    """Declare a setting that is true or false."""
    return DeclaredSetting(default, flag, quiet, takes="true or false")


def noise(default: Any = 0.0, *, quiet: Any = 0.0) -> Any:
    """Declare the size of a noise that is checked where it is made."""
    return DeclaredSetting(default, quiet=quiet)


def annotated_in(cls: type, known: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a class's own body gives to settings and groups of settings, in their order.

    These are its annotated names with a value, but for class variables, constants, names that begin with ``_``,
    and what the base classes have as attributes that are no settings; and whatever value it gives to a setting of
    its base classes.

    Parameters
    ----------
    known
        The settings and groups of the base classes.
    """
    found: dict[str, Any] = {}
    for name, hint in inspect.get_annotations(cls).items():
        if name.startswith("_") or name not in cls.__dict__ or _is_class_variable(hint):
            continue
        value = cls.__dict__[name]
        if name in known or not _is_attribute(cls, name):
            found[name] = value
        elif _is_declared(value):
            raise TypeError(
                f"{cls.__name__} declares a setting {name}, but its base class has an attribute of that name, "
                "which is no setting; give the setting another name"
            )
    for name, value in cls.__dict__.items():  # another default, without an annotation
        if name in known and name not in inspect.get_annotations(cls) and not hasattr(type(value), "__get__"):
            found[name] = value
    return found


def _is_class_variable(hint: Any) -> bool:
    if isinstance(hint, str):
        return CLASS_VARIABLE.match(hint) is not None
    return any(kind is known for kind in (hint, get_origin(hint)) for known in (ClassVar, Final))


def _is_attribute(cls: type, name: str) -> bool:
    """Whether a base class has, or announces, an attribute of that name."""
    for base in cls.__mro__[1:]:
        if not issubclass(base, Device | SettingsGroup):
            continue
        hint = inspect.get_annotations(base).get(name)
        announced = hint is not None and (issubclass(DeclaredDevice, base) or _is_class_variable(hint))
        if announced or name in base.__dict__:
            return True
    return False


def _is_declared(value: Any) -> bool:
    return isinstance(value, DeclaredSetting | SettingsGroup)


def _declared(cls: type, values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings and groups of the values that a class gives them; its base has the settings ``known``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        setting = value if _is_declared(value) else DeclaredSetting(value)
        if isinstance(setting, DeclaredSetting):
            if type(setting.default).__hash__ is None:
                raise TypeError(
                    f"{cls.__name__}: the default of {name} is a {type(setting.default).__name__}, which all "
                    "objects would share and could change; declare None or a tuple, and make it in _set_up"
                )
            if name in known:
                setting = setting.over(known[name])
        found[name] = setting
    return found


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
        declared = {**cls.declared, **_declared(cls, annotated_in(cls, cls.declared), cls.declared)}
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
        # A setting that stands by itself as well as in a group has the default that it has by itself.
        self.settings |= {name: entry for name, entry in entries.items() if isinstance(entry, DeclaredSetting)}
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
    signature follows from the declarations. One of a base class that gets another default keeps its check and its
    quiet value.

    A subclass may write its constructor instead. It, and what derives from it, declares no settings: nobody would
    hand them to it.
    """

    declarations: ClassVar[Declarations] = Declarations({})
    searched: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Settings worth searching for a task: (low, high), or (low, high, "log"), within what each setting takes."""
    rows_measured: int
    _shared: ClassVar[bool] = True
    _generated: ClassVar[bool] = False
    _settings: dict[str, Any]

    def __init_subclass__(cls, *, shared: bool = False, **kwargs: Any) -> None:
        bases = [base for base in cls.__mro__[1:] if issubclass(base, DeclaredDevice)]
        inherited: dict[str, Any] = {}
        for base in bases:
            inherited = {**inherited, **{n: e for n, e in base.declarations.entries.items() if n not in inherited}}
        known = Declarations(inherited).settings
        values = annotated_in(cls, {**inherited, **known})
        writer = _constructor_writer(cls)
        if writer is None:
            own = _declared(cls, values, known)
        else:
            own = {}
            _refuse_settings(cls, writer, values, known)
        if bases[0]._shared:
            inherited = {name: entry for name, entry in inherited.items() if name not in own}
            cls.declarations = Declarations({**own, **inherited})
        else:
            cls.declarations = Declarations({**inherited, **own})
        cls._shared = shared
        cls._generated = writer is None
        if writer is None:
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


def _constructor_writer(cls: type[DeclaredDevice]) -> type | None:
    """The class whose handwritten constructor builds ``cls``; ``None`` where it is to be generated."""
    for base in cls.__mro__:
        if base is DeclaredDevice or base.__dict__.get("_generated", False):
            _refuse_skipped(cls, base)
            return None
        if "__init__" in base.__dict__:
            return base
    return None


def _refuse_skipped(cls: type, generated: type) -> None:
    """Refuse a handwritten constructor behind a base with a generated one: nobody would call it."""
    for other in cls.__mro__:
        written = issubclass(other, DeclaredDevice) and "__init__" in other.__dict__ and not other._generated
        if written and not issubclass(generated, other):
            raise TypeError(
                f"{cls.__name__} derives from {generated.__name__} and {other.__name__}, whose constructor is "
                f"written by hand and would not be called; name {other.__name__} first, or call it in one of "
                f"{cls.__name__}'s own"
            )


def _refuse_settings(cls: type, writer: type, values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse the settings of a class that no generated constructor takes.

    Beside a constructor an annotated name with a plain value is an attribute like any other.
    """
    lost = [n for n, value in values.items() if writer is not cls or n in known or _is_declared(value)]
    if lost:
        raise TypeError(
            f"{cls.__name__} declares the settings {', '.join(lost)}, but {writer.__name__}.__init__ is written "
            "by hand and takes no declared settings; let it take them as parameters, annotate what belongs to the "
            "class as ClassVar, or write _set_up in place of that constructor"
        )


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
