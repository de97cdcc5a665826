"""Series for loops with memory, and how settings are searched on validation steps.

Nothing here sees a test step: :func:`scored` is handed them once, when all is chosen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hwloop import open_device
from hwloop.experiments.time_series import narma10, nmse
from hwloop.training.echo_state import StateReadout

FEW = np.logspace(-9, 2, 8)  # ridge strengths while searching; the chosen one gets all
QUIET = {"read_noise": 0.0, "dac_bits": None, "adc_bits": None}


@dataclass(frozen=True)
class Series:
    """Sequences that begin at rest: inputs (rows, steps) within [-1, 1], targets, and steps that count nowhere."""

    inputs: np.ndarray
    targets: np.ndarray
    washout: int

    def kept(self, states: np.ndarray) -> np.ndarray:
        """States (rows, steps, n) of the steps that count, (steps, n)."""
        return states[:, self.washout :].reshape(-1, states.shape[2]).astype(np.float64)

    @property
    def aims(self) -> np.ndarray:
        return self.targets[:, self.washout :].reshape(-1, 1)


def narma_parts(steps: int, washout: int, rows: Sequence[int], seed: int) -> list[Series]:
    """NARMA10 sequences of u in [0, 0.5], so many rows a part, each part drawn by itself."""
    parts = []
    for number, count in enumerate(rows):
        u, y = narma10(count, steps, seed=1000 * seed + number)
        parts.append(Series(4 * u[:, :, 0] - 1, y[:, :, 0], washout))
    return parts


def santa_fe_parts(window: int, washout: int, stretches: Sequence[tuple[int, int]]) -> list[Series]:
    """The laser's intensity one step ahead, stretches of it cut into windows that overlap by the washout."""
    from reservoirpy.datasets import santafe_laser

    x = santafe_laser().ravel() / 127.5 - 1
    parts = []
    for first, last in stretches:
        starts = range(first - washout, last - window + 1, window - washout)
        parts.append(
            Series(
                np.stack([x[k : k + window] for k in starts]),
                np.stack([x[k + 1 : k + window + 1] for k in starts]),
                washout,
            )
        )
    return parts


@dataclass(frozen=True)
class Loop:
    """A device of the project with its settings; ``states`` drives it."""

    name: str
    settings: dict[str, object]

    def device(self, steps: int, **more: object):
        return open_device(
            self.name, n_inputs=steps, sequence_length=steps, readout="all", **{**self.settings, **more}
        )

    def states(self, parts: Sequence[Series], after: int = 0, **more: object) -> list[np.ndarray]:
        """Of every part, (rows, steps, nodes), driven together; ``after`` so many rows the noise is another."""
        device = self.device(parts[0].inputs.shape[1], **more)
        device.continue_from(after)
        answers = device.measure(np.concatenate([part.inputs for part in parts]))
        shaped = answers.reshape(len(answers), parts[0].inputs.shape[1], -1)
        return np.split(shaped, np.cumsum([len(part.inputs) for part in parts])[:-1])

    def calibrated(self, train: Series) -> "Loop":
        """The same with the brightest training reading as full scale: noise and converters are fractions of it."""
        (states,) = self.states([train], full_scale=1.0, **QUIET)
        return Loop(self.name, {**self.settings, "full_scale": 1.02 * float(np.abs(states).max())})


def draw_cavity(rng: np.random.Generator, nodes: int) -> Loop:
    mask = str(rng.choice(["uniform", "phase"]))
    return Loop(
        "passive-cavity",
        {
            "n_nodes": nodes,
            "round_trip_gain": round(float(rng.uniform(0.1, 0.98)), 3),
            "round_trip_phase": round(float(rng.uniform(0, 2 * np.pi)), 3),
            "input_scale": 1.0,
            "bias": round(float(10 ** rng.uniform(-0.7, 0.8)), 3),
            "mask": mask,
            "seed": int(rng.integers(1 << 30)),
        },
    )


def draw_sine(rng: np.random.Generator, nodes: int) -> Loop:
    model = str(rng.choice(["sine", "ikeda"]))
    gain = float(rng.uniform(0.5, 1.05)) * (1.2 if model == "ikeda" else 1.0)
    return Loop(
        "delay-loop",
        {
            "n_nodes": nodes,
            "model": model,
            "gain": round(gain, 3),
            "bias": round(float(rng.uniform(0, 1.2)), 3),
            "input_scale": round(float(10 ** rng.uniform(-2, 0.4)), 4),
            "mask": str(rng.choice(["uniform", "binary"])),
            "excess_nodes": int(rng.choice([1, 1, 3, 7])),
            "node_spacing": 50.0,
            "laps_per_step": 1,
            "seed": int(rng.integers(1 << 30)),
        },
    )


def scored(train: Series, test: Series, states: Sequence[np.ndarray], strengths=None) -> float:
    """NMSE on ``test`` of a ridge readout fitted to ``train``, its strength chosen by leave-one-out."""
    more = {} if strengths is None else {"strengths": strengths}
    readout = StateReadout.fitted(train.kept(states[0]), train.aims, **more)
    return nmse(readout(test.kept(states[1])), test.aims)


NEAR = {"round_trip_gain": 0.03, "round_trip_phase": 0.2, "gain": 0.03}  # steps; other numbers move by a fifth


def near(rng: np.random.Generator, loop: Loop) -> Loop:
    """A loop a little beside this one, half of the time with another mask."""
    moved = dict(loop.settings)
    for name in ("round_trip_gain", "round_trip_phase", "gain", "bias", "input_scale"):
        if name in moved and not (name == "input_scale" and loop.name == "passive-cavity"):
            step = rng.standard_normal()
            value = moved[name] + NEAR[name] * step if name in NEAR else moved[name] * np.exp(0.2 * step)
            moved[name] = round(float(value), 4)
    if "round_trip_gain" in moved:
        moved["round_trip_gain"] = min(max(moved["round_trip_gain"], 0.05), 0.98)
    if rng.random() < 0.5:
        moved["seed"] = int(rng.integers(1 << 30))
    return Loop(loop.name, moved)


def search(
    draw: Callable[[np.random.Generator], Loop],
    trials: int,
    train: Series,
    validation: Series,
    seed: int,
    **noise: object,
) -> tuple[float, Loop]:
    """The loop of the least validation NMSE among so many, and that NMSE.

    Two thirds are drawn at random, the others beside the best so far.
    """
    rng, best = np.random.default_rng(seed), None
    for trial in range(trials):
        drawn = draw(rng) if best is None or trial < 2 * trials / 3 else near(rng, best[1])
        loop = drawn.calibrated(train)
        error = scored(train, validation, loop.states([train, validation], **noise), FEW)
        if best is None or error < best[0]:
            best = (error, loop)
    assert best is not None
    return best
