"""NARMA10 as three papers ran it: Appeltant et al. 2011, Paquot et al. 2012, Vinckier et al. 2015.

python benchmarks/published_loops.py

Nodes, node and geometry are the papers', and so are 10 sequences with 1,000 training and 1,000 test steps each (after
200 of washout) and u in [0, 0.5]; what the papers leave open (gain, bias, strength of the input, mask) was searched on
other sequences. The noise is what it takes for an experiment: 0.3 % of full scale, for Appeltant's simulation none.
Papers confuse NMSE and NRMSE, so both stand here.
"""

import numpy as np
from loops import QUIET, Loop, Series, scored
from sizes import sized
from table import print_table

from hwloop.experiments.time_series import narma10

STEPS, WASHOUT, SEQUENCES = sized((1200, 200, 10), short=(120, 40, 2))
TRAIN = {"Appeltant": 2}  # rows of 1,000 steps; 400 nodes need more than 1,000
MACKEY_GLASS = {
    "model": "mackey-glass", "n_nodes": 400, "node_spacing": 0.2, "laps_per_step": 1, "mask": "binary",
    "exponent": 2.0, "gain": 0.9, "bias": 0.0, "input_scale": 0.2, "seed": 1,
}  # fmt: skip
SINE = {
    "model": "sine", "n_nodes": 50, "node_spacing": 50.0, "excess_nodes": 1, "laps_per_step": 1, "mask": "uniform",
    "gain": 1.0163, "bias": 0.0271, "input_scale": 0.0624, "seed": 693812105,
}  # fmt: skip
CAVITY = {
    "n_nodes": 300, "excess_nodes": 1, "mask": "uniform", "seed": 521661744,
    "round_trip_gain": 0.883, "round_trip_phase": 5.869, "bias": 0.687,
}  # fmt: skip
PAPERS = {
    "Appeltant": (Loop("delay-loop", MACKEY_GLASS), 0.0, "0.15, called NRMSE; 400 nodes, simulated"),
    "Paquot": (Loop("delay-loop", SINE), 0.003, "NMSE 0.168 ± 0.015; 50 nodes, measured"),
    "Vinckier": (Loop("passive-cavity", CAVITY), 0.003, "NMSE 0.0484 ± 0.0095; 300 nodes, measured"),
}


def series(rows: int, seed: int, signed: bool) -> Series:
    u, y = narma10(rows, STEPS, seed=seed)
    return Series(4 * u[:, :, 0] - 1 if signed else u[:, :, 0], y[:, :, 0], WASHOUT)


def main() -> None:
    lines = []
    for paper, (loop, noise, published) in PAPERS.items():
        errors = []
        for number in range(SEQUENCES):
            signed = loop.name == "passive-cavity"
            parts = [series(sized(TRAIN.get(paper, 1), short=1), 9000 + number, signed)]
            parts.append(series(1, 9500 + number, signed))
            fitted = loop.calibrated(parts[0])
            errors.append(
                scored(*parts, fitted.states(parts, after=100 * number, **QUIET | {"read_noise": noise}))
            )
        cells = [f"{np.mean(f(errors)):.4f} ± {np.std(f(errors), ddof=1):.4f}" for f in (np.array, np.sqrt)]
        lines.append([paper, *cells, f"{np.median(errors):.4f}", published])
        print(*lines[-1], flush=True)
    print_table(
        f"NARMA10, {SEQUENCES} sequences each", ["paper", "NMSE", "NRMSE", "median NMSE", "published"], lines
    )


if __name__ == "__main__":
    main()
