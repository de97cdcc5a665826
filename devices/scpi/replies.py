"""What a reply must look like: a reply of another form belongs to another question, or was damaged.

Read generously where IEEE 488.2 leaves an instrument free (section 8.7), and where a reply is text for people:
that never decides whether a number can be read. All else is refused, with the reason, and whether asking again
could mend it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hwloop.device.checks import SCPI_OVERFLOW
from hwloop.errors import BadReading, ConformityError

MEASURE_AGAIN = "measure again on a fresh connection"
NO_RETRY = (
    "the instrument will answer so every time. Change its output format or this driver's question; "
    "nothing was taken for a value"
)

LONGEST_SHOWN_BYTES = 60
_NUMBER = r"[+-]?(?:\d+[.]?\d*|[.]\d+)(?:[eE][+-]?\d{1,3})?"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d{1,3})?", re.ASCII)
_HEADED = re.compile(rf"([:*]?[A-Za-z][A-Za-z0-9:_*]*)(?:\s+|\s*=\s*)({_NUMBER})\s*([^\d\s].{{0,11}})?")
_WITH_UNIT = re.compile(rf"{_NUMBER}\s*([A-Za-zµμΩ°%][A-Za-z0-9µμΩ°%/^.* -]{{0,11}})")
_QUOTED = re.compile(rf"(['\"])\s*{_NUMBER}\s*\1")


class Misfit(ValueError):
    """A reply of another form than its question's.

    Parameters
    ----------
    reason
        Why, where that can be told.
    reply
        As it came.
    lasting
        Whether the same question will get the same kind of reply for ever; ``None`` for what ``reason`` says: a
        form that is recognised is one that the instrument uses.
    """

    def __init__(self, reason: str, reply: bytes = b"", lasting: bool | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = reply
        self.lasting = bool(reason) if lasting is None else lasting


def numeric_misfit(reply: bytes) -> str:
    """What makes a reply no number of IEEE 488.2, where it is one to a human eye; else nothing."""
    try:
        text = reply.decode("utf-8").strip()
    except UnicodeDecodeError:
        text = reply.decode("latin-1").strip()
    if _DECIMAL_COMMA.fullmatch(text):
        return "it has a decimal comma where IEEE 488.2 has a point"
    if found := _HEADED.fullmatch(text):
        unit = f" and the unit {found[3].strip()!r} behind it" if found[3] else ""
        return f"it has the header {found[1]!r} before the number{unit}: switch headers off (SYSTem:HEADer OFF)"
    if found := _WITH_UNIT.fullmatch(text):
        return f"it has the unit {found[1].strip()!r} behind the number: switch units off"
    if _QUOTED.fullmatch(text):
        return "the number is in quotes"
    return ""


def shortened(reply: bytes) -> bytes:
    """The beginning of a reply, for messages."""
    return reply if len(reply) <= LONGEST_SHOWN_BYTES else reply[:LONGEST_SHOWN_BYTES] + b"..."


PATIENCE = 3  # the same misfit so often in a row is no passing fault
MOST_QUESTIONS = 1000


@dataclass
class _Record:
    conformed: bool = False
    shape: bytes = b""
    times: int = 0


@dataclass
class Conformity:
    """Tells a passing fault from a form that the instrument always uses, question by question.

    A question that was answered well before, and is not now, met a passing fault. One that never was, and gets a
    form that is recognised, meets it every time. So does one that is misread alike :data:`PATIENCE` times in a
    row.
    """

    _records: dict[str, _Record] = field(default_factory=dict)

    def answered(self, question: str) -> None:
        """The reply had its form."""
        record = self._of(question)
        record.conformed, record.times = True, 0

    def lasting(self, question: str, misfit: Misfit) -> bool:
        """Whether a misfit will come again."""
        record, shape = self._of(question), _shape(misfit.reply)
        record.times = record.times + 1 if shape == record.shape else 1
        record.shape = shape
        return (misfit.lasting and not record.conformed) or (bool(shape) and record.times >= PATIENCE)

    def _of(self, question: str) -> _Record:
        key = re.sub(r"\d+", "0", question.rpartition(";")[2])  # what is answered last, whatever is sent before it
        if key not in self._records and len(self._records) >= MOST_QUESTIONS:
            self._records.pop(next(iter(self._records)))
        return self._records.setdefault(key, _Record())


def _shape(reply: bytes) -> bytes:
    """A printable reply with its digits alike; nothing for what no instrument means to send."""
    text = reply.strip()
    if not text or any(byte < 32 for byte in text):
        return b""
    return re.sub(rb"[\d.]+", b"0", text)


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
