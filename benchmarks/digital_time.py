"""Digital time of one ``local`` fit on digits, on one core: everything that is not the device.

The simulated fibre takes its own time, which a real one would take too; it is counted apart, as device time.
What the digital side does while rows are still being measured competes with the simulation for the core, so
the fit is also timed on responses that are known already: that is digital arithmetic alone.

    python benchmarks/digital_time.py
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy and torch are loaded
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import time  # noqa: E402

from sizes import sized  # noqa: E402
from table import print_table  # noqa: E402

import hwloop  # noqa: E402
from hwloop.experiments.datasets import digits, split  # noqa: E402
from hwloop.layers import PhysicalNetwork, Stage  # noqa: E402

N_OUTPUTS, WIDTH, STAGES = sized(1000, short=20), 100, 2
SEEDS = sized(3, short=1)
OPTIONS = sized({}, short={"epochs": 1, "min_steps": 2})


def timed_fit(seed: int) -> list[object]:
    """One line: wall seconds and device seconds of a fit, digital seconds with every row known, accuracy."""
    dataset = digits()
    parts = split(dataset, seed, test=0.25)
    train = dataset.inputs[parts.train], dataset.labels[parts.train]
    fibre = hwloop.open_device("optical-fibre", n_inputs=WIDTH + 10, n_outputs=N_OUTPUTS, seed=seed)
    session = hwloop.Session(fibre)
    network = PhysicalNetwork(session, [Stage(WIDTH) for _ in range(STAGES)], seed=seed)
    seconds = []
    for _ in range(2):  # the second fit recalls every row of the first
        begin = time.perf_counter()
        history = hwloop.trainer("local", seed=seed, **OPTIONS).fit(network, *train)
        seconds.append(time.perf_counter() - begin)
    assert history.rows == 0, "the second fit is answered from memory"
    accuracy = (network.predict(dataset.inputs[parts.test]) == dataset.labels[parts.test]).mean()
    device_seconds = session.ledger.seconds["train"]
    return [f"seed {seed}", f"{seconds[0]:.2f}", f"{device_seconds:.2f}", f"{seconds[1]:.2f}", f"{accuracy:.4f}"]


if __name__ == "__main__":
    timed_fit(0)  # warm-up
    header = ["", "fit, wall s", "device s", "digital s, rows known", "test accuracy"]
    print_table(
        f"local on digits, {STAGES} stages of {N_OUTPUTS} outputs, width {WIDTH}, one core",
        header,
        [timed_fit(seed) for seed in range(SEEDS)],
    )
