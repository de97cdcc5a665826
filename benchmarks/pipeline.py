"""Stages on devices of their own: how much of the time of one stage after the other is left.

Every device is a simulated fibre that takes 6 ms a row, its own arithmetic included. The same fits run with one
session a device, and with devices of which only one can measure at a time, as if one served all stages: the
predictions must be the same to the last bit, and the ratio of the times is what several devices are worth. The
least ratio that the schedule allows, with digital arithmetic for nothing, stands beside it.

    python benchmarks/pipeline.py [STAGES ...]
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from sizes import sized
from table import print_table

import hwloop
from hwloop.experiments.datasets import digits, split
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.simulators.optical_fibre import OpticalFibre

ROW_SECONDS = sized(0.006, short=1e-5)
N_OUTPUTS, WIDTH = 100, 60
EPOCHS, BATCH_SAMPLES = 1, 64
# The devices' time is the subject.
FEW_STEPS = sized({"epochs": 5, "min_steps": 50}, short={"epochs": 1, "min_steps": 2})
ONLINE = {"schedule": "online", "epochs": EPOCHS, "batch_samples": BATCH_SAMPLES, "inner_steps": 2}


class SlowFibre(hwloop.Device):
    """A simulated fibre that takes 6 ms a row, its own arithmetic included, while nobody else has its turn."""

    def __init__(self, seed: int, turn: AbstractContextManager) -> None:
        self.turn = turn
        self.fibre = OpticalFibre(n_inputs=WIDTH + 30, n_outputs=N_OUTPUTS, row_seconds=ROW_SECONDS, seed=seed)
        self.spec = self.fibre.spec

    def _measure(self, inputs: np.ndarray) -> np.ndarray:
        with self.turn:
            end = time.perf_counter() + ROW_SECONDS * len(inputs)
            responses = self.fibre.measure(inputs)
            time.sleep(max(0.0, end - time.perf_counter()))
        return responses


def timed(turn, name, options, stages, parts, dataset):
    """Seconds of a fit and of a prediction, and the probabilities predicted."""
    sessions = [hwloop.Session(SlowFibre(seed, turn)) for seed in range(stages)]
    network = PhysicalNetwork(sessions, [Stage(WIDTH) for _ in range(stages)])
    begin = time.perf_counter()
    hwloop.trainer(name, **options).fit(network, dataset.inputs[parts.train], dataset.labels[parts.train])
    trained = time.perf_counter()
    probabilities = network.predict_proba(dataset.inputs[parts.test])
    accuracy = np.mean(probabilities.argmax(axis=1) == dataset.labels[parts.test])
    return trained - begin, time.perf_counter() - trained, probabilities, accuracy


def main(depths: list[int]) -> None:
    dataset = digits()
    parts = split(dataset, 0, test=0.25)
    batches = -(-len(parts.train) // BATCH_SAMPLES)
    cases = [
        ("local, map_share 1", "local", FEW_STEPS, lambda n: 1.0),
        ("local, map_share 0.5", "local", FEW_STEPS | {"map_share": 0.5}, lambda n: (1 + (n - 1) * 0.5) / n),
        ("local, map_share 0.25", "local", FEW_STEPS | {"map_share": 0.25}, lambda n: (1 + (n - 1) * 0.25) / n),
        ("greedy, map_share 0.25", "greedy", FEW_STEPS | {"map_share": 0.25}, lambda n: (1 + (n - 1) * 0.25) / n),
        ("phyll, online", "phyll", ONLINE, lambda n: (batches + n - 1) / (n * batches)),
    ]
    timed(nullcontext(), "readout", {}, 1, parts, dataset)  # what is loaded once is not counted
    lines = []
    for stages in depths:
        for title, name, options, least in cases:
            fit, predict, at_once, accuracy = timed(nullcontext(), name, options, stages, parts, dataset)
            fit_alone, predict_alone, alone, _ = timed(threading.Lock(), name, options, stages, parts, dataset)
            same = "same bits" if np.array_equal(at_once, alone) else "DIFFERENT"
            seconds = [f"{fit:.1f} s", f"{fit_alone:.1f} s", f"{fit / fit_alone:.2f}", f"{least(stages):.2f}"]
            lines.append([title, stages, *seconds, f"{predict / predict_alone:.2f}", f"{accuracy:.3f}", same])
            print(*lines[-1], file=sys.stderr, flush=True)
    print_table(
        f"digits, {N_OUTPUTS} outputs, devices of {ROW_SECONDS * 1e3:g} ms a row",
        ["trainer", "stages", "fit", "one at a time", "ratio", "least", "prediction", "accuracy", "results"],
        lines,
    )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or sized([2, 4], short=[2]))
