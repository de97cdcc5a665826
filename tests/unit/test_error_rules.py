"""What each rule rule makes of an output error, against the derivative that torch finds for a known device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop
from hwloop.tasks import Classification
from hwloop.training.optimiser import Adam, FixedStep, GradientDescent, SignDescent
from hwloop.training.rules.chain_rule import ExactChainRule
from hwloop.training.rules.feedback import InputModulation
from hwloop.training.rules.output_error import (
    LABEL_SMOOTHING,
    BatchPass,
    ErrorRule,
    MapGradient,
    OutputHead,
    Verdict,
)
from hwloop.training.rules.perturbation import (
    ClientPerturbation,
    ConservativePerturbation,
    Gaussians,
    NodePerturbation,
    Signs,
    WeightPerturbation,
)

SAMPLES, FEATURES, WIDTH, OUTPUTS, CLASSES, STAGES = 24, 5, 4, 7, 3, 3


class Cubic(hwloop.Device):
    """y = (x A)^3 / 3 + x A: smooth, and its derivative is known."""

    def __init__(self) -> None:
        self.spec = hwloop.DeviceSpec(6, OUTPUTS, -1.0, 1.0, deterministic=True)
        self.matrix = np.random.default_rng(0).normal(size=(6, OUTPUTS))

    def _measure(self, inputs):
        inner = inputs @ self.matrix
        return inner**3 / 3 + inner

    def pull_back(self, stimuli, gradients):
        return (gradients * ((stimuli @ self.matrix) ** 2 + 1)) @ self.matrix.T


class Bench:
    """Three stages on that device, an output head with weights, and a batch flown through them."""

    def __init__(self) -> None:
        rng = torch.Generator().manual_seed(3)
        stages = [hwloop.Stage(WIDTH) for _ in range(STAGES)]
        self.network = hwloop.PhysicalNetwork(hwloop.Session(Cubic()), stages, seed=1)
        self.network.build(FEATURES)
        self.inputs = torch.randn(SAMPLES, FEATURES, generator=rng, dtype=torch.float64)
        self.labels = torch.arange(SAMPLES) % CLASSES
        self.head = OutputHead([OUTPUTS] * STAGES, Classification(CLASSES))
        with torch.no_grad():
            self.head.weight.normal_(0.0, 0.3, generator=rng)
        features = self.inputs
        for stage in stages:
            stage.encoder.fit(3.0 * features)  # far from the limits
            responses = Cubic().measure(stage.encoder(features))
            stage.fit_standardisers(features, torch.from_numpy(responses))
            features = stage.map(stage.features(features, responses))
        first = self.network.stages[0]
        self.first = first.features(self.inputs, Cubic().measure(first.encoder(self.inputs)))

    def fly(self, rule: ErrorRule, batch: BatchPass | None = None) -> tuple[BatchPass, Verdict]:
        if batch is None:
            batch = BatchPass(torch.arange(SAMPLES), self.labels, rule.variants)
            batch.features[0] = self.first.repeat(rule.variants, 1)
        for number in range(1, STAGES):
            stage = self.network.stages[number]
            batch.inputs[number] = rule.outputs(batch, number - 1, self.network.stages[number - 1])
            batch.stimuli[number] = stage.encoder(batch.inputs[number])
            responses = Cubic().measure(batch.stimuli[number])
            batch.features[number] = stage.features(batch.inputs[number], responses)
        seen = torch.cat([batch.features[number] for number in range(STAGES)], dim=1)
        return batch, self.head.judge(seen, batch.labels.repeat(batch.variants))

    def estimate(self, rule: ErrorRule, repeats: int = 1) -> list[torch.Tensor]:
        """Mean estimate of the gradient by each map's weight."""
        rule.begin(self.network, Classification(CLASSES), torch.Generator().manual_seed(5))
        total = [torch.zeros(WIDTH, OUTPUTS) for _ in range(STAGES - 1)]
        for _ in range(repeats):
            with torch.no_grad():
                found = rule.gradients(*self.fly(rule), self.head)
            for number, gradient in found.items():
                total[number] += gradient.weight / repeats
        return total

    def by_torch(self) -> list[torch.Tensor]:
        """The same by automatic differentiation of everything, the device too."""
        weights = [stage.linear.weight.detach().double().requires_grad_() for _, stage, _ in self.network][:-1]
        features, seen = self.first.double(), [self.first.double()]
        matrix = torch.from_numpy(Cubic().matrix)
        for number, weight in enumerate(weights):
            z = features @ weight.T + self.network.stages[number].linear.bias.detach()
            stage = self.network.stages[number + 1]
            encoder = stage.encoder
            data = (z - encoder.mean) * encoder.gain
            stimuli = torch.from_numpy(encoder(z.detach())).clone()
            inner = torch.cat([data, stimuli[:, data.shape[1] :]], dim=1) @ matrix
            responses = inner**3 / 3 + inner
            features = (responses - stage.standardiser.mean) * stage.standardiser.inverse_std
            seen.append(features)
        logits = torch.cat(seen, dim=1) @ self.head.weight.detach().double().T
        loss = torch.nn.functional.cross_entropy(logits, self.labels, label_smoothing=LABEL_SMOOTHING)
        return list(torch.autograd.grad(loss, weights))


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))


