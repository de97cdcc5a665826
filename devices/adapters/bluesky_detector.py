"""A hwloop device in Bluesky: its inputs are movables, its response is what a detector reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np

from hwloop.device import Device
from hwloop.device.checks import checked_stimuli
from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.jobs import Job, fulfil, run_jobs


class FutureStatus:
    """Bluesky's Status protocol on ``future``."""

    def __init__(self, future: Future[Any]) -> None:
        self.future = future

    def __repr__(self) -> str:
        error = self.future.exception() if self.done else None
        return "in progress" if not self.done else f"failed, {type(error).__name__}: {error}" if error else "done"

    @property
    def done(self) -> bool:
        """Whether the work has ended, well or not."""
        return self.future.done()

    @property
    def success(self) -> bool:
        """Whether it has ended well."""
        return self.done and self.future.exception() is None

    def exception(self, timeout: float | None = 0.0) -> BaseException | None:
        """How it failed; ``None`` if it did not. Raises TimeoutError where that is not known in time."""
        return self.future.exception(timeout)

    def add_callback(self, callback: Callable[[FutureStatus], None]) -> None:
        """Call ``callback`` with this status when the work has ended."""
        self.future.add_done_callback(lambda _: callback(self))


class InputChannel:
    """One input of a :class:`BlueskyDetector`, as something that a scan can move.

    To set it changes the stimulus of the next row only; the row is sent when the detector is triggered.
    """

    parent = None  # what has a parent that is read is left out of an event

    def __init__(self, detector: BlueskyDetector, channel: int) -> None:
        self.detector, self.channel = detector, channel
        self.name = f"{detector.name}-input-{channel}"

    @property
    def hints(self) -> dict[str, Any]:
        """What live tables and plots show."""
        return {"fields": [self.name]}

    @property
    def position(self) -> float:
        """The value that the next row will have here."""
        return float(self.detector.stimulus[self.channel])

    def stop(self, success: bool = True) -> None:
        """A run was stopped or aborted: see :meth:`BlueskyDetector.stop`."""
        self.detector.stop(success)

    def check_value(self, value: float) -> None:
        """Raises :class:`hwloop.LimitError`, before a scan begins, for a value that the device does not allow."""
        self._with(value)

    def set(self, value: float) -> FutureStatus:
        """Take ``value`` for the next row."""
        return self.detector.set(self._with(value))

    def read(self) -> dict[str, Any]:
        """The value of the next row."""
        return {self.name: {"value": self.position, "timestamp": self.detector.stimulus_time}}

    def describe(self) -> dict[str, Any]:
        """Unit and limits."""
        spec = self.detector.device.spec
        control = {"low": float(spec.low[self.channel]), "high": float(spec.high[self.channel])}
        source = f"hwloop:{self.detector.name}/input/{self.channel}"
        key = {"source": source, "dtype": "number", "shape": [], "units": spec.input_unit}
        return {self.name: {**key, "limits": {"control": control}}}

    def _with(self, value: float) -> Float64Array:
        stimulus: Float64Array = self.detector.stimulus.copy()
        stimulus[self.channel] = value
        row: Float64Array = checked_stimuli([stimulus], self.detector.device.spec, self.name)[0]
        return row


