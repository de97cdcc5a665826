"""The waveform device on the virtual bench when wires, programs and people fail: no wrong value, output off."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop import DeviceError
from hwloop.devices.retrying import Retrying
from hwloop.simulators.bench import misbehaviour as wire
from hwloop.simulators.bench.generator import settings
from hwloop.simulators.bench.virtual_bench import VirtualBench

QUIET = {"n_inputs": 8, "n_outputs": 12, "read_noise": 0.0, "dac_bits": None, "adc_bits": None}
STEP_VOLTS = 0.02  # of the oscilloscope's 8 bits over its range, twice
FAULTS = {
    "drop": wire.Drop(),
    "drop after": wire.Drop(executed=True),
    "delay": wire.Delay(0.15),
    "garble": wire.Garble(),
    "truncate": wire.Truncate(),
    "stale": wire.StaleReply(),
    "stop reading": wire.StopReading(),
    "silent": wire.Silent(),
}


@pytest.fixture
def bench():
    with VirtualBench("optical-fibre", substrate_settings=QUIET, noise_of_range=0.0) as bench:
        yield bench


@pytest.fixture
def rig(bench):
    rig = rig_on(bench)
    yield rig
    with contextlib.suppress(DeviceError):
        rig.close()


def rig_on(bench, **options):
    return hwloop.open_device("waveform", **{**bench.device_table()["settings"], "watchdog": False, **options})


def impatient(bench, **options):
    """Does not wait long for what never comes; what a busy machine delays is measured again."""
    return Retrying(rig_on(bench, timeout_seconds=0.1), backoff_seconds=0.0, **options)


def rows_and_truth(count):
    rows = np.random.default_rng(count).uniform(-1, 1, (count, 8))
    return rows, hwloop.open_device("optical-fibre", **QUIET).measure(rows)


def output_is_on(bench):
    return bool(bench.generator_instrument.get(settings.OUTPUT, 1))


@pytest.mark.parametrize("instrument", ["generator", "oscilloscope"])
@pytest.mark.parametrize("kind", each_row(sorted(FAULTS), *sorted(FAULTS)[::3]))
def test_every_fault_of_the_wire_is_survived_wherever_it_strikes(bench, instrument, kind):
    rows, truth = rows_and_truth(10)
    with impatient(bench, retries=20, stop_after=20) as device:
        for exchange in range(8 if instrument == "generator" else 9):
            bench.misbehave(instrument, wire.AtExchanges({exchange: FAULTS[kind]}))
            np.testing.assert_allclose(device.measure(rows), truth, atol=STEP_VOLTS)


@pytest.mark.parametrize("link", ["serial", "hislip"])
def test_faults_are_survived_on_other_links_too(link):
    rows, truth = rows_and_truth(4)
    kinds = ("delay", "garble", "stale", "truncate")
    with VirtualBench("optical-fibre", substrate_settings=QUIET, noise_of_range=0.0, link=link) as bench:
        line = {"baud_rate": 115200}
        rig = rig_on(bench, timeout_seconds=0.1, generator_line=line, oscilloscope_line=line)
        with Retrying(rig, retries=20, stop_after=20, backoff_seconds=0.0) as device:
            for exchange, kind in enumerate(kinds):
                bench.misbehave("oscilloscope", wire.AtExchanges({exchange: FAULTS[kind]}))
                bench.misbehave("generator", wire.AtExchanges({3 - exchange: FAULTS[kind]}))
                np.testing.assert_allclose(device.measure(rows), truth, atol=STEP_VOLTS)


@pytest.mark.slow
def test_a_thousand_rows_through_wires_on_which_every_tenth_exchange_fails(bench):
    rows, truth = rows_and_truth(1000)
    device = impatient(bench, retries=200, stop_after=1000)
    told = []
    device.listener = told.append
    with device:
        for seed, instrument in enumerate(("generator", "oscilloscope")):
            bench.misbehave(instrument, wire.AtRandom(0.1, tuple(FAULTS.values()), seed))
        answers = [device.measure(rows[start : start + 25]) for start in range(0, 1000, 25)]
        for instrument in ("generator", "oscilloscope"):
            bench.misbehave(instrument, wire.Behave())
    wrong = np.abs(np.concatenate(answers) - truth).max(axis=1) > STEP_VOLTS
    assert wrong.sum() == 0
    assert len(told) > 20


def test_an_instrument_that_was_switched_off_and_on_gets_its_settings_again(bench, rig):
    rows, truth = rows_and_truth(10)
    with Retrying(rig, retries=3, backoff_seconds=0.0) as device:
        device.measure(rows)
        for name in ("generator", "oscilloscope"):
            getattr(bench, f"{name}_instrument").reset()
            bench.server(name).disconnect_all()
        np.testing.assert_allclose(device.measure(rows), truth, atol=STEP_VOLTS)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_ctrl_c_and_exceptions_switch_the_output_off_and_the_next_rows_are_right(bench, rig, monkeypatch, error):
    rows, truth = rows_and_truth(5)
    with rig:
        rig.measure(rows)
        assert output_is_on(bench)
        with monkeypatch.context() as patched:
            patched.setattr(rig._player.oscilloscope, "fetch", raising(error))
            with pytest.raises((error, DeviceError)):
                rig.measure(rows)
        assert not output_is_on(bench)
        np.testing.assert_allclose(rig.measure(rows), truth, atol=STEP_VOLTS)
    assert not output_is_on(bench)


def test_a_lost_link_switches_the_output_off(bench, rig):
    rows, _ = rows_and_truth(5)
    with rig:
        rig.measure(rows)
        bench.server("generator").disconnect_all()
        time.sleep(0.05)
        with pytest.raises(DeviceError):
            rig.measure(rows)
        assert not output_is_on(bench)


def test_closing_says_so_when_the_generator_is_gone(bench, rig):
    rig.open()
    rig.measure(np.zeros((1, 8)))
    bench.server("generator").close()
    began = time.monotonic()
    with pytest.raises(DeviceError):
        rig.close()
    assert time.monotonic() - began < 2
    with contextlib.suppress(DeviceError):
        rig.close()


PROGRAM = """
import sys, time, tomllib, numpy as np, hwloop
rig = hwloop.open_device(sys.argv[1], watchdog=sys.argv[2] == "on")
rig.open()
rig.measure(np.full((3, 8), 0.5))
print("measured", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("watchdog", ["on", "off"])
def test_after_kill_9_nothing_plays_on_and_the_watchdog_switches_off(bench, tmp_path, watchdog):
    toml = bench.device_toml(tmp_path / "rig.toml")
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(toml), watchdog], stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout.readline() == "measured\n"
        assert output_is_on(bench)
        os.kill(program.pid, signal.SIGKILL)
    now = bench.clock.now()
    at_rest = bench.generator_instrument.output(1).at(np.linspace(now + 0.01, now + 10, 1000))
    np.testing.assert_allclose(at_rest, 0.0, atol=1e-4)
    deadline = time.monotonic() + 10
    while watchdog == "on" and output_is_on(bench) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert output_is_on(bench) == (watchdog == "off")


