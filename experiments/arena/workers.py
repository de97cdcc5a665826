"""Where an arena's jobs run: in this process, or in several of this machine or a cluster with Dask."""

from __future__ import annotations

import importlib
import logging
from abc import ABC, abstractmethod
from asyncio import CancelledError as TaskCancelled
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

from hwloop.errors import ConfigError, DeviceError

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkersLost(DeviceError):
    """What runs the jobs is gone; those that were finished are kept by whoever took their results."""


class Workers(AbstractContextManager["Workers"], ABC):
    """Runs jobs; a context manager."""

    @abstractmethod
    def run(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """``function(job)`` of every job as soon as it is there, in any order."""

    def __exit__(self, *_: object) -> None:
        return None


class ThisProcess(Workers):
    """One job after the other: for a single device, and for tests."""

    def run(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """In the given order."""
        return map(function, jobs)


class DaskWorkers(Workers):
    """Processes of a Dask cluster; each runs one job at a time, on one thread.

    Parameters
    ----------
    processes
        How many to start on this machine.
    scheduler
        Address of a running scheduler instead (dask-jobqueue takes it to SLURM). Its workers need hwloop and
        the resource tag of :data:`RIG` (``--resources "rig=1"``), so that a rig measures for one job at a time.

    Raises
    ------
    ConfigError
        Dask is not installed, or no scheduler answers.
    """

    RIG = "rig"

    def __init__(self, processes: int, scheduler: str | None = None) -> None:
        try:
            dask: Any = importlib.import_module("distributed")
        except ImportError as error:
            raise ConfigError("several workers need Dask: pip install 'hwloop[scale]', or --workers 1") from error
        self._as_completed = dask.as_completed
        self._cluster: Any = None
        if scheduler is None:
            self._cluster = dask.LocalCluster(
                n_workers=processes, threads_per_worker=1, dashboard_address=None, resources={self.RIG: 1}
            )
        self._where = scheduler or "this computer"
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its tracebacks; what follows is said below
        try:
            self._client = dask.Client(scheduler or self._cluster)
        except (OSError, ValueError) as error:
            raise ConfigError(f"no Dask scheduler answers at {self._where} ({error}); start one there") from error

    def run(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """As they finish.

        Raises
        ------
        WorkersLost
            The scheduler is gone, or was started anew and knows of no job.
        """
        futures = [self._client.submit(function, job, pure=False, resources={self.RIG: 1}) for job in jobs]
        finished = self._as_completed(futures)
        for count in range(len(futures)):
            try:
                result = next(finished).result()
            except (FutureCancelled, TaskCancelled) as error:
                raise WorkersLost(
                    f"the Dask scheduler at {self._where} was lost, or started anew, and with it "
                    f"{len(futures) - count} of {len(futures)} jobs; the same command goes on with those that are "
                    "not finished"
                ) from error
            yield result

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, TimeoutError, FutureCancelled, TaskCancelled):
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def workers(count: int, scheduler: str | None = None) -> Workers:
    """One worker is this process; Dask runs several, or those of a scheduler."""
    if count < 1:
        raise ConfigError(f"an arena needs at least one worker, not {count}")
    return DaskWorkers(count, scheduler) if scheduler or count > 1 else ThisProcess()
