"""Sizes of a benchmark: as published, or with ``--short`` small ones whose figures mean nothing."""

import os
import sys
from typing import TypeVar

Size = TypeVar("Size")

_MARK = "HWLOOP_SHORT_BENCHMARK"  # for the processes that a benchmark starts
if "--short" in sys.argv:
    sys.argv.remove("--short")
    os.environ[_MARK] = "1"
SHORT = _MARK in os.environ


def sized(full: Size, short: Size) -> Size:
    """``full`` in a benchmark, ``short`` where only its code is tried."""
    return short if SHORT else full
