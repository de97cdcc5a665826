"""Draw docs/pictures/spiking-lif.png: a row as spikes, and rate and potential beside their closed forms."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from hwloop.simulators.spiking.engine import Window
from hwloop.simulators.spiking.layer import SpikingLayer
from hwloop.simulators.spiking.lif import TorchLIF
from hwloop.simulators.spiking.neuron import LIFNeuron
from hwloop.simulators.spiking.spiking_lif import SpikingLIF

TAU, REFRACTORY = 0.02, 0.002
INK, FAINT = "#1b3a5c", "0.55"


def main() -> None:
    """Write the picture beside this script."""
    figure, axes = plt.subplot_mosaic(
        [["digit", "raster", "curve"], ["digit", "raster", "trace"]],
        figsize=(10, 4.6),
        width_ratios=[0.55, 1.5, 1.2],
        layout="constrained",
    )
    _raster(axes["digit"], axes["raster"])
    _rate_against_current(axes["curve"])
    _potential(axes["trace"])
    figure.savefig(Path(__file__).with_name("spiking-lif.png"), dpi=110)


def _raster(digit: plt.Axes, raster: plt.Axes) -> None:
    image = load_digits().images[0] / 8 - 1
    digit.imshow(image, cmap="gray_r", vmin=-1, vmax=1)
    digit.set(xticks=[], yticks=[], title="one row:\n64 currents")
    trains = SpikingLIF().spikes(image.reshape(1, 64))[0]
    order = np.argsort(trains.sum(axis=0), kind="stable")
    steps, neurons = np.nonzero(trains[:, order])
    raster.plot(0.5 * (steps + 1), neurons, "|", ms=4, mew=1.1, c=INK)
    counts = trains[:, order].sum(axis=0)
    raster.set(xlim=(0, 100), ylim=(-1, 100), xlabel="time (ms)", ylabel="neuron, by rate")
    raster.set_title(
        f"its spikes: {(counts == 0).sum()} neurons silent, up to {10 * counts.max()} Hz", fontsize=10
    )


def _rate_against_current(axes: plt.Axes) -> None:
    """Simulated at two steps, and in closed form."""
    currents = np.linspace(1.001, 4, 400)
    for refractory, style in ((0.0, "--"), (REFRACTORY, "-")):
        exact = 1 / (refractory + TAU * np.log(currents / (currents - 1)))
        axes.plot(
            [0.5, 1, *currents],
            [0, 0, *exact],
            style,
            c=FAINT,
            label=f"closed form, refractory {1e3 * refractory:g} ms",
            zorder=1,
        )
    some = np.linspace(0.6, 3.9, 12)
    for refractory in (0.0, REFRACTORY):
        axes.plot(
            some,
            _rates(some, refractory),
            "o",
            ms=4,
            c=INK,
            label="simulated, steps of 0.05 ms" if refractory else None,
        )
    axes.set(xlabel="current (rheobases)", ylabel="rate (Hz)", xlim=(0.5, 4), ylim=(-5, None))
    axes.legend(fontsize=7, frameon=False)


def _rates(currents: np.ndarray, refractory: float) -> np.ndarray:
    step = 5e-5
    neuron = LIFNeuron(TAU, 0.0, refractory).discrete(step, currents)
    engine = TorchLIF(SpikingLayer(np.zeros((1, len(currents))), neuron), Window(step, 10_000))
    trains = engine.run(np.zeros((1, 1)), ["spikes"])["spikes"][0]
    times = [step * np.flatnonzero(train) for train in trains.T]
    return np.array([(len(t) - 1) / (t[-1] - t[0]) if len(t) > 1 else 0.0 for t in times])


def _potential(axes: plt.Axes) -> None:
    """Behind a synapse, step by step: what a window of every length ends with."""
    tau_s, current, step = 0.005, 1.3, 5e-4
    neuron = LIFNeuron(TAU, tau_s, REFRACTORY)
    du, dv = neuron.decays(step)
    layer = SpikingLayer(np.array([[du * dv]]), neuron.discrete(step))
    drive = np.full((1, 1), current)
    potentials = [
        TorchLIF(layer, Window(step, n)).run(drive, ["membrane"])["membrane"][0, 0] for n in range(1, 161)
    ]
    times = step * np.arange(161)
    smooth = np.linspace(0, 0.08, 500)
    free = current * (1 - (TAU * np.exp(-smooth / TAU) - tau_s * np.exp(-smooth / tau_s)) / (TAU - tau_s))
    axes.plot(1e3 * smooth, free, c=FAINT, label="closed form, no threshold")
    axes.plot(1e3 * times, [0.0, *potentials], c=INK, lw=1.2, label="simulated, steps of 0.5 ms")
    axes.axhline(1, ls=":", c=FAINT, lw=1)
    axes.text(79, 1.02, "threshold", ha="right", va="bottom", fontsize=7, color=FAINT)
    axes.set(xlabel="time (ms)", ylabel="potential (thresholds)", xlim=(0, 80), ylim=(-0.05, 1.9))
    axes.legend(fontsize=7, frameon=False, loc="upper left")


if __name__ == "__main__":
    main()