def test_the_heads_own_gradient_is_that_of_the_cross_entropy(bench):
    rows = torch.randn(10, OUTPUTS * STAGES, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(10) % CLASSES
    logits = rows @ bench.head.weight.T + bench.head.bias
    loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)
    (expected,) = torch.autograd.grad(loss, [bench.head.weight])
    verdict = bench.head.judge(rows, labels)
    bench.head.set_gradient(rows, verdict)
    torch.testing.assert_close(bench.head.weight.grad, expected, atol=1e-6, rtol=1e-4)
    assert float(verdict.losses.mean()) == pytest.approx(float(loss.detach()), rel=1e-5)


def test_exact_gradients_are_those_of_automatic_differentiation_through_every_stage(bench):
    for found, expected in zip(bench.estimate(ExactChainRule()), bench.by_torch(), strict=True):
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-3)


def test_input_modulation_teaches_no_channel_that_is_idle_in_both_passes(bench):
    network = hwloop.PhysicalNetwork(
        hwloop.Session(Cubic()), [hwloop.Stage(WIDTH, "relu") for _ in range(2)], seed=1
    )
    network.build(FEATURES)
    rule, samples = InputModulation(0.1), torch.arange(SAMPLES)
    rule.begin(network, Classification(CLASSES), torch.Generator().manual_seed(0))
    plain = BatchPass(samples, bench.labels, features={0: bench.first})
    modulated = BatchPass(samples, bench.labels, features={0: 0.9 * bench.first}, earlier=plain)
    found = rule.by_outputs(modulated, Verdict(torch.zeros(SAMPLES), torch.zeros(SAMPLES, CLASSES)), bench.head)[0]
    z = (
        bench.first @ network.stages[0].linear.weight.detach().T
    )  # the bias is zero: 0.9 of the features give 0.9 z
    assert 0 < int((z < 0).sum()) < z.numel()
    torch.testing.assert_close(found, 0.1 * z.clamp_min(0) / z.clamp_min(0).std(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("rule", "repeats", "alike"),
    [
        (NodePerturbation("random", 0.02), 200, 0.97),
        pytest.param(WeightPerturbation(Signs(), 0.02), 300, 0.75, marks=pytest.mark.slow),
        pytest.param(WeightPerturbation(Gaussians(), 0.02, pairs=3, groups=4), 100, 0.6, marks=pytest.mark.slow),
        pytest.param(WeightPerturbation(Signs(), 0.02, groups=0), 100, 0.6, marks=pytest.mark.slow),
        pytest.param(ClientPerturbation(Gaussians(), 0.02, pairs=2, clients=3), 150, 0.75, marks=pytest.mark.slow),
    ],
    ids=["node", "signs", "pairs and groups", "a code a sample", "clients"],
)
def test_perturbations_estimate_the_gradient_without_bias(bench, rule, repeats, alike):
    for found, expected in zip(bench.estimate(rule, repeats), bench.by_torch(), strict=True):
        assert cosine(found, expected) > alike
        assert float((found.double() * expected).sum() / expected.square().sum()) == pytest.approx(1.0, abs=0.25)


def test_a_local_guess_is_a_direction_of_mean_square_one_that_still_ascends(bench):
    estimates = bench.estimate(NodePerturbation("local", 0.02), 100)
    for found, expected in zip(estimates, bench.by_torch(), strict=True):
        assert cosine(found, expected) > 0.5


def test_a_conservative_step_is_the_best_of_three_that_were_measured(bench):
    rule = ConservativePerturbation(Gaussians(), 0.02, lr=3.0)
    rule.begin(bench.network, Classification(CLASSES), torch.Generator().manual_seed(5))
    with torch.no_grad():
        batch, verdict = bench.fly(rule)
        second = rule.second(batch, verdict, bench.head)
        losses = bench.fly(rule, second)[1].losses.reshape(3, -1).mean(dim=1)
        taken = rule.gradients(second, bench.fly(rule, second)[1], bench.head)
    sign = (1.0, 0.0, -1.0)[int(losses.argmin())]
    torch.testing.assert_close(taken[0].weight, sign * second.steps[0].weight)
    _, plain = bench.fly(ExactChainRule())
    assert float(losses[1]) == pytest.approx(float(plain.losses.mean()), rel=1e-5)


def test_every_client_gives_its_own_samples_in_turn():
    order = ClientPerturbation(Gaussians(), 0.1, clients=4).order(11, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(11))
    assert [int(k) % 4 for k in order] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]


@pytest.mark.parametrize("update", [Adam(0.02, 0.0), GradientDescent(0.02), SignDescent(0.02), FixedStep(0.1)])
def test_every_update_descends(update):
    linear = torch.nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.bias.fill_(1.0)
    updater = update.start(linear, 100)
    for _ in range(100):
        updater.step(MapGradient(linear.weight.detach().clone(), linear.bias.detach().clone()))
    assert float(linear.weight.detach().abs().max()) < 0.5
    assert float(linear.bias.detach().abs().max()) < 0.5


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("dfa", {"slope": "tan"}, "tanh"),
        ("node-perturbation", {"directions": "locale"}, "local"),
        ("node-perturbation", {"size": 0.0}, "size"),
        ("zo", {"update": "adams"}, "adam"),
        ("zo", {"update": "conservative", "pairs": 2}, "one pair"),
        ("spsa", {"groups": -1}, "groups"),
        ("baffle", {"clients": 0}, "clients"),
        ("product-feedback", {"decay": 1.0}, "decay"),
        ("physics-aware", {"twin": "linea"}, "linear"),
        ("physics-aware", {"twin_rows": 3}, "twin_rows"),
        ("pepita", {"size": -1}, "size"),
        ("spsa", {"lr": 0.0}, "lr"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(name, options, words):
    with pytest.raises((hwloop.ConfigError, ValueError), match=words):
        hwloop.trainer(name, **options)
