"""The virtual generator: what its settings allow, and what they put on the wire."""

import math

import numpy as np
import pytest

from hwloop.simulators.bench.generator.keysight_33500 import VirtualKeysight33500
from hwloop.simulators.bench.scpi.instrument import BenchClock, ClientConnection
from hwloop.simulators.bench.scpi.values import block


class Generator(ClientConnection):
    def __init__(self, **options):
        super().__init__(VirtualKeysight33500(BenchClock(), **options))
        self.bursts = []
        self.instrument.on_burst = self.bursts.append

    def number(self, header):
        return float(self.query(header.encode() + b"?"))

    def do(self, *messages):
        """Send messages that must not be errors."""
        for message in messages:
            self.write(message.encode() if isinstance(message, str) else message)
        assert self.errors() == []

    def errors(self):
        found = []
        while (error := self.query(b"SYST:ERR?").decode().strip()) != '+0,"No error"':
            found.append(int(error.partition(",")[0]))
        return found

    def wire(self, times, channel=1):
        return self.instrument.output(channel).at(np.asarray(times, dtype=float))

    def upload(self, values, name="w", channel=1):
        data = np.asarray(values, ">f4").tobytes()
        self.do(f"SOUR{channel}:DATA:VOL:CLE", f"SOUR{channel}:DATA:ARB {name},".encode() + block(data))
        self.do(f"SOUR{channel}:FUNC:ARB {name}", f"SOUR{channel}:FUNC ARB")


@pytest.fixture
def generator():
    return Generator()


class TestLevels:
    def test_the_load_scales_what_is_shown_and_not_what_is_played(self, generator):
        generator.do("OUTP1:LOAD 50", "VOLT 1;VOLT:OFFS 0.2", "OUTP1 ON")
        before = generator.wire([0.25e-3])
        generator.do("OUTP1:LOAD INF")
        assert generator.number("VOLT") == pytest.approx(2.0)
        assert generator.number("VOLT:OFFS") == pytest.approx(0.4)
        assert generator.wire([0.25e-3]) == pytest.approx(before)
        assert before[0] == pytest.approx(1.0 + 0.4)  # open circuit: twice what 50 ohm would see

    def test_no_period_is_too_short_however_long_it_may_be(self, generator):
        generator.write(b"FUNC:ARB:PER 0")
        assert generator.errors() == [-222]
        assert generator.number("FUNC:ARB:SRAT") == pytest.approx(250e6)

    def test_a_real_load_divides(self):
        generator = Generator(load_ohms=50.0)
        generator.do("VOLT 1;VOLT:OFFS 0.2", "OUTP1 ON")
        assert generator.wire([0.25e-3])[0] == pytest.approx(0.5 + 0.2)

    def test_amplitude_and_offset_share_ten_volts(self, generator):
        generator.do("VOLT:OFFS 3")
        assert generator.query(b"VOLT? MAX").startswith(b"+4.0000")
        generator.write(b"VOLT 8")
        assert generator.errors() == [-222]
        assert generator.number("VOLT") == pytest.approx(4.0)

    def test_high_and_low_are_the_same_in_other_words(self, generator):
        generator.do("OUTP1:LOAD INF", "VOLT:HIGH 3;LOW -1")
        assert generator.number("VOLT") == pytest.approx(4.0)
        assert generator.number("VOLT:OFFS") == pytest.approx(1.0)

    def test_output_limits_hold(self, generator):
        generator.do("OUTP1:LOAD INF", "VOLT 1", "VOLT:LIM:HIGH 1.5;LOW -1.5;STAT ON")
        generator.write(b"VOLT 4")
        assert generator.errors() == [-222]
        assert generator.number("VOLT") == pytest.approx(3.0)
        generator.write(b"VOLT:LIM:HIGH 1")
        assert generator.errors() == [-222]  # not below what is played

    @pytest.mark.parametrize(
        ("function", "rms"), [("SIN", 0.5 / math.sqrt(2)), ("SQU", 0.5), ("RAMP", 0.5 / math.sqrt(3))]
    )
    def test_units_of_the_amplitude(self, generator, function, rms):
        generator.do(f"FUNC {function}", "VOLT 2 VPP", "VOLT:UNIT VRMS")
        assert generator.number("VOLT") == pytest.approx(2 * rms)
        generator.do("VOLT:UNIT DBM")
        assert generator.number("VOLT") == pytest.approx(10 * math.log10((2 * rms) ** 2 / 50 / 1e-3))
        generator.do("VOLT 0.5 VRMS", "VOLT:UNIT VPP")
        assert generator.number("VOLT") == pytest.approx(0.5 / rms)
        generator.do("VOLT 500 MV")
        assert generator.number("VOLT") == pytest.approx(0.5)

    def test_an_output_that_is_off_is_at_zero(self, generator):
        generator.do("VOLT:OFFS 1")
        assert not generator.wire(np.linspace(0, 1e-3, 9)).any()


