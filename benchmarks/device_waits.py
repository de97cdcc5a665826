"""Does the device ever wait for digital arithmetic? A device that sleeps 10 ms a row, trained on digits.

The least that a fit can take is rows x 10 ms; it takes about half a minute. Arithmetic uses one thread, as
``hwloop run`` does: two libraries that each keep a thread a core spin against each other. Set OMP_NUM_THREADS to
see another choice.

    python benchmarks/device_waits.py [TRAINER]
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import sys
import time

import numpy as np
from sizes import sized
from table import print_table

import hwloop
from hwloop.experiments.datasets import digits, split
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.simulators.optical_fibre import OpticalFibre

ROW_SECONDS = sized(0.010, short=1e-5)
N_OUTPUTS, WIDTH, STAGES = sized(1000, short=20), 100, 2
OPTIONS = sized({}, short={"epochs": 1, "min_steps": 2})


class SlowFibre(hwloop.Device):
    """A simulated fibre that takes 10 ms a row, its own arithmetic included."""

    def __init__(self, seed: int) -> None:
        self.fibre = OpticalFibre(n_inputs=WIDTH + 10, n_outputs=N_OUTPUTS, row_seconds=ROW_SECONDS, seed=seed)
        self.spec = self.fibre.spec

    def _measure(self, inputs: np.ndarray) -> np.ndarray:
        end = time.perf_counter() + ROW_SECONDS * len(inputs)
        responses = self.fibre.measure(inputs)
        time.sleep(max(0.0, end - time.perf_counter()))
        return responses


def main(trainer: str) -> None:
    dataset = digits()
    parts = split(dataset, 0, test=0.25)
    session = hwloop.Session(SlowFibre(seed=0))
    network = PhysicalNetwork(session, [Stage(WIDTH) for _ in range(STAGES)])
    begin = time.perf_counter()
    history = hwloop.trainer(trainer, **OPTIONS).fit(
        network, dataset.inputs[parts.train], dataset.labels[parts.train]
    )
    wall = time.perf_counter() - begin
    least = history.rows * ROW_SECONDS
    duty = session.ledger.duty_cycle
    print_table(
        f"{trainer} on digits, one seed, {STAGES} stages of {N_OUTPUTS} outputs, "
        f"a device of {1e3 * ROW_SECONDS:g} ms a row",
        ["rows", "rows x that", "whole fit", "ratio", "duty cycle"],
        [[history.rows, f"{least:.2f} s", f"{wall:.2f} s", f"{wall / least:.3f}", f"{duty:.3f}"]],
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "local")
