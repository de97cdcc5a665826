"""What goes wrong between a program and an instrument, one small class a kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.deadline import Clock
from hwloop.device.spec import Float64Array
from hwloop.devices.simulated_link import SimulatedLink
from hwloop.errors import DeviceCrashed, DeviceDisconnected

SCPI_NOT_A_NUMBER = 9.91e37  # SCPI-99 vol. 1, 7.2.1.5


@dataclass(frozen=True)
class FaultSettings:
    """How long a slow answer takes, in seconds, and the two ends at which an output saturates."""

    slow_seconds: float
    output_range: tuple[float, float]
    clock: Clock


class Fault(ABC):
    """One kind of fault: how a call ends that meets it."""

    def __init__(self, settings: FaultSettings) -> None:
        self.settings = settings

    def can_happen(self, link: SimulatedLink) -> bool:
        """Whether this kind of fault makes sense on the link as it is."""
        return True

    @abstractmethod
    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        """What the driver returns, or raises, for stimuli of shape (rows, n_inputs)."""


class TimeOut(Fault):
    """The caller gives up before the reply comes; it stays in the link, for whoever reads next."""

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        link.silent_reads += 1
        return link.ask(stimuli)


class LateReply(Fault):
    """The reply is so late that the next call times out as well; the one after that reads it."""

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        link.silent_reads += 2
        return link.ask(stimuli)


class Disconnect(Fault):
    """The connection is lost before the question is out; every call fails until it is opened again."""

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        raise link.break_with(DeviceDisconnected("the connection was lost (simulated); open the device again"))


class Crash(Fault):
    """The process that drives the device dies after it measured; every call fails until it is started again."""

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        link.send(stimuli)
        raise link.break_with(DeviceCrashed("the device's process died (simulated); open the device again"))


class Garbled(Fault):
    """One reading is NaN or SCPI's 9.91E37, or all of them arrive as text."""

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        reply = link.ask(stimuli).copy()
        form = rng.integers(3)
        if form == 2:
            return reply.astype(str)
        reply[tuple(rng.integers(reply.shape))] = (np.nan, SCPI_NOT_A_NUMBER)[form]
        return reply


class Truncated(Fault):
    """The last row or the last output is missing."""

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        reply = link.ask(stimuli)
        return reply[:-1] if rng.integers(2) else reply[:, :-1]


class Stale(Fault):
    """The reply that was read last comes again, without an error."""

    def can_happen(self, link: SimulatedLink) -> bool:
        """Only on a link over which a reply has come."""
        return link.last_read is not None

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        previous = link.last_read
        link.ask(stimuli)
        link.last_read = previous
        return previous


class Saturation(Fault):
    """Every output stands at one end of its range."""

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        """The right shape, and one number everywhere."""
        return np.full_like(link.ask(stimuli), self.settings.output_range[rng.integers(2)])


class ConstantOutput(Fault):
    """Every output reads the same, whatever the stimulus: a converter that is stuck."""

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        reply = link.ask(stimuli)
        return np.full_like(reply, reply[0, 0])


class SlowAnswer(Fault):
    """The right answer, ``slow_seconds`` late, to a caller who waits for it."""

    def answer(self, link: SimulatedLink, stimuli: Float64Array, rng: np.random.Generator) -> Any:
        self.settings.clock.sleep(self.settings.slow_seconds)
        return link.ask(stimuli)


FAULTS: dict[str, type[Fault]] = {
    "timeout": TimeOut,
    "late": LateReply,
    "disconnect": Disconnect,
    "crash": Crash,
    "garbled": Garbled,
    "truncated": Truncated,
    "stale": Stale,
    "saturation": Saturation,
    "constant": ConstantOutput,
    "slow": SlowAnswer,
}
