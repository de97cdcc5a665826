"""The fixture between the instruments: rows in, rows out, against the substrate measured directly."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop.simulators.bench.fixture import Fixture, FixtureWiring
from hwloop.simulators.bench.scpi.instrument import ClientConnection
from hwloop.simulators.bench.signals import Constant, Function, HeldSamples, Polyline, steps
from hwloop.simulators.bench.virtual_bench import VirtualBench


class Scales(hwloop.Device):
    """Answers every input times 1 to n_outputs; keeps what it was asked."""

    spec = hwloop.DeviceSpec(n_inputs=3, n_outputs=5, input_low=-2.0, input_high=4.0, input_unit="mm")

    def __init__(self):
        self.asked = []

    def _measure(self, inputs):
        self.asked.append(inputs.copy())
        return inputs.sum(axis=1, keepdims=True) * np.arange(1, 6)


WIRING = FixtureWiring(
    input_slot_seconds=10e-6,
    output_slot_seconds=5e-6,
    guard_seconds=8e-6,
    marker_seconds=40e-6,
    marker_volts=0.8,
    input_units_per_volt=3.0,
    input_offset=1.0,
    output_volts_per_unit=0.1,
    latency_seconds=7.3e-6,
    rise_seconds=0.2e-6,
)


def waveform(rows, wiring, row_seconds, rate, lead_seconds=50e-6):
    """The burst that carries rows, sampled: what a driver uploads, in volts."""
    volts = (np.asarray(rows) - wiring.input_offset) / wiring.input_units_per_volt
    samples = np.zeros(round((lead_seconds + 2 * wiring.marker_seconds + len(rows) * row_seconds) * rate) + 1)
    times = (np.arange(len(samples)) + 0.5) / rate - lead_seconds
    samples[(times >= 0) & (times < wiring.marker_seconds)] = wiring.marker_volts
    slots = (times - 2 * wiring.marker_seconds) % row_seconds - wiring.guard_seconds
    number = np.floor(slots / wiring.input_slot_seconds).astype(int)
    row = np.floor((times - 2 * wiring.marker_seconds) / row_seconds).astype(int)
    held = (row >= 0) & (row < len(rows)) & (number >= 0) & (number < volts.shape[1])
    samples[held] = volts[row[held], number[held]]
    return samples


def decoded(line, start, wiring, row_seconds, rows, n_outputs):
    """Middle halves of the output slots, as a driver averages them, in the substrate's units."""
    edge = line.first_rise(0.5 * wiring.marker_volts, start, start + 1.0)
    periods = edge + 2 * wiring.marker_seconds + np.arange(1, rows + 1) * row_seconds + wiring.guard_seconds
    slot = wiring.output_slot_seconds
    slots = periods[:, None] + np.arange(n_outputs) * slot
    return edge, line.mean(slots + 0.25 * slot, slots + 0.75 * slot) / wiring.output_volts_per_unit


@pytest.mark.parametrize("rate", [0.5e6, 1.3e6, 10e6])
def test_rows_pass_whatever_the_generators_sample_rate(rate):
    device = Scales()
    fixture = Fixture(device, WIRING)
    assert fixture.row_seconds == pytest.approx(8e-6 + 30e-6)
    rows = np.random.default_rng(0).uniform(-2, 4, (7, 3))
    samples = waveform(rows, WIRING, fixture.row_seconds, rate)
    line = HeldSamples(100.0, 1 / rate, samples)
    fixture.receive(line, 100.0, 100.0 + len(samples) / rate)
    assert device.asked[0] == pytest.approx(rows, abs=1e-9)
    edge, answers = decoded(fixture.output, 100.0, WIRING, fixture.row_seconds, 7, 5)
    assert edge - line.first_rise(0.4, 100.0, 101.0) == pytest.approx(WIRING.latency_seconds, abs=1e-8)
    assert answers == pytest.approx(rows.sum(axis=1, keepdims=True) * np.arange(1, 6), abs=1e-6)


def test_no_marker_no_rows():
    device = Scales()
    fixture = Fixture(device, WIRING)
    fixture.receive(Constant(0.3), 0.0, 1.0)
    fixture.receive(HeldSamples(0.0, 1e-6, np.r_[np.zeros(10), np.full(40, 0.8), np.zeros(40)]), 0.0, 9e-5)
    assert device.asked == []
    assert fixture.output == Constant(0.0)


