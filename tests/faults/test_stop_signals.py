"""Ctrl-C, SIGTERM and SIGHUP in a real process: the device ends in its safe state, and the run can go on."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from hwloop.journal import ReadOnlyJournal
from hwloop.runs import verify_run

DRIVER = '''
import os, threading, time
import numpy as np
import hwloop

class Rig(hwloop.Device):
    """Says in rig.log what it does; blocks in the call that WAIT names, until it is closed or for good."""
    spec = hwloop.DeviceSpec(n_inputs=70, n_outputs=40, max_rows=20, row_seconds=0.0005, deterministic=True)

    def __init__(self):
        self.calls = 0
        self.closed = threading.Event()
        self.matrix = np.random.default_rng(0).normal(size=(70, 40)) / 8

    def say(self, word):
        with open("rig.log", "a") as log:
            log.write(word + "\\n")

    def open(self):
        self.closed.clear()
        self.say("on")

    def close(self):
        self.say("safe")
        self.closed.set()
        if "mute" in os.environ.get("WAIT", ""):
            raise OSError("the mute relay is stuck")
        if "hang" in os.environ.get("WAIT", ""):
            time.sleep(30)

    def _measure(self, inputs):
        self.calls += 1
        kind, _, call = os.environ.get("WAIT", ":0").partition(":")
        if self.calls == int(call):
            self.say("blocked")
            if kind == "deaf":
                time.sleep(30)
            elif kind == "finishing":
                time.sleep(1.0)
            else:
                self.closed.wait(30)
                return np.zeros((len(inputs), 40))  # no reading: it must never be recorded
        time.sleep(0.0005 * len(inputs))
        return (inputs @ self.matrix) ** 2


def absorbed(**options):
    """A trainer that disappears into one long call of a C library."""
    trainer = hwloop.trainer("local", epochs=1)

    def fit(*arguments, **named):
        matrix = np.random.default_rng(0).normal(size=(4000, 4000))
        with open("rig.log", "a") as log:
            log.write("computing\\n")
        np.linalg.eigvals(matrix)

    trainer.fit = fit
    return trainer
'''
WRAPPED = """
device = "lab:Rig"
[[wrap]]
name = "quantized"
dac_bits = 12
[[wrap]]
name = "averaged"
n = 2
[[wrap]]
name = "retrying"
plausible = []
"""
EXPERIMENT = """
name = "stopped"
dataset = "{dataset}"
seeds = 1
device = "{device}"
[trainer]
name = "local"
[trainer.settings]
{steps}
[network]
width = 20
[evidence]
floors = {floors}
"""
FEW = "epochs = 2\nmin_steps = 20"


class Lab:
    """A folder with a driver, an experiment, and processes that were started in it."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "rig.log"
        (folder / "lab.py").write_text(DRIVER)
        (folder / "wrapped.toml").write_text(WRAPPED)
        for name, device in (("bare", "lab:Rig"), ("wrapped", "wrapped.toml")):
            small = EXPERIMENT.format(dataset="wine", device=device, steps=FEW, floors="false")
            (folder / f"{name}-run.toml").write_text(small)
        floors = EXPERIMENT.format(dataset="digits", device="lab:Rig", steps="epochs = 3", floors="true")
        # Three seeds: behind the last event that is waited for, the run must still have something to do.
        (folder / "floors-run.toml").write_text(floors.replace("seeds = 1", "seeds = 3"))
        self.started = []

    def start(self, *words, wait=":0"):
        process = subprocess.Popen(
            [sys.executable, "-m", "hwloop.cli", *words],
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.folder), "WAIT": wait},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def finish(self, *words, code=0):
        process = self.start(*words)
        out, error = process.communicate(timeout=120)
        assert process.returncode == code, error
        return out + error

    def said(self):
        return self.log.read_text().split() if self.log.exists() else []

    def wait_until(self, process, condition):
        limit = time.monotonic() + 100
        while not condition():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < limit
            time.sleep(0.01)

    def state(self, run):
        return json.loads((self.folder / run / "state.json").read_text())["state"]

    def weights(self, run):
        return (self.folder / run / "checkpoints" / "final.safetensors").read_bytes()

    def rows(self, run):
        return ReadOnlyJournal(self.folder / run / "journal" / "seed-0-device-0").rows

    def assert_interrupted_and_resumable(self, run, whole):
        """Its journal is whole, and it goes on to the weights of the run that was never stopped."""
        assert self.state(run) == "interrupted"
        assert verify_run(self.folder / run).is_whole
        assert self.rows(run) <= self.rows(whole)
        self.finish("resume", run)
        assert self.weights(run) == self.weights(whole)
        assert self.rows(run) == self.rows(whole)
        assert verify_run(self.folder / run).is_whole


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    """One run a kind of device that nobody stopped."""
    made = Lab(tmp_path_factory.mktemp("whole"))

    @functools.cache
    def run_of(device):
        made.finish("run", f"{device}-run.toml", "--out", device)
        return made.folder / device

    return run_of


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path)
    yield made
    for process in made.started:
        with contextlib.suppress(OSError):
            process.kill()
        process.communicate()


def stop(process, *signals, pause=0.4):
    """Send signals, the time that the process took after the last, and what it said."""
    for number in signals[:-1]:
        process.send_signal(number)
        time.sleep(pause)
    sent = time.monotonic()
    process.send_signal(signals[-1])
    _, error = process.communicate(timeout=60)
    return time.monotonic() - sent, error


