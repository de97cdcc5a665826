"""Computes matrix products whose rows do not depend on which rows are computed together.

A matrix product rounds differently for different batch sizes, because the BLAS picks other kernels, and even
within one batch: kernels for the edges of a block, and those of a second thread, may add in another order
(OpenBLAS does so for float32 on AVX2 and for float64 on AVX-512 machines). :class:`ExactProduct` removes the
cause, :func:`in_fixed_blocks` only the dependence on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 128
DOUBLE_BITS = 53  # whole numbers up to 2**53 are exact in float64


class ExactProduct:
    """``rows @ matrix`` without any rounding in the sum, so that the order of summation cannot matter.

    Each row, and each column of the matrix, is rounded to whole multiples of a power of two, with as many
    bits as leave all products and partial sums exact in float64. Its result is therefore the same to the last
    bit in every batch, at every place in it, with any number of threads, and on every machine. The accuracy
    is about that of float32: factors keep at least 26 - log2(terms) / 2 bits (22 for 256 terms, 20 for 4,096)
    of the largest value in their row or column.

    Parameters
    ----------
    matrix
        Real numbers of shape (n, m), finite.
    """

    def __init__(self, matrix: NDArray[Any]) -> None:
        columns = np.asarray(matrix, dtype=np.float64).T
        terms = columns.shape[1]
        bits = DOUBLE_BITS - (terms - 1).bit_length()
        self._row_bits = bits // 2
        whole, scales = _whole_multiples(columns, bits - self._row_bits)
        self._matrix = np.ascontiguousarray(whole.T)
        self._scales = scales[:, 0]

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """The product of rows of shape (any, n) with the matrix, shape (any, m), float64."""
        whole, scales = _whole_multiples(np.asarray(rows, dtype=np.float64), self._row_bits)
        product = whole @ self._matrix
        product *= self._scales  # by powers of two: exact
        product *= scales
        return product


def _whole_multiples(lines: NDArray[np.float64], bits: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whole numbers of at most 2**bits, and the scales, shape (lines, 1), that turn them back."""
    largest = np.abs(lines).max(axis=1, keepdims=True)
    # Within these exponents neither a scale nor its inverse overflows; below them a line counts as zero.
    exponents = np.clip(np.frexp(largest)[1], -400, 900) - bits
    whole = lines * np.ldexp(1.0, -exponents)
    return np.rint(whole, out=whole), np.ldexp(1.0, exponents)


def in_fixed_blocks(
    function: Callable[[NDArray[Any]], NDArray[Any]], rows: NDArray[Any], block_rows: int = BLOCK_ROWS
) -> NDArray[Any]:
    """Apply ``function`` to ``rows`` in blocks of exactly ``block_rows``, the last one padded with zeros.

    Parameters
    ----------
    function
        Maps (block_rows, n) to (block_rows, m), each row by itself and whatever its place in the block, as
        element-wise arithmetic and :class:`ExactProduct` do.
    rows
        Array of shape (any, n) with at least one row.
    block_rows
        Rows of a block.

    Returns
    -------
    ndarray of shape (any, m), in which each row is bit-identical whatever rows it came with.
    """
    count = len(rows)
    results = []
    for start in range(0, count, block_rows):
        block = rows[start : start + block_rows]
        missing = block_rows - len(block)
        if missing:
            block = np.concatenate([block, np.zeros((missing, *rows.shape[1:]), dtype=rows.dtype)])
        results.append(function(np.ascontiguousarray(block))[: block_rows - missing])
    return results[0] if len(results) == 1 else np.concatenate(results)
