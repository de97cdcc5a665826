"""Why a reply was refused, and whether asking again could mend it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

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
