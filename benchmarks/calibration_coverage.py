"""Do the intervals of hwloop calibrate hold the truth? Simulated instruments, each with faults of its own.

Prints, for every figure, in how many per cent of all cases its 95 % interval holds the truth, and in how many of
the seeds it does for the channel where it does so least often.

    python benchmarks/calibration_coverage.py [SEEDS] [ROWS]
"""

import sys
import time
from collections import defaultdict

import numpy as np
from calibration_truth import SimulatedClock, true_figures
from sizes import sized
from table import print_table

from hwloop.calibration import calibrate
from hwloop.simulators.linear_instrument import LinearInstrument

CHANNELS = 4


def held_and_errors(seed: int, budget: int | None) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Whether each interval of a calibration holds the truth, and the relative errors of gain and noise."""
    clock = SimulatedClock()
    device = LinearInstrument(
        n_channels=CHANNELS,
        latency_seconds=1e-3,
        row_seconds=2e-5,
        latency_jitter=0.02,
        seed=seed,
        clock=clock,
    )
    found = calibrate(device, budget, seed=seed, clock=clock)
    assert found.pilot.paired
    figures = found.figures
    levels = found.analysis.curves[0].levels
    lags = figures["memory_kernel"].value.shape[1]
    truth = true_figures(device, found.middle_row, levels, lags, int(found.batch_times.rows[-1]))
    assert set(truth) == set(figures), "a figure without a truth"
    held = {name: figures[name].covers(true)[np.isfinite(true)] for name, true in truth.items()}
    errors = {name: float(np.max(np.abs(figures[name].value / truth[name] - 1))) for name in ("gain", "noise")}
    return held, errors


def coverage(seeds: int, budget: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Of every figure, shape (seeds, numbers of the figure); and the greatest relative errors over all seeds."""
    held, worst = defaultdict(list), defaultdict(float)
    for seed in range(seeds):
        of_seed, errors = held_and_errors(seed, budget)
        for name, values in of_seed.items():
            held[name].append(values)
        for name, error in errors.items():
            worst[name] = max(worst[name], error)
    return {name: _aligned(values) for name, values in held.items()}, dict(worst)


def _aligned(values: list[np.ndarray]) -> np.ndarray:
    """The memory kernel has as many lags as are needed: those that all seeds have."""
    numbers = min(value.size for value in values)
    return np.stack([value.ravel()[:numbers] for value in values])


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else sized(100, short=1)
    budget = int(sys.argv[2]) if len(sys.argv) > 2 else None
    begin = time.perf_counter()
    held, worst = coverage(seeds, budget)
    seconds = time.perf_counter() - begin
    lines = [
        [name, f"{100 * values.mean():.1f}", f"{100 * values.mean(axis=0).min():.0f}", values.shape[1]]
        for name, values in held.items()
    ]
    print_table(
        f"{seeds} seeds, {CHANNELS} channels, {seconds:.0f} s",
        ["figure", "held, %", "least often held, % of seeds", "numbers a seed"],
        lines,
    )
    for name, error in worst.items():
        print(f"greatest relative error of {name}: {100 * error:.3f} %")


if __name__ == "__main__":
    main()
