"""What a fit holds in memory, by depth: every trainer on networks of 2, 4 and 8 equal stages.

Each fit runs in a process of its own, on a journal that keeps nothing: what is counted is what the trainer itself
holds, as the growth of the process's largest resident size over that before the fit (a small fit precedes it, so
that every library is loaded). The last column is the growth from depth 4 to 8 in units of what one stage answers
to the training rows; none means that a trainer holds one stage at a time.

    python benchmarks/memory_of_depth.py [TRAINER ...]
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import resource
import subprocess
import sys

import numpy as np
from sizes import sized
from table import print_table

import hwloop
from hwloop.journal import Journal
from hwloop.registry import TRAINERS, accepted_settings

DEPTHS = sized((2, 4, 8), short=(2, 3))
SAMPLES, FEATURES, OUTPUTS, WIDTH, CLASSES = sized(8000, short=40), 40, 200, 40, 4
QUICK = {"epochs": 1, "min_steps": 10, "batch_samples": 400, "twin": "linear", "max_rows": 2000}
MEGABYTE = 1e6
STAGE_MEGABYTES = SAMPLES * OUTPUTS * 8 / MEGABYTE


class NoJournal(Journal):
    """Counts rows and keeps none."""

    def __init__(self) -> None:
        self._rows = 0

    @property
    def rows(self):
        return self._rows

    def append(self, record):
        self._rows += len(record.stimuli)

    def note(self, note):
        pass

    def readable(self, numbers):
        return np.zeros(len(numbers), dtype=bool)

    def read_rows(self, numbers):
        raise LookupError("nothing was kept")

    def started_seconds(self, numbers):
        return np.zeros(len(numbers))

    def duration_seconds(self, first, rows):
        return 0.0

    def records(self):
        return iter(())

    def notes(self):
        return iter(())


class Mixer(hwloop.Device):
    """|x T|, with its derivative for the trainers that say that they use a model."""

    def __init__(self) -> None:
        self.spec = hwloop.DeviceSpec(FEATURES + CLASSES + 10, OUTPUTS, -1.0, 1.0, deterministic=True)
        self.matrix = np.random.default_rng(0).normal(size=(self.spec.n_inputs, OUTPUTS))

    def _measure(self, inputs):
        return np.abs(inputs @ self.matrix)

    def pull_back(self, stimuli, gradients):
        return (gradients * np.sign(stimuli @ self.matrix)) @ self.matrix.T


def fit(trainer: str, depth: int, samples: int) -> None:
    """Train on blobs."""
    rng = np.random.default_rng(0)
    labels = np.arange(samples) % CLASSES
    inputs = rng.normal(size=(samples, FEATURES)) + 2.0 * np.eye(CLASSES, FEATURES)[labels]
    accepted = accepted_settings(TRAINERS.load(trainer)) or set()
    options = {key: value for key, value in QUICK.items() if key in accepted}
    session = hwloop.Session(Mixer(), journal=NoJournal())
    network = hwloop.PhysicalNetwork(session, [hwloop.Stage(WIDTH, "relu") for _ in range(depth)])
    hwloop.trainer(trainer, **options).fit(network, inputs, labels)


def largest_resident() -> float:
    """Of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def measured(trainer: str, depth: int) -> float:
    """Megabytes that a fit took, in a process of its own."""
    command = [sys.executable, __file__, "--child", trainer, str(depth)]
    # Large arrays go back to the system as soon as nobody holds them.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(found.stdout)


def child(trainer: str, depth: int) -> None:
    """One fit; prints megabytes."""
    fit(trainer, 2, 40)
    before = largest_resident()
    fit(trainer, depth, SAMPLES)
    print(largest_resident() - before)


def main(trainers: list[str]) -> None:
    lines = []
    for trainer in trainers:
        took = [measured(trainer, depth) for depth in DEPTHS]
        growth = (took[-1] - took[-2]) / (DEPTHS[-1] - DEPTHS[-2]) / STAGE_MEGABYTES
        lines.append([trainer, *(f"{megabytes:.0f}" for megabytes in took), f"{growth:.2f}"])
        print(*lines[-1], file=sys.stderr, flush=True)
    print_table(
        f"MB that a fit took: {SAMPLES} samples, {OUTPUTS} outputs ({STAGE_MEGABYTES:.0f} MB), width {WIDTH}",
        ["trainer", *(f"{depth} stages" for depth in DEPTHS), "growth a stage"],
        lines,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1:] or sized(list(TRAINERS.entries()), short=["local"]))
