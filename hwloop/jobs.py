"""Runs jobs one after the other on a thread, and keeps their results."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
Job = Callable[[], object]


def run_jobs(jobs: SimpleQueue[Job | None]) -> None:
    """Run jobs until there is ``None``; it keeps nothing of a job that is done, and so no session alive."""
    while (job := jobs.get()) is not None:
        job()
        del job


def fulfil(future: Future[T], step: Callable[[], T]) -> None:
    """Take the step; its result or its error is the future's."""
    try:
        result = step()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
