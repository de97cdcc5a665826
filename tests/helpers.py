"""What tests of several parts do alike: clocks that do not wait, calls in forked processes, served devices."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from typing import Any

from hwloop import Device
from hwloop.deadline import Clock

PATIENCE_SECONDS = 30.0  # on a busy machine; what is promised is measured by benchmarks/worker_faults.py


class Sleepless(Clock):
    """Time passes without waiting, and every wait is noted."""

    def __init__(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.waits.append(seconds)


def wait_until(condition: Callable[[], Any]) -> None:
    """Until it holds, or the test fails."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def in_forked_process(work: Callable[[], Any]) -> tuple[str, int]:
    """What ``work`` says in a fork of this process, its value or its error as text; and how the fork ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            text = str(work())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read().decode()
    return text, os.waitpid(child, 0)[1]


def quick_processes() -> ForkServerContext:
    """Processes that start within milliseconds: what a run imports is loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["hwloop.experiment.runner", "hwloop.experiments.datasets", "sklearn.datasets", "matplotlib.pyplot"]
    )
    return context


@contextmanager
def served(make_device: Callable[[], Device]) -> Iterator[Any]:
    """A device server on this computer; afterwards none of its threads lives."""
    from hwloop.devices.remote.address import Address
    from hwloop.devices.remote.server import DeviceServer

    with DeviceServer(make_device, Address("127.0.0.1", 0)) as server:
        yield server
    for thread in threading.enumerate():
        if thread.name.startswith("hwloop-"):
            thread.join(10)
            assert not thread.is_alive()
