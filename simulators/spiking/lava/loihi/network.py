"""A Lava network that batches stream through: compiled and started once, run for one window a batch.

What Lava starts cannot outlive this process, nor leave a file behind.
"""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import queue
import signal
import time
from typing import Any, Callable, Iterable, List, NoReturn, Sequence, Tuple, Type

from numpy.typing import NDArray

POLL_SECONDS = 0.02  # how soon the end of a process is seen
RAISING_SECONDS = 2.0  # from the end of the first process to the exception of the one that caused it
ENDING_SECONDS = 5.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ProcessModelError(RuntimeError):
    """A process model of the Lava network raised an exception; the network is closed."""


class ProcessModelDied(RuntimeError):
    """A process of the Lava network was killed; the network is closed."""


class LavaNetwork:
    """Source, synapses, neurons and recorder, compiled and started; ended by :meth:`close`.

    Lava's runtime waits for ever when one of its processes is gone: every wait here looks at them.

    Parameters
    ----------
    processes
        All processes, connected: the first is the source, with a port ``frames``; one has a port ``record``.
    run_config
        Lava's choice of models, such as ``Loihi2SimCfg(select_tag="fixed_pt")``.
    steps
        Steps of a window, all counted.
    """

    def __init__(self, processes: Sequence[Any], run_config: Any, steps: int) -> None:
        self._source, self._steps = processes[0], steps
        self._source.create_runtime(run_cfg=run_config)
        self._runtime = self._source.runtime
        self._actors: List[Any] = list(self._runtime._messaging_infrastructure.actors)
        models = self._runtime._executable.proc_builders
        self._names = [type(process).__name__ for process in models] + ["runtime service"]
        self._frames = self._source.frames
        (self._record,) = [process.record for process in processes if hasattr(process, "record")]

    def run(self, frames: Iterable[NDArray[Any]]) -> NDArray[Any]:
        """One window.

        Parameters
        ----------
        frames
            What the source takes in a window, in order.

        Returns
        -------
        ndarray
            The recorder's record.

        Raises
        ------
        ProcessModelError, ProcessModelDied
        """
        from lava.magma.core.run_conditions import RunSteps

        out, back = self._frames.external_pipe_csp_send_port, self._record.external_pipe_csp_recv_port
        self._source.run(condition=RunSteps(num_steps=self._steps, blocking=False))
        for frame in frames:
            self._until(out._semaphore.acquire)  # room for one more
            out._semaphore.release()
            out.send(frame)
        self._until_message(back)
        record: NDArray[Any] = back.recv()
        for port in self._runtime.service_to_runtime:
            self._until_message(port)
        self._source.wait()
        return record

    @property
    def frame_shape(self) -> Tuple[int, ...]:
        """Of what the source takes."""
        return tuple(self._frames.shape)

    @property
    def alive(self) -> bool:
        """Whether it has not been closed."""
        return bool(self._actors)

    def close(self) -> None:
        """End Lava's processes at once: they hold nothing that is worth an orderly end, and may hang in one."""
        self._runtime._is_started = False  # else its destructor waits for processes that are gone
        actors, self._actors = self._actors, []
        for actor in actors:
            if actor.is_alive():
                os.kill(actor.pid, signal.SIGKILL)
        deadline = time.monotonic() + ENDING_SECONDS
        for actor in actors:
            # Lava's own join takes no time limit.
            multiprocessing.Process.join(actor, max(0.0, deadline - time.monotonic()))
        for port in self._ports():
            port.join()  # its thread ends

    def _ports(self) -> List[Any]:
        """Lava's ports on this side."""
        outside = [self._frames.external_pipe_csp_send_port, self._record.external_pipe_csp_recv_port]
        return [*outside, *self._runtime.runtime_to_service, *self._runtime.service_to_runtime]

    def _until_message(self, port: Any) -> None:
        """Until a message waits at a port of Lava; it is left there."""

        def waits(timeout: float) -> bool:
            try:
                port._queue.get(timeout=timeout, peek=True)
            except queue.Empty:
                return False
            return True

        self._until(waits)

    def _until(self, ready: Callable[..., bool]) -> None:
        """Until ``ready(timeout=...)`` is true, with an eye on the processes."""
        while not ready(timeout=POLL_SECONDS):
            if all(actor.is_alive() for actor in self._actors):
                continue
            # When a model raises, Lava ends the others in good order: they may be gone before it.
            deadline = time.monotonic() + RAISING_SECONDS
            while time.monotonic() < deadline:
                self._report_failure()
                time.sleep(POLL_SECONDS)
            self._fail(ProcessModelDied, "network ended although it was to run on")

    def _report_failure(self) -> None:
        """Raise if a process has raised or was killed."""
        for name, actor in zip(self._names, self._actors):
            if actor.exception:
                error, text = actor.exception
                self._fail(ProcessModelError, f"{name} raised {error!r} ({text.strip()})")
        for name, actor in zip(self._names, self._actors):
            if actor.exitcode:
                self._fail(ProcessModelDied, f"{name} ended with exit code {actor.exitcode}")

    def _fail(self, kind: Type[Exception], what: str) -> NoReturn:
        self.close()
        raise kind(f"Lava's process {what}; the network is ended")


# -- importing Lava ----------------------------------------------------------------------------------------------


class AnonymousMemory:
    """Shared memory that only forked children see: it has no name, so nothing can be left in /dev/shm.

    Parameters
    ----------
    size
        In bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.buf = memoryview(mmap.mmap(-1, max(1, size)))

    def close(self) -> None:
        """Nothing to do: the memory ends with the last process that holds it."""


class AnonymousMemoryManager:
    """Stands in for Lava's SharedMemoryManager, which takes one process more and names every piece of memory."""

    def start(self) -> None:
        """Nothing to start."""

    def shutdown(self) -> None:
        """Nothing to end."""

    def create_shared_memory(self, size: int) -> AnonymousMemory:
        """A fresh piece of memory of ``size`` bytes."""
        return AnonymousMemory(size)


def prepare_lava() -> None:
    """Import Lava; from now on children that this process forks die with the thread that forked them.

    The start method of this process's multiprocessing becomes fork: Lava sets it when it is imported.

    Raises
    ------
    ImportError
        Lava is not installed in this Python.
    """
    from lava.magma.runtime.message_infrastructure import multiprocessing as lava_multiprocessing

    lava_multiprocessing.SharedMemoryManager = AnonymousMemoryManager
    if not _forking:
        _kill_children_with_parent()


_forking: List[int] = []  # the process that forks, noted before each fork


def _kill_children_with_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _forking.append(os.getpid())

    def before() -> None:
        _forking[0] = os.getpid()

    def in_child() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != _forking[0]:  # it died before the request
            os._exit(1)

    os.register_at_fork(before=before, after_in_child=in_child)
