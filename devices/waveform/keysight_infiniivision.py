"""Keysight InfiniiVision oscilloscopes: 1000, 2000, 3000, 4000 and 6000 X-Series.

Source: *InfiniiVision X-Series Oscilloscopes Programmer's Guide*: root commands, and subsystems TIMebase, CHANnel,
TRIGger, ACQuire and WAVeform; chapter "Synchronizing Acquisitions" for how to wait for a single-shot device.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.deadline import Deadline
from hwloop.devices.scpi import ScpiInstrument, ScpiLink, control, setting
from hwloop.devices.scpi.replies import BOOLEAN, INTEGER, NUMBERS, TEXT
from hwloop.devices.waveform.decoding import ScopeRecord
from hwloop.devices.waveform.instruments import RecordPlan
from hwloop.errors import BadReading, DeviceTimeout

BYTE_FORMAT, WORD_FORMAT = 0, 1
CODES: dict[int, tuple[np.dtype[Any], int, int]] = {
    BYTE_FORMAT: (np.dtype("u1"), 1, 255),
    WORD_FORMAT: (np.dtype("<u2"), 0x0100, 0xFF00),
}


@dataclass(frozen=True)
class Preamble:
    """The ten fields of ``WAVeform:PREamble?``.

    ``seconds = (index - x_reference) * x_increment + x_origin`` and
    ``volts = (code - y_reference) * y_increment + y_origin``.
    """

    format: int
    kind: int
    points: int
    count: int
    x_increment: float
    x_origin: float
    x_reference: int
    y_increment: float
    y_origin: float
    y_reference: int

    @classmethod
    def parse(cls, reply: str) -> Self:
        """From the text of the reply.

        Raises
        ------
        BadReading
            It has not ten numbers, or they make no sense.
        """
        values = NUMBERS.read(reply.encode(), ":WAVeform:PREamble?", "oscilloscope")
        whole = (0, 1, 2, 3, 6, 9)
        if len(values) != 10 or any(values[i] != int(values[i]) for i in whole):
            raise BadReading(f"oscilloscope: {reply!r} is no preamble; measure again")
        form, kind, points, count, dx, x0, x_reference, dy, y0, y_reference = values
        if int(form) not in CODES or points < 1 or dx <= 0 or dy <= 0:
            raise BadReading(f"oscilloscope: the preamble {reply!r} makes no sense; measure again")
        head = (int(form), int(kind), int(points), int(count))
        return cls(*head, dx, x0, int(x_reference), dy, y0, int(y_reference))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a code."""
        return CODES[self.format][0]

    def record(self, codes: NDArray[Any]) -> ScopeRecord:
        """The record that these codes make."""
        _, lowest, highest = CODES[self.format]
        start = self.x_origin - self.x_reference * self.x_increment
        zero = self.y_reference - self.y_origin / self.y_increment
        return ScopeRecord(codes, self.x_increment, start, self.y_increment, zero, lowest, highest)


MEMORY_POINTS = 1_000_000
DIVISIONS, VERTICAL_DIVISIONS = 10, 8
RANGE_MARGIN = 1.1  # the lowest and highest codes mean out of range, so the range is a little wider
TRIGGER_VOLTS = 1.0  # the sync connector gives 3.3 V, half of it into 50 ohm
RUNNING = 1 << 3  # of the Operation Status Condition Register
LONGEST_PAUSE_SECONDS = 2e-3


