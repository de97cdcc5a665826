"""Digits trained on one piece of a device, predicted on others with no row there: plain and robust training.

Ten chips of one simulated fibre that differ by a fabrication spread of 5 and of 20 %: trained on chip 0, predicted
on the nine others. And a recorded fibre, pressed step by step, which needs the measured data: trained at position
0, predicted at the next twelve. All values of the options are shown; none is chosen. About ten minutes an
interface.

    python benchmarks/next_chip.py [number of seeds [none|relu]]
"""

import copy
import sys
from collections.abc import Iterable

import numpy as np
from sizes import sized
from table import print_table

from hwloop.device import Device
from hwloop.errors import DatasetError
from hwloop.experiment.config import ExperimentConfig, load_experiment
from hwloop.experiment.rigs import build_stages, build_trainer
from hwloop.experiments.datasets import experiment_file, split
from hwloop.registry import DEVICES
from hwloop.session import Session

OPTIONS = {
    "plain (no noise added)": {"response_noise": 0.0},
    "noise 0.4 (the default)": {},
    "noise 0.8": {"response_noise": 0.8},
    "spread 0.3": {"device_spread": 0.3},
    "spread 1": {"device_spread": 1.0},
    "spread 0.3, averaged 0.3": {"device_spread": 0.3, "averaged_share": 0.3},
}
CHIPS = sized(10, short=3)
POSITIONS = sized(13, short=3)
SPREADS = sized((0.05, 0.2), short=(0.05,))


def accuracies(config: ExperimentConfig, seed: int, devices: Iterable[Device]) -> list[float]:
    """Test accuracy in percent on every device, trained on the first."""
    from hwloop.layers import PhysicalNetwork

    data = config.dataset.build()
    parts, trainer = split(data, seed, config.split.test), build_trainer(config, seed)
    first, *others = devices
    session = Session(first)
    with session:
        network = PhysicalNetwork(session, layers=build_stages(config, trainer, data.task))
        trainer.fit(network, data.inputs[parts.train], data.labels[parts.train], task=data.task)
        found = [network.predict(data.inputs[parts.test])]
        for device in others:
            with Session(device) as other:
                found.append(copy.deepcopy(network, {id(session): other}).predict(data.inputs[parts.test]))
    return [100 * float(np.mean(each == data.labels[parts.test])) for each in found]


def chips(spread: float, seed: int) -> list[Device]:
    settings = {"n_outputs": sized(200, short=30), "read_noise": 0.01, "fabrication_spread": spread, "seed": seed}
    return [DEVICES.build("optical-fibre", chip=chip, n_inputs=101, **settings) for chip in range(CHIPS)]


def positions(seed: int) -> list[Device]:
    return [
        DEVICES.build("fibre-recorded", position=position, read_noise=0.01, seed=seed)
        for position in range(POSITIONS)
    ]


def config_of(activation: str, options: dict[str, float]) -> ExperimentConfig:
    settings = ["network.input_scaling=global", f"network.activation={activation}"]
    settings += [f"trainer.settings.{name}={value}" for name, value in options.items()]
    settings += [f"network.width={sized(100, short=10)}", *sized([], short=["trainer.settings.epochs=1"])]
    return load_experiment(experiment_file("digits-fibre"), settings)


def lost(scores: np.ndarray) -> list[str]:
    """Own accuracy, mean and worst of the others, and what is lost, mean ± sd over seeds of (seeds, devices)."""
    own, others = scores[:, 0], scores[:, 1:]
    figures = (own, others.mean(axis=1), others.min(axis=1), own - others.mean(axis=1), own - others.min(axis=1))
    return [f"{each.mean():.1f} ± {each.std(ddof=1) if len(each) > 1 else 0:.1f}" for each in figures]


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else sized(5, short=1)
    names = list(OPTIONS)[: sized(None, short=2)]
    headings = ["training", "own, %", "others, mean", "others, worst", "lost, mean", "lost, worst"]
    for activation in sys.argv[2:] or ["none"]:
        for spread in SPREADS:
            lines = []
            for name in names:
                config = config_of(activation, OPTIONS[name])
                scores = [accuracies(config, seed, chips(spread, seed)) for seed in range(seeds)]
                lines.append([name, *lost(np.array(scores))])
            print_table(
                f"{CHIPS - 1} other chips, spread {spread:g}, interface {activation}, {seeds} seeds",
                headings,
                lines,
            )
        try:
            positions(0)
        except DatasetError as missing:
            print(missing)
            continue
        lines, courses = [], []
        for name in names:
            config = config_of(activation, OPTIONS[name])
            found = np.array([accuracies(config, seed, positions(seed)) for seed in range(seeds)])
            lines.append([name, *lost(found[:, : sized(10, short=3)])])
            courses.append([name, *(f"{value:.0f}" for value in found.mean(axis=0))])
        print_table(f"recorded fibre, steps 1 to 9, interface {activation}, {seeds} seeds", headings, lines)
        print_table("every step, %", ["training", *map(str, range(POSITIONS))], courses)


if __name__ == "__main__":
    main()
