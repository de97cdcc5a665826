"""A memory that is trained beside its readout: NARMA10 and the Santa Fe laser, at most 50 rows a sequence.

python benchmarks/memory_training.py [nodes]

The same device with a ridge readout alone, once as it is and once with the full scale that suits it, then tuned by
``tune-memory``: 5 seeds of mask, noise and (NARMA10) sequences; test steps are judged once. Read noise is
0.3 % of full scale. The settings that the device begins with were not searched.
"""

import sys

import numpy as np
from loops import Loop, Series, narma_parts, santa_fe_parts
from sizes import sized
from table import print_table

import hwloop
from hwloop import Session
from hwloop.experiments.time_series import nmse
from hwloop.layers import PhysicalNetwork
from hwloop.tasks import SequenceOfValues
from hwloop.training.trainers.sequence import DrivenStage

NODES = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else sized(50, short=8)
STEPS, WASHOUT, SEEDS = sized((600, 100, 5), short=(60, 20, 2))
OPTIONS = sized({}, short={"searches": 2, "pairs": 2})
NOISE = {"read_noise": 0.003, "dac_bits": None, "adc_bits": None}
HEADROOM = 2.0  # full scale of the device that is tuned, over what it reads at rest
CAVITY = {"round_trip_gain": 0.9, "round_trip_phase": 0.5, "bias": 1.0, "mask": "uniform"}
SINE = {"model": "sine", "gain": 0.8, "bias": 0.5, "input_scale": 0.5, "mask": "uniform", "excess_nodes": 1}
SINE |= {"node_spacing": 50.0, "laps_per_step": 1}


def narma10(seed: int) -> list[Series]:
    return narma_parts(STEPS, WASHOUT, sized((8, 8), short=(2, 1)), seed=300 + seed)


def santa_fe(seed: int) -> list[Series]:
    return santa_fe_parts(STEPS, WASHOUT, sized([(100, 3600), (4800, 5800)], short=[(20, 180)] * 2))


TASKS = {"NARMA10, passive cavity": (narma10, "passive-cavity", CAVITY)}
TASKS |= {"Santa Fe, delay loop": (santa_fe, "delay-loop", SINE)}


def error(loop: Loop, trainer: str, options: dict[str, object], parts: list[Series], seed: int) -> float:
    """Test NMSE of a trainer on a device."""
    train, test = parts
    task = SequenceOfValues(STEPS, WASHOUT, names=("y",))
    device = loop.device(STEPS, **NOISE, tuned=trainer == "tune-memory")
    fitting = hwloop.trainer(trainer, **options)
    with Session(device) as session:
        network = PhysicalNetwork(session, [DrivenStage(STEPS)], seed=seed)
        fitting.fit(network, train.inputs.copy(), train.targets.copy(), task=task)
        measured = session.ledger.total / len(train.inputs)
        found = network.predict(test.inputs.copy())
    assert measured <= 50
    return nmse(np.asarray(found).reshape(test.targets.shape)[:, WASHOUT:], test.targets[:, WASHOUT:])


def main() -> None:
    lines = []
    for name, (make, device, settings) in TASKS.items():
        errors: dict[str, list[float]] = {"ridge": [], "ridge, own full scale": [], "tuned": []}
        for seed in range(SEEDS):
            parts = make(seed)
            own = Loop(device, {**settings, "n_nodes": NODES, "seed": seed}).calibrated(parts[0])
            wide = Loop(device, {**own.settings, "full_scale": HEADROOM * own.settings["full_scale"]})
            errors["ridge"].append(error(wide, "reservoir", {}, parts, seed))
            errors["ridge, own full scale"].append(error(own, "reservoir", {}, parts, seed))
            errors["tuned"].append(error(wide, "tune-memory", OPTIONS, parts, seed))
            print(name, seed, *(f"{each[-1]:.4f}" for each in errors.values()), flush=True)
        gains = [100 * (1 - b / a) for a, b in zip(errors["ridge, own full scale"], errors["tuned"], strict=True)]
        cells = [f"{np.mean(each):.4f} ± {np.std(each, ddof=1):.4f}" for each in errors.values()]
        lines.append([name, *cells, f"{np.mean(gains):.0f} ± {np.std(gains, ddof=1):.0f} %"])
    print_table(
        f"test NMSE of {NODES} nodes, {SEEDS} seeds; the last column against the better of the first two",
        ["task", "ridge", "ridge, own full scale", "tuned", "lower by"],
        lines,
    )


if __name__ == "__main__":
    main()
