"""Program messages: where one ends, its units, a unit's header and parameters (IEEE 488.2, chapter 7).

On a socket a newline ends a message, except inside a definite-length block. A header is a pattern as the manuals
print it, and stands for a branch of the command tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from hwloop.simulators.bench.scpi.status import ScpiError

MAX_BLOCK_BYTES = 256 * 1024 * 1024
LONGEST_MESSAGE = 1 << 20  # bytes outside of long blocks of definite length; what grows beyond never ends
_BLOCK_FROM = 1 << 10  # shorter blocks are part of the message's own length: a chain of them may be endless too
_SPECIAL_IN_STREAM = re.compile(rb"[\n\"'#]")
_QUOTES_AND_BLOCKS = re.compile(rb"[\"'#(]")
_WHITE = bytes(range(0x21))


def block_end(data: bytes | bytearray, start: int) -> int | None:
    """Where the definite-length block that begins at ``start`` ends, perhaps beyond the data.

    Returns
    -------
    The index behind its last byte; ``start + 1`` if this is no definite-length block; ``None`` if its length
    has not arrived yet.
    """
    digits = data[start + 1 : start + 2]
    if not digits:
        return None
    if not b"1" <= digits <= b"9":
        return start + 1
    begin = start + 2 + int(digits)
    length = data[start + 2 : begin]
    if not length.isdigit() and length:
        return start + 1
    if len(data) < begin:
        return None
    end = begin + int(length)
    return end if end - begin <= MAX_BLOCK_BYTES else start + 1


class EndlessMessage(Exception):
    """What a client sends grows beyond every message that it could be."""


class MessageStream:
    """Cuts a stream of bytes into program messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # up to here nothing ends a message; beyond the buffer inside an unfinished block
        self._announced = 0  # bytes of definite-length blocks in this message so far

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes, without their terminators.

        Raises
        ------
        EndlessMessage
            A message is longer than :data:`LONGEST_MESSAGE` without its blocks, or its blocks are longer than
            :data:`MAX_BLOCK_BYTES`: nothing more can be made of the stream.
        """
        self._buffer += data
        messages = []
        while (end := self._find_end()) is not None:
            self._require_plausible(end)
            messages.append(bytes(self._buffer[:end]))
            del self._buffer[: end + 1]
            self._scanned = self._announced = 0
        self._require_plausible(len(self._buffer))
        return messages

    def _require_plausible(self, length: int) -> None:
        if length - self._announced > LONGEST_MESSAGE or self._announced > MAX_BLOCK_BYTES:
            self._buffer.clear()
            self._scanned = self._announced = 0
            raise EndlessMessage(f"a message of {length:,} bytes and more has no end")

    def _find_end(self) -> int | None:
        while found := _SPECIAL_IN_STREAM.search(self._buffer, self._scanned):
            at, character = found.start(), found.group()
            if character == b"\n":
                return at
            if character == b"#":
                end = block_end(self._buffer, at)
                if end is None:
                    return None
                if end - at >= _BLOCK_FROM:
                    self._announced += end - at
                self._scanned = end
                continue
            closing = self._buffer.find(character, at + 1)
            newline = self._buffer.find(b"\n", at + 1)
            if newline >= 0 and not 0 <= closing < newline:
                return newline  # a string that is not closed in its message
            if closing < 0:
                return None
            self._scanned = closing + 1
        self._scanned = max(self._scanned, len(self._buffer))
        return None


def split_outside(data: bytes, separator: bytes) -> list[bytes]:
    """Cut at a separator, but not inside strings, expressions and blocks; the parts are stripped.

    Raises
    ------
    ScpiError
        -151 or -161: a string or a block is not complete.
    """
    if not _QUOTES_AND_BLOCKS.search(data):
        return [part.strip(_WHITE) for part in data.split(separator)]
    parts, start, at = [], 0, 0
    stop = re.compile(rb"[\"'#(" + re.escape(separator) + rb"]")
    while found := stop.search(data, at):
        at, character = found.start(), found.group()
        if character == separator:
            parts.append(data[start:at])
            start = at = at + 1
        else:
            at = _skip(data, at, character)
    parts.append(data[start:])
    # A block ends where its length says: what looks like white space at its end is data.
    return [part.lstrip(_WHITE) if b"#" in part else part.strip(_WHITE) for part in parts]


def _skip(data: bytes, at: int, character: bytes) -> int:
    """The index behind the string, block or expression that begins at ``at``."""
    if character == b"#":
        if data[at + 1 : at + 2] == b"0":
            return len(data)  # an indefinite block lasts to the end of the message
        end = block_end(data, at)
        if end is None or end > len(data):
            raise ScpiError(-161)
        return end
    closing = data.find(b")" if character == b"(" else character, at + 1)
    if closing < 0:
        raise ScpiError(-151 if character != b"(" else -102)
    return closing + 1


def split_header(unit: bytes) -> tuple[bytes, list[bytes]]:
    """The header of a message unit and its parameters as tokens."""
    parts = unit.split(None, 1)
    if len(parts) < 2:
        return unit.rstrip(_WHITE), []
    header = parts[0]
    if header != unit[: len(header)]:
        unit = unit.lstrip(_WHITE)
    rest = unit[len(header) + 1 :]
    return header, split_outside(rest, b",")


MAX_MNEMONIC_CHARACTERS = 12
_TOKENS = re.compile(r"<(\d+):(\d+)>|(\*?[A-Za-z][A-Za-z0-9_]*)|([\[\]:|?])")


def short_form(mnemonic: str) -> str:
    """The short form: upper case and digits, ``FREQ`` of ``FREQuency`` and ``CHAN1`` of ``CHANnel1``."""
    return re.sub("[a-z]", "", mnemonic)


def spellings(mnemonic: str) -> tuple[str, str]:
    """Short and long form of a mnemonic in upper case; nothing between them is allowed."""
    return short_form(mnemonic), mnemonic.upper()


@dataclass(frozen=True)
class HeaderPattern:
    """A header as manuals print it.

    Parameters
    ----------
    text
        ``[SOURce<1:2>:]VOLTage[:LEVel][:IMMediate][:AMPLitude]``: upper case is the short form, brackets
        hold what may be left out, ``|`` separates synonyms inside them, ``<1:2>`` is a numeric suffix with
        its range (1 if left out).
    """

    text: str

    @cached_property
    def _compiled(self) -> tuple[re.Pattern[str], tuple[tuple[int, int], ...]]:
        pieces, ranges = [], []
        for low, high, mnemonic, mark in _TOKENS.findall(self.text):
            if low:
                pieces.append(r"(\d*)")
                ranges.append((int(low), int(high)))
            elif mnemonic:
                pieces.append("(?:" + "|".join(re.escape(form) for form in spellings(mnemonic)) + ")")
            else:
                pieces.append({"[": "(?:", "]": ")?", ":": ":", "|": "|", "?": r"\?"}[mark])
        return re.compile("".join(pieces)), tuple(ranges)

    def match(self, header: str) -> tuple[int, ...] | None:
        """The numeric suffixes of an upper-case header that this pattern stands for, else ``None``.

        Raises
        ------
        ScpiError
            -114: a suffix is out of range.
        """
        pattern, ranges = self._compiled
        found = pattern.fullmatch(header)
        if found is None:
            return None
        suffixes = tuple(int(digits) if digits else 1 for digits in found.groups())
        for suffix, (low, high) in zip(suffixes, ranges, strict=True):
            if not low <= suffix <= high:
                raise ScpiError(-114)
        return suffixes


def absolute(header: str, path: str) -> tuple[str, str]:
    """A unit's header from the root of the tree, and the path that it leaves for the next unit.

    SCPI-99 volume 1, 6.2.4: a leading colon starts at the root; else the header continues where the unit
    before it left off; a common command neither uses nor moves the path.
    """
    if header.startswith("*"):
        return header, path
    whole = header[1:] if header.startswith(":") else path + header
    return whole, whole[: whole.rfind(":") + 1]


def check_mnemonics(header: str) -> None:
    """Refuse what cannot be a header: -101, -102 or -112."""
    if not header or not re.fullmatch(r"\*?[A-Z0-9_:?]+", header):
        raise ScpiError(-101)
    if "::" in header or header.rstrip("?").endswith(":") or "?" in header[:-1]:
        raise ScpiError(-102)
    if any(len(part.rstrip("?0123456789")) > MAX_MNEMONIC_CHARACTERS for part in header.split(":")):
        raise ScpiError(-112)
