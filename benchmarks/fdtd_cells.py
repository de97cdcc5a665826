"""Cells a second of the two-dimensional finite-difference scheme, beside others that install.

    python benchmarks/fdtd_cells.py            # NUMBA_NUM_THREADS=1 for one core

The peers (deepwave, devito) are timed where they are installed, on the same grid, batch and number of steps.
The line of one that is not installed is left out, and this said.
"""

import os
import time
import warnings

import numpy as np
from sizes import sized
from table import print_table

from hwloop.simulators.acoustic.fdtd import Grid, propagate

SIZE, STEPS, BATCH, REPEATS = sized((128, 2000, 32, 3), short=(16, 10, 2, 1))


def main() -> None:
    cores = int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1))
    lines = []
    for name, rate in (
        ("hwloop (numba)", ours),
        ("numpy", in_numpy),
        ("deepwave", in_deepwave),
        ("devito", in_devito),
    ):
        try:
            cells = max(rate() for _ in range(REPEATS))
            lines.append([name, f"{cells / 1e9:.3f}"])
        except ImportError as error:
            print(f"{name} is not installed, so its line is missing: pip install {error.name}")
    print_table(
        f"{SIZE} x {SIZE} cells, single precision, {BATCH} samples, {STEPS} steps, {cores} threads",
        ["", "Gcell/s"],
        lines,
    )


def fields(samples):
    return np.random.default_rng(0).standard_normal((2, samples, SIZE, SIZE)).astype(np.float32)


def timed(work, cells):
    begin = time.perf_counter()
    work()
    return cells / (time.perf_counter() - begin)


def ours():
    grid = Grid(SIZE, SIZE, 1.0, 1.0, 0.01, 0.7)
    before, now = fields(BATCH)
    propagate(grid, before[:1], now[:1], 2)  # compiled
    return timed(lambda: propagate(grid, before, now, STEPS), SIZE * SIZE * STEPS * BATCH)


def in_numpy(steps=20):
    before, now = (np.pad(field, ((0, 0), (1, 1), (1, 1)), mode="edge") for field in fields(BATCH))
    inside = (slice(None), slice(1, -1), slice(1, -1))

    def work():
        old, new = before, now
        for _ in range(steps):
            around = new[:, 2:, 1:-1] + new[:, :-2, 1:-1] + new[:, 1:-1, 2:] + new[:, 1:-1, :-2]
            old[inside] = np.float32(0.04) * new[inside] - old[inside] + np.float32(0.49) * around
            old, new = new, old

    return timed(work, SIZE * SIZE * steps * BATCH)


def in_deepwave():
    import deepwave
    import torch

    warnings.filterwarnings("ignore", module="deepwave")  # that its walls then reflect, as ours do
    warnings.filterwarnings("ignore", message="deepwave")
    speed = torch.ones(SIZE, SIZE)
    source = torch.zeros(BATCH, 1, STEPS)
    source[:, :, 0] = 1.0
    place = torch.full((BATCH, 1, 2), SIZE // 2)

    def work():
        deepwave.scalar(speed, 1.0, 0.7, source_amplitudes=source, source_locations=place, pml_width=0, accuracy=2)

    return timed(work, SIZE * SIZE * STEPS * BATCH)


def in_devito():
    from devito import Eq, Operator, TimeFunction, solve
    from devito import Grid as DevitoGrid

    grid = DevitoGrid(shape=(SIZE, SIZE))
    field = TimeFunction(name="p", grid=grid, time_order=2, space_order=2)
    update = Eq(field.forward, solve(field.dt2 - field.laplace, field.forward))
    operator = Operator([update])
    operator.apply(time_M=2, dt=0.7 / SIZE)

    def work():
        for _ in range(BATCH):
            operator.apply(time_M=STEPS, dt=0.7 / SIZE)

    return timed(work, SIZE * SIZE * STEPS * BATCH)


if __name__ == "__main__":
    main()