class TestFunctions:
    @pytest.fixture
    def playing(self, generator):
        generator.do("OUTP1:LOAD INF", "VOLT 2", "FREQ 1000", "OUTP1 ON")
        return generator

    TIMES = np.arange(1000) * 1e-5 / 10 + 5e-8  # a period of 1 kHz

    def test_sine_and_phase(self, playing):
        playing.do("PHAS 90")
        assert playing.wire(self.TIMES) == pytest.approx(np.cos(2e3 * np.pi * self.TIMES), abs=1e-9)
        playing.do("UNIT:ANGL RAD")
        assert playing.number("PHAS") == pytest.approx(math.pi / 2)

    def test_square_pulse_and_ramps(self, playing):
        playing.do("FUNC SQU", "FUNC:SQU:DCYC 25")
        assert np.mean(playing.wire(self.TIMES) > 0) == pytest.approx(0.25, abs=2e-3)
        playing.do("FUNC PULS", "FUNC:PULS:WIDT 100 US")
        assert np.mean(playing.wire(self.TIMES) > 0) == pytest.approx(0.1, abs=2e-3)
        playing.do("FUNC:PULS:DCYC 30")
        assert playing.number("FUNC:PULS:WIDT") == pytest.approx(3e-4)
        playing.do("FUNC:PULS:HOLD DCYC", "FREQ 2000")
        assert playing.number("FUNC:PULS:WIDT") == pytest.approx(1.5e-4)
        playing.do("FREQ 1000", "FUNC RAMP", "FUNC:RAMP:SYMM 100")
        assert np.diff(playing.wire(self.TIMES)) == pytest.approx(np.full(999, 2e-3), abs=1e-9)

    def test_a_ramp_is_slow(self, playing):
        playing.do("FREQ 1 MHZ")
        playing.write(b"FUNC RAMP")
        assert playing.errors() == [-221]
        assert playing.number("FREQ") == 200e3

    def test_polarity_inverts_about_the_offset(self, playing):
        playing.do("VOLT:OFFS 0.5", "OUTP1:POL INV")
        assert playing.wire(self.TIMES) == pytest.approx(0.5 - np.sin(2e3 * np.pi * self.TIMES), abs=1e-9)

    def test_noise_stays_within_its_amplitude(self, playing):
        playing.do("FUNC NOIS")
        volts = playing.wire(np.linspace(0, 1, 20_000))
        assert np.abs(volts).max() <= 1.0
        assert volts.std() == pytest.approx(0.25, rel=0.05)

    def test_apply_sets_everything_at_once(self, generator):
        generator.do("OUTP1:LOAD INF", "APPL:SQU 5 KHZ, 3, -0.5")
        assert generator.query(b"APPL?") == (
            b'"SQU +5.000000000000000E+03,+3.000000000000000E+00,-5.000000000000000E-01"\n'
        )
        assert generator.query(b"OUTP1?") == b"1\n"
        generator.do("SOUR2:APPL:DC DEF, DEF, 1.5")
        assert generator.wire([0.0], channel=2) == pytest.approx([3.0])  # 1.5 V at the 50 ohm that it assumes

    def test_a_sweep_passes_its_frequencies(self, playing):
        playing.do("FREQ:STAR 100;STOP 1000", "SWE:TIME 1", "FREQ:MODE SWE")
        times = np.linspace(0, 1, 200_001)
        volts = playing.wire(times)
        rises = times[1:][(volts[:-1] < 0) & (volts[1:] >= 0)]
        assert len(rises) == pytest.approx(550, abs=2)
        assert 1 / np.diff(rises)[-2] == pytest.approx(1000, rel=0.02)

    def test_settings_are_saved_and_recalled_with_the_outputs_off(self, playing):
        playing.do("FREQ 4321", "*SAV 2", "*RST", "*RCL 2")
        assert playing.number("FREQ") == 4321
        assert playing.query(b"OUTP1?") == b"0\n"


