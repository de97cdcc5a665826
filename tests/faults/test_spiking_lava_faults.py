"""What befalls Lava's processes ends in a clear error or unnoticed, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import hwloop
from hwloop.devices.worker.environments import environment_python
from hwloop.devices.worker.target import Target
from hwloop.devices.worker.worker import WorkerEngine
from hwloop.errors import ConfigError, DeviceError, DeviceTimeout

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SMALL = {"n_inputs": 6, "n_neurons": 10, "window_seconds": 0.04, "step_seconds": 1e-3, "batch_rows": 8}
ROWS = np.random.default_rng(0).uniform(-1, 1, (5, 6))
NAMED_MEMORY = ("psm_", "hwloop-", "sem.mp-")


@pytest.fixture
def lava_python():
    try:
        return environment_python("lava")
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def nothing_is_left_in_memory():
    before = named_memory()
    yield
    deadline = time.monotonic() + 5.0
    while (left := abandoned(named_memory() - before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left


def named_memory():
    return {name for name in os.listdir("/dev/shm") if name.startswith(NAMED_MEMORY)}


def abandoned(names):
    """Those that no live process maps: other programs of this machine may run Lava too."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            mapped = Path(f"/proc/{entry}/maps").read_text()
        except OSError:
            continue
        names = {name for name in names if f"/dev/shm/{name}" not in mapped}
    return names & named_memory()


def group_of(leader):
    """Live processes of a process group."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _, group = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == leader and state not in "ZX":
            found.append(int(entry))
    return found


def children_of(process):
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def processes_of_lava(worker):
    """The network's five, which were started last."""
    return sorted(children_of(worker))[-5:]


def assert_gone(leader, within_seconds=5.0):
    deadline = time.monotonic() + within_seconds
    while group_of(leader) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert group_of(leader) == []


def faulty_engine(lava_python, layout, deadline_seconds=30.0):
    arrays = hwloop.open_device("spiking-lif", n_inputs=6, n_neurons=10).layer.arrays()
    return WorkerEngine(
        Target(
            name="faulty_lava:FaultyEngine",
            settings={"steps": 20, "layout": layout, "batch_rows": 8},
            arrays=arrays,
            python=str(lava_python),
            path=[str(files("hwloop.simulators.spiking.lava")), str(HERE)],
            deadline_seconds=deadline_seconds,
        )
    )


def worker_of(engine):
    return engine._worker.process.pid


def test_an_exception_in_a_process_model_reaches_the_trainer_with_its_traceback(lava_python):
    engine = faulty_engine(lava_python, "raising")
    try:
        with pytest.raises(DeviceError, match="this synapse is broken") as caught:
            engine.run(ROWS, ["counts"])
        assert "RaisingDense raised ArithmeticError" in str(caught.value)
        assert "raising_dense.py" in str(caught.value)
        worker = worker_of(engine)
    finally:
        engine.close()
    assert_gone(worker)


def test_a_process_model_that_hangs_meets_the_deadline(lava_python):
    engine = faulty_engine(lava_python, "hanging", deadline_seconds=3.0)
    try:
        with pytest.raises(DeviceTimeout, match="within 3 s"):
            engine.run(ROWS, ["counts"])
    finally:
        engine.close()


def test_every_process_of_lava_may_be_killed_and_the_rows_are_the_same(lava_python):
    expected = hwloop.open_device("spiking-lava", engine="twin", **SMALL).measure(ROWS)
    with hwloop.open_device("spiking-lava", python=lava_python, **SMALL) as lava:
        told = []
        lava.tell = told.append
        assert np.array_equal(lava.measure(ROWS), expected)
        for victim in range(5):
            worker = worker_of(lava._engine)
            os.kill(processes_of_lava(worker)[victim], signal.SIGKILL)
            assert np.array_equal(lava.measure(ROWS), expected)
            assert len(told) == victim + 1
            assert "ended with exit code -9" in told[-1].error
            assert worker_of(lava._engine) != worker
            assert_gone(worker)


def test_lavas_processes_do_not_outlive_a_killed_worker(lava_python):
    with hwloop.open_device("spiking-lava", python=lava_python, **SMALL) as lava:
        expected = lava.measure(ROWS)
        worker = worker_of(lava._engine)
        assert len(group_of(worker)) >= 6
        os.kill(worker, signal.SIGKILL)
        assert_gone(worker)
        assert np.array_equal(lava.measure(ROWS), expected)


TRAINER = """
import sys, time, numpy as np, hwloop
lava = hwloop.open_device("spiking-lava", python=sys.argv[1], batch_rows=8, n_inputs=6, n_neurons=10)
lava.measure(np.zeros((1, 6)))
print(lava._engine._worker.process.pid, flush=True)
time.sleep(60)
"""


def test_lavas_processes_do_not_outlive_a_killed_trainer(lava_python):
    command = [sys.executable, "-c", TRAINER, str(lava_python)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trainer:
        worker = int(trainer.stdout.readline())
        assert group_of(worker)
        trainer.kill()
    assert_gone(worker)
