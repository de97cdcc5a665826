"""What the header of a record may say: the same check when it is written and when it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hwloop.journal.frame import FrameError
from hwloop.journal.record import Note, Record

ROWS = "rows"
MAX_TEXT = 1000
MAX_ROW = 1 << 53  # exact in every program that reads JSON


def rows_header(record: Record) -> dict[str, Any]:
    """The header of a record of rows, without its arrays.

    Raises
    ------
    FrameError
        No reader would accept it.
    """
    header: dict[str, Any] = {
        "kind": ROWS,
        "purpose": record.purpose,
        "step": record.step,
        "device": record.device,
        "first_row": record.first_row,
        "rows": len(record.stimuli),
        "started_seconds": record.started_seconds,
        "duration_seconds": record.duration_seconds,
    }
    if record.progress:
        header["progress"] = record.progress
    check_header(header, (record.stimuli.shape, record.responses.shape))
    return header


def note_header(note: Note) -> dict[str, Any]:
    """The header of a note; raises as :func:`rows_header` does."""
    if note.kind == ROWS:
        raise FrameError(f"a note cannot be of the kind {ROWS!r}: that is what records of rows are")
    header = {"kind": note.kind, "started_seconds": note.seconds, "details": note.details}
    check_header(header, ())
    return header


def check_read_header(header: Mapping[str, Any]) -> None:
    """Check a header that was read, with the arrays that it announces; raises as :func:`rows_header` does."""
    expected = ["stimuli", "responses"] if header.get("kind") == ROWS else []
    names = [described["name"] for described in header["arrays"]]
    _require(names == expected, f"it announces the arrays {names}")
    check_header(header, tuple(tuple(described["shape"]) for described in header["arrays"]))


def check_header(header: Mapping[str, Any], shapes: tuple[tuple[int, ...], ...]) -> None:
    """Check what a header says, given the shapes of its arrays; raises as :func:`rows_header` does."""
    _check_text(header, "kind")
    _require(header["kind"] != "", "it has no kind")
    _require(_is_time(header.get("started_seconds")), "its time is no number")
    if header["kind"] != ROWS:
        _require(isinstance(header.get("details"), dict), "its details are no table")
        return
    for name in ("purpose", "step", "device"):
        _check_text(header, name)
    first, rows, duration = header.get("first_row"), header.get("rows"), header.get("duration_seconds")
    _require(type(first) is int and 0 <= first <= MAX_ROW, f"its first row is {first!r}")
    _require(type(rows) is int and 1 <= rows <= MAX_ROW, f"it has {rows!r} rows")
    _require(_is_time(duration) and float(str(duration)) >= 0, "its duration is no time")
    _require(isinstance(header.get("progress", {}), dict), "its progress is no table")
    (stimuli, responses) = shapes
    sound = len(stimuli) == len(responses) == 2 and stimuli[0] == responses[0] == rows
    _require(sound and stimuli[1] >= 1 and responses[1] >= 1, f"its {rows} rows are arrays of {shapes}")


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise FrameError(f"this is no record: {fault}")


def _check_text(header: Mapping[str, Any], name: str) -> None:
    text = header.get(name)
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise FrameError(f"this is no record: its {name} is no text of at most {MAX_TEXT} characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FrameError(f"this is no record: its {name} is no Unicode text") from error


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e15 and math.isfinite(value)
