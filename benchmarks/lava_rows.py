"""Milliseconds a row of spiking-lava: 64 inputs, 100 neurons, 100 steps; through the worker, and in its twin.

hwloop worker install lava
python benchmarks/lava_rows.py
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sizes import sized
from table import print_table

import hwloop

REPEATS = sized(9, short=1)
BATCHES = sized((256, 32, 1), short=(2,))
NETWORK = {"n_inputs": 64, "n_neurons": 100, "window_seconds": 0.1, "step_seconds": 1e-3}
KINDS = {
    "floating point": {"refractory_seconds": 0.0},
    "floating point, refractory time": {},
    "fixed point": {"precision": "fixed", "refractory_seconds": 0.0},
}


def main():
    lines = []
    for name, settings in list(KINDS.items())[sized(0, short=-1) :]:
        for batch in BATCHES:
            times = [milliseconds(batch, engine=engine, **settings) for engine in ("lava", "twin")]
            lines.append([name, batch, *(f"{median:.3f} ({least:.3f})" for median, least in times)])
    print_table(
        f"ms a row, median (least) of {REPEATS}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
        ["", "rows a call", "Lava, in a worker", "twin, in this process"],
        lines,
    )


def milliseconds(batch, **settings):
    """A row's time in calls of so many rows, which the network holds at once."""
    own = {"batch_rows": batch} if settings["engine"] == "lava" else {}
    rows = np.random.default_rng(0).uniform(-1, 1, (batch, 64))
    with hwloop.open_device("spiking-lava", **NETWORK, **settings, **own) as device:
        device.measure(rows)
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            device.measure(rows)
            times.append(1e3 * (time.perf_counter() - start) / batch)
    return np.median(times), min(times)


if __name__ == "__main__":
    main()
