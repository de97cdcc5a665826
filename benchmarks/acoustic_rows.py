"""Rows a second of the simulated acoustic cavity by harmonic balance, and what a row costs in a larger batch.

    python benchmarks/acoustic_rows.py

With one thread, and with as many as torch has (OMP_NUM_THREADS): in turn, so that both meet the same machine.
"""

import os
import time
import warnings
from functools import partial

import numpy as np
import torch
from sizes import sized
from table import print_table

from hwloop.simulators.acoustic import eigenmodes
from hwloop.simulators.acoustic.cavity import AcousticCavity
from hwloop.simulators.acoustic.shapes import Shape
from hwloop.simulators.acoustic.tone_field import AccuracyWarning

REPEATS = sized(12, short=1)
BATCHES = sized((256, 4096, 65_536), short=(256,))
THREADS = sorted({1, torch.get_num_threads()})
ROWS, MESH = sized((256, 301), short=(4, 61))
CASES = {
    "20 tones (5 to 24), 96 harmonics": {"n_tones": 20},
    "20 tones (20 to 39), 156 harmonics": {"n_tones": 20, "first_tone": 20},
    "20 tones (20 to 39), only 96 harmonics": {"n_tones": 20, "first_tone": 20, "harmonics": 96},
    "5 tones (5 to 9), 36 harmonics: the default": {},
}


def main() -> None:
    solved = seconds(lambda: eigenmodes.solve(Shape.named("sinai", 1.0, 0.7), MESH))[0]
    AcousticCavity(noise=False)
    cached = seconds(lambda: AcousticCavity(noise=False))[0]
    # With fewer harmonics than the default some weak lines move by more than 1 %: the table says so.
    warnings.filterwarnings("ignore", category=AccuracyWarning)
    print_table(
        f"acoustic-cavity: 16 scatterers, batch {ROWS}, load {os.getloadavg()[0]:.1f}; "
        f"set-up {solved:.1f} s, with cached modes {cached:.1f} s",
        [
            "",
            "threads",
            "rows/s",
            "rows/s of processor time",
            "steps",
            "converged",
            "change by twice the harmonics",
        ],
        [line for name, settings in CASES.items() for line in lines_of(name, settings)],
    )
    cavity = AcousticCavity(noise=False)
    cavity.measure(stimuli(BATCHES[0]))
    cost = {count: seconds(partial(cavity.measure, stimuli(count)))[1] / count for count in BATCHES}
    print_table(
        "cost against batch, processor time",
        ["rows a call", "us a row", f"times that of {BATCHES[0]}"],
        [[str(n), f"{1e6 * cost[n]:.0f}", f"{cost[n] / cost[BATCHES[0]]:.2f}"] for n in BATCHES],
    )


def lines_of(name, settings):
    """A line of the table for each number of threads."""
    cavity, rows = AcousticCavity(noise=False, **settings), stimuli(ROWS)
    cavity.measure(np.vstack([np.ones((1, 20)), rows]))
    taken = {threads: [] for threads in THREADS}
    for _ in range(REPEATS):
        for threads in THREADS:
            torch.set_num_threads(threads)
            taken[threads].append(seconds(partial(cavity.measure, rows)))
    heard = cavity.field(rows)
    lines = []
    for threads, times in taken.items():
        wall, processor = (ROWS / min(column) for column in zip(*times, strict=True))
        lines.append([name, str(threads), f"{wall:,.0f}", f"{processor:,.0f}", f"{heard.steps.mean():.1f}"])
        lines[-1] += [f"{heard.converged.mean():.0%}", f"{cavity.harmonics_error:.1%}"]
    return lines


def stimuli(count):
    return np.random.default_rng(0).random((count, 20))


def seconds(work):
    """Wall and processor time of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
