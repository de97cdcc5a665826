"""One record on disk: a checksummed header and checksummed arrays, readable without anything else of hwloop.

Layout, little-endian::

    8 bytes   marker  89 48 57 52 0D 0A 1A 0A
    u32       length of the header in bytes
    u64       length of the body in bytes
    u32       CRC-32 of the header
    u32       CRC-32 of the body
    u32       CRC-32 of the 28 bytes above
    header    JSON, UTF-8
    body      the arrays named in the header, one after the other, little-endian, C order

A record of rows holds the arrays ``stimuli`` and ``responses``; on a device with tunables ``tuning`` as well, one
row of the values under which all of its rows were measured.

Three checksums: the lengths are trusted only after their own, so that a flipped bit in one is no torn tail, and
a damaged body does not hide where the next record begins.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import JournalError
from hwloop.journal.record import Note, Record

MARKER = b"\x89HWR\r\n\x1a\n"
_PREFIX = struct.Struct("<8sIQII")
_PREFIX_CRC = struct.Struct("<I")
PREFIX_BYTES = _PREFIX.size + _PREFIX_CRC.size
MAX_HEADER_BYTES = 1 << 22  # a device of 100,000 channels with limits of their own fits
MAX_BODY_BYTES = 1 << 30  # a single read on Linux ends below 2 GiB
DTYPES = {"<f4": 4, "<f8": 8}
ROWS = "rows"  # the kind of records that hold rows; every other kind is a note
MAX_TEXT = 1000
MAX_ROW = 1 << 53  # exact in every program that reads JSON


class RecordError(JournalError):
    """Bytes that are no whole, undamaged record, or a record that cannot be written."""


class TornRecordError(RecordError):
    """The bytes end before the record does: it was being written when the writer died."""


class Prefix(NamedTuple):
    """The fixed-size beginning of a record, its checksum already verified."""

    header_bytes: int
    body_bytes: int
    header_crc: int
    body_crc: int

    @property
    def record_bytes(self) -> int:
        """Length of the whole record."""
        return PREFIX_BYTES + self.header_bytes + self.body_bytes


def encode(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> list[bytes | memoryview]:
    """The record as buffers to be written one after the other.

    Arrays are stored as float32 where that loses nothing, else as float64; the header tells shape and type.

    Raises
    ------
    RecordError
        The header is no plain JSON, or the record is too large.
    """
    narrow = {name: _narrowest(array) for name, array in arrays.items()}
    described = [{"name": n, "shape": a.shape, "dtype": a.dtype.str} for n, a in narrow.items()]
    try:
        text = json.dumps({**header, "arrays": described}, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"a record holds text, numbers, lists and tables alone ({error})") from error
    body = [a.data.cast("B") if a.size else b"" for a in narrow.values()]
    body_bytes = sum(len(part) for part in body)
    _check_lengths(len(text), body_bytes)
    crc = 0
    for part in body:
        crc = zlib.crc32(part, crc)
    prefix = _PREFIX.pack(MARKER, len(text), body_bytes, zlib.crc32(text), crc)
    return [prefix + _PREFIX_CRC.pack(zlib.crc32(prefix)) + text, *body]


def _narrowest(array: NDArray[Any]) -> NDArray[Any]:
    wide = np.ascontiguousarray(array, dtype="<f8")
    with np.errstate(all="ignore"):  # what overflows or underflows float32 is no longer equal
        narrow = wide.astype("<f4")
    return narrow if np.array_equal(narrow, wide) else wide


def _check_lengths(header_bytes: int, body_bytes: int) -> None:
    if header_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise RecordError(
            f"{header_bytes:,} bytes of header and {body_bytes:,} of body are too much for one record "
            f"(at most {MAX_HEADER_BYTES:,} and {MAX_BODY_BYTES:,}); measure fewer rows a call"
        )


def decode_prefix(data: bytes) -> Prefix:
    """The lengths and checksums in the first ``PREFIX_BYTES`` of a record.

    Raises
    ------
    TornRecordError
        Fewer bytes, and those that are there begin a record.
    RecordError
        Not the beginning of a record.
    """
    if len(data) < PREFIX_BYTES:
        kind = TornRecordError if data[:8] == MARKER[: len(data)] else RecordError
        raise kind(f"{len(data)} bytes where a record of at least {PREFIX_BYTES} should begin")
    marker, header_bytes, body_bytes, header_crc, body_crc = _PREFIX.unpack_from(data)
    if marker != MARKER:
        raise RecordError("no record begins here")
    if _PREFIX_CRC.unpack_from(data, _PREFIX.size)[0] != zlib.crc32(data[: _PREFIX.size]):
        raise RecordError("the checksum of the record's lengths is wrong")
    _check_lengths(header_bytes, body_bytes)
    return Prefix(header_bytes, body_bytes, header_crc, body_crc)


def decode_header(prefix: Prefix, text: bytes) -> dict[str, Any]:
    """The header, checked against its CRC and for the arrays that it announces.

    Raises
    ------
    RecordError
        Damaged, or not of the form that :func:`encode` writes.
    """
    if zlib.crc32(text) != prefix.header_crc:
        raise RecordError("the header's checksum is wrong")
    try:
        header = json.loads(text.decode(), parse_constant=_refuse_constant)
        announced = sum(_array_bytes(described) for described in header["arrays"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"the header cannot be read ({error})") from error
    if announced != prefix.body_bytes:
        raise RecordError("the body's length is not that of its arrays")
    _check_announced(header)
    return dict(header)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _array_bytes(described: Mapping[str, Any]) -> int:
    """Bytes of an array (rows, channels), the only shape that records hold."""
    name, shape, dtype = described["name"], described["shape"], described["dtype"]
    if not isinstance(name, str) or not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"unknown type {dtype!r} of array {name!r}")
    if not isinstance(shape, list) or len(shape) != 2:
        raise ValueError(f"unusable shape {shape!r}")
    if not all(type(n) is int and 1 <= n <= MAX_BODY_BYTES for n in shape):
        raise ValueError(f"unusable shape {shape!r}")
    return DTYPES[dtype] * int(shape[0]) * int(shape[1])


def check_body(prefix: Prefix, body: bytes) -> None:
    """Verify the body's checksum.

    Raises
    ------
    RecordError
    """
    if zlib.crc32(body) != prefix.body_crc:
        raise RecordError("the body's checksum is wrong")


def decode_body(header: Mapping[str, Any], body: bytes) -> dict[str, NDArray[np.float64]]:
    """The arrays of a checked header and a checked body, as float64."""
    arrays, start = {}, 0
    for described in header["arrays"]:
        end = start + _array_bytes(described)
        flat = np.frombuffer(memoryview(body)[start:end], dtype=described["dtype"])
        arrays[described["name"]] = flat.reshape(described["shape"]).astype(np.float64)
        start = end
    return arrays


def rows_header(record: Record) -> dict[str, Any]:
    """The header of a record of rows, without its arrays.

    Raises
    ------
    RecordError
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
    if record.writes:
        header["writes"], header["write_seconds"] = record.writes, record.write_seconds
    _check_header(header, tuple(array.shape for array in rows_arrays(record).values()))
    return header


