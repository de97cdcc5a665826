"""Time of one call of a device behind a worker, beside other ways into another process, in one run.

``python benchmarks/worker_round_trip.py [PYTHON]``: an interpreter with NumPy for the worker, by default the
present one. The device answers with a ready array, so the time is the way there and back. The worker is timed
whole, with limits and readings checked, as ``WorkerDevice.measure``, and without, as ``WorkerProcess.call``.
"""

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sizes import sized
from table import print_table

from hwloop.devices.worker import Target, WorkerDevice, WorkerProcess

REPEATS = sized(1000, short=3)
SIZES = {"1 x 64, 1 x 100": (1, 64, 100), "256 x 64, 256 x 100": (256, 64, 100), "1 MB, 1 MB": (1024, 128, 128)}
DRIVER = """
import numpy as np

class Ready:
    def __init__(self, rows, n_inputs, n_outputs):
        self.spec = {"n_inputs": n_inputs, "n_outputs": n_outputs}
        self.answer = np.full((rows, n_outputs), 0.5)

    def measure(self, inputs):
        return self.answer
"""


def main():
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        driver = Path(folder, "ready.py")
        driver.write_text(DRIVER)
        columns = {size: timed_ways(f"{driver}:Ready", python, *shape) for size, shape in SIZES.items()}
    ways = list(next(iter(columns.values())))
    print_table(
        f"milliseconds a call, median (90th percentile) of {REPEATS}; float64 in, float64 out; worker: {python}",
        ["way", *SIZES],
        [[way, *(columns[size][way] for size in SIZES)] for way in ways],
    )


def timed_ways(target, python, rows, n_inputs, n_outputs):
    inputs = np.random.default_rng(0).random((rows, n_inputs))
    settings = {"rows": rows, "n_inputs": n_inputs, "n_outputs": n_outputs}
    times = {}
    with WorkerDevice(target=target, python=python, **settings) as device:
        times["WorkerDevice.measure"] = timed(lambda: device.measure(inputs))
    worker = WorkerProcess(Target(target, settings, python=python))
    times["WorkerProcess.call"] = timed(lambda: worker.call("measure", {"trial": 0}, {"inputs": inputs}))
    worker.close()
    for way, (ask, answer) in {
        "pickles through a Pipe": (send, recv),
        "bytes through a Pipe": (raw, read),
    }.items():
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=echo, args=(theirs, way, rows, n_outputs), daemon=True)
        process.start()
        theirs.close()
        times[way] = timed(lambda ours=ours, ask=ask, answer=answer: (ask(ours, inputs), answer(ours)))
        ours.close()
        process.join()
    return times


def echo(connection, way, rows, n_outputs):
    outputs = np.full((rows, n_outputs), 0.5)
    try:
        while True:
            if way.startswith("pickles"):
                connection.recv()
                connection.send(outputs)
            else:
                read(connection)
                raw(connection, outputs)
    except EOFError:
        pass


def send(connection, array):
    connection.send(array)


def recv(connection):
    return connection.recv()


def raw(connection, array):
    connection.send_bytes(array)


def read(connection):
    return np.frombuffer(connection.recv_bytes())


def timed(call):
    for _ in range(20):
        call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return f"{statistics.median(times):.3f} ({np.percentile(times, 90):.3f})"


if __name__ == "__main__":
    main()