class TestArbitraryWaveforms:
    def test_blocks_in_both_orders_and_numbers_are_the_same_waveform(self, generator):
        values = np.linspace(-1, 1, 16)
        codes = np.rint(values * 32767).astype(int)
        generator.do(b"DATA:ARB big," + block(values.astype(">f4").tobytes()))
        generator.do("FORM:BORD SWAP")
        generator.do(b"DATA:ARB little," + block(values.astype("<f4").tobytes()))
        generator.do(b"DATA:ARB:DAC codes," + block(codes.astype("<i2").tobytes()))
        generator.do("DATA:ARB text," + ",".join(map(str, values)))
        generator.do("DATA:ARB:DAC numbers," + ", ".join(map(str, codes)))
        memory = generator.instrument.memory[1]
        for name in ("big", "little", "codes", "text", "numbers"):
            assert memory.named(name) == pytest.approx(values, abs=2e-5)
        assert generator.query(b"DATA:VOL:CAT?") == (
            b'"INT:\\BUILTIN\\EXP_RISE.ARB","BIG","LITTLE","CODES","TEXT","NUMBERS"\n'
        )

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            (b"DATA:ARB w,0,0,0,0,0,0,0", -222),
            (b"DATA:ARB w,0,0,0,0,0,0,0,1.01", -222),
            (b"DATA:ARB w," + block(np.full(8, np.nan, ">f4").tobytes()), -222),
            (b"DATA:ARB:DAC w,0,0,0,0,0,0,0,32768", -222),
            (b"DATA:ARB w,#17abcdefg", -161),
            (b"DATA:ARB w,0,0,zero", -148),
            (b"DATA:ARB there,0,0,0,0,0,0,0,0", 786),
            (b"DATA:ARB w," + block(bytes(4 * 1_000_001)), 781),
        ],
    )
    def test_what_is_refused(self, generator, message, error):
        generator.do("DATA:ARB there,0,0,0,0,0,0,0,0")
        generator.write(message)
        assert generator.errors() == [error]

    def test_a_pair_for_both_channels(self, generator):
        generator.do("DATA:ARB2 p," + ",".join(str(n / 16) for n in range(16)))
        first, second = (generator.instrument.memory[channel].named("p") * 16 for channel in (1, 2))
        assert (first[:3].tolist(), second[:3].tolist()) == ([0, 2, 4], [1, 3, 5])

    def test_held_samples_on_the_converters_grid(self):
        values = np.linspace(-1, 1, 40)
        generator = Generator(dac_bits=4)
        generator.do("OUTP1:LOAD INF", "VOLT 2", "FUNC:ARB:FILT OFF", "FUNC:ARB:SRAT 1e6", "OUTP1 ON")
        generator.upload(values)
        volts = generator.wire((np.arange(80) + 0.5) * 1e-6)
        assert volts[:40] == pytest.approx(np.rint(values * 7) / 7, abs=1e-6)
        assert volts[40:] == pytest.approx(volts[:40])  # it repeats
        assert generator.number("FUNC:ARB:FREQ") == pytest.approx(1e6 / 40)

    def test_filters(self, generator):
        step = np.repeat([-1.0, 1.0], 50)
        generator.do("OUTP1:LOAD INF", "VOLT 2", "FUNC:ARB:SRAT 1e6", "BURS:STAT ON", "TRIG:SOUR BUS", "OUTP1 ON")
        generator.upload(step)
        highest = {}
        for name in ("OFF", "STEP", "NORM"):
            generator.do(f"FUNC:ARB:FILT {name}", "*TRG")
            start = generator.bursts[-1].start
            highest[name] = generator.wire(start + np.linspace(0, 1e-4, 10_001)).max()
        assert highest["OFF"] == highest["STEP"] == pytest.approx(1.0)
        assert 1.02 < highest["NORM"] < 1.3  # band-limited: it overshoots

    def test_without_its_filter_the_converter_is_slower(self, generator):
        generator.do("FUNC:ARB:SRAT 250e6")
        generator.write(b"FUNC:ARB:FILT OFF")
        assert generator.errors() == [-221]
        assert generator.number("FUNC:ARB:SRAT") == 62.5e6


