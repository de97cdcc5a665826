"""Orthogonal matching pursuit: which columns of a table explain the targets, the best first."""

from __future__ import annotations

import numpy as np

from hwloop.device.spec import Float64Array

LEAST = 1e-9  # of a column's variance that the columns before it must leave


def matched(columns: Float64Array, aims: Float64Array, count: int) -> list[int]:
    """Numbers of at most ``count`` columns (n, columns), in the order in which they are taken, for aims (n, m).

    At each turn the column is taken whose own part, beyond those before it, explains most of what is left of the
    aims (Chen, Billings and Luo, Int. J. Control 50, 1873, 1989): Gram-Schmidt on the covariances alone.
    """
    centred, wanted = columns - columns.mean(axis=0), aims - aims.mean(axis=0)
    covariance, shared = centred.T @ centred, centred.T @ wanted
    own = np.diag(covariance).copy()  # what each column has beyond those taken
    least = LEAST * own
    factors: list[Float64Array] = []
    order: list[int] = []
    for _ in range(min(count, columns.shape[1], len(columns) - 1)):
        able = own > least
        able[order] = False
        if not able.any():
            break
        explained = np.where(able, np.square(shared).sum(axis=1) / np.where(able, own, 1.0), -1.0)
        taken = int(explained.argmax())
        factor = covariance[:, taken].copy()
        for earlier in factors:
            factor -= earlier[taken] * earlier
        factor /= np.sqrt(own[taken])
        shared -= np.outer(factor, shared[taken] / factor[taken])
        own -= np.square(factor)
        factors.append(factor)
        order.append(taken)
    return order
