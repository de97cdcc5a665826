"""Mackey-Glass running free on a loop that streams: NeuroBench's constants, stretches and error, and its cost.

python benchmarks/free_running.py

10 Lyapunov times (750 points) are trained on, 10 are forecast with every prediction fed back as the next row. The
loop's settings had the least error among 108, drawn at random and then near the best, on six stretches far behind
the tested ones; a digital echo state network of as many nodes is chosen here among fewer. NeuroBench's own figures
are means over 14 series; this is the first of them, with a delay of 17.
"""

import warnings
from functools import cache

import numpy as np
from loops import QUIET, Loop
from sizes import sized
from table import print_table

from hwloop import HwloopWarning, Session
from hwloop.experiment.series_floors import echo_states
from hwloop.experiments.chaotic_series import neurobench_mackey_glass, smape
from hwloop.training.echo_state import EchoState, StateReadout
from hwloop.training.reservoir import PhysicalStream

NODES = sized(300, short=10)
TRAINED, FORECAST, WARM_UP = sized((750, 750, 45), short=(60, 20, 10))
TRIALS, CHECKS, TESTS = sized((24, 3, 10), short=(2, 1, 2))
NOISES = sized((0.0, 1e-6, 1e-4), short=(0.0,))
RIDGES = 10.0 ** np.arange(-9, 0)
RIDGE = 3.74e-8
SETTINGS = {
    "model": "ikeda", "gain": 0.71028, "bias": 1.53378, "input_scale": 0.33809, "mask": "uniform",
    "seed": 721450141, "excess_nodes": 7, "node_spacing": 50.0, "laps_per_step": 1, "n_nodes": NODES,
}  # fmt: skip


@cache
def stretch(start: int) -> tuple[np.ndarray, np.ndarray]:
    """Points to train on, and the next ones."""
    x = neurobench_mackey_glass(TRAINED + FORECAST, start)
    return x[:TRAINED], x[TRAINED:]


def forecast(loop: Loop, ridge: float, x: np.ndarray, noise: float) -> np.ndarray:
    """Trained on a stretch, and run on; where it blows up it is as wrong as it was."""
    settings = {**QUIET, "read_noise": noise, "streams": True}
    device = Loop(loop.name, {**loop.settings, **settings}).device(1)
    model = EchoState(PhysicalStream(Session(device)), WARM_UP, ridge=ridge)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HwloopWarning)  # a forecast that leaves the range; its error tells
        return model.fit(x[None, :, None]).forecast(FORECAST)[0, :, 0]


def mean_error(run, starts) -> float:
    return float(np.mean([smape(after, run(x)) for x, after in map(stretch, starts)]))


def digital(radius: float, scale: float, ridge: float, seed: int, x: np.ndarray) -> np.ndarray:
    """An echo state network with as many nodes, fed back likewise."""
    rng = np.random.default_rng(seed)
    recurrent = rng.standard_normal((NODES, NODES))
    recurrent *= radius / np.abs(np.linalg.eigvals(recurrent)).max()
    inwards, bias = scale * rng.standard_normal((1, NODES)), scale * rng.standard_normal(NODES)
    mean, spread = x.mean(), x.std()
    states = echo_states((x[None, :, None] - mean) / spread, recurrent, inwards, bias)[0]
    readout = StateReadout.fitted(states[WARM_UP:-1], x[WARM_UP + 1 :, None], np.array([ridge]))
    state, found = states[-1], []
    for _ in range(FORECAST):
        found.append(float(readout(state[None])[0, 0]))
        driven = np.clip((found[-1] - mean) / spread, -10, 10) * inwards[0] + bias
        state = np.tanh(state @ recurrent + driven)
    return np.array(found)


def main() -> None:
    rng, behind = np.random.default_rng(0), [2000 + 1100 * k for k in range(CHECKS)]
    tests, lines, loop = [37 * k for k in range(TESTS)], [], Loop("delay-loop", SETTINGS)
    for noise in NOISES:
        found = [mean_error(lambda x, n=noise: forecast(loop, RIDGE, x, n), [start]) for start in tests]
        lines.append([f"delay loop, noise {noise:g}", f"{2 * NODES + 1:,}", "", shown(found)])
        print(*lines[-1], np.round(found, 1), flush=True)
    options = [(rng.uniform(0.3, 1.3), 10 ** rng.uniform(-1.5, 0.5), rng.choice(RIDGES)) for _ in range(TRIALS)]
    scores = [mean_error(lambda x, o=option: digital(*o, 0, x), behind) for option in options]
    chosen = options[int(np.argmin(scores))]
    found = [mean_error(lambda x: digital(*chosen, 0, x), [start]) for start in tests]
    lines.append(["digital echo state", f"{NODES * (NODES + 2):,}", f"{min(scores):.2f}", shown(found)])
    print_table(
        f"sMAPE of {FORECAST} points run free, {TESTS} stretches",
        ["method", "multiply-adds a step", "validation", "test"],
        lines,
    )


def shown(errors: list[float]) -> str:
    return f"{np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f}"


if __name__ == "__main__":
    main()
