"""The gradients of a physical layer, against what autograd says of the same arithmetic."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import hwloop
from hwloop.errors import BudgetExceeded, ConfigError
from hwloop.nn import FeedbackGradient, PerturbationGradient, PhysicalLayer, TwinGradient
from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.simulators.relu_layer import ReluLayer

pytestmark = pytest.mark.usefixtures("devices_closed")

ROWS, IN, OUT = 6, 5, 8
RANGE = (-4.0, 4.0)


def inputs(seed=0, rows=ROWS):
    return torch.randn(
        rows, IN, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).requires_grad_()


def weights():
    return torch.randn(ROWS, OUT, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def relu_layer(gradient, **options):
    device = ReluLayer(n_inputs=IN, n_outputs=OUT)
    return PhysicalLayer(device, gradient=gradient, reference_slots=0, input_range=RANGE, **options)


def by_autograd(standardise="none"):
    """The same loss's gradient, where the device is arithmetic that torch differentiates."""
    device, rows = ReluLayer(n_inputs=IN, n_outputs=OUT), inputs()
    answered = torch.relu((rows / 4) @ torch.from_numpy(device.weight).T + torch.from_numpy(device.bias))
    if standardise == "batch":
        answered = nn.functional.batch_norm(answered, None, None, training=True, eps=1e-14)
    (answered * weights()).sum().backward()
    return rows.grad


def of(layer):
    rows = inputs()
    (layer(rows) * weights()).sum().backward()
    return rows.grad


