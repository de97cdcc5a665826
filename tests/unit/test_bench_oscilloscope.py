"""The virtual oscilloscope: records against the signals that lay on its inputs."""

import threading

import numpy as np
import pytest

from hwloop.simulators.bench.oscilloscope.acquisition import POINTS_OF_MEMORY
from hwloop.simulators.bench.oscilloscope.infiniivision import InfiniiVisionDSO
from hwloop.simulators.bench.scpi.instrument import BenchClock, ClientConnection
from hwloop.simulators.bench.scpi.values import Block
from hwloop.simulators.bench.signals import Constant, Function, HeldSamples

KILOHERTZ = Function(lambda times: np.sin(2e3 * np.pi * times))


class Scope(ClientConnection):
    """An oscilloscope with 1 V of 1 kHz on channel 1 and half a volt on channel 2."""

    def __init__(self, **options):
        super().__init__(InfiniiVisionDSO(BenchClock(), **{"noise_of_range": 0.0, **options}))
        self.signals = {"CHAN1": KILOHERTZ, "CHAN2": Constant(0.5)}
        self.instrument.lines = lambda: self.signals
        self.do("*CLS", ":CHAN1:PROB 1;RANG 4", ":CHAN2:PROB 1;RANG 4", ":TIM:RANG 0.005", ":WAV:POIN 1000")

    def do(self, *messages):
        for message in messages:
            self.write(message.encode())
        assert self.errors() == []

    def errors(self):
        found = []
        while (error := self.query(b"SYST:ERR?").decode().strip()) != '+0,"No error"':
            found.append(int(error.partition(",")[0]))
        return found

    def ask(self, message):
        return self.query(message.encode()).decode().strip()

    def preamble(self):
        names = "form kind points count x_increment x_origin x_reference y_increment y_origin y_reference"
        return dict(zip(names.split(), map(float, self.ask(":WAV:PRE?").split(",")), strict=True))

    def codes(self, kind):
        return np.frombuffer(Block().parse(self.query(b":WAV:DATA?").rstrip(b"\n")), kind).astype(float)

    def waveform(self, kind="u1"):
        """Times and volts, as the programmer's guide says to convert codes."""
        said, codes = self.preamble(), self.codes(kind)
        times = said["x_origin"] + (np.arange(len(codes)) - said["x_reference"]) * said["x_increment"]
        return times, (codes - said["y_reference"]) * said["y_increment"] + said["y_origin"]


@pytest.fixture
def scope():
    return Scope()


class TestTransfer:
    def test_volts_are_those_on_the_wire_within_half_a_code(self, scope):
        scope.do(":DIG CHAN1")
        record = scope.instrument.record()
        times, volts = scope.waveform()
        exact = np.sin(2e3 * np.pi * (times + record.triggers[0]))
        assert np.abs(volts - exact).max() <= 0.5 * 4 / 199 * 1.001
        steps = volts / scope.preamble()["y_increment"]
        assert steps == pytest.approx(np.rint(steps), abs=1e-3)
        assert len(np.unique(volts)) > 50

    def test_every_form_says_the_same(self, scope):
        scope.do(":DIG CHAN1")
        scope.do(":WAV:FORM BYTE")
        _, volts = scope.waveform("u1")
        for settings, kind in (
            ("FORM WORD;BYT MSBF", ">u2"),
            ("FORM WORD;BYT LSBF", "<u2"),
            ("FORM WORD;UNS 0", "<i2"),
            ("FORM BYTE", "i1"),
        ):
            scope.do(f":WAV:{settings}")
            assert scope.waveform(kind)[1] == pytest.approx(volts, abs=1e-6)
        scope.do(":WAV:FORM ASC;UNS 1")
        text = Block().parse(scope.query(b":WAV:DATA?").rstrip(b"\n"))
        assert np.array(text.split(b","), float) == pytest.approx(volts, abs=1e-5)

    def test_a_record_stays_the_same(self):
        scope = Scope(noise_of_range=0.02)
        scope.do(":DIG CHAN1")
        first = scope.codes("u1")
        assert (scope.codes("u1") == first).all()
        scope.do(":DIG CHAN1")
        assert (scope.codes("u1") != first).any()

    def test_what_leaves_the_converters_range_is_clipped(self, scope):
        scope.do(":CHAN1:RANG 0.4", ":DIG CHAN1")
        codes = scope.codes("u1")
        assert (codes.min(), codes.max()) == (1, 255)  # 0 stands for no sample

    def test_offset_inversion_coupling_and_probe(self, scope):
        scope.do(":WAV:SOUR CHAN2", ":CHAN2:OFFS 0.25")
        for setting, volts in (("INV 0", 0.5), ("INV 1", -0.5), ("INV 0;COUP AC", 0.0), ("COUP DC;PROB 10", 5.0)):
            scope.do(f":CHAN2:{setting}", ":DIG CHAN2")
            assert scope.waveform()[1].mean() == pytest.approx(volts, abs=0.12 if "PROB" in setting else 0.012)
        assert float(scope.ask(":CHAN2:RANG?")) == 40.0

    def test_points(self, scope):
        scope.do(":DIG CHAN1")
        for points in POINTS_OF_MEMORY:
            scope.do(":WAV:POIN:MODE RAW", f":WAV:POIN {points}")
            assert int(scope.ask(":WAV:POIN?")) == points
        scope.do(":WAV:POIN 1200")
        assert len(scope.codes("u1")) == 1000  # the next that there is
        scope.do(":WAV:POIN:MODE NORM", ":WAV:POIN MAX")
        assert len(scope.codes("u1")) == 62_500

    def test_time_reference_and_position_move_the_origin(self, scope):
        for setting, origin in (("REF CENT", -2.5e-3), ("REF LEFT", -0.5e-3), ("REF RIGH;POS 0.001", -3.5e-3)):
            scope.do(f":TIM:{setting}", ":DIG CHAN1")
            assert scope.preamble()["x_origin"] == pytest.approx(origin)

    def test_nothing_acquired_is_an_error(self, scope):
        scope.do(":STOP")
        scope.write(b":WAV:DATA?")
        assert scope.errors() == [-230]
        scope.do(":WAV:SOUR FFT")
        scope.write(b":WAV:DATA?")
        assert scope.errors() == [-241]