def rows_arrays(record: Record) -> dict[str, NDArray[np.float64]]:
    """The arrays of a record of rows, by name."""
    arrays = {"stimuli": record.stimuli, "responses": record.responses}
    return arrays if record.tuning is None else arrays | {"tuning": np.atleast_2d(record.tuning)}


def tuning_in(arrays: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """The tuning, shape (n_tunables,), among the arrays of a record of rows; ``None`` if there is none."""
    return arrays["tuning"][0] if "tuning" in arrays else None


def note_header(note: Note) -> dict[str, Any]:
    """The header of a note; raises as :func:`rows_header` does."""
    if note.kind == ROWS:
        raise RecordError(f"a note cannot be of the kind {ROWS!r}: that is what records of rows are")
    header = {"kind": note.kind, "started_seconds": note.seconds, "details": note.details}
    _check_header(header, ())
    return header


def _check_announced(header: Mapping[str, Any]) -> None:
    """Check a header that was read, with the arrays that it announces."""
    names = [described["name"] for described in header["arrays"]]
    expected = (
        [["stimuli", "responses"], ["stimuli", "responses", "tuning"]] if header.get("kind") == ROWS else [[]]
    )
    _require(names in expected, f"it announces the arrays {names}")
    _check_header(header, tuple(tuple(described["shape"]) for described in header["arrays"]))


def _check_header(header: Mapping[str, Any], shapes: tuple[tuple[int, ...], ...]) -> None:
    """Check what a header says, given the shapes of its arrays; the same for writing and for reading."""
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
    writes, seconds = header.get("writes", 0), header.get("write_seconds", 0.0)
    _require(type(writes) is int and 0 <= writes <= MAX_ROW, f"it has {writes!r} writes")
    _require(_is_time(seconds) and float(str(seconds)) >= 0, "the time of its writes is no time")
    stimuli, responses, *tuned = shapes
    _require(all(len(shape) == 2 and shape[0] == 1 <= shape[1] for shape in tuned), f"its tuning is of {tuned}")
    sound = len(stimuli) == len(responses) == 2 and stimuli[0] == responses[0] == rows
    _require(sound and stimuli[1] >= 1 and responses[1] >= 1, f"its {rows} rows are arrays of {shapes}")


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise RecordError(f"this is no record: {fault}")


def _check_text(header: Mapping[str, Any], name: str) -> None:
    text = header.get(name)
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise RecordError(f"this is no record: its {name} is no text of at most {MAX_TEXT} characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecordError(f"this is no record: its {name} is no Unicode text") from error


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e15 and math.isfinite(value)