def test_a_line_that_is_high_already_does_not_rise():
    """A generator idles at a burst's first point: a waveform that begins with its marker has no edge."""
    samples = np.r_[np.ones(40), np.zeros(80)]
    assert HeldSamples(0.0, 1e-6, samples, idle_volts=1.0).first_rise(0.5, 0.0, 1.0) is None
    assert HeldSamples(0.0, 1e-6, samples).first_rise(0.5, 0.0, 1.0) == 0.0


def test_a_substrate_that_fails_is_an_error_of_the_instrument():
    class Failing(Scales):
        def _measure(self, inputs):
            raise ConnectionError("cable pulled")

    bench = VirtualBench(Failing())
    generator = ClientConnection(bench.generator_instrument)
    samples = waveform([[1.0, 1.0, 1.0]], bench.fixture.wiring, bench.fixture.row_seconds, 1e6)
    generator.write(b"DATA:ARB w," + ",".join(map(str, samples)).encode())
    for message in (b"FUNC:ARB w", b"FUNC:ARB:FILT OFF;SRAT 1e6", b"FUNC ARB", b"OUTP1:LOAD INF", b"VOLT 2"):
        generator.write(message)
    for message in (b"BURS:STAT ON", b"TRIG:SOUR BUS", b"OUTP1 ON", b"*TRG"):
        generator.write(message)
    assert b"-310" in generator.query(b"SYST:ERR?")
    assert bench.log.highest_volts == pytest.approx(bench.fixture.wiring.marker_volts, rel=1e-4)


def test_levels_out_of_the_substrates_limits_are_clipped_and_counted():
    device = Scales()
    fixture = Fixture(device, WIRING)
    samples = waveform([[-2.0, 4.0, 5.0]], WIRING, fixture.row_seconds, 1e6)
    fixture.receive(HeldSamples(0.0, 1e-6, samples), 0.0, len(samples) * 1e-6)
    assert device.asked[0] == pytest.approx(np.array([[-2.0, 4.0, 4.0]]))
    assert fixture.clipped_values == 1


@examples(30)
@given(st.integers(0, 2**32 - 1))
def test_averages_are_integrals(seed):
    """The exact averages of held samples and polylines against a fine sum."""
    rng = np.random.default_rng(seed)
    held = HeldSamples(1.0, 0.1, rng.normal(size=6), float(rng.integers(1, 4)), float(rng.normal()))
    line = steps(1.0 + np.cumsum(rng.uniform(0.2, 0.5, 5)), rng.normal(size=5), 0.05)
    start = rng.uniform(0.5, 3.5, 4)
    stop = start + rng.uniform(0.05, 1.0, 4)
    for signal in (held, line):
        fine = np.stack([signal.at(np.linspace(a, b, 20_001)).mean() for a, b in zip(start, stop, strict=True)])
        assert signal.mean(start, stop) == pytest.approx(fine, abs=2e-3)


def test_first_rises():
    ramp = Polyline(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]))
    assert ramp.first_rise(0.25, 0.0, 2.0) == pytest.approx(0.25)
    assert ramp.first_rise(1.5, 0.0, 2.0) is None
    sine = Function(lambda times: np.sin(2 * np.pi * times), start=1.0)
    assert sine.first_rise(0.5, 0.0, 3.0) == pytest.approx(1 + 1 / 12, abs=1e-3)


def test_a_wiring_that_suits_the_substrate():
    wiring = FixtureWiring.suited_to(Scales(), guard_seconds=1e-6)
    assert (wiring.input_units_per_volt, wiring.input_offset, wiring.guard_seconds) == (3.0, 1.0, 1e-6)
    assert 3 * wiring.input_slot_seconds == pytest.approx(5 * wiring.output_slot_seconds)
    with pytest.raises(ValueError, match="no parameter 'gard_seconds'"):
        FixtureWiring.suited_to(Scales(), gard_seconds=1e-6)
    with pytest.raises(ValueError, match="marker_seconds must be at least"):
        FixtureWiring.suited_to(Scales(), marker_seconds=0.0)


def test_a_bench_takes_any_device_and_writes_its_toml(tmp_path):
    with VirtualBench(Scales(), marker_volts=0.5) as bench:
        table = hwloop.registry.read_toml(bench.device_toml(tmp_path / "rig.toml"))
    assert table["device"] == "waveform"
    said = table["settings"]
    assert (said["n_inputs"], said["n_outputs"], said["input_low"], said["input_high"]) == (3, 5, -2.0, 4.0)
    assert (said["marker_volts"], said["input_unit"]) == (0.5, "mm")
    assert said["generator"].startswith("TCPIP::127.0.0.1::")
    assert "latency_seconds" not in said  # a driver has to measure it
    with pytest.raises(RuntimeError, match="serves no generator"):
        _ = bench.generator
