"""Values of commands: numbers with units, names, strings and blocks, parsed and printed as IEEE 488.2 says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from hwloop.simulators.bench.scpi.messages import short_form, spellings
from hwloop.simulators.bench.scpi.status import ScpiError

INFINITY, INFINITE = 9.9e37, "+9.9E+37"  # how SCPI writes infinity
NOT_A_NUMBER = 9.91e37
MAX_EXPONENT = 32_000
_NUMBER = re.compile(rb"([+-]?(?:\d+\.?\d*|\.\d+)(?:\s*[eE]\s*[+-]?\d+)?)\s*([A-Za-z%/]*)")
_NON_DECIMAL = {b"H": 16, b"Q": 8, b"B": 2}
# SCPI-99 volume 1, 7.2: multipliers of suffixes. M is milli, but mega in MHZ and MOHM; MA is always mega.
_MULTIPLIERS = {
    "EX": 1e18,
    "PE": 1e15,
    "T": 1e12,
    "G": 1e9,
    "MA": 1e6,
    "K": 1e3,
    "": 1.0,
    "M": 1e-3,
    "U": 1e-6,
    "N": 1e-9,
    "P": 1e-12,
    "F": 1e-15,
    "A": 1e-18,
}
_MEGA_UNITS = ("HZ", "OHM", "SA", "SA/S")
_SYNONYMS = {"PCT": ("PCT", "%"), "SA/S": ("SA/S", "SA", "HZ"), "VPP": ("VPP", "V"), "S": ("S", "SEC")}
_NEVER_SCALED = ("PCT", "%", "DBM")


class Parameter(Protocol):
    """How one parameter of a command is read from its token and printed in a reply."""

    def parse(self, token: bytes) -> Any:
        """The value of a token; raises :class:`ScpiError`."""

    def print(self, value: Any) -> str:
        """The value as a reply."""


def kind_of(token: bytes) -> str:
    """``number``, ``character``, ``string``, ``block`` or ``expression``, by its first byte."""
    first = token[:1]
    if first in (b'"', b"'"):
        return "string"
    if first == b"#":
        return "number" if token[1:2].upper() in _NON_DECIMAL else "block"
    if first == b"(":
        return "expression"
    return "number" if first in b"+-.0123456789" and first else "character"


_NOT_ALLOWED = {"number": -128, "character": -148, "string": -158, "block": -168, "expression": -178}


def expect(token: bytes, *kinds: str) -> str:
    """The kind of a token; SCPI's "… data not allowed" if it is none of ``kinds``."""
    if not token:
        raise ScpiError(-109)
    kind = kind_of(token)
    if kind not in kinds:
        raise ScpiError(_NOT_ALLOWED[kind])
    return kind


def suffix_factor(suffix: str, unit: str) -> float:
    """What a suffix multiplies by: 1e3 for ``KHZ`` where the unit is ``HZ``.

    Raises
    ------
    ScpiError
        -138: no suffix is allowed here; -131: it is none of the unit's.
    """
    if not suffix:
        return 1.0
    if not unit:
        raise ScpiError(-138)
    for name in _SYNONYMS.get(unit, (unit,)):
        if not suffix.endswith(name):
            continue
        multiplier = suffix[: len(suffix) - len(name)]
        if multiplier == "M" and name in _MEGA_UNITS:
            return 1e6
        if multiplier in _MULTIPLIERS and not (multiplier and name in _NEVER_SCALED):
            return _MULTIPLIERS[multiplier]
    raise ScpiError(-131)


def number_and_suffix(token: bytes) -> tuple[float, str]:
    """A decimal or non-decimal number, and its suffix in upper case."""
    expect(token, "number")
    if token[:1] == b"#":
        try:
            return float(int(token[2:], _NON_DECIMAL[token[1:2].upper()])), ""
        except ValueError:
            raise ScpiError(-121) from None
    found = _NUMBER.fullmatch(token)
    if found is None:
        raise ScpiError(-121 if token[:1] in b"+-.0123456789" else -120)
    digits = re.sub(rb"\s", b"", found[1])
    exponent = re.search(rb"[eE]([+-]?\d+)", digits)
    if exponent and abs(int(exponent[1])) > MAX_EXPONENT:
        raise ScpiError(-123)
    if len(digits) > 255:
        raise ScpiError(-124)
    return float(digits), found[2].decode().upper()


def _nr3_15(value: float) -> str:
    return f"{value:+.15E}"