class TestResolution:
    def test_high_resolution_averages_between_points(self):
        scope = Scope(noise_of_range=0.01)
        scope.do(":WAV:SOUR CHAN2;FORM WORD;POIN 10000")
        spread = {}
        for kind in ("NORM", "HRES"):
            scope.do(f":ACQ:TYPE {kind}", ":DIG CHAN2")
            spread[kind] = scope.waveform(">u2")[1].std()
        assert spread["NORM"] == pytest.approx(0.04, rel=0.1)
        assert spread["HRES"] == pytest.approx(0.04 / np.sqrt(2e9 * 5e-3 / 1e4), rel=0.1)

    def test_an_average_takes_as_many_triggers(self):
        scope = Scope(noise_of_range=0.02)
        scope.do(":WAV:SOUR CHAN2;FORM WORD", ":ACQ:TYPE AVER;COUN 16", ":TRIG:SWE NORM;:TRIG:SOUR EXT;LEV 1.5")
        scope.do(":SING")
        for _ in range(16):
            assert int(scope.ask(":OPER:COND?")) & 8
            scope.instrument.sync_edge(0.0, 1.0, scope.signals, True)
        assert not int(scope.ask(":OPER:COND?")) & 8
        assert int(scope.ask(":WAV:COUN?")) == 16
        assert scope.waveform(">u2")[1].std() == pytest.approx(0.08 / 4, rel=0.15)