class TestBursts:
    @pytest.fixture
    def armed(self, generator):
        generator.do("OUTP1:LOAD INF", "VOLT 2", "FUNC:ARB:FILT OFF", "FUNC:ARB:SRAT 1e6")
        generator.do("BURS:STAT ON;MODE TRIG;NCYC 2", "TRIG:SOUR BUS", "OUTP1 ON")
        generator.upload([0.25, *np.linspace(-1, 1, 15)])
        return generator

    def test_it_rests_at_the_first_point_plays_its_cycles_and_rests_again(self, armed):
        assert armed.wire([0.0, 1.0]) == pytest.approx([0.25, 0.25], abs=1e-4)
        armed.do("*TRG")
        (burst,) = armed.bursts
        assert burst.seconds == pytest.approx(32e-6)
        volts = armed.wire(burst.start + (np.arange(-4, 40) + 0.5) * 1e-6)
        cycle = [0.25, *np.linspace(-1, 1, 15)]
        assert volts == pytest.approx([0.25] * 4 + cycle * 2 + [0.25] * 8, abs=1e-4)

    def test_the_log_saw_it(self, armed):
        armed.instrument.log.clear()
        armed.do("*TRG")
        (played,) = armed.instrument.log.played
        assert (played.lowest_volts, played.highest_volts) == pytest.approx((-1.0, 1.0))
        assert played.slew_volts_per_second == pytest.approx(1.25e6, rel=1e-3)  # from 0.25 to -1 in a sample
        assert played.duty == pytest.approx(15 / 16)  # all but the point at 0

    def test_a_trigger_that_nobody_waits_for_is_ignored(self, armed):
        for setting in ("TRIG:SOUR EXT", "TRIG:SOUR BUS;:BURS:MODE GAT", "BURS:MODE TRIG;STAT OFF"):
            armed.do(setting)
            armed.write(b"*TRG")
            assert armed.errors() == [-211]
        assert armed.bursts == []

    def test_without_a_trigger_bursts_repeat(self, armed):
        armed.do("TRIG:SOUR IMM", "BURS:INT:PER 1e-4")
        volts = armed.wire((np.arange(200) + 0.5) * 1e-6)
        assert volts[:100] == pytest.approx(volts[100:])
        assert volts[:32] == pytest.approx([0.25, *np.linspace(-1, 1, 15)] * 2, abs=1e-4)
        assert volts[32:100] == pytest.approx(0.25, abs=1e-4)
        burst = armed.instrument.next_burst(2.5e-4, 1)
        assert (burst.start, burst.seconds) == pytest.approx((3e-4, 32e-6))

    def test_channels_have_triggers_of_their_own(self, armed):
        armed.do("TRIG1:SOUR EXT", "TRIG1")
        assert [burst.channel for burst in armed.bursts] == [1]
        armed.do("OUTP:SYNC:SOUR CH2", "TRIG1:IMM")
        assert [burst.synced for burst in armed.bursts] == [True, False]

    def test_operation_complete_waits_for_a_burst_in_real_time(self):
        clock = BenchClock(realtime=True)
        session = ClientConnection(VirtualKeysight33500(clock))
        for message in (b"FREQ 50", b"BURS:STAT ON;NCYC 2", b"TRIG:SOUR BUS", b"*TRG;*OPC"):
            session.write(message)
        assert session.query(b"*ESR?") == b"+128\n"
        before = clock.now()
        assert session.query(b"*OPC?;*ESR?") == b"1;+1\n"
        assert 0.02 < clock.now() - before < 0.2
