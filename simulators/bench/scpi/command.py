"""The declarative table of an instrument: settings, and commands that do more than keep a value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from hwloop.simulators.bench.scpi.messages import HeaderPattern
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.scpi.values import Number, Parameter

Reply = str | bytes | None
MARK = "_scpi_command"
ROUNDING = 1e-9  # relative; by so much a limit may be missed by a number that was printed and read again


class HasSettings(Protocol):
    """An instrument, as far as its settings know it."""

    CLIPS_OUT_OF_RANGE: ClassVar[bool]

    def get(self, setting: BenchSetting, suffix: int = 1) -> Any:
        """Value of a setting."""

    def put(self, setting: BenchSetting, value: Any, suffix: int = 1) -> None:
        """Keep the value of a setting."""


@dataclass(frozen=True)
class CommandCall:
    """One message unit on its way to what executes it.

    Parameters
    ----------
    session
        The :class:`~hwloop.simulators.bench.scpi.instrument.ClientConnection` of the client who sent it.
    suffixes
        Numeric suffixes of the header, in order.
    arguments
        Tokens or parsed values.
    """

    session: Any
    suffixes: tuple[int, ...]
    arguments: tuple[Any, ...]

    @property
    def suffix(self) -> int:
        """The first numeric suffix; 1 where the header has none."""
        return self.suffixes[0] if self.suffixes else 1


@dataclass(frozen=True, eq=False)
class BenchSetting:
    """A value that a command sets and its query reads.

    Parameters
    ----------
    pattern
        The header, see :class:`~.header.HeaderPattern`; one value is kept for each first numeric suffix.
    parameter
        How the value is written; its unit and its limits.
    default
        After ``*RST``.
    doc
        One line: what it controls.
    via
        Where the value is not simply kept: NAME of the instrument's methods ``NAME(suffix)``, which reads it, and
        ``set_NAME(suffix, value)``; and ``NAME_limits(suffix)`` where the parameter has no limits of its own.
    limits
        Name of a method of the instrument, (suffix) -> (low, high), where limits depend on other settings.
    read, write
        Names of methods, where one of the two is not simply kept, or both have other names.
    changed
        Name of a method, (suffix), called after the value was set.
    query_only, set_only
        The other form is an undefined header.
    """

    pattern: str
    parameter: Parameter
    default: Any
    doc: str
    via: str = ""
    limits: str = ""
    read: str = ""
    write: str = ""
    changed: str = ""
    query_only: bool = False
    set_only: bool = False
    header: HeaderPattern = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", HeaderPattern(self.pattern))
        if self.via:
            object.__setattr__(self, "read", self.via)
            object.__setattr__(self, "write", f"set_{self.via}")
            if isinstance(self.parameter, Number) and math.isinf(self.parameter.low) and not self.limits:
                object.__setattr__(self, "limits", f"{self.via}_limits")

    def bounds(self, instrument: HasSettings, suffix: int) -> tuple[float, float]:
        """Limits as they are now."""
        if self.limits:
            low, high = getattr(instrument, self.limits)(suffix)
            return float(low), float(high)
        if isinstance(self.parameter, Number):
            return self.parameter.low, self.parameter.high
        raise ScpiError(-224)

    def query(self, instrument: HasSettings, call: CommandCall) -> str:
        """``HEADER?`` reads the value, ``HEADER? MIN`` (MAX, DEF) a limit or the default."""
        if self.set_only:
            raise ScpiError(-113)
        if len(call.arguments) > 1:
            raise ScpiError(-108)
        if call.arguments:
            return self.parameter.print(self._named_value(instrument, call.suffix, call.arguments[0]))
        return self.parameter.print(self.value(instrument, call.suffix))

    def execute(self, instrument: HasSettings, call: CommandCall) -> None:
        """``HEADER value``, the value a number with its unit, ``MIN``, ``MAX``, ``DEF`` or what the type takes."""
        if self.query_only:
            raise ScpiError(-113)
        if not call.arguments:
            raise ScpiError(-109)
        if len(call.arguments) > 1:
            raise ScpiError(-108)
        token = call.arguments[0]
        if isinstance(self.parameter, Number) and token.upper() in _NAMED:
            self.assign(instrument, call.suffix, self._named_value(instrument, call.suffix, token))
            return
        value = self.parse(instrument, call.suffix, token)
        out_of_range: ScpiError | None = None
        if isinstance(self.parameter, Number) and not (self.parameter.infinite and value >= 9.9e37):
            value, out_of_range = self._within(instrument, call.suffix, value)
        self.assign(instrument, call.suffix, value)
        if out_of_range is not None:
            raise out_of_range

    def parse(self, instrument: HasSettings, suffix: int, token: bytes) -> Any:
        """The value of a token."""
        return self.parameter.parse(token)

    def value(self, instrument: HasSettings, suffix: int) -> Any:
        """The value as it is now."""
        return getattr(instrument, self.read)(suffix) if self.read else instrument.get(self, suffix)

    def assign(self, instrument: HasSettings, suffix: int, value: Any) -> None:
        """Set the value, which is already within its limits."""
        if self.write:
            getattr(instrument, self.write)(suffix, value)
        else:
            instrument.put(self, value, suffix)
        if self.changed:
            getattr(instrument, self.changed)(suffix)

    def _named_value(self, instrument: HasSettings, suffix: int, token: bytes) -> Any:
        which = _NAMED.get(token.upper())
        if which is None or not isinstance(self.parameter, Number):
            raise ScpiError(-108 if which is None else -224)
        low, high = self.bounds(instrument, suffix)
        return {"MIN": low, "MAX": high, "DEF": min(high, max(low, self.default))}[which]

    def _within(self, instrument: HasSettings, suffix: int, value: float) -> tuple[float, ScpiError | None]:
        low, high = self.bounds(instrument, suffix)
        if low - ROUNDING * abs(low) <= value <= high + ROUNDING * abs(high):
            return value, None
        side, bound = ("lower", low) if value < low else ("upper", high)
        if not instrument.CLIPS_OUT_OF_RANGE:
            raise ScpiError(-222)
        return bound, ScpiError(-222, f"value clipped to {side} limit")


_NAMED = {
    b"MIN": "MIN",
    b"MINIMUM": "MIN",
    b"MAX": "MAX",
    b"MAXIMUM": "MAX",
    b"DEF": "DEF",
    b"DEFAULT": "DEF",
}


@dataclass(frozen=True, eq=False)
class BenchCommand:
    """A command, or with ``?`` at the pattern's end a query, that a method executes.

    Parameters
    ----------
    pattern
        The header.
    method
        Name of the instrument's method, (call) -> reply; or a function, (instrument, call) -> reply.
    doc
        What it does.
    parameters
        Types of the parameters in order; the last one repeats if ``repeat``.
    required
        How many of them must be given.
    repeat
        Whether more parameters than types may come.
    """

    pattern: str
    method: str | Callable[[Any, CommandCall], Reply]
    doc: str
    parameters: tuple[Parameter, ...] = ()
    required: int = 0
    repeat: bool = False
    header: HeaderPattern = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", HeaderPattern(self.pattern))

    def run(self, instrument: HasSettings, call: CommandCall) -> Reply:
        """Check and parse the parameters, then call the method."""
        tokens = call.arguments
        if len(tokens) < self.required:
            raise ScpiError(-109)
        if len(tokens) > len(self.parameters) and not self.repeat:
            raise ScpiError(-108)
        types = self.parameters + self.parameters[-1:] * (len(tokens) - len(self.parameters))
        values = tuple(kind.parse(token) for kind, token in zip(types, tokens, strict=False))
        parsed = CommandCall(call.session, call.suffixes, values)
        if not isinstance(self.method, str):
            return self.method(instrument, parsed)
        reply: Reply = getattr(instrument, self.method)(parsed)
        return reply


Method = TypeVar("Method", bound=Callable[..., Any])


def command(
    *patterns: str, parameters: tuple[Parameter, ...] = (), required: int | None = None, repeat: bool = False
) -> Callable[[Method], Method]:
    """Mark a method as what executes some headers; its docstring describes them."""

    def mark(method: Method) -> Method:
        doc = (method.__doc__ or "").partition("\n")[0]
        needed = len(parameters) if required is None else required
        marked = [BenchCommand(pattern, method.__name__, doc, parameters, needed, repeat) for pattern in patterns]
        setattr(method, MARK, tuple(marked))
        return method

    return mark


def answers(pattern: str, doc: str, answer: Callable[[Any, CommandCall], Reply], **options: Any) -> BenchCommand:
    """A row of a table ``COMMANDS``: a query that a function answers, (instrument, call) -> reply."""
    return BenchCommand(pattern, answer, doc, **options)


def commands_of(kind: type) -> tuple[BenchCommand, ...]:
    """The commands of a class and its bases: those of their tables ``COMMANDS``, and those of their methods."""
    found: dict[str, tuple[BenchCommand, ...]] = {}
    for base in reversed(kind.__mro__):
        found[base.__qualname__] = vars(base).get("COMMANDS", ())
        for name, method in vars(base).items():
            if hasattr(method, MARK):
                found[name] = getattr(method, MARK)
    return tuple(entry for entries in found.values() for entry in entries)


def settings_of(table: Mapping[str, Any]) -> tuple[BenchSetting, ...]:
    """The settings that a module defines."""
    return tuple(value for value in table.values() if isinstance(value, BenchSetting))
