"""Rows a second of the simulated fibre, beside the plain complex product that it cannot do without.

The fibre also draws read noise, saturates, and converts to 10 bits; its product is exact, so that a row does not
depend on its batch (hwloop/blocks.py).

    python benchmarks/optical_fibre_rows.py
"""

import time
from collections.abc import Callable

import numpy as np
from table import print_table

from hwloop.simulators.optical_fibre import OpticalFibre

SHAPES = [(784, 1024), (64, 1000)]
ROWS = 4096
REPEATS = 5


def rows_a_second(measure: Callable[[np.ndarray], np.ndarray], stimuli: np.ndarray) -> float:
    """The best of several runs: the one that was disturbed least."""
    measure(stimuli)
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        measure(stimuli)
        times.append(time.perf_counter() - begin)
    return len(stimuli) / min(times)


def main() -> None:
    lines = []
    for n_inputs, n_outputs in SHAPES:
        noisy = OpticalFibre(n_inputs=n_inputs, n_outputs=n_outputs)
        transposed = np.ascontiguousarray(noisy.transmission_matrix.T)
        stimuli = np.random.default_rng(0).uniform(-1, 1, size=(ROWS, n_inputs))
        field = stimuli.astype(np.complex64)
        plain = rows_a_second(lambda rows, matrix=transposed: np.abs(rows @ matrix) ** 2, field)
        for name, device in (("with noise", noisy), ("noiseless", noisy.noiseless())):
            rate = rows_a_second(device.measure, stimuli)
            shape = f"{n_inputs} -> {n_outputs}, {name}"
            lines.append([shape, f"{rate:,.0f}", f"{plain:,.0f}", f"{plain / rate:.1f}"])
    print_table(
        f"rows a second, {ROWS} rows a call",
        ["", "optical-fibre", "numpy complex64 |T x|^2", "times slower"],
        lines,
    )


if __name__ == "__main__":
    main()
