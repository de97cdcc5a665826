"""Equilibrium propagation: the contrast of nudged states against differences of a measured loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop
from hwloop.devices.averaged import Averaged
from hwloop.devices.faulty import Faulty
from hwloop.devices.quantized import Quantized
from hwloop.devices.remote.wire_format import Description, described
from hwloop.devices.retrying import Retrying
from hwloop.errors import ConfigError
from hwloop.layers import Encoder
from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.simulators.oscillators.settled import SettledOscillators
from hwloop.tasks import Classification
from hwloop.training.rules.chain_rule import STATES, NudgeContrast, NudgedStates
from hwloop.training.rules.output_error import BatchPass, OutputHead

IDEAL = {"n_inputs": 8, "n_oscillators": 14, "dac_bits": None, "adc_bits": None, "read_noise": 0.0}
SAMPLES, WIDTH, CLASSES, STAGES = 6, 5, 3, 3


def contrast(device, size=1e-3, states="symmetric"):
    """What a contrast makes of stimuli and gradients, the free state measured with it."""
    measured = NudgeContrast(hwloop.Session(device), size, STATES[states])
    return lambda stimuli, gradients: measured(device.measure(stimuli), stimuli, gradients)


def case(device, rows=9, seed=0):
    """Free stimuli, and a loss's derivative by the responses."""
    rng = np.random.default_rng(seed)
    stimuli = np.zeros((rows, device.spec.n_inputs))
    stimuli[:, : device.spec.n_drives] = rng.uniform(-0.9, 0.9, (rows, device.spec.n_drives))
    return stimuli, rng.normal(size=(rows, device.spec.n_outputs))


def differences(device, stimuli, gradients, step=1e-4):
    """Central differences of sum(gradients * measured response) by every drive; nudges stay at rest."""
    found = np.zeros_like(stimuli)
    for channel in range(device.spec.n_drives):
        change = np.zeros(device.spec.n_inputs)
        change[channel] = step
        slope = (device.measure(stimuli + change) - device.measure(stimuli - change)) / (2 * step)
        found[:, channel] = (gradients * slope).sum(axis=1)
    return found


def test_the_contrast_is_the_gradient_of_what_is_measured():
    device = SettledOscillators(**IDEAL)
    stimuli, gradients = case(device)
    expected = differences(device, stimuli, gradients)
    assert np.abs(expected[:, :8]).min(axis=0).max() > 1e-3  # every drive matters
    np.testing.assert_allclose(contrast(device, 1e-4)(stimuli, gradients), expected, atol=1e-6)


def test_a_simulations_derivative_is_that_of_what_is_measured_too():
    device = SettledOscillators(**IDEAL)
    stimuli, gradients = case(device)
    told = device.pull_back(stimuli, gradients)
    np.testing.assert_allclose(told[:, :8], differences(device, stimuli, gradients)[:, :8], atol=1e-6)
    # A drive and the nudge on the same oscillator have the same derivative.
    np.testing.assert_allclose(told[:, 8:16], told[:, :8], atol=1e-12)


@pytest.mark.parametrize(("states", "order"), [("symmetric", 2), ("one-sided", 1)])
def test_its_error_grows_with_the_nudge_as_it_should(states, order):
    device = SettledOscillators(**IDEAL)
    stimuli, gradients = case(device)
    exact = device.pull_back(stimuli, gradients)[:, :8]
    sizes = np.array([0.005, 0.01, 0.02])
    errors = [np.linalg.norm(contrast(device, s, states)(stimuli, gradients)[:, :8] - exact) for s in sizes]
    slopes = np.diff(np.log(errors)) / np.diff(np.log(sizes))
    np.testing.assert_allclose(slopes, order, atol=0.15)


