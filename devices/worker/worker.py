"""Keep an object answering although its process may crash or hang."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.devices.worker.process import Arrays, Header, WorkerProcess
from hwloop.devices.worker.target import Target
from hwloop.errors import DeviceCrashed, DeviceDisconnected, DeviceError, DeviceTimeout

VERSIONS = ("python", "numpy")


class Worker:
    """Keeps an object answering although its process may crash or hang.

    After a crash or a hang a new process is started, the object built anew, and the same question asked once
    more. What the object raises itself is raised here, and nothing is asked again.

    Parameters
    ----------
    target
        What is served.
    prepare
        Called with every process that is started, before anything is asked.
    lost
        Called with the error of a process that crashed or hung, before the next is started.
    """

    def __init__(
        self,
        target: Target,
        prepare: Callable[[WorkerProcess], None] = lambda process: None,
        lost: Callable[[DeviceError], None] = lambda error: None,
    ) -> None:
        self.target = target
        self._prepare = prepare
        self._lost = lost
        self._process: WorkerProcess | None = None
        self._released = True  # by the owner, from whatever thread, until he starts it again
        self._starting = threading.Lock()
        self._versions: dict[str, str] = {}

    @property
    def process(self) -> WorkerProcess | None:
        """The present process; ``None`` while there is none."""
        return self._process

    @property
    def versions(self) -> dict[str, str]:
        """Of ``python`` and ``numpy`` in the process that was started last; empty before the first."""
        return dict(self._versions)

    def start(self) -> WorkerProcess:
        """Start a process if none runs.

        Raises
        ------
        ConfigError, DeviceError
        """
        self._released = False
        if self._process is not None and not self._process.alive:
            self._drop(self._process)
        return self._running()

    def ask(
        self,
        op: str,
        header: Mapping[str, Any] | None = None,
        arrays: Arrays | None = None,
        deadline_seconds: float | None = None,
    ) -> tuple[Header, dict[str, np.ndarray[Any, Any]]]:
        """As :meth:`WorkerProcess.call`, and once more on a new process if that one is lost.

        Raises
        ------
        DeviceError
            As there; of the second attempt, if there was one. Also if the owner has stopped it meanwhile.
        """
        process = self._running()
        try:
            return process.call(op, header, arrays, deadline_seconds=deadline_seconds)
        except (DeviceCrashed, DeviceTimeout) as error:
            if process.alive:
                raise  # a time-out of the object's own
            self._refuse_if_released(error)
            self._lost(error)
            first = error
        self._drop(process)
        second = self._running()
        try:
            return second.call(op, header, arrays, deadline_seconds=deadline_seconds)
        except DeviceError as error:
            self._refuse_if_released(error)
            if not second.alive:
                self._drop(second)
            error.add_note(f"It was the second attempt, on a new process. The first: {first}")
            raise

    def stop(self) -> None:
        """Close the object and end its process; safe to call twice, from any thread, in the middle of a question.

        Raises
        ------
        DeviceError
            The object could not be closed.
        """
        self._released = True
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def _drop(self, process: WorkerProcess) -> None:
        """End a process that is of no use any more."""
        process.kill()
        if self._process is process:
            self._process = None

    def _running(self) -> WorkerProcess:
        with self._starting:
            self._refuse_if_released()
            process = self._process
            if process is not None and process.interrupted:
                self._drop(process)
                process = None
            if process is None:
                process = WorkerProcess(self.target)
                try:
                    self._prepare(process)
                except BaseException:
                    process.close()
                    raise
                self._process = process
                self._versions = {name: str(process.versions[name]) for name in VERSIONS}
        if self._released:  # meanwhile, so whoever stopped it did not see this process
            self.stop()
            self._refuse_if_released()
        return process

    def _refuse_if_released(self, error: Exception | None = None) -> None:
        if self._released:
            raise DeviceDisconnected(f"the worker of {self.target.name} was closed by its owner") from error


class WorkerEngine:
    """Forwards :meth:`hwloop.simulators.spiking.engine.Engine.run` to an object of the same method in a worker.

    The process is started by the first run, and anew after a crash or a hang; that run is made once more, with
    the same drive, so it ends as if nothing had happened.

    Parameters
    ----------
    target
        What is served; its ``settings`` and ``arrays`` build the engine there.
    lost
        Called with the error of a process that crashed or hung.
    """

    def __init__(self, target: Target, lost: Callable[[DeviceError], None] = lambda error: None) -> None:
        self._worker = Worker(target, lost=lost)

    @property
    def versions(self) -> dict[str, str]:
        """As :attr:`hwloop.devices.worker.worker.Worker.versions`."""
        return self._worker.versions

    def run(self, drive: NDArray[Any], activity: Iterable[str]) -> dict[str, NDArray[Any]]:
        """As :meth:`hwloop.simulators.spiking.engine.Engine.run`.

        Raises
        ------
        DeviceError
            The worker crashed or hung twice, or its engine raised an exception.
        """
        self._worker.start()
        header = {"arguments": {"activity": list(activity)}}
        return self._worker.ask("run", header, {"drive": np.asarray(drive)})[1]

    def close(self) -> None:
        """End the process; the next run starts another. Safe to call twice, from any thread."""
        self._worker.stop()
