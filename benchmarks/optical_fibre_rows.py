"""Rows a second of the simulated fibre, beside the plain complex product that it cannot do without.

The fibre also draws read noise, saturates, and converts to 10 bits; its product is exact, so that a row does not
depend on its batch (hwloop/blocks.py). Processor time is what one core works for a row: on a busy machine it tells
more than the clock.

    OMP_NUM_THREADS=2 python benchmarks/optical_fibre_rows.py
"""

import time
from collections.abc import Callable

import numpy as np
from sizes import sized
from table import print_table

from hwloop.simulators.optical_fibre import OpticalFibre

SHAPES = [(784, 1024), (64, 1000)]
ROWS = sized(4096, short=16)
REPEATS = sized(5, short=1)


def rates(measure: Callable[[np.ndarray], np.ndarray], stimuli: np.ndarray) -> tuple[float, float]:
    """Rows a second on the clock and of processor time, of the run that was disturbed least."""
    measure(stimuli)
    clock, processor = [], []
    for _ in range(REPEATS):
        begin, worked = time.perf_counter(), time.process_time()
        measure(stimuli)
        clock.append(time.perf_counter() - begin)
        processor.append(time.process_time() - worked)
    return len(stimuli) / min(clock), len(stimuli) / min(processor)


def main() -> None:
    lines = []
    for n_inputs, n_outputs in SHAPES:
        noisy = OpticalFibre(n_inputs=n_inputs, n_outputs=n_outputs)
        transposed = np.ascontiguousarray(noisy.transmission_matrix.T)
        stimuli = np.random.default_rng(0).uniform(-1, 1, size=(ROWS, n_inputs))
        field = stimuli.astype(np.complex64)
        plain = rates(lambda rows, matrix=transposed: np.abs(rows @ matrix) ** 2, field)
        for name, device in (("with noise", noisy), ("noiseless", noisy.noiseless())):
            found = rates(device.measure, stimuli)
            pairs = [
                (f"{rate:,.0f}", f"{peer:,.0f}", f"{peer / rate:.1f}")
                for rate, peer in zip(found, plain, strict=True)
            ]
            lines.append([f"{n_inputs} -> {n_outputs}, {name}", *pairs[0], *pairs[1]])
    columns = ["optical-fibre", "numpy complex64 |T x|^2", "times slower"]
    print_table(
        f"rows a second, {ROWS} rows a call: on the clock, then of processor time",
        ["", *columns, *columns],
        lines,
    )


if __name__ == "__main__":
    main()
