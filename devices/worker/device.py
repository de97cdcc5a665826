"""A device in another process: its driver cannot take the trainer with it when it dies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hwloop.device import Device, DeviceDescription, DeviceSpec, RowHandling
from hwloop.device.spec import Float64Array
from hwloop.devices.hosted import answer_seconds, tuning_seconds
from hwloop.devices.worker.process import WorkerProcess
from hwloop.devices.worker.target import Target, python_of
from hwloop.devices.worker.worker import Worker
from hwloop.errors import BadReading, ConfigError, DeviceChanged, DeviceDisconnected, DeviceError
from hwloop.events import DeviceFault


class WorkerDevice(Device):
    """A device of your own or a vendor's behind a worker: another process, and another Python if it needs one.

    What is served is a :class:`hwloop.Device`, or any object with a ``spec`` (a dictionary will do, with the
    fields of :class:`hwloop.DeviceSpec`) and ``measure(inputs)``, and ``tune(values)`` if it has tunables, which
    returns when they have settled; ``open``, ``close``, ``identify`` and
    ``continue_from`` are called if it has them. It is built, opened, asked and closed on its process's main
    thread. Limits are checked here, and there once more.

    A worker that crashes or hangs is started again and the same rows are measured once more, as the same trial: a
    simulation goes on with the noise of those rows. When it fails again, the error is raised. Asking for ``spec``
    starts the process.

    Parameters
    ----------
    environment
        Of ``hwloop worker list``, such as ``"lava"``; ``"this"`` is the present interpreter.
    target
        ``module:Class`` or ``folder/file.py:Class``.
    python
        Path of an interpreter, instead of an environment's name.
    path
        Folders in which the worker looks for modules.
    variables
        Of the worker's environment.
    deadline_seconds
        For one call, beyond ten times the time that the spec states for its rows.
    start_seconds
        For starting the interpreter and opening the device.
    log
        File for what the driver prints.
    settings
        All others go to the target.

    Raises
    ------
    ConfigError
        From the first use: the target cannot be imported or refuses its settings, or there is no such environment.
    """

    handling = RowHandling(adds_rows=True, reopens=True)
    settles_itself = True  # the object waits
    rests_when_left = True  # the worker closes what it serves when this process dies
    path_settings: ClassVar = frozenset({"target", "python", "path"})
    self_described: ClassVar = frozenset({"python"})
    harmless_settings: ClassVar = {
        "deadline_seconds": "how long an answer is waited for",
        "start_seconds": "how long the start is waited for",
        "log": "where the driver's prints go",
    }

    def __init__(
        self,
        environment: str = "this",
        /,
        *,
        target: str,
        python: str | None = None,
        path: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        deadline_seconds: float = 60.0,
        start_seconds: float = 60.0,
        log: str | Path | None = None,
        **settings: Any,
    ) -> None:
        self.target = Target(
            target,
            settings,
            python=python_of(environment) if python is None else str(python),
            path=[str(Path(folder).absolute()) for folder in path],
            variables=variables or {},
            deadline_seconds=deadline_seconds,
            start_seconds=start_seconds,
            log=None if log is None else Path(log),
        )
        self._worker = Worker(self.target, self._prepare, self._lost)
        self._spec: DeviceSpec | None = None
        self._identity = ""
        self._served: DeviceDescription | None = None
        self._python = None if python is None else str(python)
        self._answers = ""  # who was opened: every further process must open the same, until it is closed
        self._wanted_open = False
        self._rows = 0  # answered so far
        self._rows_asked = 0  # in the call under way
        self._faults = 0

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The spec of what is served; starts the worker the first time."""
        if self._spec is None:
            self._worker.start()
        if self._spec is None:
            raise DeviceError(f"{self.target.name} has not said what it is; open it again")
        return self._spec

    def open(self) -> None:
        """Start the worker, if it does not run, and open what it serves.

        Raises
        ------
        ConfigError, DeviceError
        """
        was_open, self._wanted_open = self._wanted_open, True
        before = self._worker.process
        try:
            process = self._worker.start()
            if process is before and not was_open:
                self._open_served(process)
        except BaseException:
            self._wanted_open = False
            raise

    def close(self) -> None:
        """Close what is served to its safe state, and end the worker with all that it started.

        Safe to call from another thread while a call is under way: the worker closes the object on a thread of its
        own, and is killed after half a second.
        """
        self._wanted_open = False
        self._answers = ""
        self._worker.stop()

    def identify(self) -> str:
        """What the served object says of itself, else the target and its settings."""
        return self._identity or self._described()

    def unit(self) -> str:
        """What the served object says of itself; empty if it says nothing, or is a device that does."""
        return "" if self._served is not None or self._identity == self._described() else self._identity

    def described_settings(self) -> dict[str, Any]:
        """The target by the content of its file, and what it was given; an interpreter by its path."""
        own = super().described_settings()
        return own if self._python is None else {**own, "python": self._python}

    def _described_inside(self) -> tuple[DeviceDescription, ...]:
        """What is served, if that is a :class:`hwloop.Device`."""
        return () if self._served is None else (self._served,)

    def versions(self) -> dict[str, str]:
        """Of Python and NumPy in the worker; empty before it was started."""
        return self._worker.versions

    def continue_from(self, rows: int) -> None:
        """Passed on, now or when it is opened, and to every process that takes the place of the present one."""
        self._rows = rows
        if self._wanted_open:
            self._worker.ask("continue_from", {"arguments": {"rows": rows}, "optional": True})

    def _measure(self, inputs: Float64Array) -> Any:
        if not self._wanted_open:
            raise DeviceDisconnected(f"{self.target.name} is closed; open it first")
        self._rows_asked = len(inputs)
        deadline = answer_seconds(self.target.deadline_seconds, len(inputs), self.spec)
        reply, arrays = self._worker.ask("measure", {"trial": self._rows}, {"inputs": inputs}, deadline)
        self._rows += len(inputs)
        if "outputs" not in arrays:
            raise BadReading(f"{self.target.name}: measure() returned {reply['value']!r}, no array")
        return arrays["outputs"]

    def _tune(self, values: Float64Array) -> None:
        if not self._wanted_open:
            raise DeviceDisconnected(f"{self.target.name} is closed; open it first")
        seconds = tuning_seconds(self.target.deadline_seconds, self.spec)
        self._worker.ask("tune", arrays={"values": values}, deadline_seconds=seconds)

    # -- every process alike ---------------------------------------------------------------------------

    def _prepare(self, process: WorkerProcess) -> None:
        """Bring a new process to where the one before it was."""
        spec = self._spec_of(process)
        if self._spec is not None and spec != self._spec:
            raise DeviceError(
                f"{self.target.name} has another spec than before: {spec.as_dict()}, not {self._spec.as_dict()}"
            )
        self._spec = spec
        if self._wanted_open:
            self._open_served(process)

    def _open_served(self, process: WorkerProcess) -> None:
        seconds = self.target.start_seconds
        process.call("open", {"optional": True}, deadline_seconds=seconds)
        identity = process.call("identify", {"optional": True}, deadline_seconds=seconds)[0]["value"]
        found = str(identity) if identity else self._described()
        if self._answers not in ("", found):
            raise DeviceChanged(
                f"{self.target.name} says {found!r} of itself in a new process, and said {self._answers!r} "
                "before: another unit answers. Connect the first one again, or build the device anew"
            )
        self._identity = self._answers = found
        described = process.call("description", deadline_seconds=seconds)[1].get("outputs")
        self._served = None if described is None else DeviceDescription.from_bytes(described)
        self._tune_again(process)
        if self._rows:
            process.call("continue_from", {"arguments": {"rows": self._rows}, "optional": True})

    def _tune_again(self, process: WorkerProcess) -> None:
        """Write what the process before it was tuned to last; what is served stands at rest."""
        spec = self.spec
        if self._tuned is None or not self._tuned.is_open:
            return
        for values in spec.all_tunables.walk(spec.tunable_rest, self._tuned.at):
            seconds = tuning_seconds(self.target.start_seconds, spec)
            process.call("tune", arrays={"values": values}, deadline_seconds=seconds)

    def _spec_of(self, process: WorkerProcess) -> DeviceSpec:
        stated = process.call("spec", deadline_seconds=self.target.start_seconds)[0]["value"]
        if not isinstance(stated, dict):
            raise ConfigError(
                f"{self.target.name} has no spec: give it an attribute such as "
                'spec = {"n_inputs": 8, "n_outputs": 12, "input_low": -0.5, "input_high": 0.5}'
            )
        try:
            return DeviceSpec(**stated)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.target.name} has a spec that cannot be used: {error}") from error

    def _described(self) -> str:
        module, _, name = self.target.name.rpartition(":")
        settings = json.dumps(dict(self.target.settings), sort_keys=True, default=str)
        return f"{Path(module).name}:{name} {settings}"

    def _lost(self, error: DeviceError) -> None:
        self._faults += 1
        action = "worker started again; the same rows are measured once more"
        self.tell(DeviceFault(self._faults, f"{type(error).__name__}: {error}", self._rows_asked, action))
