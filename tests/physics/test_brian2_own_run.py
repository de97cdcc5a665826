"""The engine's steps against Brian2's own `run`, in another process: Brian2 takes hold of what imports it."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import brian2
import numpy as np
from hwloop.simulators.spiking.brian2.engine import Brian2Engine
from hwloop.simulators.spiking.brian2.neuron_models import MODELS
from hwloop.simulators.spiking.brian2.row_block import brian_quantity
from hwloop.simulators.spiking.engine import Window

STEPS = {"lif-continuous": 1e-4, "adex": 1e-4, "hh": 5e-5}
CURRENTS = np.linspace(0.5, 3.0, 8)


def spikes_of_the_engine(model, step):
    engine = Brian2Engine(model, np.eye(8), Window.from_seconds(step, 0.1, 0.0))
    for _ in range(2):  # what ran before leaves no trace
        spikes = engine.run(CURRENTS[None, :], ["spikes"])["spikes"][0]
    return [list(map(int, pair)) for pair in np.argwhere(spikes)]


def spikes_of_brian2(model, step):
    group = brian2.NeuronGroup(
        8,
        model.equations,
        threshold=model.threshold,
        reset=model.reset,
        refractory=model.refractory or False,
        method=model.method,
        dt=step * brian2.second,
        namespace={name: brian_quantity(name, value) for name, value in model.parameters.items()},
    )
    for name, start in model.initial.items():
        try:
            start = brian_quantity(name, start)
        except ValueError:
            pass  # an expression
        setattr(group, name, start)
    group.I = CURRENTS * brian_quantity("input_unit", model.input_unit)
    monitor = brian2.SpikeMonitor(group)
    brian2.Network(group, monitor).run(0.1 * brian2.second, namespace={})
    return sorted([round(time / step), int(i)] for time, i in zip(monitor.t_[:], monitor.i[:]))


found = {}
for name, step in STEPS.items():
    found[name] = [spikes_of_the_engine(MODELS[name], step), spikes_of_brian2(MODELS[name], step)]
json.dump(found, sys.stdout)
"""


@pytest.mark.slow
def test_a_window_is_what_brian2_runs():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=240)
    for ours, theirs in json.loads(ran.stdout).values():
        assert len(ours) > 30
        assert ours == theirs