class TestTrigger:
    def test_an_edge_lies_at_time_zero(self, scope):
        square = HeldSamples(0.0, 5e-4, np.array([1.0, -1.0]), np.inf)
        scope.signals = {"CHAN1": square}
        for slope, after in (("POS", 1.0), ("NEG", -1.0)):
            scope.do(f":TRIG:EDGE:SOUR CHAN1;SLOP {slope};LEV 0.2;:TRIG:SWE NORM", ":SING")
            scope.instrument.sync_edge(1.0, 1.01, scope.signals, False)
            times, volts = scope.waveform()
            assert volts[times > 1e-5][0] == pytest.approx(after, abs=0.02)
            assert volts[times < -1e-5][-1] == pytest.approx(-after, abs=0.02)

    @pytest.mark.parametrize(
        ("level", "synced", "comes"), [(1.5, True, True), (3.5, True, False), (1.5, False, False)]
    )
    def test_the_external_trigger_is_the_generators_sync(self, scope, level, synced, comes):
        scope.do(f":TRIG:EDGE:SOUR EXT;LEV {level};:TRIG:SWE NORM", ":SING")
        assert scope.ask(":AER?") == "+1"  # armed, and asked: the bit is cleared
        assert scope.ask(":AER?") == "+0"
        scope.instrument.sync_edge(3.0, 4.0, scope.signals, synced)
        assert scope.ask(":TER?") == f"{int(comes):+d}"
        assert bool(int(scope.ask(":OPER:COND?")) & 32) != comes  # still waiting for a trigger

    def test_in_auto_it_triggers_by_itself(self, scope):
        scope.do(":TRIG:SWE AUTO;:TRIG:EDGE:SOUR EXT;LEV 1.5", ":DIG")
        assert scope.ask("*OPC?") == "1"
        assert len(scope.codes("u1")) == 1000

    def test_after_digitize_everything_waits_for_the_record(self, scope):
        scope.do(":TRIG:SWE NORM;:TRIG:EDGE:SOUR EXT;LEV 1.5")
        scope.write(b":DIG CHAN1")
        asked = threading.Thread(target=scope.write, args=(b"*OPC?",), daemon=True)
        asked.start()
        asked.join(0.2)
        assert asked.is_alive()
        scope.instrument.sync_edge(0.0, 1.0, scope.signals, True)
        asked.join(5)
        assert not asked.is_alive()
        assert scope.read() == b"1\n"

    def test_another_connection_breaks_in(self, scope):
        scope.do(":TRIG:SWE NORM;:TRIG:EDGE:SOUR EXT;LEV 1.5")
        scope.write(b":DIG CHAN1")
        ClientConnection(scope.instrument).write(b":STOP")
        assert scope.ask("*OPC?") == "1"

    def test_a_client_that_goes_gives_its_record_up(self, scope):
        scope.do(":TRIG:SWE NORM;:TRIG:EDGE:SOUR EXT;LEV 1.5")
        scope.write(b":DIG CHAN1")
        scope.instrument.session_closed(scope)
        assert ClientConnection(scope.instrument).query(b"*OPC?") == b"1\n"


class TestMeasurements:
    def test_of_a_sine(self, scope):
        scope.do(":DIG CHAN1")
        expected = {"VPP": 2.0, "VMAX": 1.0, "VMIN": -1.0, "VAV": 0.0, "VRMS": np.sqrt(0.5), "FREQ": 1e3}
        expected |= {"PER": 1e-3, "PWID": 5e-4, "NWID": 5e-4, "DUTY": 50.0}
        for name, value in expected.items():
            assert float(scope.ask(f":MEAS:{name}? CHAN1")) == pytest.approx(value, rel=0.02, abs=0.02), name
        rise = 2 * np.arcsin(0.8) / (2e3 * np.pi)
        for name in ("RIS", "FALL"):
            assert float(scope.ask(f":MEAS:{name}? CHAN1")) == pytest.approx(rise, rel=0.05)

    def test_of_a_square_in_noise(self):
        scope = Scope(noise_of_range=0.01)
        scope.signals = {"CHAN1": HeldSamples(0.0, 2.5e-4, np.array([1.0, 0.0, 0.0, 0.0]), np.inf)}
        scope.do(":CHAN1:OFFS 0.5", ":DIG CHAN1")
        expected = {"VTOP": 1.0, "VBAS": 0.0, "VAMP": 1.0, "FREQ": 1e3, "DUTY": 25.0}
        for name, value in expected.items():
            assert float(scope.ask(f":MEAS:{name}? CHAN1")) == pytest.approx(value, rel=0.04, abs=0.04), name

    def test_what_cannot_be_measured(self, scope):
        scope.do(":DIG CHAN2")
        assert float(scope.ask(":MEAS:FREQ? CHAN2")) == 9.9e37


def test_setup_queries_and_pictures(scope):
    assert scope.ask(":TIM?") == ":TIM:MODE MAIN;REF CENT;MAIN:RANG +5.000000E-03;POS +0.000000E+00"
    assert scope.ask(":CHAN2?").startswith(":CHAN2:RANG +4.000000E+00;OFFS +0.000000E+00;COUP DC;IMP ONEM;")
    for header in (":ACQ?", ":TRIG?", ":WAV?"):
        assert scope.ask(header).startswith(header[:-1] + ":")
    png = Block().parse(scope.query(b":DISP:DATA? PNG,COL").rstrip(b"\n"))
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    bitmap = Block().parse(scope.query(b":DISP:DATA? BMP8,GRAY")[:-1])
    assert bitmap.startswith(b"BM")
    assert len(bitmap) == int.from_bytes(bitmap[2:6], "little")


def test_autoscale_fills_the_screen(scope):
    scope.do("*RST", ":CHAN1:PROB 1", ":AUT")
    assert 2.0 <= float(scope.ask(":CHAN1:RANG?")) <= 8.0
    assert float(scope.ask(":MEAS:FREQ? CHAN1")) == pytest.approx(1e3, rel=0.02)
