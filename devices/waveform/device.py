"""A waveform generator and an oscilloscope as one black box."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec
from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.devices.claim import Claim
from hwloop.devices.scpi.line import line_from
from hwloop.devices.waveform.decoding import Decoder
from hwloop.devices.waveform.limits import Limit, Units, WaveformLimits, as_limit
from hwloop.devices.waveform.models import make_generator, make_oscilloscope
from hwloop.devices.waveform.player import BurstPlayer
from hwloop.devices.waveform.synthesis import BurstSynthesis, BurstTiming
from hwloop.devices.waveform.watchdog import OutputWatchdog
from hwloop.errors import HwloopError

BURSTS_A_CALL = 8


class WaveformDevice(Device):
    """A waveform generator drives a physical system, an oscilloscope records its answer; many rows a burst.

    The equations, the wiring and what keeps the hardware safe: ``docs/devices/waveform.md``. Stimuli and responses
    are in the system's units: ``stimulus = volts * input_units_per_volt + input_offset``, and
    ``response = volts / output_volts_per_unit``. With the defaults both are volts.

    Parameters
    ----------
    generator, oscilloscope
        VISA names, such as ``"TCPIP::192.168.1.20::5025::SOCKET"``.
    n_inputs, n_outputs
        Levels of a row, and of its response.
    input_slot_seconds, output_slot_seconds, guard_seconds, marker_seconds, marker_volts
        The wire: see :class:`hwloop.devices.waveform.synthesis.BurstTiming`.
    max_latency_seconds
        The marker is looked for up to here; ``None`` for one row period.
    input_low, input_high
        Limits of a stimulus, in its unit: one number, or one a channel.
    input_units_per_volt, input_offset, input_unit
        What a volt at the generator is to the system; the offset must lie within the limits, for it rests there.
    output_low, output_high
        Range of a response, in its unit; beyond it a reading is refused.
    output_volts_per_unit, output_unit
        What the oscilloscope sees of it.
    limit_low_volts, limit_high_volts
        Of the generator's output, the marker included; ``None`` for what ``input_low`` and ``input_high`` come to.
    slew_volts_per_second, rms_limit_volts, duty_limit
        See :class:`hwloop.devices.waveform.limits.WaveformLimits`; ``None`` for no limit.
    averages
        How often each burst plays; responses are the mean.
    rows_per_burst
        At most so many; ``None`` for what the memories take.
    points_per_input_slot, points_per_output_slot
        Samples of a level, at least 4 and 2.
    high_resolution
        Whether the oscilloscope averages neighbouring samples and sends 16 bits a point instead of 8.
    generator_model, oscilloscope_model, generator_channel, oscilloscope_channel
        Names of :mod:`hwloop.devices.waveform.models` or ``package.module:Class``, and which connector.
    generator_points, oscilloscope_points
        Memory of the instruments.
    timeout_seconds
        For one exchange with an instrument.
    generator_line, oscilloscope_line
        Baud rate, terminators and the like, as :class:`hwloop.devices.scpi.Line` takes them; ``None`` for none.
    visa_library
        ``None`` for a vendor's VISA where one is installed, else ``"@py"``.
    watchdog
        Whether a process of its own switches the output off when this program dies.
    """

    #: What ``hwloop calibrate --settling auto`` sweeps: time at 0 V before each row.
    settling_setting: ClassVar[str] = "guard_seconds"

    harmless_settings: ClassVar = {
        "generator": "where it is reached; it says its model and serial number itself",
        "oscilloscope": "where it is reached; it says its model and serial number itself",
        "timeout_seconds": "how long an exchange is waited for",
        "generator_line": "how the same messages travel; what is damaged on the way is refused",
        "oscilloscope_line": "how the same messages travel; what is damaged on the way is refused",
        "visa_library": "what carries the same commands",
        "watchdog": "switches the output off when this program dies; no row is measured then",
    }

    def __init__(
        self,
        generator: str,
        oscilloscope: str,
        n_inputs: int,
        n_outputs: int,
        input_slot_seconds: float = 4e-6,
        output_slot_seconds: float = 4e-6,
        guard_seconds: float = 4e-6,
        marker_seconds: float = 16e-6,
        marker_volts: float = 1.0,
        max_latency_seconds: float | None = None,
        input_low: Limit = -1.0,
        input_high: Limit = 1.0,
        input_units_per_volt: float = 1.0,
        input_offset: float = 0.0,
        input_unit: str = "V",
        output_low: float = -1.0,
        output_high: float = 1.0,
        output_volts_per_unit: float = 1.0,
        output_unit: str = "V",
        limit_low_volts: float | None = None,
        limit_high_volts: float | None = None,
        slew_volts_per_second: float | None = None,
        rms_limit_volts: float | None = None,
        duty_limit: float | None = None,
        averages: int = 1,
        rows_per_burst: int | None = None,
        points_per_input_slot: int = 4,
        points_per_output_slot: int = 4,
        high_resolution: bool = False,
        generator_model: str = "keysight-33500",
        oscilloscope_model: str = "keysight-infiniivision",
        generator_channel: int = 1,
        oscilloscope_channel: int = 1,
        generator_points: int = 1_000_000,
        oscilloscope_points: int = 1_000_000,
        timeout_seconds: float = 2.0,
        generator_line: Mapping[str, Any] | None = None,
        oscilloscope_line: Mapping[str, Any] | None = None,
        visa_library: str | None = None,
        watchdog: bool = True,
    ) -> None:
        timing = BurstTiming(
            n_inputs,
            n_outputs,
            input_slot_seconds,
            output_slot_seconds,
            guard_seconds,
            marker_seconds,
            marker_volts,
        )
        self._units = Units(input_units_per_volt, input_offset, output_volts_per_unit)
        limits = _limits(
            self._units.driven_volts(input_low, input_high),
            limit_low_volts,
            limit_high_volts,
            slew_volts_per_second=slew_volts_per_second,
            rms_volts=rms_limit_volts,
            duty=duty_limit,
        )
        synthesis = BurstSynthesis(
            timing, limits, whole_number("points_per_input_slot", points_per_input_slot, low=4)
        )
        latency = timing.row_seconds if max_latency_seconds is None else max_latency_seconds
        longest = real_number("max_latency_seconds", latency, low=0.0) + synthesis.lead_seconds
        recorded = self._units.recorded_volts(output_low, output_high)
        options = {"timeout_seconds": timeout_seconds, "visa_library": visa_library}
        line = line_from("generator_line", generator_line)
        self._generator = make_generator(
            generator_model, generator, generator_channel, generator_points, line=line, **options
        )
        self._oscilloscope = make_oscilloscope(
            oscilloscope_model,
            oscilloscope,
            oscilloscope_channel,
            oscilloscope_points,
            line=line_from("oscilloscope_line", oscilloscope_line),
            **options,
        )
        self._player = BurstPlayer(
            self._generator,
            self._oscilloscope,
            synthesis,
            Decoder(timing, longest, type(self).__name__),
            points_per_slot=whole_number("points_per_output_slot", points_per_output_slot, low=2),
            low_volts=min(*recorded, marker_volts, 0.0),
            high_volts=max(*recorded, marker_volts, 0.0),
            high_resolution=bool(high_resolution),
            averages=whole_number("averages", averages, low=1),
            wait_seconds=timeout_seconds,
        )
        self._rows_per_burst = self._player.rows_per_burst(rows_per_burst)
        self._watchdog = (
            OutputWatchdog(generator, visa_library, self._generator.safe_commands, line) if watchdog else None
        )
        self._claim = Claim(generator, oscilloscope)
        self._configured = False
        self.spec = DeviceSpec(
            n_inputs=n_inputs,
            n_outputs=n_outputs,
            input_low=as_limit(input_low),
            input_high=as_limit(input_high),
            input_unit=input_unit,
            output_unit=output_unit,
            max_rows=BURSTS_A_CALL * self._rows_per_burst,
            row_seconds=averages * max(timing.row_seconds, n_inputs * input_slot_seconds / limits.duty),
        )

    @property
    def rests_when_left(self) -> bool:  # type: ignore[override]
        """The output rests between bursts, whoever watches it."""
        return True

    def position(self) -> Float64Array | None:
        """At rest, at the stimulus of 0 V, if it is one: a burst begins there, and ends there."""
        resting = np.full(self.spec.n_inputs, self._units.input_offset)
        is_allowed = ((self.spec.low <= resting) & (resting <= self.spec.high)).all()
        return resting if is_allowed else None

    @property
    def latency_seconds(self) -> float:
        """Delay of the output line after the generator's, measured with the last burst; nan before."""
        return self._player.latency_seconds

    def open(self) -> None:
        """Connect to both instruments and set them up; the output stays off until the first burst.

        Raises
        ------
        DeviceError
            Another driver on this machine holds one of them, or one cannot be reached.
        """
        self._claim.take()  # before anything is sent: whoever holds the instruments may be playing
        try:
            if self._watchdog is not None:
                self._watchdog.arm()
            self._oscilloscope.open()
            self._generator.open()
            self._player.rest_first(self._rows_per_burst)
            if not self._configured:
                synthesis = self._player.synthesis
                self._generator.configure(synthesis.rate_hertz, synthesis.limits)
                self._oscilloscope.configure(self._player.record_plan(self._rows_per_burst))
                self._configured = True
        except BaseException:
            with contextlib.suppress(HwloopError):
                self.close()
            raise

    def close(self) -> None:
        """Output off, then disconnect from both.

        Raises
        ------
        DeviceError
            The generator could not be reached, so the output may still be on, at rest.
        """
        try:
            self._generator.close()
        finally:
            try:
                self._oscilloscope.close()
            finally:
                self._claim.release()
        if self._watchdog is not None:
            self._watchdog.disarm()

    def identify(self) -> str:
        return f"WaveformDevice({self._generator.identify()}; {self._oscilloscope.identify()})"

    def _measure(self, inputs: Float64Array) -> Any:
        try:
            return self._units.responses(self._player.play(self._units.volts(inputs), self._rows_per_burst))
        except BaseException:
            # An interrupt too: whatever is loaded must not play on.
            with contextlib.suppress(HwloopError):
                self._generator.output_off()
            raise


def _limits(driven: tuple[float, float], low: float | None, high: float | None, **others: Any) -> WaveformLimits:
    """Limits of the output: those given, or what the stimuli come to; what is ``None`` is no limit."""
    limits = WaveformLimits(
        min(driven[0], 0.0) if low is None else low,
        max(driven[1], 0.0) if high is None else high,
        **{name: value for name, value in others.items() if value is not None},
    )
    if not limits.low_volts <= driven[0] <= 0.0 <= driven[1] <= limits.high_volts:
        raise ValueError(
            f"input_low and input_high come to {driven[0]:g} and {driven[1]:g} V at the generator; 0 V must "
            f"lie between them, and both within {limits.low_volts:g} to {limits.high_volts:g} V"
        )
    return limits