class KeysightInfiniiVision(ScpiInstrument):
    """One channel as a :class:`hwloop.devices.waveform.instruments.Oscilloscope`, triggered at its external input.

    Parameters
    ----------
    link
        To the instrument.
    channel
        1 to 4.
    memory_points
        The longest record that is asked for.
    """

    models = r"(DSO|MSO|EDU)X?[- ]?X?\s?\d{4}[A-Z]*.*"

    displayed = control(":CHANnel{channel}:DISPlay", "whether the channel is on", form=BOOLEAN)
    coupling = control(":CHANnel{channel}:COUPling", "the coupling", choices=("AC", "DC"))
    probe = control(":CHANnel{channel}:PROBe", "the attenuation that is assumed", low=0.1, high=1e4)
    scale = control(":CHANnel{channel}:SCALe", "volts a division", unit="V", low=5e-4, high=10)
    offset = control(":CHANnel{channel}:OFFSet", "the voltage at mid-screen", unit="V", low=-50, high=50)
    time_mode = control(":TIMebase:MODE", "the time base", choices=("MAIN", "WIND", "XY", "ROLL"))
    time_reference = control(":TIMebase:REFerence", "where time 0 lies", choices=("LEFT", "CENT"))
    time_scale = control(":TIMebase:SCALe", "seconds a division", unit="s", low=5e-10, high=50)
    time_position = control(
        ":TIMebase:POSition", "time of mid-screen after the trigger", unit="s", low=-500, high=500
    )
    trigger_mode = control(":TRIGger:MODE", "the kind of trigger", choices=("EDGE",))
    trigger_source = control(":TRIGger:EDGE:SOURce", "the trigger's source", choices=("EXT",))
    trigger_slope = control(":TRIGger:EDGE:SLOPe", "the edge", choices=("POS", "NEG"))
    trigger_level = control(":TRIGger:EDGE:LEVel", "the trigger's level", unit="V", low=-8, high=8)
    trigger_sweep = control(":TRIGger:SWEep", "what happens without one", choices=("AUTO", "NORM"))
    acquisition = control(":ACQuire:TYPE", "how points are taken", choices=("NORM", "HRES"))
    source = control(":WAVeform:SOURce", "what is read", choices=("CHAN1", "CHAN2", "CHAN3", "CHAN4"))
    format = control(":WAVeform:FORMat", "the width of a point", choices=("BYTE", "WORD"))
    byte_order = control(":WAVeform:BYTeorder", "the byte order", choices=("LSBF", "MSBF"))
    unsigned = control(":WAVeform:UNSigned", "whether codes start at 0", form=BOOLEAN)
    points_mode = control(":WAVeform:POINts:MODE", "which points are read", choices=("NORM", "RAW"))
    points = setting(":WAVeform:POINts", "how many points a record has", low=100, high=8e6)

    # WAVeform:POINts in RAW mode: 100, 250, 500, then 1, 2, 5 of each decade.
    record_sizes = (100, 250, 500, *(step * 10**power for power in (3, 4, 5, 6) for step in (1, 2, 5)))

    def __init__(self, link: ScpiLink, channel: int = 1, memory_points: int = MEMORY_POINTS) -> None:
        super().__init__(link)
        self.channel = channel
        self.memory_points = memory_points
        self._plan: RecordPlan | None = None
        self._preamble: Preamble | None = None

    def open(self) -> None:
        self._preamble = None
        super().open()

    def to_safe_state(self) -> None:
        self.link.write(":STOP")

    def points_for(self, points: int) -> int:
        """The smallest of the sizes that holds them; the largest where none does."""
        return next((size for size in self.record_sizes if size >= points), self.record_sizes[-1])

    def configure(self, plan: RecordPlan) -> None:
        """Time base, range, trigger and format; nothing is sent that is set already."""
        if plan == self._plan:
            return
        span = RANGE_MARGIN * (plan.high_volts - plan.low_volts)
        fixed = {} if self._plan is not None else self._fixed_settings(plan)
        self.set(
            **fixed,
            time_scale=plan.duration_seconds / DIVISIONS,
            time_position=plan.start_seconds + plan.duration_seconds / 2,
            scale=span / VERTICAL_DIVISIONS,
            offset=(plan.high_volts + plan.low_volts) / 2,
            points=float(self.points_for(plan.points)),
        )
        self._plan, self._preamble = plan, None

    def _fixed_settings(self, plan: RecordPlan) -> dict[str, Any]:
        return {
            "displayed": True,
            "coupling": "DC",
            "probe": 1.0,
            "time_mode": "MAIN",
            "time_reference": "CENT",
            "trigger_mode": "EDGE",
            "trigger_source": "EXT",
            "trigger_slope": "POS",
            "trigger_level": TRIGGER_VOLTS,
            "trigger_sweep": "NORM",
            "acquisition": "HRES" if plan.high_resolution else "NORM",
            "source": f"CHAN{self.channel}",
            "format": "WORD" if plan.high_resolution else "BYTE",
            "byte_order": "LSBF",
            "unsigned": True,
            "points_mode": "RAW",
        }

    def arm(self) -> None:
        """``SINGle``, then the Arm Event Register until it says that a trigger would be taken."""
        self.link.write(":SINGle")
        self._poll(":AER?", lambda armed: armed == 1, self.link.timeout_seconds, "the oscilloscope did not arm")

    def fetch(self, wait_seconds: float) -> ScopeRecord:
        """Wait for the end of the acquisition, then ask how to read the data, then for the data."""
        complete = (
            "no trigger came, or the record was not completed: check the wire from SYNC to the external trigger"
        )
        self._poll(":OPERegister:CONDition?", lambda state: not state & RUNNING, wait_seconds, complete)
        preamble = self._known_preamble(Preamble.parse(self.link.query(":WAVeform:PREamble?", TEXT)))
        codes = self.link.query_block(":WAVeform:DATA?", preamble.dtype, expected_points=preamble.points)
        self.link.check_quiet()
        return preamble.record(codes)

    def _known_preamble(self, preamble: Preamble) -> Preamble:
        """The same settings give the same preamble: another one was damaged, or another hand is at work."""
        if self._preamble is None:
            again = Preamble.parse(self.link.query(":WAVeform:PREamble?", TEXT))
            self._preamble = again if again == preamble else None
        if preamble != self._preamble:
            raise BadReading(
                f"{self.link.resource}: the scaling of the record changed by itself; "
                "check that nobody else controls the oscilloscope, then measure again"
            )
        return preamble

    def _poll(self, question: str, done: Callable[[int], bool], seconds: float, otherwise: str) -> None:
        deadline, pause = Deadline.after(seconds), 1e-4
        while not done(self.link.query(question, INTEGER)):
            if deadline.expired:
                raise DeviceTimeout(f"{self.link.resource}: after {seconds:.3g} s {otherwise}")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
