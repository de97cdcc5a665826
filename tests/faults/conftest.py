"""A mutation fuzzer: valid files altered at random, by a seed, and fed to what reads them."""

from __future__ import annotations

import resource
import signal
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
from helpers import quick_processes

SECONDS_AN_INPUT = 5.0
MEMORY_BYTES = 400e6
TOKENS = [
    *b"null true -1 0 1e999 -1e999 NaN Infinity 99999999999999999999999 1000000000000 9223372036854775807".split(),
    *b'0.5 -0.0 [] {} "" [[]] {"a":1} "\\ud800" \\u0000 [[[[[[[[[[[[ {"a":{"a":{"a": inf nan'.split(),
    *b"0x7f 1979-05-27 ../../etc/passwd os:system __class__ cos\nsystem".split(b" "),
    *(b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, b"\x00" * 64, b"\xff" * 64, b"\n" * 50),
]


class Mutator:
    """One to four random changes an input: bits, bytes, slices, numbers, tokens."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def __call__(self, data, other):
        changed = bytearray(data)
        for _ in range(int(self.rng.integers(1, 5))):
            changes = (
                self.flip,
                self.byte,
                self.cut,
                self.repeat,
                self.truncate,
                self.token,
                self.number,
                self.splice,
            )
            changes[int(self.rng.integers(len(changes)))](changed, other)
        return bytes(changed)

    def place(self, data):
        return int(self.rng.integers(len(data) + 1))

    def piece(self, data):
        start = self.place(data)
        return start, min(len(data), start + int(self.rng.geometric(0.05)))

    def flip(self, data, other):
        if data:
            data[self.place(data) - 1] ^= 1 << int(self.rng.integers(8))

    def byte(self, data, other):
        if data:
            data[self.place(data) - 1] = int(
                self.rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(self.rng.integers(256))])
            )

    def cut(self, data, other):
        start, end = self.piece(data)
        del data[start:end]

    def repeat(self, data, other):
        start, end = self.piece(data)
        data[end:end] = data[start:end]

    def truncate(self, data, other):
        del data[self.place(data) :]

    def token(self, data, other):
        start, end = self.piece(data)
        data[start : end if self.rng.random() < 0.5 else start] = TOKENS[int(self.rng.integers(len(TOKENS)))]

    def number(self, data, other):
        """Put a token where a number or a word stands."""
        start = self.place(data)
        while start < len(data) and not chr(data[start]).isalnum():
            start += 1
        end = start
        while end < len(data) and (chr(data[end]).isalnum() or data[end] in b"._-"):
            end += 1
        data[start:end] = TOKENS[int(self.rng.integers(len(TOKENS)))]

    def splice(self, data, other):
        start, end = self.piece(data)
        begin, stop = self.piece(other)
        data[start:end] = other[begin:stop]


@contextmanager
def time_limit(seconds):
    """Of processor time, so that a busy machine fails nobody."""

    def too_long(number, frame):
        raise AssertionError(f"an input took more than {seconds} s")

    before = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.fixture
def fuzz(tenths):
    """``fuzz(parse, valid, count, seed, allowed)``: how many inputs were read, and how many refused.

    ``parse(bytes)`` may return or raise one of ``allowed``; anything else, a hang, or memory out of all
    proportion fails the test and shows the input. Of thousands of inputs ``--tenth`` takes a tenth.
    """

    def run(parse, valid, count, seed, allowed):
        outcomes = Counter()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        parts = [((seed, tenth), count // 10) for tenth in tenths] if count >= 1000 else [((seed,), count)]
        for seeds, inputs in parts:
            mutate = Mutator(seeds)
            for number in range(inputs):
                data = mutate(valid[number % len(valid)], valid[int(mutate.rng.integers(len(valid)))])
                try:
                    with time_limit(SECONDS_AN_INPUT):
                        parse(data)
                except allowed as error:
                    outcomes["refused" if str(error).strip() else "refused without a word"] += 1
                except BaseException as error:
                    error.add_note(f"input {number} of seed {seeds}, {len(data)} bytes: {data[:2000]!r}")
                    raise
                else:
                    outcomes["read"] += 1
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)
        assert grown < MEMORY_BYTES
        assert not outcomes["refused without a word"]
        return outcomes

    return run


@pytest.fixture(scope="module")
def processes():
    """Starts processes in which a run begins within milliseconds."""
    return quick_processes()
