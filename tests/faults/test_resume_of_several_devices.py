"""Kill -9 while several devices measure at once: the resumed run ends with the weights of an undisturbed one."""

from __future__ import annotations

import importlib
import os
import signal
import time
from pathlib import Path

import pytest

from hwloop.experiment.config import validated
from hwloop.experiment.runner import resume_experiment, run_experiment
from hwloop.experiments.datasets import split
from hwloop.journal import ReadOnlyJournal

PATIENCE = 200.0  # seconds until a test that hangs fails
# Noisy cameras of 4 ms a call of 16 rows: whatever is measured twice, or in another order, answers otherwise.
# What a process runs stands beside them, for a test's own module cannot be imported there.
MODULE = """
import os
import signal
import time
from dataclasses import replace
from hwloop.errors import HwloopError
from hwloop.experiment.runner import run_experiment
from hwloop.simulators.optical_fibre import OpticalFibre

class SlowFibre(OpticalFibre):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.spec = replace(self.spec, max_rows=16)

    def close(self):
        super().close()
        print("closed", self.spec.n_outputs, flush=True)

    def _measure(self, inputs):
        time.sleep(0.004)
        return super()._measure(inputs)

def interrupted(config, split, run, said):
    '''A run that Ctrl-C may end; what it says goes to a file.'''
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        try:
            run_experiment(config, split, out=run)
        except (KeyboardInterrupt, HwloopError) as error:
            print("ended by", type(error).__name__, flush=True)
"""
TRAINERS = {
    "streamed": ("local", {"epochs": 3, "min_steps": 50, "map_share": 0.3}),
    "online": ("phyll", {"schedule": "online", "epochs": 3, "batch_samples": 40, "inner_steps": 2}),
}


def config(trainer: str):
    name, settings = TRAINERS[trainer]
    devices = [
        {"name": "slow_fibre:SlowFibre", "settings": {"n_outputs": outputs, "seed": outputs}}
        for outputs in (40, 30)
    ]
    extra = {"readout": "softmax"} if name == "phyll" else {}
    table = {
        "name": "killed",
        "dataset": "digits",
        "device": devices,
        "trainer": {"name": name, "settings": settings | extra},
        "network": {"width": 20},
        "split": {"test": 0.7, "validation": 0.02},
        "evidence": {"floors": False},
        "seeds": [0],
    }
    return validated(table, "test")


@pytest.fixture(autouse=True)
def devices(tmp_path, monkeypatch):
    (tmp_path / "slow_fibre.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))


def rows_recorded(run: Path) -> list[int]:
    """Of each device."""
    return [ReadOnlyJournal(path).rows for path in sorted((run / "journal").glob("seed-*"))]


def weights(run: Path) -> bytes:
    return (run / "checkpoints" / "final.safetensors").read_bytes()


def stopped_at(process, run: Path, first: int, second: int, how: signal.Signals) -> None:
    """Send a signal as soon as the two devices have recorded so many rows."""
    limit = time.monotonic() + PATIENCE
    try:
        while len(rows := rows_recorded(run)) < 2 or rows[0] < first or rows[1] < second:
            assert process.is_alive(), rows
            assert time.monotonic() < limit, rows
            time.sleep(0.005)
        os.kill(process.pid, how)
        process.join(PATIENCE)
        assert process.exitcode is not None
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_run_on_two_devices_is_resumed_to_the_last_bit(tmp_path, processes, trainer):
    whole, run = tmp_path / "whole", tmp_path / "killed"
    run_experiment(config(trainer), split, out=whole)
    total = rows_recorded(whole)
    first = processes.Process(target=run_experiment, args=(config(trainer), split), kwargs={"out": run})
    first.start()
    stopped_at(first, run, 200, 48, signal.SIGKILL)  # the second device is at work, the first goes on
    again = processes.Process(target=resume_experiment, args=(run, split))
    again.start()
    before = rows_recorded(run)
    stopped_at(again, run, before[0] + 32, before[1] + 32, signal.SIGKILL)
    assert sum(rows_recorded(run)) < sum(total)
    resume_experiment(run, split)
    assert rows_recorded(run) == total
    assert weights(run) == weights(whole)


@pytest.mark.slow
def test_ctrl_c_closes_both_devices_and_the_run_can_be_resumed(tmp_path, processes):
    run, said = tmp_path / "stopped", tmp_path / "said"
    target = importlib.import_module("slow_fibre").interrupted
    process = processes.Process(target=target, args=(config("streamed"), split, run, said))
    process.start()
    stopped_at(process, run, 200, 16, signal.SIGINT)
    assert process.exitcode == 0
    assert sorted(said.read_text().splitlines()) == ["closed 30", "closed 40", "ended by KeyboardInterrupt"]
    before = rows_recorded(run)
    resume_experiment(run, split)
    assert sum(rows_recorded(run)) > sum(before)
