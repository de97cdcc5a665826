"""What it pays to train a device itself: MNIST-1D through programmable speckle, the digital part a readout alone.

    python benchmarks/in_situ.py
    python benchmarks/in_situ.py --validate --seeds 3

1 % noise, 10-bit converters and pixels, one reference input. Settings were chosen on validation rows: 800 of the
4,000 training rows, as with ``--validate``. Without it all are trained on, and the test rows are scored.
What a digital network reaches for as many multiply-adds ``hwloop frontier`` searches.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from sizes import sized

import hwloop
from hwloop.experiments import datasets
from hwloop.layers import PhysicalNetwork, Stage

OUTPUTS = sized((10, 20, 40), short=(4,))
SAMPLES = sized(4000, short=40)
HELD_OUT = sized(800, short=10)
SEEDS = sized(5, short=1)
SHORTER = sized({}, short={"epochs": 1})
# The reference, in units of the modulator's limit: hardly stronger than a data channel, or a perturbation mostly
# moves what stands still. By outputs.
REFERENCES = {4: 0.35, 10: 0.35, 20: 0.35, 40: 0.5}
INPUT_NOISE = {"tune-exact": {}, "tune-outputs": {40: 0.18}}
HEAD_DECAY = {"tune-exact": {40: 0.5}, "tune-outputs": {20: 0.1, 40: 0.3}}


@dataclass(frozen=True)
class Case:
    """A trainer with its options, and the rows a sample that it may take."""

    trainer: str
    options: dict[str, Any]


CASES = (
    Case("tune-exact", {"epochs": 19, "batch_samples": 25, "lr": 0.006}),
    Case("tune-outputs", {"epochs": 99, "batch_samples": 100, "lr": 0.0025, "directions": 3}),
)


def scored(case: Case, outputs: int, seed: int, validate: bool) -> dict[str, float]:
    """Accuracy in per cent, rows a sample, writes, multiply-adds and seconds of one fit."""
    data = datasets.mnist1d()
    split = datasets.split(data, seed)
    train, test = split.train, split.test
    if validate:
        order = np.random.default_rng(seed).permutation(train)
        train, test = order[HELD_OUT:], order[:HELD_OUT]
    train = train[:SAMPLES]
    device = hwloop.open_device(
        "programmable-speckle",
        n_inputs=41,
        n_outputs=outputs,
        read_noise=0.01,
        dac_bits=10,
        adc_bits=10,
        seed=seed,
    )
    session = hwloop.Session(device)
    stage = Stage(1, reference_slots=0, controls=(REFERENCES[outputs],))
    network = PhysicalNetwork(session, [stage], seed=seed)
    options = {
        "input_noise": INPUT_NOISE[case.trainer].get(outputs, 0.12),
        "head_decay": HEAD_DECAY[case.trainer].get(outputs, 0.0),
        **case.options,
        **SHORTER,
    }
    begin = time.perf_counter()
    hwloop.trainer(case.trainer, seed=seed, **options).fit(network, data.inputs[train], data.targets[train])
    accuracy = 100 * float(np.mean(network.predict(data.inputs[test]) == data.targets[test]))
    return {
        "accuracy": accuracy,
        "rows": session.ledger["train"] / len(train),
        "writes": session.ledger.writes["train"],
        "multiply_adds": network.folded_multiply_adds,
        "seconds": time.perf_counter() - begin,
    }


def main() -> None:
    """Print a table in Markdown, a line as soon as it is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--outputs", type=int, nargs="*", default=OUTPUTS)
    parser.add_argument("--trainers", nargs="*", default=[case.trainer for case in CASES])
    given = parser.parse_args()
    on = "validation" if given.validate else "test"
    print(f"| trainer | outputs | multiply-adds | rows a sample | writes | {on} accuracy | seeds | s a seed |")
    print("|---|---|---|---|---|---|---|---|")
    for case in (case for case in CASES if case.trainer in given.trainers):
        for outputs in given.outputs:
            found = [scored(case, outputs, seed, given.validate) for seed in range(given.seeds)]
            mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
            each = ", ".join(f"{one['accuracy']:.1f}" for one in found)
            print(
                f"| `{case.trainer}` | {outputs} | {mean['multiply_adds']:.0f} | {mean['rows']:.1f} "
                f"| {mean['writes']:,.0f} | **{mean['accuracy']:.1f} %** | {each} | {mean['seconds']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
