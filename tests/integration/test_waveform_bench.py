"""The waveform device through PyVISA and TCP against the virtual bench."""

import itertools
import tomllib

import numpy as np
import pytest

import hwloop
from hwloop import LimitError
from hwloop.simulators.bench.virtual_bench import VirtualBench

QUIET = {"n_inputs": 8, "n_outputs": 12, "read_noise": 0.0, "dac_bits": None, "adc_bits": None}


class Echo(hwloop.Device):
    """Answers with its stimulus: what comes back is what the fixture held."""

    def __init__(self, n_inputs=6, low=-1.0, high=1.0):
        self.spec = hwloop.DeviceSpec(n_inputs, n_inputs, low, high, output_unit="x", deterministic=True)

    def _measure(self, inputs):
        return inputs


@pytest.fixture
def bench():
    with VirtualBench("optical-fibre", substrate_settings=QUIET, noise_of_range=0.0) as bench:
        yield bench


def rig_on(bench, **options):
    return hwloop.open_device("waveform", **{**bench.device_table()["settings"], "watchdog": False, **options})


@pytest.mark.parametrize("latency_seconds", [0.0, 1.7e-6, 33.3e-6])
def test_rows_come_back_as_from_the_substrate_itself_at_any_latency(latency_seconds):
    rows = np.random.default_rng(0).uniform(-1, 1, (300, 8))
    truth = hwloop.open_device("optical-fibre", **QUIET).measure(rows)
    with VirtualBench(
        "optical-fibre", substrate_settings=QUIET, noise_of_range=0.0, latency_seconds=latency_seconds
    ) as bench, rig_on(bench, rows_per_burst=70) as rig:  # fmt: skip
        responses = rig.measure(rows)
        assert rig.latency_seconds == pytest.approx(latency_seconds, abs=0.6e-6)  # a point takes 1 us
    np.testing.assert_allclose(responses, truth, atol=0.02)
    assert np.abs(responses - truth).mean() < 0.005


def test_more_bits_and_averages_bring_the_responses_closer(bench):
    rows = np.random.default_rng(1).uniform(-1, 1, (50, 8))
    truth = hwloop.open_device("optical-fibre", **QUIET).measure(rows)
    errors = []
    for options in ({}, {"high_resolution": True, "averages": 2}):
        with rig_on(bench, **options) as rig:
            errors.append(np.abs(rig.measure(rows) - truth).max())
    assert errors[1] < errors[0] / 4
    assert errors[1] < 2e-3


def test_stimuli_are_in_the_systems_unit_and_limits_may_differ_by_channel():
    low, high = np.array([0.0, 1.0, 2.0]), np.array([4.0, 5.0, 6.0])
    substrate = Echo(3, low, high)
    rows = np.random.default_rng(2).uniform(low, high, (40, 3))
    with VirtualBench(substrate, noise_of_range=0.0, output_volts_per_unit=0.1) as bench, rig_on(
        bench, output_low=-1.0, output_high=7.0
    ) as rig:  # fmt: skip
        np.testing.assert_array_equal(rig.spec.low, low)
        np.testing.assert_allclose(rig.measure(rows), rows, atol=0.05)
        with pytest.raises(LimitError, match="channel 1"):
            rig.measure([[1.0, 0.5, 3.0]])


def test_a_device_file_of_the_bench_opens_and_says_who_answers(bench, tmp_path):
    path = bench.device_toml(tmp_path / "rig.toml")
    assert tomllib.loads(path.read_text())["device"] == "waveform"
    with hwloop.open_device(path) as rig:
        assert "33522B" in rig.identify()
        assert "DSOX1102G" in rig.identify()
        assert rig.measure(np.zeros((2, 8))).shape == (2, 12)


def test_a_device_that_is_closed_stays_closed(bench):
    rig = rig_on(bench)
    for _ in range(2):
        with pytest.raises(hwloop.DeviceDisconnected, match="open it first"):
            rig.measure(np.zeros((1, 8)))
        with rig:
            rig.measure(np.zeros((1, 8)))
        rig.close()