@pytest.mark.parametrize("standardise", ["none", "batch"])
def test_exact_is_autograds(standardise):
    found = of(relu_layer("exact", standardise=standardise))
    torch.testing.assert_close(found, by_autograd(standardise), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("standardise", ["none", "batch"])
def test_perturbation_has_no_bias_beyond_its_standard_error(standardise):
    """Every pass draws afresh: the mean of many lies within four standard errors of what autograd says."""
    layer = relu_layer(PerturbationGradient(size=1e-3), standardise=standardise)
    drawn = torch.stack([of(layer) for _ in range(60)])
    error = drawn.std(dim=0) / len(drawn) ** 0.5
    z = (drawn.mean(dim=0) - by_autograd(standardise)) / error
    assert float(z.abs().max()) < 4.0
    assert 0.5 < float(z.square().mean()) < 1.7  # and the errors are as large as they are said to be


def test_more_pairs_know_it_better():
    true = by_autograd()
    errors = {}
    for pairs in (1, 16):
        layer = relu_layer(PerturbationGradient(size=1e-3, pairs=pairs), standardise="none")
        errors[pairs] = float((of(layer) - true).square().mean())
    assert errors[16] < errors[1] / 4


def test_perturbations_stay_within_the_limits_and_move_data_alone():
    seen = []

    class Watched(hwloop.Device):
        simulated = True
        spec = hwloop.DeviceSpec(6, 3, -1.0, 1.0, deterministic=True)

        def _measure(self, rows):
            seen.append(rows)
            return rows[:, :3]

    layer = PhysicalLayer(
        Watched(),
        4,
        gradient=PerturbationGradient(size=0.3),
        reference_slots=2,
        input_range=(-1, 1),
        standardise="none",
    )
    rows = torch.tensor([[-1.0, 1.0, 0.0, 0.5]], requires_grad=True)
    layer(rows).sum().backward()
    driven = np.concatenate(seen)
    assert len(driven) == 3
    assert np.abs(driven).max() <= 1.0
    np.testing.assert_array_equal(driven[:, 4:], 1.0)
    np.testing.assert_allclose(np.abs(np.diff(driven[1:, :4], axis=0)), 0.6)
    assert rows.grad.tolist()[0][:2] == [0.0, 0.0]  # at a limit nothing passes


def fibre(gradient, **options):
    device = OpticalFibre(n_inputs=IN, n_outputs=OUT, read_noise=0.0, dac_bits=None, adc_bits=None)
    return PhysicalLayer(
        device, gradient=gradient, reference_slots=0, input_range=RANGE, standardise="none", **options
    )


def agreement(one, other):
    return float(nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def test_a_twins_gradient_is_close():
    layer = fibre(TwinGradient(rows=200, twin="intensity"))
    assert agreement(of(layer), of(fibre("exact"))) > 0.99
    assert layer.ledger["calibrate"] == 200
    assert "twin" in layer.gradient.uses_model


def test_a_twin_is_fitted_again_to_where_the_stimuli_have_gone_and_measures_nothing_for_it():
    layer = fibre(TwinGradient(rows=40, twin="linear"))
    twins = []
    for _ in range(17):
        of(layer)
        twins.append(layer.gradient.fitted)
    changed = [number for number in range(1, 17) if twins[number] is not twins[number - 1]]
    assert changed == [3, 15]  # passes 4 and 16
    assert layer.ledger["calibrate"] == 40
    assert layer.ledger["train"] == ROWS


def test_a_twin_is_shown_only_rows_whose_gradient_can_be_asked_for():
    layer, shown = fibre(TwinGradient(rows=20, twin="linear")), []
    layer.gradient.seen = lambda stimuli, responses: shown.append(responses)
    with torch.no_grad():
        layer(inputs())
    layer(inputs().detach())
    assert shown == []
    answered = layer(inputs(seed=1))
    np.testing.assert_array_equal(shown, [answered.detach().numpy()])


def test_a_twin_is_measured_once_for_all_threads():
    layer, errors = fibre(TwinGradient(rows=20, twin="linear")), []
    both = threading.Barrier(4, timeout=20)
    drawn = layer.gradient._drawn

    def slowly(asked):
        time.sleep(0.02)  # long enough for the others to come as far
        return drawn(asked)

    layer.gradient._drawn = slowly

    def work():
        try:
            both.wait()
            of(layer)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert errors == []
    assert layer.ledger["calibrate"] == 20
    assert int(layer.passes) == 4


def test_none_says_what_to_do_when_it_is_asked_and_trains_what_is_behind():
    head = nn.Linear(OUT, 2).double()
    layer = relu_layer("none")
    head(layer(inputs().detach())).sum().backward()
    assert head.weight.grad is not None
    with pytest.raises(ConfigError, match=r"detach\(\)"):
        head(layer(inputs())).sum().backward()


def test_a_gradient_that_the_budget_does_not_cover_is_not_measured():
    layer = relu_layer("perturbation", budget=ROWS + 3)
    with pytest.raises(BudgetExceeded):
        of(layer)
    assert layer.ledger.total == ROWS


class TestFeedback:
    def model(self, seed=0):
        torch.manual_seed(seed)
        head = nn.Linear(OUT, 3).double()
        layer = fibre(FeedbackGradient(output=head), seed=seed)
        return nn.Sequential(nn.Linear(IN, IN).double(), layer, head)

    def test_it_is_the_error_at_the_output_through_a_fixed_matrix(self):
        model = self.model()
        handed = []
        model[1].register_full_backward_hook(lambda module, into, out: handed.append(into[0].clone()))
        losses = [model(inputs()).square().sum(), 3.0 * model(inputs()).square().sum()]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(handed[1], 3.0 * handed[0])
        errors = 2.0 * model(inputs()).detach()
        found, *_ = torch.linalg.lstsq(errors, handed[0])
        torch.testing.assert_close(errors @ found, handed[0])  # linear in the error, with one matrix for all rows

    def test_it_measures_nothing_more(self):
        model = self.model()
        model(inputs()).sum().backward()
        assert model[1].ledger.total == ROWS

    def test_an_output_that_was_not_called_is_said(self):
        layer = fibre(FeedbackGradient(output=nn.Linear(2, 2)))
        with pytest.raises(ConfigError, match="found no error"):
            of(layer)

    def test_a_copied_model_hears_its_own_output(self):
        import copy

        model = self.model()
        copied = copy.deepcopy(model)
        copied(inputs()).sum().backward()
        assert model[0].weight.grad is None
        model(inputs()).sum().backward()
        torch.testing.assert_close(copied[0].weight.grad, model[0].weight.grad, rtol=0, atol=0)

    @pytest.mark.parametrize("order", ["in turn", "both forwards first", "outputs the other way round"])
    def test_a_pass_hears_the_error_of_what_was_computed_from_it(self, order):
        _, layer, head = self.model()
        expected = [inputs(seed) for seed in (0, 1)]
        for rows in expected:
            head(layer(rows)).pow(3).sum().backward()
        one, other = inputs(0), inputs(1)
        if order == "in turn":
            found = [head(layer(one)), head(layer(other))]
        else:
            measured = [layer(one), layer(other)]
            found = [head(each) for each in (measured if order == "both forwards first" else measured[::-1])]
        sum(each.pow(3).sum() for each in found).backward()
        for rows, alone in zip((one, other), expected, strict=True):
            torch.testing.assert_close(rows.grad, alone.grad, rtol=0, atol=0)

    def test_the_error_of_an_earlier_backward_pass_is_not_taken(self):
        _, layer, head = self.model()
        measured = layer(inputs())
        torch.autograd.grad(head(measured).square().sum(), head.weight, retain_graph=True)  # ends at the head
        with pytest.raises(ConfigError, match="found no error"):
            measured.sum().backward()
        head(layer(inputs().detach())).sum().backward()
        with pytest.raises(ConfigError, match="found no error"):
            layer(inputs()).sum().backward()

    def test_an_output_on_other_rows_or_twice_is_refused(self):
        _, layer, head = self.model()
        with pytest.raises(ConfigError, match=r"an error of shape \(12, 3\) at the output for 6 rows"):
            head(torch.cat([layer(inputs(0)), layer(inputs(1))])).sum().backward()
        measured = layer(inputs())
        with pytest.raises(ConfigError, match="its output was called twice"):
            (head(measured) + head(measured.square())).sum().backward()

    @pytest.mark.parametrize("shape", [(2, 3, IN), (IN,)])
    def test_rows_have_any_shape(self, shape):
        _, layer, head = self.model()
        rows = inputs().detach().flatten()[: int(np.prod(shape))].reshape(shape).requires_grad_()
        flat = rows.detach().reshape(-1, IN).requires_grad_()
        for each in (rows, flat):
            head(layer(each)).pow(3).sum().backward()
        torch.testing.assert_close(rows.grad.reshape(-1, IN), flat.grad, rtol=0, atol=0)

    @pytest.mark.slow
    def test_its_agreement_in_sign_grows_from_chance_as_what_is_behind_learns(self):
        """Cosine with the exact gradient by the map before the layer: no guarantee, but what the docs state."""
        begun, ended = zip(*(self.agreements(seed) for seed in range(2)), strict=True)
        assert max(abs(each) for each in begun) < 0.35
        assert min(ended) > 0.25
        assert np.mean(ended) > np.mean(np.abs(begun)) + 0.2

    def agreements(self, seed):
        """Before training on digits, and after four epochs of it."""
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        x, y = torch.tensor(x[:1000] / 16), torch.tensor(y[:1000])
        torch.manual_seed(seed)
        head = nn.Linear(100, 10).double()
        device = OpticalFibre(n_inputs=36, n_outputs=100, seed=seed)
        layer = PhysicalLayer(device, 32, gradient=FeedbackGradient(output=head), input_range=(-3, 3), seed=seed)
        before = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32, affine=False)).double()
        model = nn.Sequential(before, layer, head)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)

        def gradient(rule, rows):
            layer.gradient = rule
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            return before[0].weight.grad.clone()

        own, exact, all_rows = layer.gradient, hwloop.nn.ExactGradient(), torch.arange(300)
        begun = agreement(gradient(own, all_rows), gradient(exact, all_rows))
        for _ in range(4):
            for rows in torch.randperm(len(x)).split(100):
                gradient(own, rows)
                optimiser.step()
        return begun, agreement(gradient(own, all_rows), gradient(exact, all_rows))
