"""`spiking-brian2` through its worker: the spikes of torch, rows that know of no other, nothing left behind."""

import os
import platform
import shutil
import signal
import time
from itertools import pairwise

import h5py
import numpy as np
import pytest

from hwloop import open_device
from hwloop.device import Device
from hwloop.errors import ConfigError, DeviceError

SMALL = {"n_inputs": 6, "n_neurons": 11, "window_seconds": 0.03, "settle_seconds": 0.005}
RECURRENT = {"recurrent_radius": 1.5, "recurrent_density": 0.5, "bias_current": 1.5}
# The same weak, noisy membrane in each neuron, so that the noise alone tells them apart.
NOISY = {
    "equations": "dv/dt = (I - v)/tau + 0.4*xi*tau**-0.5 : 1\nI : 1",
    "threshold": "v > 1",
    "reset": "v = 0",
    "input_unit": "1",
    "membrane_unit": "1",
    "parameters": {"tau": "10*ms"},
}


def stimuli(device: Device, rows: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(device.spec.low, device.spec.high, (rows, device.spec.n_inputs))


def agrees_with_torch(**settings):
    with (
        open_device("spiking-lif", **settings) as torch_lif,
        open_device("spiking-brian2", **settings) as brian2,
    ):
        rows = stimuli(torch_lif, 21)
        expected = torch_lif.spikes(rows)
        assert 0.002 < expected.mean() < 0.5  # there is something to agree on
        np.testing.assert_array_equal(brian2.spikes(rows), expected)
        np.testing.assert_array_equal(brian2.measure(rows), torch_lif.measure(rows))


@pytest.mark.slow
def test_every_spike_is_that_of_torch():
    agrees_with_torch(**SMALL, **RECURRENT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"output": "membrane", "tau_synapse_seconds": 0.0},
        {"output": "first-spike", "refractory_seconds": 0.0, "reset": "subtract", **RECURRENT},
        {"encoding": "poisson", "max_rate_hz": 500.0, "input_scale": 6.0, "output": "membrane", **RECURRENT},
        {"encoding": "latency", "input_scale": 20.0, "output": "counts"},
        {"encoding": "raw", "n_inputs": 60, "output": "membrane", "input_scale": 9.0},
    ],
)
def test_every_spike_is_that_of_torch_however_it_is_driven(settings):
    agrees_with_torch(**{**SMALL, **settings})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="Brian2's compiled target needs g++")
def test_compiled_code_agrees_too():
    with (
        open_device("spiking-lif", **SMALL, **RECURRENT) as torch_lif,
        open_device("spiking-brian2", target="cython", **SMALL, **RECURRENT) as brian2,
    ):
        rows = stimuli(torch_lif, 21)
        np.testing.assert_array_equal(brian2.spikes(rows), torch_lif.spikes(rows))
        np.testing.assert_array_equal(brian2.measure(rows[4:5]), torch_lif.measure(rows[4:5]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"neuron": "hh", "step_seconds": 5e-5, **RECURRENT},
        {"neuron": "adex", "step_seconds": 1e-4, "bias_current": 2.0},
        {"neuron": "lif-continuous", **RECURRENT},
        {"neuron": NOISY},
    ],
    ids=["hh", "adex", "lif-continuous", "noise"],
)
def test_a_row_depends_neither_on_its_batch_mates_nor_on_its_place(settings):
    with open_device("spiking-brian2", **{**SMALL, "output": "membrane", **settings}) as device:
        rows = stimuli(device, 37)  # more than one size of block
        together = device.measure(rows)
        assert together.std(axis=0).min() > 0
        for row in (0, 5, 20, 36):
            device.continue_from(row)  # a trial's number seeds its noise
            np.testing.assert_array_equal(device.measure(rows[row : row + 1])[0], together[row])
        assert device.spec.deterministic == (settings["neuron"] is not NOISY)


@pytest.mark.slow
@pytest.mark.parametrize("neuron", ["lif", "adex", "hh"])
def test_no_row_leaks_into_the_next(neuron):
    settings = {**SMALL, **RECURRENT, "neuron": neuron, "step_seconds": 5e-5, "output": "membrane"}
    with open_device("spiking-brian2", **settings) as device:
        row = stimuli(device, 1)
        saturating = np.broadcast_to(device.spec.high, row.shape)
        before, excited = device.measure(row), device.measure(saturating)
        assert (excited != before).any()
        np.testing.assert_array_equal(device.measure(row), before)


