"""Does depth pay? L stages against one stage with as many outputs in total, one row a sample a stage, MNIST-1D.

Linear interface: every nonlinearity of a prediction is physical. The one stage has a ridge readout of all its
outputs, and so have the L stages: the difference is what a local rule for the stages before the last makes of
them. Differences are paired over seeds (device, split order and weights), with their 95 % t-interval.

    python benchmarks/depth.py [--total 1000] [--seeds 5] [--width 100] [--validation 0.2]
"""

from __future__ import annotations

import argparse
import os
import sys

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy and torch are loaded

from sizes import sized  # noqa: E402
from table import print_table  # noqa: E402

import hwloop  # noqa: E402
from hwloop.experiment.intervals import Summary, paired_difference  # noqa: E402
from hwloop.experiments import datasets  # noqa: E402
from hwloop.layers import PhysicalNetwork, Stage  # noqa: E402

ARMS = {  # name: trainer, stages
    "one stage, ridge": ("readout", 1),
    "2 stages, linear heads": ("local", 2),
    "2 stages, greedy": ("greedy", 2),
    "3 stages, greedy": ("greedy", 3),
}
SAMPLES = sized(None, short=100)


def accuracy(trainer: str, stages: int, seed: int, arguments: argparse.Namespace) -> float:
    """Share of held-out rows that are classified right; a device of its own for every stage."""
    data = datasets.mnist1d()
    split = datasets.split(data, seed, validation=arguments.validation)
    train = split.train[:SAMPLES]
    held_out = split.validation if arguments.validation else split.test
    n_outputs, features = arguments.total // stages, [data.inputs.shape[1], *[arguments.width] * (stages - 1)]
    sessions = [
        hwloop.Session(
            hwloop.open_device(
                "optical-fibre",
                n_inputs=n + -(-n // 10),
                n_outputs=n_outputs,
                exposure=3.0,
                seed=100 * number + seed,
            )
        )
        for number, n in enumerate(features)
    ]
    network = PhysicalNetwork(sessions, [Stage(arguments.width) for _ in range(stages)], seed=seed)
    built = hwloop.trainer(trainer, seed=seed)
    history = built.fit(network, data.inputs[train], data.labels[train])
    assert history.rows == stages * len(train), "one row a sample a stage"
    return float((network.predict(data.inputs[held_out]) == data.labels[held_out]).mean())


def line(name: str, values: Summary, single: Summary, total: int) -> list[object]:
    """One line of the table."""
    gain, reached = paired_difference(values, single), f"{100 * values.mean:.1f} ± {100 * values.std:.1f}"
    interval = "" if gain.low is None or gain.high is None else f" ({100 * gain.low:.1f} to {100 * gain.high:.1f})"
    return [name, total // ARMS[name][1], reached, f"{100 * gain.mean:+.1f}{interval}"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--total", type=int, default=sized(1000, short=60), help="outputs of all stages together")
    parser.add_argument("--width", type=int, default=sized(100, short=20))
    parser.add_argument("--seeds", type=int, default=sized(5, short=2))
    parser.add_argument("--validation", type=float, default=0.0, help="share to hold out and to score on instead")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in ARMS if name.split(",")[0] + "," in name}
    for seed in range(arguments.seeds):
        for name, (trainer, stages) in ARMS.items():
            found[name].append(accuracy(trainer, stages, seed, arguments))
            print(f"seed {seed}, {name}: {100 * found[name][-1]:.1f}", file=sys.stderr, flush=True)
    single = Summary(tuple(found["one stage, ridge"]))
    lines = [line(name, Summary(tuple(values)), single, arguments.total) for name, values in found.items()]
    header = ["", "outputs a stage", "accuracy, %", "gain over one stage, points (95 %)"]
    print_table(f"MNIST-1D, {arguments.total} outputs in total, width {arguments.width}", header, lines)
