"""How soon a lost worker is noticed and replaced, and how soon one ends whose trainer is killed; 20 times each."""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sizes import sized
from table import print_table

from hwloop import open_device
from hwloop.devices.worker import Target, WorkerDevice, WorkerProcess
from hwloop.errors import DeviceCrashed, DeviceTimeout

TIMES = sized(20, short=1)
DEADLINE_SECONDS = 0.5
SPIKING = {"n_inputs": 64, "n_neurons": 100}
DRIVER = """
import os, time

class Rig:
    def __init__(self, folder):
        self.spec = {"n_inputs": 1, "n_outputs": 1}
        self.safe = os.path.join(folder, "safe")

    def measure(self, inputs):
        return inputs

    def signal(self, number):
        os.kill(os.getpid(), number)

    def close(self):
        with open(self.safe, "w") as file:
            file.write(repr(time.time()))
"""
TRAINER = """
import sys
from hwloop.devices.worker import WorkerDevice

with WorkerDevice(target=sys.argv[1], folder=sys.argv[2]) as device:
    print(device._worker.process.pid, flush=True)
    while True:
        device.measure([[0.5]])
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rig.py").write_text(DRIVER)
        target = f"{folder}/rig.py:Rig"
        crash = [noticed(target, folder, signal.SIGKILL, DeviceCrashed) for _ in range(TIMES)]
        hang = [noticed(target, folder, signal.SIGSTOP, DeviceTimeout) - DEADLINE_SECONDS for _ in range(TIMES)]
        log = f"{folder}/log"
        replaced = [measured_again(WorkerDevice(target=target, folder=folder, log=log)) for _ in range(TIMES)]
        safe, gone = zip(*(trainer_killed(target, Path(folder)) for _ in range(TIMES)), strict=True)
    brian2 = [measured_again(open_device("spiking-brian2", **SPIKING)) for _ in range(TIMES)]
    lines = {
        "error after kill -9 of the worker": crash,
        f"error after SIGSTOP, beyond the deadline of {DEADLINE_SECONDS:g} s": hang,
        "kill -9 between two calls: the next call, on a new worker": replaced,
        "the same, where the driver is Brian2 (64 inputs, 100 neurons)": brian2,
        "kill -9 of the trainer: device in its safe state": safe,
        "kill -9 of the trainer: worker gone": gone,
    }
    print_table(
        f"milliseconds, of {TIMES}",
        ["what", "median", "longest"],
        [
            [what, *(f"{1e3 * figure(times):.0f}" for figure in (statistics.median, max))]
            for what, times in lines.items()
        ],
    )


def noticed(target, folder, number, error):
    worker = WorkerProcess(Target(target, {"folder": folder}, deadline_seconds=DEADLINE_SECONDS))
    start = time.perf_counter()
    try:
        worker.call("signal", {"arguments": {"number": int(number)}})
    except error:
        return time.perf_counter() - start
    finally:
        worker.kill()
        worker.log.path.unlink(missing_ok=True)
    raise AssertionError("nothing was noticed")


def measured_again(device):
    row = np.full((1, device.spec.n_inputs), 0.5)
    with device:
        before = device.measure(row)
        worker = getattr(device, "_engine", device)._worker
        os.kill(worker.process.pid, signal.SIGKILL)
        start = time.perf_counter()
        assert np.array_equal(device.measure(row), before)
        return time.perf_counter() - start


def trainer_killed(target, folder):
    safe = folder / "safe"
    safe.unlink(missing_ok=True)
    words = [sys.executable, "-c", TRAINER, target, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as trainer:
        worker = int(trainer.stdout.readline())
        time.sleep(0.1)
        killed = time.time()
        trainer.kill()
        while lives(worker):
            time.sleep(0.001)
        gone = time.time() - killed
    return float(safe.read_text()) - killed, gone


def lives(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    main()
