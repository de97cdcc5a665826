"""IDX files: what is stored comes back, and a file that lies about itself is a clean error."""

from __future__ import annotations

import contextlib
import gzip
import math
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hwloop.errors import DatasetError
from hwloop.experiments.mnist import read_idx

images = arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=5))
packings = st.sampled_from([bytes, gzip.compress])


def stored(array, magic=None, shape=None):
    """An IDX file by the format's own words: big-endian magic number and lengths, then bytes."""
    magic = (0x0800 | array.ndim) if magic is None else magic
    shape = array.shape if shape is None else shape
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + array.tobytes()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "images"


@given(array=images, pack=packings)
def test_what_is_stored_comes_back(file, array, pack):
    file.write_bytes(pack(stored(array)))
    found = read_idx(file, axes=3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


@given(array=images, pack=packings, data=st.data())
def test_a_file_that_ends_early_is_refused(file, array, pack, data):
    whole = pack(stored(array))
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DatasetError, match="cannot be read as an IDX file"):
        read_idx(file, axes=3)


@given(array=images, pack=packings, more=st.binary(min_size=1, max_size=9))
def test_a_file_that_goes_on_is_refused(file, array, pack, more):
    file.write_bytes(pack(stored(array) + more))
    with pytest.raises(DatasetError, match="goes on"):
        read_idx(file, axes=3)


@given(array=images, pack=packings, magic=st.integers(0, 2**32 - 1).filter(lambda magic: magic != 0x0803))
def test_another_magic_number_is_refused(file, array, pack, magic):
    file.write_bytes(pack(stored(array, magic)))
    with pytest.raises(DatasetError, match="begins with"):
        read_idx(file, axes=3)


@given(
    pack=packings,
    shape=st.tuples(*[st.integers(0, 2**32 - 1)] * 3).filter(lambda shape: math.prod(shape) > 2**20),
)
def test_sizes_beyond_the_file_are_refused_before_any_memory_is_taken(file, pack, shape):
    file.write_bytes(pack(stored(np.zeros((1, 2, 3), np.uint8), shape=shape)))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="announces"):
            read_idx(file, axes=3)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@given(content=st.binary(max_size=60), gzipped=st.booleans())
def test_any_bytes_are_an_array_or_a_clean_error(file, content, gzipped):
    file.write_bytes(b"\x1f\x8b\x08" + content if gzipped else content)
    with contextlib.suppress(DatasetError):
        assert read_idx(file, axes=1).ndim == 1


def test_a_file_that_is_not_there_or_is_a_folder_says_so(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(DatasetError, match="cannot be read"):
            read_idx(path, axes=1)
