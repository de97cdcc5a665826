"""Rows a second of every simulated substrate with its defaults, and what a large call costs beside a small one.

The last columns compare a call of 256 rows with one of many more: time a row, and how much memory the process
gained at its peak beyond stimuli and responses. Every substrate has a process of its own, whose peak is its. Both
calls are timed when they are made again: the first large one also waits for a virtual machine to get its memory.

    python benchmarks/substrate_rows.py [rows of the large call, default 65536]
"""

import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from sizes import sized
from table import print_table

from hwloop import open_device

SMALL = sized(256, short=4)
LARGE = int(sys.argv[1]) if len(sys.argv) > 1 else sized(65_536, short=16)
NAMES = (
    "optical-fibre",
    "microwave-cavity",
    "oscillators",
    "settled-oscillators",
    "delay-loop",
    "multimode-fibre-nonlinear",
    "second-harmonic",
)[: sized(None, short=2)]


def main() -> None:
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        lines = list(processes.map(measured, NAMES))
    print_table(
        f"{LARGE} rows a call against {SMALL}, noise included, torch and BLAS with their default threads",
        [
            "",
            "inputs",
            "outputs",
            "set-up, s",
            "rows a second",
            "processor time a row, of small",
            "extra memory, MB",
        ],
        lines,
    )


def measured(name: str) -> list[str]:
    """One line of the table."""
    begin = time.perf_counter()
    device = open_device(name)
    setting_up = time.perf_counter() - begin
    spec, rng = device.spec, np.random.default_rng(0)
    rows = rng.uniform(spec.low, spec.high, (LARGE, spec.n_inputs))
    device.measure(rows[:SMALL])
    small, _ = seconds_a_row(device, [rows[:SMALL]] * 20)
    before = peak_bytes()
    device.measure(rows)
    # The seam holds the responses, and a copy of the stimuli that nobody else can alter.
    extra = max(0, peak_bytes() - before - LARGE * (spec.n_outputs + spec.n_inputs) * 8)
    large, waited = seconds_a_row(device, [rows])
    return [
        name,
        str(spec.n_inputs),
        str(spec.n_outputs),
        f"{setting_up:.2f}",
        f"{1 / waited:,.0f}",
        f"{large / small:.2f}",
        f"{extra / 1e6:.0f}",
    ]


def seconds_a_row(device: object, calls: list[np.ndarray]) -> tuple[float, float]:
    """Of the processor, and on the clock; the first does not depend on what else the machine does."""
    worked, begin = time.process_time(), time.perf_counter()
    for rows in calls:
        device.measure(rows)
    count = sum(len(rows) for rows in calls)
    return (time.process_time() - worked) / count, (time.perf_counter() - begin) / count


def peak_bytes() -> int:
    """Largest memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