RESUME = "go on with: hwloop resume stopped"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_the_first_signal_lets_the_rows_in_flight_finish(lab, number):
    process = lab.start("run", "bare-run.toml", "--out", "stopped", wait="finishing:5")
    lab.wait_until(process, lambda: "blocked" in lab.said())
    _, error = stop(process, number)
    assert process.returncode == 130, error
    assert lab.said()[-1] == "safe"
    assert lab.rows("stopped") == 5 * 20  # the fifth call ended, and is kept
    assert lab.state("stopped") == "interrupted"
    assert "stopping after the rows in flight" in error
    assert error.splitlines()[-1].endswith(RESUME)
    assert "Traceback" not in error


PAIRS = [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGINT)]


@pytest.mark.slow
@pytest.mark.parametrize("device", ["bare", "wrapped"])
@pytest.mark.parametrize("kind", ["waking", "deaf"])
@pytest.mark.parametrize("signals", PAIRS, ids=lambda pair: "-".join(n.name for n in pair))
def test_the_second_signal_ends_it_within_a_second(lab, whole_runs, device, kind, signals):
    whole = whole_runs(device)
    process = lab.start("run", f"{device}-run.toml", "--out", "stopped", wait=f"{kind}:5")
    lab.wait_until(process, lambda: "blocked" in lab.said())
    seconds, error = stop(process, *signals)
    assert process.returncode == 130, error
    assert seconds < 1.0
    assert lab.said()[lab.said().index("blocked") + 1] == "safe"
    assert "on" not in lab.said()[2:]  # no wrapper opened it behind our back
    assert RESUME in error
    assert "Traceback" not in error
    assert lab.rows("stopped") == 4 * (20 if device == "bare" else 10)  # what was in flight is not recorded
    lab.assert_interrupted_and_resumable("stopped", whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "warning"), [("hang", "Rig did not close in time"), ("mute", "the mute relay is stuck")]
)
def test_a_device_that_does_not_close_is_named_and_keeps_nobody(lab, kind, warning):
    process = lab.start("run", "bare-run.toml", "--out", "stopped", wait=f"{kind}:5")
    lab.wait_until(process, lambda: "blocked" in lab.said())
    seconds, error = stop(process, signal.SIGINT, signal.SIGINT)
    assert process.returncode == 130, error
    assert seconds < 1.2
    assert warning in error
    assert "check by hand that" in error
    assert lab.state("stopped") == "interrupted"


@pytest.mark.slow
def test_the_second_signal_waits_for_no_computation(lab):
    process = lab.start("run", "bare-run.toml", "--set", "trainer=lab:absorbed", "--out", "stopped")
    lab.wait_until(process, lambda: "computing" in lab.said())
    time.sleep(0.5)  # it is in the library by now, for a minute
    seconds, error = stop(process, signal.SIGINT, signal.SIGTERM)
    assert process.returncode == 130, error
    assert seconds < 1.0
    assert lab.said()[:3] == ["on", "computing", "safe"]
    assert lab.state("stopped") == "interrupted"
    assert error.splitlines()[-1] == "hwloop: interrupted at once, kept in stopped; " + RESUME


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(6))
def test_stopped_at_a_random_time_it_ends_as_if_it_had_not_been(lab, whole_runs, attempt):
    rng = random.Random(attempt)
    whole = whole_runs("bare")
    process = lab.start("run", "bare-run.toml", "--out", "stopped")
    reached = rng.randrange(lab.rows(whole))
    journal = lab.folder / "stopped" / "journal" / "seed-0-device-0"
    lab.wait_until(process, lambda: journal.is_dir() and lab.rows("stopped") >= reached)
    signals = [rng.choice([signal.SIGINT, signal.SIGTERM]) for _ in range(rng.choice([1, 2]))]
    _, error = stop(process, *signals, pause=rng.uniform(0, 0.05))
    assert process.returncode == 130, error
    assert lab.said()[-1] == "safe"
    lab.assert_interrupted_and_resumable("stopped", whole)


@pytest.mark.slow
@pytest.mark.parametrize("event", ["EpochFinished", "MethodScored", "one_stage_readout"])
def test_it_stops_while_it_computes(lab, event):
    """In training, and in the floors: the first signal needs no row to come."""
    process = lab.start("run", "floors-run.toml", "--out", "stopped")
    metrics = lab.folder / "stopped" / "metrics.jsonl"
    lab.wait_until(process, lambda: metrics.exists() and event in metrics.read_text())
    time.sleep(0.3)
    seconds, error = stop(process, signal.SIGINT)
    assert process.returncode == 130, error
    assert seconds < 5
    assert lab.said()[-1] == "safe"
    assert lab.state("stopped") == "interrupted"
    assert error.splitlines()[-1].endswith(RESUME)


@pytest.mark.slow
def test_a_run_under_nohup_outlives_the_terminal(lab):
    ignoring = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from hwloop.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", ignoring, "run", "bare-run.toml", "--out", "whole"],
        cwd=lab.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(lab.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lab.started.append(process)
    lab.wait_until(process, lambda: "on" in lab.said())
    process.send_signal(signal.SIGHUP)
    assert process.wait(100) == 0
    assert lab.state("whole") == "finished"
