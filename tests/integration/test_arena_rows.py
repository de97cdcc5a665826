"""A cell of the arena that is stopped keeps its rows, and goes on at the next one."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from hwloop.errors import DeviceError, HwloopError, JournalError
from hwloop.experiment.config import validated
from hwloop.experiments.arena import ArenaSettings, run_arena
from hwloop.experiments.arena.cell import TEST, Cell, run_cell
from hwloop.experiments.arena.run import CellStore
from hwloop.journal import ReadOnlyJournal

RIG = """
import os, time
from pathlib import Path
import numpy as np
import hwloop

class Rig(hwloop.Device):
    # Real to the arena: nobody says that its rows can be had again. It counts them in a file, and may stop.
    spec = hwloop.DeviceSpec(n_inputs=64, n_outputs=40, input_low=-1.0, max_rows=16, deterministic=True)
    def __init__(self):
        self.matrix = np.random.default_rng(0).normal(size=(64, 40)) / 8
    def identify(self):
        return "rig no. 7"
    def _measure(self, inputs):
        counter = Path(os.environ["RIG_COUNTER"])
        rows = int(counter.read_text() or 0) if counter.exists() else 0
        if rows + len(inputs) > float(os.environ.get("RIG_DIES_AT", "inf")):
            raise ConnectionError("the cable was pulled")
        time.sleep(float(os.environ.get("RIG_SECONDS", "0")))
        counter.write_text(str(rows + len(inputs)))
        return np.tanh(inputs @ self.matrix)
"""


@pytest.fixture
def rig(tmp_path, monkeypatch):
    (tmp_path / "arena_rig.py").write_text(RIG)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("RIG_COUNTER", str(tmp_path / "counter"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("arena_rig", None)


def settings(device, trainers=("readout",), seeds=1):
    table = {
        "name": "small",
        "dataset": "digits",
        "device": {"name": device},
        "trainer": "local",
        "network": {"width": 20, "stages": 1},
        "split": {"validation": 0.2},
        "seeds": seeds,
    }
    return ArenaSettings(validated(table, "test"), trainers, (2,), trials=1)


def rows_kept(folder):
    return sum(ReadOnlyJournal(journal).rows for journal in folder.glob(f"{'rows'}/*/device-*"))


def measured(tmp_path):
    return int((tmp_path / "counter").read_text())


@pytest.mark.slow
def test_a_device_that_dies_in_a_cell_is_asked_for_the_rest_alone(rig, monkeypatch):
    whole = run_arena(settings("arena_rig:Rig"), rig / "whole")
    needed = measured(rig)
    assert rows_kept(rig / "whole") == needed
    (rig / "counter").unlink()
    for stop in (100, 300, needed - 20):  # among the references, among the readout's rows, near the end
        monkeypatch.setenv("RIG_DIES_AT", str(stop))
        with pytest.raises(DeviceError, match="cable"):
            run_arena(settings("arena_rig:Rig"), rig / "stopped")
        assert rows_kept(rig / "stopped") == measured(rig) <= stop
    monkeypatch.delenv("RIG_DIES_AT")
    found = run_arena(settings("arena_rig:Rig"), rig / "stopped")
    assert measured(rig) == rows_kept(rig / "stopped") == needed
    assert [entry.score for entry in found.entries] == [entry.score for entry in whole.entries]
    for method in whole.reference_names:
        assert found.reference(method) == whole.reference(method)


def test_a_cell_goes_on_at_its_row(rig, monkeypatch):
    experiment, cell = settings("arena_rig:Rig").experiment.as_table(), Cell("readout", {}, 0, TEST)
    monkeypatch.setenv("RIG_DIES_AT", "300")
    with pytest.raises(DeviceError, match="cable"):
        run_cell(experiment, cell, rig / "rows")
    assert measured(rig) == rows_kept(rig) == 288  # whole calls of 16
    monkeypatch.delenv("RIG_DIES_AT")
    stopped = run_cell(experiment, cell, rig / "rows")
    assert measured(rig) == rows_kept(rig)
    whole = run_cell(experiment, cell)
    assert (stopped.scores, stopped.rows) == (whole.scores, whole.rows)


@pytest.mark.slow
def test_a_simulations_rows_are_no_measurements_and_do_not_fill_the_disk(rig):
    run_cell(settings("optical-fibre").experiment.as_table(), Cell("readout", {}, 0, TEST), rig / "rows")
    assert not list((rig / "rows").glob("*"))


def test_a_disk_that_fails_is_no_refusal_of_the_trainer(rig, monkeypatch):
    def full(self, record):
        raise JournalError("no space left on device")

    monkeypatch.setattr("hwloop.journal.DiskJournal.append", full)
    with pytest.raises(JournalError):
        run_cell(settings("arena_rig:Rig").experiment.as_table(), Cell("readout", {}, 0, TEST), rig / "rows")


@pytest.mark.slow
def test_kills_at_random_times_lose_and_double_no_row(rig):
    compared = settings("arena_rig:Rig", ("readout", "local"), seeds=2)
    run_arena(compared, rig / "whole")
    needed = measured(rig)
    (rig / "counter").unlink()
    command = [
        sys.executable, "-m", "hwloop.cli", "arena", "digits-optical", "--device", "arena_rig:Rig",
        "--budget", "2", "--trainers", "readout,local", "--seeds", "2", "--trials", "1",
        "--set", "network.width=20", "--set", "network.stages=1", "--set", "split.validation=0.2",
        "--out", "killed",
    ]  # fmt: skip
    environment = {**os.environ, "RIG_SECONDS": "0.01", "OMP_NUM_THREADS": "1"}
    rng, kept, kills = np.random.default_rng(1), 0, 4
    for _ in range(kills):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        target, deadline = kept + int(rng.integers(20, 800)), time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and rows_on_disk(rig / "killed") < target:
            time.sleep(0.02)
        process.kill()
        process.wait()
        kept = rows_on_disk(rig / "killed")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert rows_kept(rig / "killed") == needed
    assert measured(rig) <= needed + kills * 16  # a kill may come between the device's answer and the record
    assert results(rig / "killed") == results(rig / "whole")


def results(folder):
    """What every cell gave, without what it took in seconds."""
    lines = [json.loads(line) for line in (folder / CellStore.lines_file).read_text().splitlines()]
    return {line["key"]: (line["result"]["accuracy"], line["result"]["rows"]) for line in lines}


def rows_on_disk(folder):
    try:
        return rows_kept(folder)
    except (HwloopError, OSError):
        return 0