def test_ctrl_c_at_a_real_program_switches_the_output_off(bench, tmp_path):
    toml = bench.device_toml(tmp_path / "rig.toml")
    lines = PROGRAM.replace("rig.open()", "with rig:").splitlines()
    start = lines.index("with rig:") + 1
    looping = [*lines[:start], *(f"    {line}" for line in lines[start:-1])]
    looping.append("    while True: rig.measure(np.full((3, 8), 0.5))")
    program = subprocess.Popen(
        [sys.executable, "-c", "\n".join(looping), str(toml), "off"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with program:
        assert program.stdout.readline() == "measured\n"
        time.sleep(0.1)
        program.send_signal(signal.SIGINT)
    assert program.returncode == -signal.SIGINT
    assert not output_is_on(bench)


def test_a_program_that_closes_its_device_leaves_its_watchdog_nothing_to_do(bench):
    rig = rig_on(bench, watchdog=True)
    with rig:
        first = rig._watchdog.pid
    with rig:
        assert rig._watchdog.pid == first  # one process, however often the device is opened
        other = rig_on(bench)
    with other:
        other.measure(np.zeros((1, 8)))
        del rig
        assert output_is_on(bench)


def raising(error):
    def fetch(wait_seconds):
        raise error("on purpose")

    return fetch
