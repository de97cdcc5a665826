"""A virtual Keysight DSOX1102G: two channels and an external trigger input, 8 bits, a million points.

After the published programmer's guide of the InfiniiVision 1000 X-Series. It has no serial decoding, no mask
test, no reference waveforms and no files: their headers are undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from hwloop.simulators.bench.oscilloscope import settings
from hwloop.simulators.bench.oscilloscope.acquisition import Acquisition, first_crossing
from hwloop.simulators.bench.oscilloscope.readout import Transfer
from hwloop.simulators.bench.scpi.command import BenchCommand, BenchSetting, CommandCall, command
from hwloop.simulators.bench.scpi.instrument import BenchClock, ClientConnection
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.scpi.values import Keyword
from hwloop.simulators.bench.signals import Voltage

SYNC_VOLTS = 3.3
AUTO_SECONDS = 0.1
_SOURCES = Keyword("CHANnel1", "CHANnel2", "FUNCtion", "MATH", "FFT", "ABUS", "SBUS1", "EXTernal", "POD1")
RUN_BIT, WAIT_TRIGGER_BIT = 8, 32
_BREAK_IN = ("stop", "_reset", "run", "_clear_status")


class InfiniiVisionDSO(Transfer):
    """The oscilloscope.

    Parameters
    ----------
    clock
        Time of the bench.
    noise_of_range
        Standard deviation of the noise of one sample, as a fraction of the screen's height.
    seed
        Of the noise.
    """

    IDENTITY: ClassVar[str] = "KEYSIGHT TECHNOLOGIES,DSOX1102G,CN00000001,01.20.2019061038"
    SETTINGS = settings.SETTINGS

    def __init__(self, clock: BenchClock, noise_of_range: float = 0.002, seed: int = 0) -> None:
        super().__init__(clock)
        self.lines: Callable[[], Mapping[str, Voltage]] = dict
        self.on_armed: Callable[[], None] = lambda: None
        self.noise_of_range = noise_of_range
        self.seed = seed
        self._acquisitions = 0
        self.reset()

    def reset(self) -> None:
        """Running, untriggered, 5 V a division with a probe of 10:1."""
        super().reset()
        self.stopped = False
        self.acquisition: Acquisition | None = None
        self._collecting: Acquisition | None = None
        self._armed_by: ClientConnection | None = None
        self._waits_until = self.complete_at = 0.0
        self._triggered = self._was_armed = False

    # Running

    @command("RUN")
    def run(self, call: CommandCall) -> None:
        """Acquire again and again."""
        self._disarm()
        self.stopped = False

    @command("STOP")
    def stop(self, call: CommandCall) -> None:
        """Stop acquiring; the last record stays."""
        self._disarm()
        self.stopped = True
        self.changed.notify_all()

    @command("SINGle")
    def single(self, call: CommandCall) -> None:
        """Acquire one record, then stop."""
        self._arm(None)

    @command("DIGitize", parameters=(_SOURCES,), required=0, repeat=True)
    def digitize(self, call: CommandCall) -> None:
        """Acquire one record, then stop; nothing else is executed before it is complete."""
        for source in call.arguments:
            if source.startswith("CHAN"):
                self.put(settings.CHANNEL_DISPLAY, True, int(source[4:]))
        self._arm(call.session)

    @command("TRIGger:FORCe")
    def force_trigger(self, call: CommandCall) -> None:
        """Trigger now, whatever the inputs do."""
        self._capture(self.clock.now(), self.lines())

    @command("AUToscale", parameters=(_SOURCES,), required=0, repeat=True)
    def autoscale(self, call: CommandCall) -> None:
        """Scale every input to the signal on it."""
        self._disarm()
        self.stopped = False
        self.autoscale_inputs(self.lines(), self.clock.now())

    def _arm(self, session: ClientConnection | None) -> None:
        self._disarm()
        self.stopped = True
        self.acquisition = None
        self._collecting = self._new_acquisition()
        self._armed_by = session
        self._was_armed = True
        self._waits_until = self.clock.now() + AUTO_SECONDS
        self.on_armed()

    def _disarm(self) -> None:
        self._collecting = self._armed_by = None

    def _needed(self) -> int:
        return int(self.get(settings.ACQUIRE_COUNT)) if self.get(settings.ACQUIRE_TYPE) == "AVER" else 1

    @property
    def is_armed(self) -> bool:
        """Whether a record is being waited for."""
        return self._collecting is not None

    # Triggers

    def sync_edge(self, start: float, stop: float, lines: Mapping[str, Voltage], synced: bool) -> None:
        """The generator has begun to play something that lasts from ``start`` to ``stop``.

        Parameters
        ----------
        start, stop
            Bench times; the signal at the external trigger input is high between them.
        lines
            What lies on the inputs.
        synced
            Whether the generator's sync connector is driven.
        """
        with self.changing():
            trigger = self._trigger_time(start, stop, lines, synced)
            if trigger is not None and (self.is_armed or not self.stopped):
                self._capture(trigger, lines)

    def _trigger_time(self, start: float, stop: float, lines: Mapping[str, Voltage], synced: bool) -> float | None:
        source, slope = self.get(settings.TRIGGER_SOURCE), self.get(settings.TRIGGER_SLOPE)
        level = self.trigger_level(1)
        if source == "EXT":
            if not (synced and 0 < level < SYNC_VOLTS * self.number(settings.EXTERNAL_PROBE)):
                return None
            return stop if slope == "NEG" else start
        if source not in lines:
            return None
        length = self.number(settings.TIME_RANGE)
        probe = self.number(settings.PROBE, int(source[4:]))
        early = start - 0.01 * (stop - start)
        return first_crossing(lines[source], level / probe, slope, early, stop + length)

    def _new_acquisition(self) -> Acquisition:
        self._acquisitions += 1
        first, length = self.window()
        return Acquisition(
            [],
            [],
            self.input_settings(),
            first,
            length,
            self.get(settings.ACQUIRE_TYPE),
            self.noise_of_range,
            (self.seed, self._acquisitions),
        )

    def _capture(self, trigger: float, lines: Mapping[str, Voltage]) -> None:
        collecting = self._collecting or self._new_acquisition()
        collecting.triggers.append(trigger)
        collecting.lines.append(dict(lines))
        self._triggered = True
        end = trigger + collecting.first_seconds + collecting.range_seconds
        self.complete_at = max(self.clock.now(), self.clock.done_at(self.clock.now(), end - self.clock.now()))
        if self.is_armed and len(collecting.triggers) < self._needed():
            self._waits_until = self.clock.now() + AUTO_SECONDS
            return
        self.acquisition = collecting
        self._disarm()
        self.changed.notify_all()

    def _capture_by_itself(self) -> None:
        """In AUTO a record is taken after a while without a trigger."""
        while self.is_armed:
            self._capture(self.clock.now(), self.lines())

    # Who waits

    def before(self, session: ClientConnection, entry: BenchSetting | BenchCommand) -> None:
        """After DIGitize everything waits for the record, but for what breaks in from another connection."""
        breaks_in = isinstance(entry, BenchCommand) and entry.method in _BREAK_IN and session is not self._armed_by
        while self._armed_by is not None and not breaks_in:
            if self.get(settings.SWEEP) == "AUTO" and self.clock.now() >= self._waits_until:
                self._capture_by_itself()
            else:
                self.wait(session)
        while self.clock.realtime and (left := self.complete_at - self.clock.now()) > 0 and not breaks_in:
            self.wait(session, left)

    def session_closed(self, session: ClientConnection) -> None:
        """A record that a client waited for is given up when the client goes."""
        with self.changing():
            if self._armed_by is session:
                self._disarm()

    def record(self) -> Acquisition:
        """The latest record; a running oscilloscope takes one now.

        Raises
        ------
        ScpiError
            -230: there is none.
        """
        if not self.stopped:
            self._refresh()
        elif self.is_armed and self.get(settings.SWEEP) == "AUTO" and self.clock.now() >= self._waits_until:
            self._capture_by_itself()
        if self.acquisition is None:
            raise ScpiError(-230)
        return self.acquisition

    def _refresh(self) -> None:
        before = self.acquisition
        self.on_armed()
        if self.acquisition is not before:
            return
        if self.get(settings.SWEEP) == "AUTO":
            self._capture(self.clock.now(), self.lines())

    # Status

    @command("TER?")
    def trigger_event(self, call: CommandCall) -> str:
        """Whether a trigger has come since the last question."""
        triggered, self._triggered = self._triggered, False
        return f"{int(triggered):+d}"

    @command("OPERegister:CONDition?")
    def run_state(self, call: CommandCall) -> str:
        """Bit 3: running; bit 5: waiting for a trigger."""
        running = not self.stopped or self.is_armed
        return f"{RUN_BIT * running + WAIT_TRIGGER_BIT * self.is_armed:+d}"

    @command("OPERegister[:EVENt]?")
    def run_event(self, call: CommandCall) -> str:
        """Bit 3: has stopped running."""
        return f"{RUN_BIT * (self.stopped and not self.is_armed):+d}"

    @command("AER?")
    def armed_event(self, call: CommandCall) -> str:
        """Whether the trigger was armed since the last question."""
        armed, self._was_armed = self._was_armed, False
        return f"{int(armed):+d}"

    @command("*TRG")
    def trigger_once(self, call: CommandCall) -> None:
        """The same as DIGitize of all channels."""
        self._arm(call.session)
