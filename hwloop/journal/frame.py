"""One record on disk: a checksummed header and checksummed arrays, readable without anything else of hwloop.

Layout, little-endian::

    8 bytes   marker  89 48 57 52 0D 0A 1A 0A
    u32       length of the header in bytes
    u64       length of the body in bytes
    u32       CRC-32 of the body
    u32       CRC-32 of all of the above and of the header
    header    JSON, UTF-8
    body      the arrays named in the header, one after the other, little-endian, C order

The two checksums are separate so that a damaged body does not hide where the next record begins.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARKER = b"\x89HWR\r\n\x1a\n"
_PREFIX = struct.Struct("<8sIQI")
_PREFIX_CRC = struct.Struct("<I")
PREFIX_BYTES = _PREFIX.size + _PREFIX_CRC.size
MAX_HEADER_BYTES = 1 << 16
MAX_BODY_BYTES = 1 << 31
DTYPES = ("<f4", "<f8")


class FrameError(ValueError):
    """Bytes that are no whole, undamaged record."""


class TornFrameError(FrameError):
    """The bytes end before the record does: it was being written when the writer died."""


def encode(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> list[bytes | memoryview]:
    """The record as buffers to be written one after the other.

    Arrays are stored as float32 where that loses nothing, else as float64; the header tells shape and type.
    """
    narrow = {name: _narrowest(array) for name, array in arrays.items()}
    described = [{"name": n, "shape": a.shape, "dtype": a.dtype.str} for n, a in narrow.items()]
    text = json.dumps({**header, "arrays": described}, separators=(",", ":"), allow_nan=False).encode()
    body = [memoryview(np.ascontiguousarray(a)).cast("B") if a.size else b"" for a in narrow.values()]
    crc = 0
    for part in body:
        crc = zlib.crc32(part, crc)
    prefix = _PREFIX.pack(MARKER, len(text), sum(len(part) for part in body), crc)
    return [prefix + _PREFIX_CRC.pack(zlib.crc32(text, zlib.crc32(prefix))) + text, *body]


def _narrowest(array: NDArray[Any]) -> NDArray[Any]:
    wide = np.asarray(array, dtype="<f8")
    with np.errstate(over="ignore"):  # what overflows float32 is no longer equal
        narrow = wide.astype("<f4")
    return narrow if np.array_equal(narrow, wide) else wide


def decode_prefix(data: bytes | memoryview) -> tuple[int, int, int, int]:
    """Header length, body length, body CRC and prefix CRC, from the first ``PREFIX_BYTES`` of a record.

    Raises
    ------
    TornFrameError
        Fewer bytes, and those that are there begin a record.
    FrameError
        Not the beginning of a record.
    """
    if len(data) < PREFIX_BYTES:
        kind = TornFrameError if bytes(data[:8]) == MARKER[: len(data)] else FrameError
        raise kind(f"{len(data)} bytes where a record of at least {PREFIX_BYTES} should begin")
    marker, header_bytes, body_bytes, body_crc = _PREFIX.unpack_from(data)
    if marker != MARKER:
        raise FrameError("no record begins here")
    if header_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise FrameError(f"a record cannot have {header_bytes} bytes of header and {body_bytes} of body")
    (prefix_crc,) = _PREFIX_CRC.unpack_from(data, _PREFIX.size)
    return header_bytes, body_bytes, body_crc, prefix_crc


def decode_header(data: bytes | memoryview, text: bytes, prefix_crc: int) -> dict[str, Any]:
    """The header, checked against its CRC and for the arrays that it announces.

    Raises
    ------
    FrameError
        Damaged, or not of the form that :func:`encode` writes.
    """
    if zlib.crc32(text, zlib.crc32(bytes(data[: _PREFIX.size]))) != prefix_crc:
        raise FrameError("the header's checksum is wrong")
    try:
        header = json.loads(text)
        arrays = header["arrays"]
        for described in arrays:
            _array_bytes(described)
            if not isinstance(described["name"], str):
                raise TypeError("an array's name is no text")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FrameError(f"the header cannot be read ({error})") from error
    return dict(header)


def _array_bytes(described: Mapping[str, Any]) -> int:
    shape, dtype = described["shape"], described["dtype"]
    if dtype not in DTYPES:
        raise ValueError(f"unknown type {dtype!r}")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n <= MAX_BODY_BYTES for n in shape):
        raise ValueError(f"unusable shape {shape!r}")
    size = int(dtype[-1])
    for n in shape:
        size *= n
    return size


def decode_body(
    header: Mapping[str, Any], body: bytes | memoryview, body_crc: int
) -> dict[str, NDArray[np.float64]]:
    """The arrays as float64.

    Raises
    ------
    FrameError
        The body is damaged, or does not hold what the header announces.
    """
    if sum(_array_bytes(described) for described in header["arrays"]) != len(body):
        raise FrameError("the body's length is not that of its arrays")
    if zlib.crc32(body) != body_crc:
        raise FrameError("the body's checksum is wrong")
    arrays, start = {}, 0
    for described in header["arrays"]:
        end = start + _array_bytes(described)
        flat = np.frombuffer(body[start:end], dtype=described["dtype"])
        arrays[described["name"]] = flat.reshape(described["shape"]).astype(np.float64)
        start = end
    return arrays
