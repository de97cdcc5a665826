"""Frames: what is encoded comes back, and nothing else is taken for a frame, in bounded time and memory."""

from __future__ import annotations

import ast
import json
import os
import struct
import sys
import tempfile
import tracemalloc
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from hwloop.devices.worker import served
from hwloop.devices.worker.served import DTYPES, FrameError, SharedFile, decode_frame, encode_frame

NAMES = st.text(max_size=10)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.dictionaries(st.text(max_size=8).filter(lambda key: key not in served.LAYOUT), JSON, max_size=4)
ARRAYS = numpy_st.arrays(
    st.sampled_from(sorted(DTYPES)), numpy_st.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
)


@pytest.fixture
def memory():
    with tempfile.TemporaryFile() as file:
        yield SharedFile(file.fileno())


def frame_of(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + body


def described(**changes):
    header = {"op": "measure", "names": ["inputs"], "shapes": [[2, 3]], "dtypes": ["<f8"], **changes}
    return {key: value for key, value in header.items() if value is not None}


@pytest.mark.parametrize("announced", [served.LONGEST_FRAME + 1, 0x7FFFFFFE, 2**60])
def test_a_frame_without_end_is_refused_when_its_length_is_known(announced):
    ours, theirs = Pipe()
    length = struct.pack("!i", announced) if announced < 0x7FFFFFFF else struct.pack("!iQ", -1, announced)
    os.write(theirs.fileno(), length + b"x" * 1000)
    with pytest.raises(FrameError, match="are announced"):
        served.received(ours)
    ours.close()
    theirs.close()


@examples(60)
@given(HEADERS, st.text(max_size=10), st.dictionaries(NAMES, ARRAYS, max_size=4))
def test_a_frame_comes_back_to_the_last_bit(header, op, arrays):
    header = {**header, "op": op}
    again, received = decode_frame(encode_frame(header, arrays))
    assert again == header
    assert list(received) == list(arrays)
    for name, array in arrays.items():
        assert received[name].dtype == array.dtype
        assert received[name].shape == array.shape
        assert received[name].tobytes() == array.tobytes()
        assert received[name].flags.writeable
        assert not np.shares_memory(received[name], array)


@examples(30)
@given(ARRAYS.filter(lambda array: array.ndim == 2))
def test_order_and_byte_order_of_the_senders_array_do_not_matter(array):
    swapped = array.astype(array.dtype.newbyteorder(">"))[:, ::-1]
    (received,) = decode_frame(encode_frame({"op": ""}, {"x": np.asfortranarray(swapped)}))[1].values()
    assert received.tobytes() == np.ascontiguousarray(array[:, ::-1]).tobytes()
    assert received.dtype == array.dtype


def test_large_arrays_lie_in_shared_memory_and_outlive_it(memory):
    arrays = {"x": np.random.default_rng(0).normal(size=(300, 100)), "n": np.arange(5, dtype=np.int32)}
    frame = encode_frame({"op": "measure"}, arrays, memory)
    assert len(frame) < 1000
    header, received = decode_frame(frame, memory)
    assert header == {"op": "measure"}
    encode_frame({"op": "next"}, {"x": np.zeros((1000, 100))}, memory)  # grows it, and overwrites what was there
    for name, array in arrays.items():
        np.testing.assert_array_equal(received[name], array)


def test_arrays_travel_in_the_frame_where_there_is_no_room(memory, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(served.os, "posix_fallocate", full)
    array = np.ones((200, 200))
    frame = encode_frame({"op": "measure"}, {"x": array}, memory)
    assert len(frame) > array.nbytes
    np.testing.assert_array_equal(decode_frame(frame)[1]["x"], array)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_frame(data):
    with pytest.raises(FrameError):
        decode_frame(data)


@given(st.data())
def test_a_changed_frame_is_a_frame_or_refused(data):
    frame = bytearray(encode_frame({"op": "run", "trial": 7}, {"x": np.ones((2, 3)), "n": np.arange(4)}))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    del frame[data.draw(st.integers(1, len(frame))) :]
    try:
        header, arrays = decode_frame(bytes(frame))
    except FrameError:
        return
    assert isinstance(header["op"], str)
    assert all(array.dtype.str in DTYPES for array in arrays.values())


@pytest.mark.parametrize(
    "header",
    [
        described(op=None),
        described(op=3),
        described(names=None),
        described(names=["inputs", "inputs"], shapes=[[3], [3]], dtypes=["<f8", "<f8"]),
        described(names=["a", "b"]),
        described(names=[3]),
        described(names=[["inputs"]]),
        described(shapes=[[2, 2]]),
        described(shapes=[[2, 3, 2]]),
        described(shapes=[[-2, -3]]),
        described(shapes=[[2.0, 3]]),
        described(shapes=[[True, 6]]),
        described(shapes=[6]),
        described(shapes=[[1] * 9 + [6]]),
        described(shapes=[[10**19, 10**19]]),
        described(shapes=[[0, 10**18]]),
        described(dtypes=["|O"]),
        described(dtypes=[">f8"]),
        described(dtypes=["<f8,<f8"]),
        described(dtypes=[["x", "<f8"]]),
        described(dtypes=["<M8[s]"]),
        described(memory=48),
        described(memory=-1),
        described(memory="48"),
        [1, 2],
        b"\xff\xfe",
        b'{"op": NaN}',
        b'{"op": "x", "names": [], "shapes": [], "dtypes": [], "trial": Infinity}',
        b'{"op": "x", "trial": ' + b"9" * 100_000 + b"}",
        b"[" * 100_000,
        b'{"op":' * 50_000,
    ],
)
def test_a_header_that_lies_is_refused(header):
    body = np.ones((2, 3)).tobytes()
    assert decode_frame(frame_of(described(), body))[1]["inputs"].sum() == 6
    with pytest.raises(FrameError, match=r"\w"):
        decode_frame(frame_of(header, body))


def test_memory_that_is_not_there_is_refused(memory):
    header = described(shapes=[[10_000, 300]], memory=24_000_000)
    with pytest.raises(FrameError, match="more than the shared memory holds"):
        decode_frame(frame_of(header), memory)


def test_a_claim_of_much_memory_costs_none():
    frames = [
        frame_of(described(shapes=[[2**20, 2**9]])),
        frame_of(described(shapes=[[0, 2**28]]), b"x"),
        struct.pack("<I", 2**32 - 1) + b"{}",
    ]
    tracemalloc.start()
    try:
        for frame in frames:
            with pytest.raises(FrameError):
                decode_frame(frame, longest=2**33)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_longer_than_allowed_is_refused():
    with pytest.raises(FrameError, match="must have 4 to 100"):
        decode_frame(encode_frame({"op": "x"}, {"x": np.zeros(50)}), longest=100)


@pytest.mark.parametrize(
    ("header", "arrays"),
    [
        ({"op": "x", "value": float("nan")}, {}),
        ({"op": "x", "value": object()}, {}),
        ({"op": "x"}, {"x": np.array([object()])}),
        ({"op": "x"}, {"x": np.array(["text"])}),
        ({"op": "x"}, {"x": np.zeros(3, dtype=complex)}),
        ({"op": "x"}, {"x": np.zeros((1,) * 9)}),
        ({"op": "x" * 2_000_000}, {}),
    ],
)
def test_what_cannot_be_sent_is_refused(header, arrays):
    with pytest.raises(FrameError):
        encode_frame(header, arrays)


def test_the_worker_file_stands_alone_and_runs_on_old_pythons():
    source = Path(served.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= sys.stdlib_module_names | {"numpy"}
    assert not imported & {"pickle", "shelve", "marshal"}
