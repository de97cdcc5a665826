"""How much the fast suite tries: a quarter of the examples, the telling rows of a table; .ci/run tries all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

OF_A_PROPERTY = 100  # hypothesis' own number, and that of the profile "whole" (conftest.py)


def examples(count: int, **more: Any) -> settings:
    """Settings with so many examples in the profile "whole", and their share in another one."""
    return settings(max_examples=max(1, round(count * settings().max_examples / OF_A_PROPERTY)), **more)


def each_row(table: Iterable[Any], *fast: Any, daily: Iterable[Any] = ()) -> list[Any]:
    """Parameters for every row of a table, tuples for several; those not in ``fast`` run among the slow tests.

    Of an exhaustive module .ci/run takes the ``daily`` ones every day, not a tenth of them.
    """
    rows, daily = list(table), list(daily)
    unknown = [row for row in fast if row not in rows]
    assert not unknown, f"not in the table: {unknown}"
    marks = {True: pytest.mark.slow(daily=True), False: pytest.mark.slow}
    return [
        pytest.param(
            *(row if isinstance(row, tuple) else (row,)), marks=[] if row in fast else marks[row in daily]
        )
        for row in rows
    ]
