"""NARMA10 and Mackey-Glass by echo state readouts on physical systems, beside digital methods and reservoirpy.

python benchmarks/time_series.py

The line of reservoirpy is left out, and this said, where it is not installed.
"""

from importlib.util import find_spec

import numpy as np
from sizes import sized
from table import print_table

from hwloop import Session, open_device
from hwloop.experiment.series_floors import DigitalEchoState, PolynomialMemory
from hwloop.experiments.time_series import mackey_glass, narma10, nmse
from hwloop.training.echo_state import EchoState, StateReadout
from hwloop.training.optimiser import fit_ridge
from hwloop.training.reservoir import DigitalRecurrence, PhysicalMemory

STEPS, WASHOUT, TAPS = sized((800, 50, 20), short=(60, 10, 5))
NODES = sized(300, short=20)
TRAIN, TEST = sized((6, 3), short=(2, 1))
AHEAD = 10  # steps that Mackey-Glass is predicted; by then the last value says little
QUIET = {"read_noise": 0.0, "dac_bits": None, "adc_bits": None}


def shift_register(inputs, targets, tests):
    """A ridge readout on the last inputs: no reservoir at all."""

    def taps(rows):
        return np.concatenate([np.roll(rows, k, axis=1) for k in range(TAPS)], axis=2)

    kept = taps(inputs)[:, WASHOUT:].reshape(-1, TAPS)
    ridge = fit_ridge(kept, targets[:, WASHOUT:].reshape(-1, 1), np.logspace(-9, 4, 40))
    return taps(tests) @ ridge.weight + ridge.bias


def best_of(floor):
    """A digital floor of a run, chosen by leave-one-out among its settings."""

    def predicted(inputs, targets, tests):
        mean, spread = inputs.mean(), inputs.std()
        aims, best = targets[:, WASHOUT:].reshape(-1, 1), None
        for expansion in floor.expansions(1, NODES, 0):
            states = expansion.of((inputs - mean) / spread)
            if best is None or states.shape[2] < len(aims) / 2:
                readout = StateReadout.fitted(states[:, WASHOUT:].reshape(len(aims), -1), aims)
                if best is None or readout.leave_one_out_error < best[0]:
                    best = (readout.leave_one_out_error, readout, expansion)
        _, readout, expansion = best
        states = expansion.of((tests - mean) / spread)
        return readout(states.reshape(-1, states.shape[2])).reshape(tests.shape)

    return predicted


def reservoirpy(inputs, targets, tests):
    """Its own network, with a spectral radius of 0.9 and an input scaling of 0.3."""
    from reservoirpy.nodes import Reservoir, Ridge

    model = Reservoir(NODES, sr=0.9, lr=1.0, input_scaling=0.3, seed=0) >> Ridge(ridge=1e-7)
    model.fit(list(inputs), list(targets), warmup=WASHOUT)
    return np.stack([np.asarray(each).reshape(STEPS, 1) for each in model.run(list(tests))])


def delay_loop(noise):
    settings = {"n_nodes": NODES, "gain": 0.949, "bias": 0.305, "node_spacing": 0.2, "mask": "uniform"}
    device = open_device(
        "delay-loop",
        n_inputs=STEPS,
        sequence_length=STEPS,
        laps_per_step=1,
        readout="all",
        input_scale=0.015,
        **settings,
        **noise,
    )
    return EchoState(PhysicalMemory(Session(device)), WASHOUT)


def fibre(noise):
    device = open_device("optical-fibre", n_inputs=120, n_outputs=200, seed=3, **noise)
    loop = DigitalRecurrence(Session(device), feedback_channels=100, spectral_radius=0.9, input_gain=0.02)
    return EchoState(loop, WASHOUT)


def predicted_by(model):
    return lambda inputs, targets, tests: model.fit(inputs, targets).predict(tests)


def main() -> None:
    series = mackey_glass(TRAIN + TEST, STEPS + AHEAD)
    inputs, targets = narma10(TRAIN + TEST, STEPS, seed=1)
    tasks = {"NARMA10": (inputs, targets), f"Mackey-Glass, {AHEAD} ahead": (series[:, :-AHEAD], series[:, AHEAD:])}
    if not find_spec("reservoirpy"):
        print("reservoirpy is not installed, so its line is missing: pip install reservoirpy")
    lines = []
    for name, make in (
        (f"shift register, {TAPS} taps", lambda: shift_register),
        ("polynomial memory, degree 2", lambda: best_of(PolynomialMemory())),
        (f"digital echo state, {NODES} nodes", lambda: best_of(DigitalEchoState())),
        *([(f"reservoirpy, {NODES} nodes", lambda: reservoirpy)] if find_spec("reservoirpy") else []),
        ("delay loop, 300 nodes, noiseless", lambda: predicted_by(delay_loop(QUIET))),
        ("delay loop, 300 nodes, as it is", lambda: predicted_by(delay_loop({}))),
        ("optical fibre, 200 outputs, recurrence 0.9, noiseless", lambda: predicted_by(fibre(QUIET))),
        ("optical fibre, 200 outputs, recurrence 0.9, as it is", lambda: predicted_by(fibre({}))),
    ):
        cells = []
        for rows, aims in tasks.values():
            found = make()(rows[:TRAIN], aims[:TRAIN], rows[TRAIN:])
            error = nmse(found[:, WASHOUT:], aims[TRAIN:, WASHOUT:])
            cells.append(f"{error:.2g} ({error**0.5:.2g})")
        lines.append([name, *cells])
        print(name, *cells, flush=True)
    title = f"normalised mean squared error (its root); {TRAIN} sequences of {STEPS} trained on, {TEST} judged"
    print_table(title, ["reservoir", *tasks], lines)


if __name__ == "__main__":
    main()
