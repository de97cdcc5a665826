"""Time a row of `spiking-lif` beside snnTorch and norse, which simulate the same neurons in the same process.

64 currents into 100 leaky integrate-and-fire neurons with synapses, 200 steps of 0.5 ms; spike counts out. All get
the input currents once a row and add up spikes step by step without gradients; the peers compute in single
precision. snnTorch has the same recurrence, so its counts are compared; norse takes Euler steps. Each figure is
the least processor time of several, in turns, on one thread.

Seven in ten of these neurons stay below the threshold for ever, and `spiking-lif` leaves them out; "every neuron"
reads potentials too, for which all are stepped.

    pip install -c constraints.txt snntorch norse
    python benchmarks/lif_rows.py
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from sizes import sized
from table import print_table

from hwloop.simulators.spiking.spiking_lif import SpikingLIF

TURNS = sized(15, short=1)
ROWS = sized((32, 256), short=(2,))
Count = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    torch.set_num_threads(1)
    same = {"bias_current": 0.0, "bias_spread": 0.0, "refractory_seconds": 0.0, "output": "counts"}
    device = SpikingLIF(**same)
    contestants: dict[str, Count] = {
        "hwloop": device.measure,
        "hwloop, single": SpikingLIF(precision="single", **same).measure,
        "hwloop, every neuron": every_neuron(device),
        "snnTorch": snntorch(device),
        "norse": norse(device),
    }
    lines = []
    for rows in ROWS:
        stimuli = np.random.default_rng(0).uniform(-1, 1, (rows, 64))
        counts = {name: count(stimuli) for name, count in contestants.items()}
        best = dict.fromkeys(contestants, np.inf)
        for _ in range(TURNS):
            for name, count in contestants.items():
                begin = time.process_time()
                count(stimuli)
                best[name] = min(best[name], 1e3 * (time.process_time() - begin) / rows)
        lines += [
            [
                str(rows),
                name,
                f"{each:.3f}",
                f"{each / best['hwloop']:.1f}",
                f"{(counts[name] == counts['hwloop']).mean():.2%}",
            ]
            for name, each in best.items()
        ]
    print_table(
        "64 currents into 100 LIF neurons, 200 steps, one thread",
        ["rows a call", "", "ms a row", "of hwloop's time", "counts that agree"],
        lines,
    )


def every_neuron(device: SpikingLIF) -> Count:
    """The engine of the device, asked for potentials beside counts."""
    return lambda stimuli: device._engine.run(stimuli, ["counts", "membrane"])["counts"]


def snntorch(device: SpikingLIF) -> Count:
    """`Synaptic` neurons, whose recurrence is the same."""
    import snntorch as snn

    neuron = device.layer.neuron
    weights = torch.tensor(device.layer.weights, dtype=torch.float32)
    cell = snn.Synaptic(
        alpha=1 - neuron.du, beta=1 - neuron.dv, threshold=1.0, reset_mechanism="zero", reset_delay=False
    )

    @torch.inference_mode()
    def counts(stimuli: np.ndarray) -> np.ndarray:
        current = torch.tensor(stimuli, dtype=torch.float32) @ weights
        synapse, membrane = torch.zeros_like(current), torch.zeros_like(current)
        total = torch.zeros_like(current)
        for _ in range(device.window.steps):
            spikes, synapse, membrane = cell(current, synapse, membrane)
            total += spikes
        return total.numpy()

    return counts


def norse(device: SpikingLIF) -> Count:
    """`LIFCell`, with the same time constants."""
    from norse.torch import LIFCell, LIFParameters

    parameters = LIFParameters(tau_syn_inv=torch.tensor(200.0), tau_mem_inv=torch.tensor(50.0))
    cell = LIFCell(p=parameters, dt=device.window.step_seconds)
    scale = device.layer.neuron.dv  # what norse applies itself
    weights = torch.tensor(device.layer.weights / scale, dtype=torch.float32)

    @torch.inference_mode()
    def counts(stimuli: np.ndarray) -> np.ndarray:
        current = torch.tensor(stimuli, dtype=torch.float32) @ weights
        total, state = torch.zeros_like(current), None
        for _ in range(device.window.steps):
            spikes, state = cell(current, state)
            total += spikes
        return total.numpy()

    return counts


if __name__ == "__main__":
    main()
