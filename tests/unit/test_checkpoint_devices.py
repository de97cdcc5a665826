"""A checkpoint knows the device that it was trained on, refuses another, and builds one that was built by name."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import hwloop
from hwloop.errors import CheckpointError, ConfigError, HwloopWarning
from hwloop.registry import DEVICES

ROWS = np.random.default_rng(0).uniform(-1, 1, (40, 6))
LABELS = np.arange(40) % 3


def fibre(**settings):
    return hwloop.open_device("optical-fibre", **{"n_inputs": 9, "n_outputs": 12, "seed": 1, **settings})


def saved_on(path, *devices):
    sessions = [hwloop.Session(device) for device in devices]
    network = hwloop.PhysicalNetwork(sessions * (2 // len(sessions)), [hwloop.Stage(6), hwloop.Stage(6)])
    hwloop.trainer("readout").fit(network, ROWS, LABELS)
    hwloop.save_network(network, path)
    return network


class Unit(hwloop.Device):
    """An instrument with a serial number."""

    spec = hwloop.DeviceSpec(n_inputs=9, n_outputs=12, input_low=-1.0, input_high=1.0)

    def __init__(self, serial: str) -> None:
        self.serial = serial

    harmless_settings = {"serial": "what the instrument says of itself"}  # noqa: RUF012

    def identify(self) -> str:
        return f"unit {self.serial}"

    def _measure(self, inputs):
        return np.tanh(inputs @ np.random.default_rng(7).normal(size=(9, 12)))


CHANGED = {
    "seed": (fibre(seed=2), r"OpticalFibre\.seed: 1, not 2"),
    "inputs": (fibre(n_inputs=11), r"n_inputs: 9, not 11"),
    "outputs": (fibre(n_outputs=13), r"n_outputs: 12, not 13"),
    "wrapped": (hwloop.Averaged(fibre(), n=4), r"device: OpticalFibre, not Averaged around OpticalFibre"),
    "class": (Unit("A"), r"device: OpticalFibre, not Unit"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_another_device_is_refused_by_what_differs(tmp_path, name):
    path, (device, message) = tmp_path / "net.safetensors", CHANGED[name]
    saved_on(path, fibre())
    session = hwloop.Session(device)
    with pytest.raises(CheckpointError, match=rf"trained on another device .*{message}.*device_changed="):
        hwloop.load_network(path, session)
    assert session.ledger.total == 0


def test_another_device_is_taken_with_a_warning_where_that_was_asked_for(tmp_path):
    path = tmp_path / "net.safetensors"
    network = saved_on(path, fibre())
    with pytest.warns(HwloopWarning, match=r"OpticalFibre\.seed: 1, not 2.*Expect another accuracy"):
        other = hwloop.load_network(path, hwloop.Session(fibre(seed=2)), device_changed="warn")
    assert not np.array_equal(other.predict_proba(ROWS), network.predict_proba(ROWS))
    with pytest.raises(ConfigError, match="did you mean 'warn'"):
        hwloop.load_network(path, device_changed="warm")


def test_another_serial_number_is_another_device(tmp_path):
    path = tmp_path / "net.safetensors"
    saved_on(path, Unit("A"))
    hwloop.load_network(path, hwloop.Session(Unit("A")))
    with pytest.raises(CheckpointError, match=r'"unit A", not "unit B"'):
        hwloop.load_network(path, hwloop.Session(Unit("B")))


def test_each_stage_has_the_device_that_it_was_trained_on(tmp_path):
    path = tmp_path / "net.safetensors"
    saved_on(path, fibre(seed=1), fibre(seed=2))
    hwloop.load_network(path, [hwloop.Session(fibre(seed=seed)) for seed in (1, 2)])
    with pytest.raises(CheckpointError, match=r"stage 1 now .*seed: 1, not 2"):
        hwloop.load_network(path, [hwloop.Session(fibre(seed=seed)) for seed in (2, 1)])


def device_file(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(
        'device = "optical-fibre"\n[settings]\nn_inputs = 9\nn_outputs = 12\nread_noise = 0.0\n'
        '[[wrap]]\nname = "quantized"\ndac_bits = 6\n[[wrap]]\nname = "averaged"\nn = 2\n'
    )
    return hwloop.open_device(path)


BUILT = {
    "by name": lambda tmp_path: fibre(read_noise=0.0),
    "from a file": device_file,
    "its class": lambda tmp_path: DEVICES.load("optical-fibre")(n_inputs=9, n_outputs=12, read_noise=0.0),
    "a wrapper around it": lambda tmp_path: hwloop.Averaged(fibre(read_noise=0.0), n=3),
}


@pytest.mark.parametrize("how", BUILT)
def test_a_device_that_was_built_by_name_is_built_again(tmp_path, how):
    path = tmp_path / "net.safetensors"
    network = saved_on(path, BUILT[how](tmp_path))
    for other in tmp_path.glob("*.toml"):
        other.unlink()
    again = hwloop.load_network(path)
    assert len(again.distinct_sessions) == 1
    np.testing.assert_array_equal(again.predict_proba(ROWS), network.predict_proba(ROWS))


@pytest.mark.slow
def test_another_process_predicts_the_same_from_the_file_alone(tmp_path):
    path = tmp_path / "net.safetensors"
    network = saved_on(path, fibre(seed=1, read_noise=0.0), fibre(seed=2, read_noise=0.0))
    script = (
        "import sys, json, numpy, hwloop; rows = numpy.random.default_rng(0).uniform(-1, 1, (40, 6));"
        "print(json.dumps(hwloop.load_network(sys.argv[1]).predict_proba(rows).tolist()))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    np.testing.assert_array_equal(np.array(json.loads(done.stdout)), network.predict_proba(ROWS))


@pytest.mark.parametrize(
    "recipe",
    [
        {"device": "evil:Rig", "settings": {}, "wrap": []},
        {"device": "worker:x", "settings": {"target": "evil.py:Rig"}, "wrap": []},
        {"device": "pool", "settings": {"devices": ["evil:Rig"]}, "wrap": []},
        {"device": "spiking-lava", "settings": {"python": "./evil"}, "wrap": []},
        {"device": "optical-fibre", "settings": {"n_inputs": 9}, "wrap": [{"name": "evil:Rig"}]},
        {"device": "optical-fibre", "settings": {"n_inputs": {"x": 1}}, "wrap": []},
        {"device": "optical-fibre", "settings": {}, "wrap": [], "import": "evil"},
        {"device": ["evil"], "settings": {}, "wrap": [{"name": ["evil"]}]},
        "evil:Rig",
        None,
    ],
)
def test_a_checkpoint_imports_nothing_that_it_names(tmp_path, monkeypatch, reseal, recipe):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.safetensors"
    saved_on(path, fibre())
    described = json.loads(path.with_suffix(".json").read_text())
    described["devices"][0]["built_as"] = recipe
    path.with_suffix(".json").write_text(json.dumps(described))
    reseal(path)
    with pytest.raises(CheckpointError, match=r"plain settings alone.*open the device yourself"):
        hwloop.load_network(path)


def test_a_device_of_ones_own_must_be_given(tmp_path):
    path = tmp_path / "net.safetensors"
    network = saved_on(path, Unit("A"))
    with pytest.raises(
        CheckpointError, match=r"trained on .*Unit, .*load_network\(path, hwloop\.Session\(device\)\)"
    ):
        hwloop.load_network(path)
    again = hwloop.load_network(path, hwloop.Session(Unit("A")))
    np.testing.assert_array_equal(again.predict_proba(ROWS), network.predict_proba(ROWS))


@pytest.mark.parametrize("value", [None, {}, [3], [{"stages": "0"}], [{"stages": [0]}], [{"stages": [0], "x": 1}]])
def test_devices_that_make_no_sense_are_refused(tmp_path, reseal, value):
    path = tmp_path / "net.safetensors"
    saved_on(path, fibre())
    described = json.loads(path.with_suffix(".json").read_text()) | {"devices": value}
    path.with_suffix(".json").write_text(json.dumps(described))
    reseal(path)
    for session in (None, hwloop.Session(fibre())):
        with pytest.raises(CheckpointError):
            hwloop.load_network(path, session)