@pytest.mark.slow
def test_noise_repeats_by_trial_and_its_variance_is_that_of_the_equations():
    # Ornstein-Uhlenbeck: tau v' = -v + s sqrt(tau) xi has the stationary variance s^2 / 2.
    quiet_threshold = {**NOISY, "threshold": "v > 1e9"}
    settings = {"n_inputs": 1, "n_neurons": 50, "step_seconds": 1e-4, "output": "membrane", "bias_current": 0.0}
    with open_device("spiking-brian2", neuron=quiet_threshold, bias_spread=0.0, **settings) as device:
        rows = np.zeros((40, 1))
        first = device.measure(rows)
        assert first.var() == pytest.approx(0.4**2 / 2, rel=0.1)
        assert abs(np.corrcoef(first[:, 0], first[:, 1])[0, 1]) < 0.5
        assert (device.measure(rows) != first).all()
        device.continue_from(0)
        np.testing.assert_array_equal(device.measure(rows), first)
        with device.noiseless() as noiseless:
            assert noiseless.spec.deterministic
            np.testing.assert_array_equal(noiseless.measure(rows), 0.0)


@pytest.mark.slow
def test_a_killed_worker_costs_nobody_a_bit_and_a_closed_one_is_gone():
    faults = []
    with open_device("spiking-brian2", neuron=NOISY, **SMALL) as device:
        rows = stimuli(device, 8)
        first = device.measure(rows[:4])
        assert device.versions() == {"python": platform.python_version(), "numpy": np.__version__}
        process = device._engine._worker.process
        device.listener = faults.append
        os.kill(process.pid, signal.SIGKILL)
        begin = time.monotonic()
        second = device.measure(rows[4:])
        assert time.monotonic() - begin < 30.0  # a tenth of it on an idle machine: benchmarks/worker_faults.py
        assert len(faults) == 1
        device.continue_from(0)
        np.testing.assert_array_equal(device.measure(rows), np.concatenate([first, second]))
        last = device._engine._worker.process.pid
        device.close()
    for pid in (process.pid, last):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("neuron", "words"),
    [
        ({"equations": "dv/dt = (I - w)/tau : 1\nI : 1"}, "w"),
        ({"equations": "dv/dt = I - v : 1\nI : 1"}, "dimension|unit"),
        ({"input_variable": "J"}, "did you mean 'I'|no variable"),
        ({"input_unit": "nA"}, "does not fit I"),
        ({"parameters": {"tau": "20*msec"}}, "knows no unit 'msec'"),
    ],
)
def test_equations_that_brian2_refuses_are_refused_when_the_device_opens(neuron, words):
    device = open_device("spiking-brian2", neuron={**NOISY, **neuron}, **SMALL)
    with pytest.raises(ConfigError, match=words):
        device.open()


@pytest.mark.slow
def test_equations_that_diverge_give_an_error_and_no_numbers():
    explosive = {**NOISY, "equations": "dv/dt = (v**3 + 1)/tau : 1\nI : 1", "threshold": "v < -1"}
    with (
        open_device("spiking-brian2", neuron=explosive, **SMALL) as device,
        pytest.raises(DeviceError, match="v of neuron 0 is no finite number"),
    ):
        device.measure(stimuli(device, 1))


@pytest.mark.slow
def test_a_nir_file_gives_the_same_spikes_on_brian2_as_on_torch(tmp_path):
    rng = np.random.default_rng(1)

    def neurons(kind, n, **more):
        values = {"tau": np.full(n, 0.02), "r": np.ones(n), "v_leak": np.zeros(n), **more}
        return {"type": kind, **values}

    nodes = {
        "input": {"type": "Input", "shape": np.array([3])},
        "in": {"type": "Linear", "weight": rng.normal(0, 3, (7, 3))},
        "firing": neurons("LIF", 7, v_threshold=rng.uniform(0.5, 1.5, 7)),
        "between": {"type": "Linear", "weight": rng.normal(0, 3, (4, 7))},
        "integrating": neurons("LI", 4),  # an infinite threshold
        "output": {"type": "Output", "shape": np.array([4])},
    }
    with h5py.File(tmp_path / "net.nir", "w") as file:
        file["node/type"] = "NIRGraph"
        for name, node in nodes.items():
            for key, value in node.items():
                file[f"node/nodes/{name}/{key}"] = value
        file["node/edges"] = np.array(list(pairwise(nodes)), dtype="S50")
    settings = {"step_seconds": 1e-3, "window_seconds": 0.05}
    with (
        open_device(f"nir:{tmp_path / 'net.nir'}", **settings) as torch_nir,
        open_device(f"nir:{tmp_path / 'net.nir'}", engine="brian2", **settings) as brian2,
    ):
        rows = stimuli(torch_nir, 9)
        expected = torch_nir.measure(rows)
        assert expected.std(axis=0).min() > 0
        np.testing.assert_array_equal(brian2.measure(rows), expected)