def sequences_within_limits(count, seed):
    """Random rigs and rows on one bench each: what the generator put on the wire."""
    rng = np.random.default_rng(seed)
    done = 0
    while done < count:
        channels = int(rng.integers(1, 9))
        slot = float(10 ** rng.uniform(-6, -4))
        limit = float(rng.uniform(0.2, 4))
        slew = limit * float(rng.uniform(16.5, 60)) / slot
        duty = float(rng.uniform(0.3, 1.0))
        with VirtualBench(
            Echo(channels, -limit, limit), noise_of_range=0.0, output_slot_seconds=slot, input_units_per_volt=1.0,
            marker_volts=limit * float(rng.uniform(0.3, 1)), output_volts_per_unit=0.1,
        ) as bench:  # fmt: skip
            settings = {"slew_volts_per_second": slew, "duty_limit": duty, "points_per_input_slot": 16}
            with rig_on(bench, **settings, output_low=-limit, output_high=limit) as rig:
                for _ in range(50):
                    scale = limit if rng.random() < 0.9 else 3 * limit
                    rows = rng.uniform(-scale, scale, (int(rng.integers(1, 8)), channels))
                    rows[rng.random(rows.shape) < 0.2] = limit
                    try:
                        rig.measure(rows)
                    except LimitError:
                        assert np.abs(rows).max() > limit
                    done += 1
        yield bench.log, limit, slew, duty


def check_sequences(count, seed):
    for log, limit, slew, duty in sequences_within_limits(count, seed):
        assert -limit * (1 + 1e-4) <= log.lowest_volts  # within half a step of its converter
        assert log.highest_volts <= limit * (1 + 1e-4)
        assert log.slew_volts_per_second <= slew * (1 + 1e-3)
        bursts = [burst for burst in log.played if burst.duty > 0]
        assert bursts
        for burst, following in itertools.pairwise(bursts):
            period = following.time_seconds - burst.time_seconds
            assert burst.duty * burst.seconds <= duty * (period + 1e-6)


def test_the_bench_sees_nothing_out_of_limits():
    check_sequences(50, seed=0)


@pytest.mark.slow
def test_the_bench_sees_nothing_out_of_limits_in_10000_sequences(tenths):
    for tenth in tenths:
        check_sequences(1000, seed=(1, tenth))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"marker_volts": 1.5}, "marker_volts=1.5 lies outside"),
        ({"input_high": 2.0, "limit_high_volts": 1.0}, "at the generator"),
        ({"input_low": 0.5}, "0 V must lie between them"),
        ({"input_units_per_volt": 0.0}, "must differ from 0"),
        ({"generator_model": "keysight-33501"}, "keysight-33500"),
        (
            {"oscilloscope_model": "no_such_module:Scope"},
            "no_such_module:Scope.*cannot be imported",
        ),
        ({"rows_per_burst": 10, "oscilloscope_points": 50}, "points of the generator"),
        ({"points_per_input_slot": 3}, "at least 4"),
        ({"guard_secondss": 1e-6}, "guard_seconds"),
    ],
)
def test_a_setting_that_cannot_be_kept_is_refused_before_anything_is_connected(options, what):
    settings = {"generator": "TCPIP::a::1::SOCKET", "oscilloscope": "TCPIP::b::1::SOCKET"}
    with pytest.raises(hwloop.ConfigError, match=what):
        hwloop.open_device("waveform", **settings, **{"n_inputs": 4, "n_outputs": 4, **options})


OTHERS_GENERATOR = """
from hwloop.devices.waveform.keysight_33500 import Keysight33500


class Renamed(Keysight33500):
    models = "33522B"
"""


def test_an_instrument_of_another_package_is_a_file_of_its_own(bench, tmp_path, monkeypatch):
    (tmp_path / "others_generator.py").write_text(OTHERS_GENERATOR)
    monkeypatch.syspath_prepend(tmp_path)
    with rig_on(bench, generator_model="others_generator:Renamed") as device:
        assert type(device._generator).__name__ == "Renamed"
        assert device.measure(np.zeros((2, 8))).shape == (2, 12)
