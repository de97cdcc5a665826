"""Time a row of `spiking-brian2`, through its worker, beside snnTorch with the same neurons.

64 currents into 100 leaky integrate-and-fire neurons with synapses, 200 steps of 0.5 ms; spike counts out. Each
figure is the least wall time of several calls, in turns, on one thread each: on a busy machine take it as a bound.

    pip install -c constraints.txt snntorch
    python benchmarks/brian2_rows.py
"""

import contextlib
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from lif_rows import snntorch
from sizes import sized
from table import print_table

from hwloop import open_device
from hwloop.simulators.spiking.spiking_lif import SpikingLIF

TARGETS = sized(("numpy", "cython"), short=("numpy",))
ROWS = sized((1, 32, 256), short=(2,))
TURNS = sized(25, short=1)
SAME = {"bias_current": 0.0, "bias_spread": 0.0, "refractory_seconds": 0.0, "output": "counts"}


def main() -> None:
    torch.set_num_threads(1)
    devices = {f"hwloop, {target}": open_device("spiking-brian2", target=target, **SAME) for target in TARGETS}
    lines = []
    with contextlib.ExitStack() as opened:
        starts = {}
        for name, device in devices.items():
            begin = time.perf_counter()
            opened.enter_context(device)
            starts[name] = f"{time.perf_counter() - begin:.1f}"
        contestants = {name: device.measure for name, device in devices.items()}
        contestants["snnTorch"] = snntorch(SpikingLIF(**SAME))
        for rows in ROWS:
            stimuli = np.random.default_rng(0).uniform(-1, 1, (rows, 64))
            counts = {name: count(stimuli) for name, count in contestants.items()}
            best = dict.fromkeys(contestants, np.inf)
            for _ in range(TURNS):
                for name, count in contestants.items():
                    begin = time.perf_counter()
                    count(stimuli)
                    best[name] = min(best[name], 1e3 * (time.perf_counter() - begin) / rows)
            reference = counts["hwloop, numpy"]
            lines += [
                [str(rows), name, f"{each:.3f}", f"{(counts[name] == reference).mean():.2%}", starts.get(name, "")]
                for name, each in best.items()
            ]
    headings = ["rows a call", "", "ms a row", "counts that agree", "seconds to open"]
    print_table("64 currents into 100 LIF neurons in Brian2, 200 steps, through the worker", headings, lines)


if __name__ == "__main__":
    main()