def test_the_noise_of_readings_counts_as_one_over_the_nudge():
    device = SettledOscillators(**IDEAL | {"read_noise": 0.01})
    stimuli, gradients = case(device, rows=400)
    exact = device.pull_back(stimuli, gradients)[:, :8]
    found = [np.std(contrast(device, size)(stimuli, gradients)[:, :8] - exact) for size in (0.002, 0.004)]
    share = np.abs(gradients).max(axis=1)  # one over beta at size 1: the limits are at 1
    expected = 0.01 * np.sqrt(2) / 2 * np.sqrt(np.mean(share**2)) / np.array([0.002, 0.004])
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_without_reciprocity_it_is_wrong():
    class OneWay(hwloop.Device):
        """Each output feels its own force, and half of the next one's; nothing comes back."""

        spec = hwloop.DeviceSpec(8, 4, -1.0, 1.0, deterministic=True, n_nudges=4)

        def _measure(self, inputs):
            forces = inputs[:, :4] + inputs[:, 4:]
            return forces + 0.5 * np.roll(forces, -1, axis=1)

    stimuli, gradients = case(OneWay())
    found, expected = contrast(OneWay())(stimuli, gradients), differences(OneWay(), stimuli, gradients)
    assert np.abs(found - expected).max() > 0.5


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e6])
def test_nudges_fill_their_share_whatever_the_error(scale):
    device = SettledOscillators(**IDEAL)
    session = hwloop.Session(device)
    stimuli, gradients = case(device)
    asked = []
    measure = session.measure
    session.measure = lambda rows, *args, **kwargs: (asked.append(rows), measure(rows, *args, **kwargs))[1]
    free = device.measure(stimuli)
    found = NudgeContrast(session, 0.25, STATES["symmetric"])(free, stimuli, scale * gradients)
    assert len(asked[0]) == 18
    np.testing.assert_allclose(np.abs(asked[0][:, 8:]).max(axis=1), 0.25)
    np.testing.assert_array_equal(asked[0][:, :8], np.tile(stimuli[:, :8], (2, 1)))
    assert np.isfinite(found).all()


def test_no_error_is_no_nudge_and_no_gradient():
    device = SettledOscillators(**IDEAL | {"read_noise": 0.01})
    stimuli, _ = case(device)
    assert not contrast(device)(stimuli, np.zeros((9, 14))).any()


class Flown:
    """Three stages on one ring, an output head with weights, and a batch that has flown through them."""

    def __init__(self, device) -> None:
        rng = torch.Generator().manual_seed(3)
        stages = [hwloop.Stage(WIDTH) for _ in range(STAGES)]
        self.network = hwloop.PhysicalNetwork(hwloop.Session(device), stages, seed=1)
        self.network.build(4)
        self.labels = torch.arange(SAMPLES) % CLASSES
        self.batch = BatchPass(torch.arange(SAMPLES), self.labels)
        self.head = OutputHead([device.spec.n_outputs] * STAGES, Classification(CLASSES))
        with torch.no_grad():
            self.head.weight.normal_(0.0, 0.3, generator=rng)
        inputs = torch.randn(SAMPLES, 4, generator=rng, dtype=torch.float64)
        for number, stage in enumerate(stages):
            stage.encoder.fit(2.0 * inputs)  # away from the limits
            self.batch.inputs[number], self.batch.stimuli[number] = inputs, stage.encoder(inputs)
            responses = self.batch.responses[number] = device.measure(self.batch.stimuli[number])
            stage.fit_standardisers(inputs, torch.from_numpy(responses))
            self.batch.features[number] = stage.features(inputs, responses)
            inputs = stage.linear(self.batch.features[number]).detach().double()

    def losses(self, features: dict[int, torch.Tensor]) -> torch.Tensor:
        seen = torch.cat([features[number] for number in range(STAGES)], dim=1)
        return self.head.judge(seen, self.labels).losses

    def losses_with(self, number: int, change: torch.Tensor) -> torch.Tensor:
        """With something added to z of a stage."""
        features = dict(self.batch.features)
        z = self.network.stages[number].linear(features[number]).detach().double() + change
        for later in range(number + 1, STAGES):
            stage = self.network.stages[later]
            responses = self.network.sessions[later].device.measure(stage.encoder(z))
            features[later] = stage.features(z, responses)
            z = stage.linear(features[later]).detach().double()
        return self.losses(features)


def test_every_stage_gets_the_gradient_of_the_measured_loss():
    flown = Flown(SettledOscillators(**IDEAL))
    rule = NudgedStates(0.01, "symmetric")
    rule.check(flown.network)
    rule.begin(flown.network, Classification(CLASSES), torch.Generator())
    verdict = flown.head.judge(torch.cat([flown.batch.features[n] for n in range(STAGES)], dim=1), flown.labels)
    found = rule.by_outputs(flown.batch, verdict, flown.head)
    assert sorted(found) == [0, 1]
    for number, gradient in found.items():
        assert gradient.shape == (SAMPLES, WIDTH)
        assert gradient.abs().max() > 0.01
        for channel in range(WIDTH):
            change = 0.02 * torch.eye(WIDTH, dtype=torch.float64)[channel]
            slope = (flown.losses_with(number, change) - flown.losses_with(number, -change)) / 0.04
            np.testing.assert_allclose(gradient[:, channel], slope, atol=2e-3 * float(gradient.abs().max()) + 2e-4)


