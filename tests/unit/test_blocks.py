"""Row-independent arithmetic: a row's result does not depend on its batch, nor on its place in it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hwloop.blocks import ExactProduct, in_fixed_blocks

SHAPES = [(1, 1), (5, 1000), (33, 17), (64, 200), (110, 220), (297, 137), (784, 64), (935, 44)]


@pytest.mark.parametrize(("terms", "columns"), SHAPES)
def test_product_is_bit_identical_at_every_place_and_in_every_batch(terms, columns):
    # Plain float32 products fail this on AVX2 machines, float64 ones on AVX-512 machines.
    rng = np.random.default_rng(terms)
    product = ExactProduct(rng.normal(size=(terms, columns)))
    row = rng.normal(size=(1, terms))
    alone = product(row)
    for rows in (2, 7, 128, 131):
        np.testing.assert_array_equal(product(np.repeat(row, rows, axis=0)), np.repeat(alone, rows, axis=0))
    mixed = rng.normal(size=(130, terms)) * np.logspace(-6, 6, 130)[:, np.newaxis]
    mixed[77] = row
    np.testing.assert_array_equal(product(mixed)[77], alone[0])


@given(
    arrays(np.float64, (3, 6), elements=st.floats(-1e6, 1e6, width=32)),
    arrays(np.float64, (6, 2), elements=st.floats(-1e6, 1e6, width=32)),
)
def test_product_is_within_rounding_of_the_factors(rows, matrix):
    result = ExactProduct(matrix)(rows)
    for i, row in enumerate(rows):
        for j, column in enumerate(matrix.T):
            exact = sum(
                (Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, column, strict=True)),
                Fraction(),
            )
            bound = 6 * np.abs(row).max() * np.abs(column).max() * 2.0**-23
            assert abs(float(exact) - result[i, j]) <= bound + 1e-200


def test_product_of_whole_numbers_is_exact():
    rng = np.random.default_rng(0)
    rows, matrix = rng.integers(-1000, 1000, (50, 784)), rng.integers(-1000, 1000, (784, 30))
    np.testing.assert_array_equal(ExactProduct(matrix)(rows), (rows @ matrix).astype(float))


def test_product_of_zero_huge_and_tiny_rows():
    matrix = np.eye(3)
    rows = np.array([[0.0, 0.0, 0.0], [1e300, -1e300, 5e299], [1e-100, 0.0, -1e-100]])
    np.testing.assert_allclose(ExactProduct(matrix)(rows), rows, rtol=1e-6)


def test_product_does_not_alter_its_factors():
    rows, matrix = np.full((2, 3), 0.1), np.full((3, 2), 0.3)
    ExactProduct(matrix)(rows)
    assert (rows == 0.1).all()
    assert (matrix == 0.3).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 64))
def test_fixed_blocks_equal_one_call_and_always_have_one_shape(count, block_rows):
    rows = np.arange(count * 3, dtype=float).reshape(count, 3)
    seen = set()

    def double(block):
        seen.add(block.shape)
        return 2 * block

    np.testing.assert_array_equal(in_fixed_blocks(double, rows, block_rows), 2 * rows)
    assert seen == {(block_rows, 3)}
