"""What a reply must look like: a reply of another form belongs to another question, or was damaged.

Read generously where IEEE 488.2 leaves an instrument free (section 8.7), and where a reply is text for people:
that never decides whether a number can be read. All else is refused, and the reason said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hwloop.device.checks import SCPI_OVERFLOW
from hwloop.devices.scpi.misfits import MEASURE_AGAIN, NO_RETRY, Misfit, numeric_misfit, shortened
from hwloop.errors import BadReading, ConformityError

T = TypeVar("T")

# NR1, NR2 and NR3 of IEEE 488.2, section 8.7.
NUMBER_PATTERN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_RADIX = re.compile(r"#(?:H[0-9A-F]+|Q[0-7]+|B[01]+)", re.ASCII | re.IGNORECASE)
_RADICES = {"H": 16, "Q": 8, "B": 2}
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9_:]*", re.ASCII)
_ERROR = re.compile(
    rf"(?:[:*]?[A-Za-z][\w:]*[ \t:]\s*)?({NUMBER_PATTERN.pattern})(?![\w.])\s*[,;:]?\s*(.*)", re.DOTALL
)
_ERROR_BEHIND = re.compile(r"([\"'].*[\"'])\s*[,;]\s*([+-]?\d{1,6})", re.DOTALL)
_NO_ERROR = re.compile(r"no[ _-]?errors?\b.*|ok|none|empty", re.IGNORECASE)
_QUOTES = ('"', "'")


@dataclass(frozen=True)
class Form(Generic[T]):
    """The form of a reply.

    Parameters
    ----------
    name
        What was expected, for messages.
    parse
        Turns the text of a reply, without white space around it, into its value; raises ValueError where it has
        another form.
    for_people
        Whether it is text in whatever letters the maker chose: UTF-8 or Latin-1, not ASCII alone.
    """

    name: str
    parse: Callable[[str], T]
    for_people: bool = False

    def value(self, reply: bytes) -> T:
        """The value of a reply.

        Raises
        ------
        Misfit
            It does not have the form; says why where that can be told.
        """
        try:
            return self.parse(_decoded(reply, self.for_people).strip(" \t\r\n\0"))
        except UnicodeDecodeError:
            raise Misfit(numeric_misfit(reply), reply) from None
        except ValueError as error:
            if isinstance(error, Misfit):
                raise Misfit(error.reason, reply, error.lasting) from None
            raise Misfit("" if self.for_people else numeric_misfit(reply), reply) from None

    def read(self, reply: bytes, question: str, resource: str) -> T:
        """The value of a reply.

        Raises
        ------
        ConformityError
            It is a number in a form that the instrument will use again: a decimal comma, a unit, a header.
        BadReading
            It does not have the form, or is SCPI's 9.91E37 (not a number) or 9.9E37 (infinity).
        """
        try:
            return self.value(reply)
        except Misfit as misfit:
            kind, advice = (ConformityError, NO_RETRY) if misfit.lasting else (BadReading, MEASURE_AGAIN)
            raise kind(self.refusal(misfit, question, resource) + advice) from misfit

    def refusal(self, misfit: Misfit, question: str, resource: str) -> str:
        """What was wrong with a reply; the advice is the caller's to add."""
        reason = f" ({misfit.reason})" if misfit.reason else ""
        shown = shortened(misfit.reply)
        return f"{resource}: {question} was answered with {shown!r}, which is no {self.name}{reason}; "


def _decoded(reply: bytes, for_people: bool) -> str:
    if not for_people:
        return reply.decode("ascii")
    try:
        return reply.decode("utf-8")
    except UnicodeDecodeError:
        return reply.decode("latin-1")


def unquoted(text: str) -> str:
    """The text inside quotes of either kind, doubled ones undone; a text without quotes as it is."""
    if len(text) >= 2 and text[0] in _QUOTES and text[-1] == text[0]:
        return text[1:-1].replace(2 * text[0], text[0])
    return text


def _number(text: str) -> float:
    if not NUMBER_PATTERN.fullmatch(text):
        raise ValueError(text)
    value = float(text)
    if abs(value) >= SCPI_OVERFLOW:
        raise Misfit("SCPI for an overflow or no reading", lasting=False)
    return value


def _integer(text: str) -> int:
    """NR1, a whole number written as NR2 or NR3, or one in hexadecimal, octal or binary digits."""
    if _WHOLE.fullmatch(text):
        return int(text)
    if _RADIX.fullmatch(text):
        return int(text[2:], _RADICES[text[1].upper()])
    value = _number(text)
    if not value.is_integer() or abs(value) > 2**53:
        raise Misfit("not a whole number", lasting=False)
    return int(value)


def _boolean(text: str) -> bool:
    words = {"ON": True, "OFF": False, "TRUE": True, "FALSE": False}
    word = unquoted(text).strip().upper()
    if word in words:
        return words[word]
    number = _integer(word)
    if number not in (0, 1):
        raise ValueError(text)
    return bool(number)


def _keyword(text: str) -> str:
    word = unquoted(text).strip()
    if not _KEYWORD.fullmatch(word):
        raise ValueError(text)
    return word.upper()


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError(text)
    return text


def _identity(text: str) -> str:
    """Any number of fields in any order, but no number and no entry of an error queue."""
    tidy = unquoted(text).strip()
    if not tidy.isprintable() or not any(letter.isalpha() for letter in tidy):
        raise ValueError(text)
    if NUMBER_PATTERN.fullmatch(tidy) or re.match(r"[+-]?\d+\s*,\s*[\"']", tidy):
        raise ValueError(text)
    return tidy


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_number(part.strip()) for part in text.split(","))


def _answers(text: str) -> tuple[str, ...]:
    """Cut at semicolons, but not inside quotes."""
    parts, quote = [""], ""
    for letter in _text(text):
        if letter == ";" and not quote:
            parts.append("")
            continue
        if letter in _QUOTES and quote in ("", letter):
            quote = "" if quote else letter
        parts[-1] += letter
    if quote:
        raise ValueError(text)
    return tuple(part.strip() for part in parts)


def _complete(text: str) -> bool:
    if _integer(text) != 1:
        raise ValueError(text)
    return True


def _error(text: str) -> tuple[int, str]:
    """A number and whatever the maker says of it, in any quotes or none, before it or behind it, or nothing."""
    inner = unquoted(text).strip()
    if found := _ERROR.fullmatch(inner):
        number, words = found[1], found[4]
    elif found := _ERROR_BEHIND.fullmatch(inner):
        number, words = found[2], found[1]
    elif _NO_ERROR.fullmatch(inner):
        number, words = "0", inner
    else:
        raise Misfit("no error number is in it", lasting=inner.isascii() and inner.isprintable())
    figures = words.strip() and all(NUMBER_PATTERN.fullmatch(part.strip()) for part in words.split(","))
    if figures or not float(number).is_integer() or abs(float(number)) > 1e6:
        raise ValueError(text)
    return int(float(number)), "".join(letter if letter.isprintable() else "?" for letter in unquoted(words))


NUMBER = Form("number", _number)
INTEGER = Form("whole number", _integer)
BOOLEAN = Form("0 or 1", _boolean)
KEYWORD = Form("keyword", _keyword)
TEXT = Form("printable text", _text, for_people=True)
NUMBERS = Form("list of numbers", _numbers)
IDENTITY = Form("identity (maker, model, serial number, version, or some of them)", _identity, for_people=True)
COMPLETE = Form("1, for complete", _complete)
ERROR = Form("error number and text", _error, for_people=True)
ANSWERS = Form("list of answers", _answers, for_people=True)
