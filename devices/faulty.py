"""A device that fails on purpose, as real instruments do: for testing what copes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from hwloop.deadline import MONOTONIC, Clock
from hwloop.device import Device, DeviceSpec, DeviceWrapper, RowHandling
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream
from hwloop.devices.faults import FAULTS, Fault, FaultSettings
from hwloop.devices.simulated_link import SimulatedLink


@dataclass(frozen=True)
class InjectedFault:
    """A fault that was injected: the call that met it (from 0), its kind, and the rows of that call."""

    call: int
    kind: str
    rows: int


class Faulty(DeviceWrapper):
    """Injects faults into the calls of the device inside; no fault harms the device or its limits.

    Each call meets at most one fault, drawn from the seed and the number of calls so far alone. Between
    program and device lies a :class:`hwloop.devices.simulated_link.SimulatedLink`: the reply to a call that
    timed out stays in it, and the next call reads it as its own, until the link is closed and opened again.

    Parameters
    ----------
    device
        The device inside.
    plan
        Probability that a call meets a fault, 0 to 1, by kind: ``timeout``, ``late``, ``disconnect``,
        ``crash``, ``garbled``, ``truncated``, ``stale``, ``saturation``, ``constant``, ``slow``. They add up to
        at most 1. A call carries up to ``spec.max_rows`` rows. What each kind does: :mod:`hwloop.devices.faults`.
    seed
        Draws the faults.
    slow_seconds
        What a slow answer takes.
    output_range
        (low, high) in the output's unit, where outputs saturate.
    clock
        Waits for slow answers.

    Attributes
    ----------
    calls
        Calls so far.
    injected
        Every fault injected so far, in order. That a broken link goes on failing is no fault of its own.
    """

    harmless_settings: ClassVar = {"clock": "waits for slow answers"}
    handling = RowHandling()

    def __init__(
        self,
        device: Device,
        plan: Mapping[str, float],
        seed: int = 0,
        slow_seconds: float = 1.0,
        output_range: Sequence[float] = (0.0, 1.0),
        clock: Clock = MONOTONIC,
    ) -> None:
        super().__init__(device)
        self.plan = _checked_plan(plan)
        self.seed = whole_number("seed", seed, low=0)
        if np.shape(output_range) != (2,):
            raise ValueError(f"output_range must be a pair (low, high), not {output_range!r}")
        low, high = (real_number("output_range", end) for end in output_range)
        settings = FaultSettings(real_number("slow_seconds", slow_seconds, low=0.0), (low, high), clock)
        self._faults: dict[str, Fault] = {kind: FAULTS[kind](settings) for kind in self.plan}
        self._stream = NoiseStream(seed, "faulty")
        self._link = SimulatedLink(device.measure)
        self.calls = 0
        self.injected: list[InjectedFault] = []

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The inner spec; deterministic only where nothing is injected."""
        return replace(
            self.device.spec, deterministic=self.device.spec.deterministic and not any(self.plan.values())
        )

    def identify(self) -> str:
        """The device inside, the plan and the seed."""
        return f"Faulty({self.device.identify()}, plan={self.plan}, seed={self.seed})"

    def unit(self) -> str:
        """The wrapper; what it does is among its settings."""
        return type(self).__name__

    def progress(self) -> dict[str, Any]:
        """Calls so far, failed ones too, and the reply that a stale one would repeat."""
        own = super().progress() | {"attempts": self.calls}
        if self.plan.get("stale"):
            reply = self._link.last_read
            own["last_reply"] = None if reply is None else reply.tolist()
        return own

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Faults go on as drawn for the calls to come."""
        super().resume(progress)
        self.calls = progress.get("attempts", self.calls)
        reply = progress.get("last_reply")
        if reply is not None:
            self._link.last_read = np.array(reply, dtype=np.float64)

    def open(self) -> None:
        """Open the device inside, and the link if it was closed."""
        self.device.open()
        self._link.open()

    def close(self) -> None:
        """Close the device inside and the link, with every reply that still waits in it."""
        self._link.close()
        self.device.close()

    def _measure(self, inputs: Float64Array) -> Any:
        rng = self._stream.at_row(self.calls)
        call, self.calls = self.calls, self.calls + 1
        kind = self._drawn_kind(float(rng.random()))
        if kind is None or self._link.broken or not self._faults[kind].can_happen(self._link):
            return self._link.ask(inputs)
        self.injected.append(InjectedFault(call, kind, len(inputs)))
        return self._faults[kind].answer(self._link, inputs, rng)

    def _tune(self, values: Float64Array) -> None:
        """Meets no fault of its own; a link that is broken brings no write either."""
        self._link.require_whole()
        self.device.tune(values)

    def _drawn_kind(self, number: float) -> str | None:
        """The kind whose share of [0, 1) holds the number; ``None`` beyond the last."""
        for kind, rate in self.plan.items():
            if number < rate:
                return kind
            number -= rate
        return None


def _checked_plan(plan: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(plan, Mapping):
        raise ValueError(
            f"plan must give a probability by kind of fault, such as {{'timeout': 0.02}}, not {plan!r}"
        )
    rates = {
        one_of("kind of fault", kind, FAULTS): real_number(f"plan[{kind!r}]", rate, low=0.0, high=1.0)
        for kind, rate in plan.items()
    }
    if sum(rates.values()) > 1.0 + 1e-9:
        raise ValueError(f"the probabilities in plan must add up to at most 1, not {sum(rates.values()):g}")
    return rates
