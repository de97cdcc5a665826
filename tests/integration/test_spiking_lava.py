"""Lava itself, in a worker, against torch and against its twin."""

import multiprocessing
import sys
from dataclasses import replace

import numpy as np
import pytest

import hwloop
from hwloop.devices.worker.environments import environment_python
from hwloop.devices.worker.worker import WorkerEngine
from hwloop.errors import ConfigError, DeviceError
from hwloop.experiment.config import load_experiment
from hwloop.experiments.datasets import digits, experiment_file
from hwloop.simulators.spiking.engine import ENGINES, Window
from hwloop.simulators.spiking.lava.loihi.twin import FixedPointTwin
from hwloop.simulators.spiking.layer import SpikingLayer
from hwloop.simulators.spiking.neuron import DiscreteLIF

pytestmark = pytest.mark.slow

EVERYTHING = ["counts", "first_spike", "membrane", "spikes"]
SMALL = {"n_inputs": 12, "n_neurons": 20, "window_seconds": 0.04, "step_seconds": 1e-3, "batch_rows": 64}


@pytest.fixture(scope="module")
def lava_python():
    try:
        return environment_python("lava")
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture
def lava(lava_python):
    """Opens devices, and closes them afterwards."""
    opened = []

    def open_lava(**settings):
        opened.append(hwloop.open_device("spiking-lava", python=lava_python, **{**SMALL, **settings}))
        return opened[-1]

    yield open_lava
    for device in opened:
        device.close()


def stimuli(rows, low=-1.0):
    return np.random.default_rng(5).uniform(low, 1, (rows, 12))


@pytest.mark.parametrize(
    "settings",
    [
        {"refractory_seconds": 0.0},
        {"encoding": "poisson", "settle_seconds": 0.005},
        {"recurrent_radius": 0.8, "recurrent_density": 0.3, "reset": "subtract", "refractory_seconds": 0.0},
    ],
)
def test_floating_point_lava_agrees_with_torch_in_every_spike(lava, settings):
    device = lava(**settings)
    common = {name: value for name, value in {**SMALL, **settings}.items() if name != "batch_rows"}
    torch_device = hwloop.open_device("spiking-lif", **common)
    rows = stimuli(100, 0.0)
    assert np.array_equal(device.measure(rows), torch_device.measure(rows))
    spikes = device.spikes(rows)
    assert spikes.any()
    assert np.array_equal(spikes, torch_device.spikes(rows))
    drive = device._encoding.drive(rows, device.window, device._rngs(0, 100))
    found, expected = (each._engine.run(drive, EVERYTHING) for each in (device, torch_device))
    for name in EVERYTHING:
        assert np.array_equal(found[name], expected[name]), name


@pytest.mark.parametrize(
    "neuron",
    [
        {"du": np.linspace(0.05, 1, 20), "dv": np.linspace(0, 0.5, 20), "threshold": np.linspace(0.2, 2, 20)},
        {"du": 1.0, "dv": 0.1, "threshold": np.inf},
    ],
)
def test_neurons_that_differ_agree_with_torch_for_currents_of_any_size(lava_python, neuron):
    rng = np.random.default_rng(2)
    layer = SpikingLayer(rng.normal(0, 0.1, (12, 20)), DiscreteLIF(bias=rng.normal(0, 0.02, 20), **neuron))
    window, drive = Window(1e-3, 30, 4), rng.integers(-9, 10, (10, 34, 12)).astype(float)
    engine = ENGINES.build("lava", layer, window, python=lava_python, batch_rows=8)
    try:
        found = engine.run(drive, EVERYTHING)
    finally:
        engine.close()
    expected = ENGINES.build("torch", layer, window).run(drive, EVERYTHING)
    for name in EVERYTHING:
        assert np.array_equal(found[name], expected[name]), name


def test_digits_lava_has_the_neurons_of_digits_lif(lava_python):
    """So its accuracy is that of digits-lif, which is tested."""
    lava, lif = (load_experiment(experiment_file(f"digits-{name}")) for name in ("lava", "lif"))
    own = {"name", "description", "device"}
    assert lava.model_dump(exclude=own) == lif.model_dump(exclude=own)
    inputs = digits().inputs[:64] / 8 - 1  # pixels are 0 to 16
    (ours,), (theirs,) = lava.device, lif.device
    with hwloop.open_device(ours.name, python=lava_python, **ours.settings) as device:
        responses = device.measure(inputs)
    assert responses.any()
    assert np.array_equal(responses, hwloop.open_device(theirs.name, **theirs.settings).measure(inputs))


@pytest.mark.parametrize(
    "settings", [{}, {"recurrent_radius": 0.8, "recurrent_density": 0.3}, {"encoding": "raw"}]
)
def test_the_twin_is_lavas_fixed_point_to_the_last_bit(lava, settings):
    settings = {"precision": "fixed", "refractory_seconds": 0.0, "settle_seconds": 0.003, **settings}
    if settings.get("encoding") == "raw":
        settings["n_inputs"] = 12 * 40
    device = lava(**settings)
    twin = hwloop.open_device("spiking-lava", engine="twin", **{**SMALL, **settings})
    rows = np.random.default_rng(5).uniform(-1, 1, (100, settings.get("n_inputs", 12)))
    drive = device._encoding.drive(rows, device.window, [])
    found, expected = (each._engine.run(drive, EVERYTHING) for each in (device, twin))
    assert found["spikes"].any()
    for name in EVERYTHING:
        assert np.array_equal(found[name], expected[name]), name


def test_the_twin_is_lavas_own_dense_and_neurons_of_a_single_row_to_the_last_bit(lava):
    """As a chip has them: no process between source and recorder is of this project."""
    device = lava(precision="fixed", refractory_seconds=0.0)
    target = device._engine._worker.target
    engine = WorkerEngine(replace(target, settings={**target.settings, "layout": "stock"}))
    drive = stimuli(4)
    try:
        found = engine.run(drive, EVERYTHING)
    finally:
        engine.close()
    expected = FixedPointTwin(device.layer.arrays(), 7, device.window.steps).run(drive, EVERYTHING)
    for name in EVERYTHING:
        assert np.array_equal(found[name], expected[name]), name


@pytest.mark.parametrize("precision", ["floating", "fixed"])
def test_no_row_remembers_another(lava, precision):
    device = lava(precision=precision, refractory_seconds=0.0, recurrent_radius=0.9, recurrent_density=0.5)
    row, saturating = stimuli(1), np.sign(stimuli(1))
    alone, loud = device.measure(row), device.measure(saturating)
    assert not np.array_equal(alone, loud)
    assert np.array_equal(device.measure(row), alone)  # in the same place of the batch, after a loud one
    together = device.measure(np.concatenate([row, saturating, row]))
    assert np.array_equal(together, np.concatenate([alone, loud, alone]))


def test_this_process_neither_imports_lava_nor_changes_how_it_starts_others(lava):
    before = multiprocessing.get_start_method(allow_none=True)
    lava().measure(stimuli(1))
    assert "lava" not in sys.modules
    assert multiprocessing.get_start_method(allow_none=True) == before


def test_a_chip_that_is_not_there_is_no_simulation(lava):
    device = lava(precision="fixed", refractory_seconds=0.0, hardware="loihi2")
    with pytest.raises(DeviceError, match="no Loihi 2 can be reached"):
        device.measure(stimuli(1))
