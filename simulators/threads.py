"""Blocks of rows, each computed by one thread, several at a time.

Threads that share the arithmetic of one block wait for each other at every product or loop, and on a machine that
has something else to do they wait long. Threads that take whole blocks meet once a call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

Alone = Callable[[], AbstractContextManager[int]]
"""A context in which a library computes with the calling thread only; gives the number that it takes otherwise."""


def each_block(work: Callable[[int], None], starts: Sequence[int], alone: Alone) -> None:
    """Call ``work`` with every one of ``starts``, in as many threads as the library would have taken.

    Parameters
    ----------
    work
        Computes the block of rows that begins there, and touches nothing that another block needs.
    starts
        First rows of the blocks.
    alone
        Entered by every thread.
    """
    failures: list[BaseException] = []

    def take(share: Sequence[int]) -> None:
        try:
            with alone():
                for start in share:
                    work(start)
        except BaseException as failure:
            failures.append(failure)

    with alone() as threads:
        first, *others = (starts[k::threads] for k in range(max(1, min(threads, len(starts)))))
        helpers = [threading.Thread(target=take, args=(share,), daemon=True) for share in others]
        for helper in helpers:
            helper.start()
        take(first)
        for helper in helpers:
            helper.join()
    if failures:
        raise failures[0]


@contextmanager
def single_threaded_blas() -> Iterator[int]:
    """Numpy's BLAS takes one thread; gives the number that it takes otherwise.

    The BLAS knows one number for the whole process. Several threads may be inside at a time: the first sets and
    restores it (threadpoolctl sees to that from 3.8 on), the others find 1.
    """
    with _blas().limit(limits=1) as limits:
        yield limits.get_original_num_threads()["blas"] or 1


@cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")