@dataclass(frozen=True)
class Number:
    """A real number with a unit.

    Parameters
    ----------
    unit
        Base unit in upper case, such as ``"HZ"``; ``""`` where no suffix is allowed.
    low, high
        Limits; those of a :class:`~.command.BenchSetting` win.
    infinite
        Whether ``INFinity`` is a value.
    form
        Prints a value.
    """

    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    infinite: bool = False
    form: Callable[[float], str] = _nr3_15

    def parse(self, token: bytes) -> float:
        """The number in the base unit."""
        if kind_of(token) == "character" and token:
            if self.infinite and token.upper() in (b"INF", b"INFINITY"):
                return INFINITY
            raise ScpiError(-148 if token.upper() in (b"INF", b"INFINITY") else -141)
        value, suffix = number_and_suffix(token)
        return value * suffix_factor(suffix, self.unit)

    def print(self, value: float) -> str:
        """As the instrument prints real numbers."""
        return INFINITE if value >= INFINITY else self.form(value)


@dataclass(frozen=True)
class Integer(Number):
    """A whole number; a fraction is rounded, as IEEE 488.2 asks of a listener."""

    form: Callable[[float], str] = lambda value: f"{round(value):+d}"

    def parse(self, token: bytes) -> float:
        value = super().parse(token)
        return value if value >= INFINITY else float(math.floor(value + 0.5))


@dataclass(frozen=True)
class Boolean:
    """``ON``, ``OFF``, or a number whose nearest whole number is not zero."""

    def parse(self, token: bytes) -> bool:
        """Whether it is on."""
        if expect(token, "number", "character") == "number":
            value, suffix = number_and_suffix(token)
            if suffix:
                raise ScpiError(-138)
            return abs(value) >= 0.5
        word = token.upper()
        if word not in (b"ON", b"OFF"):
            raise ScpiError(-224)
        return word == b"ON"

    def print(self, value: bool) -> str:
        """``1`` or ``0``."""
        return str(int(value))


class Keyword:
    """One of some mnemonics; its value is the short form.

    Parameters
    ----------
    mnemonics
        As manuals print them, such as ``"SINusoid"``; ``"EXTernal=EXT"`` prints as ``EXT``.
    """

    def __init__(self, *mnemonics: str) -> None:
        self.mnemonics = mnemonics
        self._values = {}
        for mnemonic in mnemonics:
            name, _, value = mnemonic.partition("=")
            for spelling in spellings(name):
                self._values[spelling] = value or short_form(name)

    def parse(self, token: bytes) -> str:
        """The short form."""
        expect(token, "character", "number")  # 50, or TYPE1: some choices begin with a digit
        try:
            return self._values[token.decode("ascii").upper()]
        except (KeyError, UnicodeDecodeError):
            raise ScpiError(-224 if kind_of(token) == "character" else -128) from None

    def print(self, value: str) -> str:
        """The short form."""
        return value


@dataclass(frozen=True)
class Text:
    """A quoted string.

    Parameters
    ----------
    max_characters
        What is longer is cut off.
    unquoted
        Whether a bare word is taken too.
    """

    max_characters: int = 255
    unquoted: bool = False

    def parse(self, token: bytes) -> str:
        """The text without its quotes; a doubled quote stands for one."""
        kind = expect(token, "string", *(("character",) if self.unquoted else ()))
        if kind == "character":
            return token.decode("latin-1")[: self.max_characters]
        quote = token[:1]
        inner = token[1:-1]
        if len(token) < 2 or token[-1:] != quote or quote in inner.replace(2 * quote, b""):
            raise ScpiError(-151)
        return inner.replace(2 * quote, quote).decode("latin-1")[: self.max_characters]

    def print(self, value: str) -> str:
        """The text in double quotes."""
        return '"' + value.replace('"', '""') + '"'


class Block:
    """A definite-length (``#512345…``) or indefinite-length (``#0…``) block of bytes."""

    def parse(self, token: bytes) -> bytes:
        """Its bytes."""
        expect(token, "block")
        digits = token[1:2]
        if digits == b"0":
            return token[2:]
        begin = 2 + int(digits) if digits.isdigit() else 2
        length = token[2:begin]
        if not length.isdigit():
            raise ScpiError(-161)
        data, behind = token[begin : begin + int(length)], token[begin + int(length) :]
        if len(data) != int(length) or behind.strip():
            raise ScpiError(-161)
        return data

    def print(self, value: bytes) -> str:
        """Not for text: see :func:`block`."""
        raise NotImplementedError("a block is bytes; use block()")


class Raw:
    """A token as it is, for commands that decide by its form."""

    def parse(self, token: bytes) -> bytes:
        """The token."""
        if not token:
            raise ScpiError(-109)
        return token

    def print(self, value: bytes) -> str:
        """The token as text."""
        return value.decode("latin-1")


def block(data: bytes, digits: int | None = None) -> bytes:
    """Bytes as a definite-length block; ``digits`` of the length, as few as fit unless given."""
    length = str(len(data)) if digits is None else f"{len(data):0{digits}d}"
    return b"#" + str(len(length)).encode() + length.encode() + data