# -- who can be trained --------------------------------------------------------------------------------


def blobs(samples: int = 24) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(samples) % CLASSES
    return np.random.default_rng(0).normal(size=(samples, 4)) + 2.0 * np.eye(CLASSES, 4)[labels], labels


def test_a_device_without_nudges_is_refused_before_the_first_row():
    session = hwloop.Session(OpticalFibre(n_inputs=8, n_outputs=12))
    network = hwloop.PhysicalNetwork(session, [hwloop.Stage(4), hwloop.Stage(4)])
    with pytest.raises(ConfigError, match=r"stage 2, OpticalFibre.*n_nudges.*settled-oscillators.*local"):
        hwloop.trainer("eqprop", epochs=2).fit(network, *blobs())
    assert session.ledger.total == 0


def test_the_first_stages_device_needs_none():
    sessions = [
        hwloop.Session(OpticalFibre(n_inputs=8, n_outputs=12)),
        hwloop.Session(SettledOscillators(**IDEAL)),
    ]
    network = hwloop.PhysicalNetwork(sessions, [hwloop.Stage(4), hwloop.Stage(4)])
    trainer = hwloop.trainer("eqprop", epochs=2, batch_samples=10)
    trainer.fit(network, *blobs())
    assert [session.ledger["train"] for session in sessions] == [24, 24 * 7]
    assert [trainer.stage_cost(24, CLASSES, stage, 2) for stage in (0, 1)] == [24, 24 * 7]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda device: Averaged(device, 2),
        lambda device: Quantized(device, dac_bits=12, adc_bits=12, adc_range=(-1.0, 1.0)),
        lambda device: Faulty(device, {}),
        Retrying,
    ],
    ids=["averaged", "quantized", "faulty", "retrying"],
)
def test_wrappers_pass_the_nudges_on(wrapped):
    device = wrapped(SettledOscillators(**IDEAL))
    assert device.spec.n_nudges == 14
    with device:
        stimuli, gradients = case(device)
        exact = SettledOscillators(**IDEAL).pull_back(stimuli, gradients)[:, :8]
        found = contrast(device, 0.05)(stimuli, gradients)[:, :8]
    assert np.linalg.norm(found - exact) < 0.15 * np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"size": 0.0}, "size"), ({"size": 1.5}, "size"), ({"states": "symetric"}, "symmetric")],
)
def test_options_that_cannot_be_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        hwloop.trainer("eqprop", **options)


# -- the seam ------------------------------------------------------------------------------------------


def test_an_encoder_leaves_nudges_at_rest():
    spec = SettledOscillators(**IDEAL).spec
    for n_features in (3, 7, 40):
        encoder = Encoder(spec, n_features)
        rows = torch.from_numpy(np.random.default_rng(0).normal(size=(20, n_features)))
        encoder.fit(rows)
        stimuli = encoder(rows)
        assert stimuli.shape == (20, 22)
        assert not stimuli[:, 8:].any()
        assert (stimuli[:, 7] == 1).all()  # the reference is the last drive


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"n_nudges": 3}, "0, or n_outputs"),
        ({"n_nudges": -4}, "0, or n_outputs"),
        ({"n_nudges": True}, "0, or n_outputs"),
        ({"n_nudges": 4.0}, "0, or n_outputs"),
        ({"n_inputs": 4}, "must be drives"),
        ({"n_inputs": 9}, "must be drives"),
        ({"input_low": 0.0}, "both sides of 0"),
    ],
)
def test_nudges_that_cannot_be_are_refused(given, match):
    with pytest.raises(ValueError, match=match):
        hwloop.DeviceSpec(**{"n_inputs": 6, "n_outputs": 4, "n_nudges": 4, "input_low": -1.0, **given})


def test_a_device_without_nudges_is_described_as_before_there_were_any():
    assert "n_nudges" not in hwloop.DeviceSpec(3, 2).as_dict()
    spec = hwloop.DeviceSpec(6, 4, -1.0, n_nudges=np.int64(4))
    assert spec.as_dict()["n_nudges"] == 4
    assert hwloop.DeviceSpec(**spec.as_dict()) == spec != hwloop.DeviceSpec(6, 4, -1.0)
    assert (spec.n_drives, hwloop.DeviceSpec(6, 4).n_drives) == (2, 6)


def test_a_served_device_keeps_its_nudges():
    spec = SettledOscillators(**IDEAL).spec
    header, arrays = Description(spec, "a ring").frame()
    assert described(header, arrays).spec == spec
