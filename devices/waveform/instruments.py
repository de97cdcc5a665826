"""What a :class:`WaveformDevice` needs of a generator and of an oscilloscope; a brand is a module that has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from hwloop.devices.waveform.decoding import ScopeRecord
from hwloop.devices.waveform.limits import WaveformLimits


@dataclass(frozen=True)
class RecordPlan:
    """What to record: ``points`` at least, evenly spaced, the first ``start_seconds`` after the trigger."""

    start_seconds: float
    duration_seconds: float
    points: int
    low_volts: float
    high_volts: float
    high_resolution: bool = False


class Generator(Protocol):
    """Plays one waveform a trigger, and rests at the level of its first point: 0 V."""

    memory_points: int
    full_scale_code: int
    safe_commands: tuple[str, ...]  # what anybody may send on a connection of his own to switch the output off

    def open(self) -> None:
        """Connect; the output is off."""

    def close(self) -> None:
        """Output off, disconnect."""

    def identify(self) -> str:
        """``*IDN?``."""

    def configure(self, rate_hertz: float, limits: WaveformLimits) -> None:
        """Settings that hold for all waveforms; the output stays off."""

    def has_room(self, points: int) -> bool:
        """Whether so many points more fit beside the waveforms that are loaded."""

    def forget_waveforms(self) -> None:
        """Empty the memory; the output is off after it."""

    def load(self, codes: NDArray[Any]) -> str:
        """Load a waveform, shape (points,), also while another one plays; its name."""

    def select(self, name: str) -> None:
        """Play this waveform at the next trigger; the output is on after it."""

    def start(self) -> None:
        """Trigger: play the selected waveform once."""

    def check_errors(self) -> None:
        """Answered once everything sent before has been taken; raises :class:`hwloop.DeviceError`."""

    def output_off(self) -> None:
        """The safe state."""


class Oscilloscope(Protocol):
    """Records one trigger."""

    memory_points: int
    record_sizes: tuple[int, ...]  # points of the records that it can send, rising

    def open(self) -> None:
        """Connect."""

    def close(self) -> None:
        """Disconnect."""

    def identify(self) -> str:
        """``*IDN?``."""

    def configure(self, plan: RecordPlan) -> None:
        """Settings that hold for all records."""

    def points_for(self, points: int) -> int:
        """The smallest record of at least so many points that it can send."""

    def arm(self) -> None:
        """Wait for a trigger; returns once it is ready for one."""

    def fetch(self, wait_seconds: float) -> ScopeRecord:
        """The record, once it is complete; raises :class:`hwloop.DeviceTimeout` after ``wait_seconds``."""
