"""Whatever state the program has put torch into, hwloop computes the same bits and leaves that state as it was."""

from __future__ import annotations

import ast
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import each_row
from small_fits import Mixer, blobs, each_trainer, options, small_network

import hwloop
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.registry import DEVICES, accepted_settings, open_device
from hwloop.torch_state import own_torch_state
from hwloop.training.echo_state import EchoState
from hwloop.training.reservoir import DigitalRecurrence

pytestmark = pytest.mark.exhaustive


@contextmanager
def process_wide(setter, value, before):
    """A setting of the whole process, and what it was before afterwards."""
    setter(value)
    try:
        yield
    finally:
        setter(before)


def default_dtype():
    return process_wide(torch.set_default_dtype, torch.float64, torch.float32)


def deterministic():
    return process_wide(torch.use_deterministic_algorithms, True, False)


@contextmanager
def default_device():
    """As ``torch.set_default_device("cuda")`` would, without one: a tensor made there has no values."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def everything():
    """All of them at once."""
    with default_dtype(), default_device(), deterministic(), torch.inference_mode(), torch.autocast("cpu"):
        yield


STATES = {
    "float64": default_dtype,
    "default device": default_device,
    "no_grad": torch.no_grad,
    "grad off": lambda: torch.set_grad_enabled(False),
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu"),
    "deterministic": deterministic,
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "device context": lambda: torch.device("meta"),
    "one thread": lambda: process_wide(torch.set_num_threads, 1, torch.get_num_threads()),
    "everything": everything,
}
# Each for itself among the slow tests; all at once, which no trainer stood, always.
every_state = pytest.mark.parametrize("state", each_row(STATES, "everything"))


def seen_by_torch():
    """All of the state that a test changes."""
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        torch.get_num_threads(),
    )


def trained(name, inputs, labels, callbacks=()):
    """Every number of a fit: weights, losses and probabilities."""
    trainer = hwloop.trainer(name, **options(name, min_steps=8, epochs=1, batch_samples=16, twin="linear"))
    network = small_network(Mixer())
    history = trainer.fit(network, inputs, labels, callbacks=callbacks)
    probabilities = network.predict_proba(inputs[:7])
    # Outside of every state, or comparing itself would be in it.
    weights = {key: np.array(value.numpy()) for key, value in network.state_dict().items()}
    return weights, history.losses, probabilities


def assert_same(found, expected):
    weights, losses, probabilities = found
    assert weights.keys() == expected[0].keys()
    for key, value in weights.items():
        assert value.dtype == expected[0][key].dtype, key
        np.testing.assert_array_equal(value, expected[0][key], err_msg=key)
    assert losses == expected[1]
    np.testing.assert_array_equal(probabilities, expected[2])


@pytest.mark.usefixtures("quick_readouts")
@every_state
@pytest.mark.parametrize("name", each_trainer("local", "ff", "phyll", "dfa", "lookahead", "readout", daily=True))
def test_the_same_bits_in_every_state(name, state):
    expected = trained(name, *blobs())
    before = seen_by_torch()
    with STATES[state]():
        inside = seen_by_torch()
        found = trained(name, *blobs())
        assert seen_by_torch() == inside
    assert seen_by_torch() == before
    assert_same(found, expected)


def test_the_state_comes_back_after_an_error_and_a_callback_has_no_hand_in_the_fit():
    def meddling(event):
        torch.set_grad_enabled(False)
        torch.set_autocast_enabled("cpu", True)

    expected = trained("local", *blobs())
    assert_same(trained("local", *blobs(), callbacks=[meddling]), expected)
    assert torch.is_grad_enabled()

    def failing(event):
        raise RuntimeError("no more")

    with everything():
        inside = seen_by_torch()
        with pytest.raises(RuntimeError, match="no more"):
            trained("local", *blobs(), callbacks=[failing])
        assert seen_by_torch() == inside


def test_rows_and_labels_may_be_inference_tensors():
    inputs, labels = blobs()
    expected = trained("local", inputs, labels)
    with torch.inference_mode():
        given = torch.from_numpy(inputs), torch.from_numpy(labels)
    assert_same(trained("local", *given), expected)


# -- everything else that computes with torch --------------------------------------------------------------

SMALL = {"n_inputs": 12, "n_outputs": 4, "n_neurons": 4}


def substrates():
    """Devices of hwloop that open without instrument, file or another process."""
    return [name for name, entry in DEVICES.entries().items() if entry.value.startswith("hwloop.simulators.")]


@pytest.mark.parametrize(
    "name", each_row(substrates(), "optical-fibre", "oscillators", "spiking-lif", daily=substrates())
)
def test_every_substrate_gives_the_same_bits(name):
    def answers():
        factory = DEVICES.load(name)
        accepted = accepted_settings(factory) or set()
        settings = {key: value for key, value in SMALL.items() if key in accepted and name not in AS_THEY_ARE}
        device = open_device(name, **settings, **OWN.get(name, {}))
        spec = device.spec
        stimuli = np.random.default_rng(0).uniform(spec.low, spec.high, (3, spec.n_inputs))
        with device:
            return device.measure(stimuli)

    expected = answers()
    with everything():
        found = answers()
    np.testing.assert_array_equal(found, expected)


AS_THEY_ARE = ()
OWN = {}


def test_twin_checkpoint_adapter_and_echo_state(tmp_path, monkeypatch):
    monkeypatch.setattr("hwloop.twin.mlp.STEPS", 40)
    inputs, labels = blobs()

    def figures(path):
        rng = np.random.default_rng(1)
        x = rng.uniform(-1, 1, (60, 12))
        twin = hwloop.twin.fit(x, np.abs(x @ rng.normal(size=(12, 4))))
        network = PhysicalNetwork(hwloop.Session(Mixer()), [Stage(6), Stage(6)], seed=1)
        hwloop.trainer("local", min_steps=12, epochs=2).fit(network, inputs, labels)
        anchors = hwloop.adapt.Anchors.record(network, inputs, labels)
        hwloop.save_network(network, path)
        loaded = hwloop.load_network(path, hwloop.Session(Mixer()))
        adapter = hwloop.adapt.Adapter(loaded, "recall", anchors, gate=0.0)
        adapter.step()
        device = hwloop.Session(Mixer())
        echo = EchoState(DigitalRecurrence(device, feedback_channels=3)).fit(
            inputs.reshape(3, 8, 5), inputs.reshape(3, 8, 5)[:, :, :1]
        )
        return (
            twin.noiseless().measure(x[:5]),
            loaded.predict_proba(inputs),
            echo.predict(inputs.reshape(3, 8, 5)),
            path.read_bytes(),
        )

    expected = figures(tmp_path / "plain.safetensors")
    with everything():
        found = figures(tmp_path / "other.safetensors")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_tensor_is_made_without_saying_its_dtype():
    """The default dtype belongs to the whole process: a device may compute with it in another thread meanwhile."""
    makers = {"zeros", "ones", "empty", "full", "rand", "randn", "tensor", "eye", "linspace", "logspace", "normal"}
    silent = []
    for package in ("hwloop", "hwloop.simulators", "hwloop.devices"):
        root = Path(__import__(package, fromlist=["_"]).__file__).parent
        for path in sorted(root.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                maker = ast.unparse(node.func)
                known = (maker.startswith("torch.") and node.func.attr in makers) or maker == "nn.Linear"
                if known and not any(keyword.arg == "dtype" for keyword in node.keywords):
                    silent.append(f"{path.name}:{node.lineno} {maker}")
    assert not silent


def test_states_nest():
    with torch.no_grad(), own_torch_state():
        assert torch.is_grad_enabled()
        with torch.inference_mode(), own_torch_state():
            assert not torch.is_inference_mode_enabled()
            assert torch.zeros(1, dtype=torch.float32).requires_grad_().requires_grad