class BlueskyDetector:
    """A hwloop device that Bluesky's RunEngine can stage, trigger and read, and whose inputs it can scan.

    Parameters
    ----------
    device
        Staging opens it, unstaging closes it to its safe state: also when a plan fails. One thread calls it.
    name
        Of the detector in Bluesky's documents.
    stimulus
        The first row, shape (n_inputs,); default: in each channel the allowed value that is nearest to zero.

    stop_seconds
        How long a row in flight is waited for when a run is stopped, or the detector unstaged; then the device is
        closed from another thread, whatever its driver is doing.

    ``inputs[i]`` are the movables; ``set`` takes a whole row. A reading holds ``<name>-stimulus`` and
    ``<name>-response``, with units: the row that was sent, and what the device answered. A scan is refused before
    its first row by ``bluesky.simulators.check_limits(plan)``.
    """

    parent = None

    def __init__(self, device: Device, name: str, stimulus: Any = None, stop_seconds: float = 2.0) -> None:
        self.device, self.name = device, name
        self.stop_seconds = real_number("stop_seconds", stop_seconds, low=0.0)
        spec = device.spec
        first = np.clip(np.zeros(spec.n_inputs), spec.low, spec.high) if stimulus is None else stimulus
        self.stimulus = checked_stimuli([first], spec, name)[0]
        self.stimulus_time = time.time()
        self.inputs = [InputChannel(self, channel) for channel in range(spec.n_inputs)]
        self._identity = ""
        self._reading: dict[str, Any] = {}
        self._jobs: SimpleQueue[Job | None] | None = None  # of the device's thread, while there is one
        self._in_flight: Future[None] | None = None

    @property
    def hints(self) -> dict[str, Any]:
        """What live tables and plots show: a response of one number; an array has no place in them."""
        return {"fields": [f"{self.name}-response"] if self.device.spec.n_outputs == 1 else []}

    def stage(self) -> FutureStatus:
        """Open the device."""
        return self._in_thread(self._open)

    def unstage(self) -> FutureStatus:
        """Close the device to its safe state, at the latest ``stop_seconds`` after a row that hangs."""
        return FutureStatus(self._begin_closing())

    def stop(self, success: bool = True) -> None:
        """Begin to close the device where a run is aborted or halted; a pause (``success``) leaves it open.

        Returns at once.
        """
        if not success:
            self._begin_closing()

    def _begin_closing(self) -> Future[None]:
        closed: Future[None] = Future()
        threading.Thread(target=fulfil, args=(closed, self._close), name=f"{self.name}-close", daemon=True).start()
        return closed

    def _close(self) -> None:
        """On the device's own thread, or from this one where that is held up by a row; that thread ends then."""
        jobs, in_flight = self._jobs, self._in_flight
        self._jobs = self._in_flight = None
        try:
            if in_flight is not None:
                in_flight.exception(self.stop_seconds)
        except TimeoutError:
            self.device.close()
        else:
            closing: Future[None] = Future()
            self._put(partial(fulfil, closing, self.device.close), jobs)
            closing.result()
            jobs, self._jobs = jobs or self._jobs, None
        if jobs is not None:
            jobs.put(None)

    def _put(self, job: Job, jobs: SimpleQueue[Job | None] | None) -> None:
        """On the device's thread, which is started where there is none."""
        if jobs is None:
            self._jobs = jobs = SimpleQueue()
            threading.Thread(target=run_jobs, args=(jobs,), name=self.name, daemon=True).start()
        jobs.put(job)

    def set(self, stimulus: Any) -> FutureStatus:
        """Take a whole row for the next trigger; raises what ``Device.measure`` would raise for it."""
        self.stimulus = checked_stimuli([stimulus], self.device.spec, self.name)[0]
        self.stimulus_time = time.time()
        done: Future[None] = Future()
        done.set_result(None)
        return FutureStatus(done)

    def trigger(self) -> FutureStatus:
        """Send the row and measure."""
        status = self._in_thread(self._measure, self.stimulus)
        self._in_flight = status.future
        return status

    def read(self) -> dict[str, Any]:
        """What was sent and what was measured at the last trigger.

        Raises
        ------
        RuntimeError
            Nothing was triggered since it was staged.
        """
        if not self._reading:
            raise RuntimeError(f"{self.name} has measured nothing yet; trigger it first")
        return self._reading

    def describe(self) -> dict[str, Any]:
        """Shapes and units."""
        spec = self.device.spec
        return {
            f"{self.name}-stimulus": self._key("stimulus", spec.n_inputs, spec.input_unit),
            f"{self.name}-response": self._key("response", spec.n_outputs, spec.output_unit),
        }

    def read_configuration(self) -> dict[str, Any]:
        """Who answers."""
        return {f"{self.name}-identity": {"value": self._identity, "timestamp": self.stimulus_time}}

    def describe_configuration(self) -> dict[str, Any]:
        """The identity is text."""
        key = {"source": f"hwloop:{self.name}/identity", "dtype": "string", "shape": []}
        return {f"{self.name}-identity": key}

    def _key(self, what: str, channels: int, unit: str) -> dict[str, Any]:
        key = {"source": f"hwloop:{self.name}/{what}", "units": unit}
        if channels == 1:
            return {**key, "dtype": "number", "shape": []}
        return {**key, "dtype": "array", "shape": [channels], "dtype_numpy": "<f8"}

    def _open(self) -> None:
        self._reading = {}
        self.device.open()
        self._identity = self.device.identify()

    def _measure(self, stimulus: Float64Array) -> None:
        self._reading = {}
        response = self.device.measure([stimulus])[0]
        now = time.time()
        values = {"stimulus": stimulus, "response": response}
        self._reading = {
            f"{self.name}-{what}": {"value": value if len(value) > 1 else float(value[0]), "timestamp": now}
            for what, value in values.items()
        }

    def _in_thread(self, work: Callable[..., None], *arguments: Any) -> FutureStatus:
        future: Future[None] = Future()
        self._put(partial(fulfil, future, partial(work, *arguments)), self._jobs)
        return FutureStatus(future)
