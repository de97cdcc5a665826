"""NARMA10 as three papers ran it: Appeltant et al. 2011, Paquot et al. 2012, Vinckier et al. 2015.

python benchmarks/published_loops.py

Nodes, node and geometry are the papers', and so are 10 sequences with 1,000 training and 1,000 test steps each
(2,000 to train 400 nodes; after 200 of washout) and u in [0, 0.5]; what the papers leave open (gain, bias, mask,
strength of the input) was searched on other sequences. An experiment's noise is not known in these units, so two
levels stand here; Appeltant's is a simulation. Papers confuse NMSE and NRMSE, so both are printed.
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
    "Appeltant": (Loop("delay-loop", MACKEY_GLASS), (0.0,), "0.15, called NRMSE; 400 nodes, simulated"),
    "Paquot": (Loop("delay-loop", SINE), (0.003, 0.01), "NMSE 0.168 ± 0.015; 50 nodes, measured"),
    "Vinckier": (Loop("passive-cavity", CAVITY), (0.003, 0.01), "NMSE 0.0484 ± 0.0095; 300 nodes, measured"),
}


def series(rows: int, seed: int, signed: bool) -> Series:
    u, y = narma10(rows, STEPS, seed=seed)
    return Series(4 * u[:, :, 0] - 1 if signed else u[:, :, 0], y[:, :, 0], WASHOUT)


def errors(paper: str, loop: Loop, noise: float) -> list[float]:
    """Test NMSE of every sequence."""
    found, signed = [], loop.name == "passive-cavity"
    for number in range(SEQUENCES):
        train = series(sized(TRAIN.get(paper, 1), short=1), 9000 + number, signed)
        parts = [train, series(1, 9500 + number, signed)]
        states = loop.calibrated(train).states(parts, after=100 * number, **QUIET | {"read_noise": noise})
        found.append(scored(*parts, states))
    return found


def main() -> None:
    lines = []
    for paper, (loop, noises, published) in PAPERS.items():
        for noise in noises:
            found = errors(paper, loop, noise)
            cells = [f"{np.mean(f(found)):.4f} ± {np.std(f(found), ddof=1):.4f}" for f in (np.array, np.sqrt)]
            lines.append([f"{paper}, {100 * noise:g} % noise", *cells, f"{np.median(found):.4f}", published])
            print(*lines[-1], flush=True)
    header = ["paper", "NMSE", "NRMSE", "median NMSE", "published"]
    print_table(f"NARMA10, {SEQUENCES} sequences each", header, lines)


if __name__ == "__main__":
    main()
