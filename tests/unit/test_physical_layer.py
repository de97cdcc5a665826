"""hwloop.nn.PhysicalLayer: a device as a module of PyTorch, with rows that are counted and said."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import hwloop
from hwloop.errors import (
    BudgetExceeded,
    CheckpointError,
    ConfigError,
    DeviceError,
    HwloopWarning,
    StimulusError,
)
from hwloop.nn import STANDARDISATIONS, LayerGradient, PerturbationGradient, PhysicalLayer, TwinGradient
from hwloop.simulators.relu_layer import ReluLayer

pytestmark = pytest.mark.usefixtures("devices_closed")


class Quadratic(hwloop.Device):
    """A rig without derivative or noise; its limits lie on one side of zero."""

    simulated = True

    def __init__(self, n_outputs: int = 7, seed: int = 0) -> None:
        self.matrix = np.random.default_rng(seed).normal(size=(5, n_outputs))
        self.spec = hwloop.DeviceSpec(5, n_outputs, 0.0, 2.0, input_unit="V", deterministic=True)

    def identify(self):
        return "quadratic"

    def _measure(self, inputs):
        return (inputs @ self.matrix) ** 2


def layer(gradient="none", **options):
    return PhysicalLayer(Quadratic(), gradient=gradient, **options)


def batch(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- shapes, types, places ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5), (3, 1, 2, 5), (0, 5), (2, 0, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_any_shape_and_float_type_goes_in_and_comes_back(shape, dtype):
    found = layer()(batch(*shape).to(dtype))
    assert found.shape == (*shape[:-1], 7)
    assert found.dtype == dtype


def test_a_batch_of_any_shape_is_its_rows():
    one, other = layer(), layer()
    torch.testing.assert_close(one(batch(6, 5)).reshape(2, 3, 7), other(batch(6, 5).reshape(2, 3, 5)))
    single = batch(6, 5)[0]
    assert one.eval()(single).shape == (7,)


@pytest.mark.parametrize("gradient", ["none", "perturbation"])
def test_an_empty_batch_goes_backwards_too(gradient):
    before = nn.Linear(5, 5)
    made = layer(gradient)
    made(before(torch.zeros(0, 5))).sum().backward()
    assert not before.weight.grad.any()
    assert made.ledger.total == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.ones(3, 4), "shape"),
        (torch.tensor(1.0), "shape"),
        (torch.ones(3, 5, dtype=torch.int64), "floating point"),
        (torch.ones(3, 5, dtype=torch.complex64), "floating point"),
        (np.ones((3, 5)), "ndarray"),
        (torch.full((3, 5), torch.nan), "row 0, feature 0"),
        (torch.full((3, 5), torch.inf), "inf"),
    ],
)
def test_other_inputs_are_refused_before_a_row_is_measured(given, said):
    made = layer()
    with pytest.raises(StimulusError, match=said):
        made(given)
    assert made.ledger.total == 0


def test_it_stays_in_float64_wherever_the_model_goes():
    model = nn.Sequential(layer(standardise="fitted"), nn.Linear(7, 2)).double()
    expected = model(batch(6, 5).double())
    model.half().to("cpu", torch.float32)
    assert model[0].inputs.encoder.gain.dtype == torch.float64
    torch.testing.assert_close(model(batch(6, 5)), expected.float(), rtol=1e-3, atol=1e-3)


def test_torchs_state_around_it_changes_nothing():
    expected = layer()(batch(6, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer()(batch(6, 5)), expected, rtol=0, atol=0)
    evaluated = layer().eval()
    with torch.inference_mode(), pytest.warns(HwloopWarning, match="before it has seen a training batch"):
        evaluated(batch(6, 5))
    evaluated.train()(batch(6, 5).requires_grad_()).sum()
    first = layer()
    with torch.inference_mode():
        first(batch(6, 5))
    assert not first.inputs.is_fitted.is_inference()


# -- scaling -----------------------------------------------------------------------------------------------


def test_the_input_map_is_fitted_to_the_first_training_batch_and_stays():
    made = layer()
    made(batch(50, 5))
    gain = made.inputs.encoder.gain.clone()
    with pytest.warns(HwloopWarning, match=r"\d+ % of the values .* clipped at the device's limits"):
        made(10 * batch(50, 5, seed=1))
    assert torch.equal(made.inputs.encoder.gain, gain)
    assert made.clipped_share > 0.5
    made(10 * batch(50, 5, seed=2))  # said once
    made.fit(10 * batch(50, 5, seed=1))
    made(10 * batch(50, 5, seed=1))
    assert made.clipped_share < 0.01


def test_a_given_range_is_the_devices_range():
    made = layer(input_range=(-1.0, 3.0), standardise="none").eval()
    edges = torch.tensor([[-1.0] * 5, [3.0] * 5, [1.0] * 5])
    expected = made.session.device.measure(np.array([[0.0] * 5, [2.0] * 5, [1.0] * 5]))
    torch.testing.assert_close(made(edges).double(), torch.from_numpy(expected), rtol=1e-6, atol=1e-6)


def test_a_feature_that_rests_in_the_first_batch_is_not_lost():
    made = layer(standardise="none")
    first = batch(20, 5)
    first[:, 2] = 0.0
    made(first)
    moved = first.clone()
    moved[:, 2] = 0.5
    assert not torch.equal(made.eval()(moved), made(first))


def test_columns_of_a_table_get_a_scale_each_and_that_is_said():
    made = layer(standardise="none")
    made(batch(40, 5) * torch.tensor([1.0, 1000.0, 1.0, 1.0, 1.0]))
    assert made.inputs.chosen.name == "channel"
    assert "a scale a column: the spreads of columns differ" in repr(made)
    table = batch(40, 5)
    table[:, 1] = 3.0
    with pytest.warns(HwloopWarning, match="1 of 5 features of a physical layer are the same in all 40 rows"):
        layer(scaling="channel")(table)


def test_rows_that_are_all_alike_are_refused_before_they_are_measured():
    made = layer(standardise="none")
    for rows in (torch.ones(4, 5), torch.ones(1, 5)):
        with pytest.raises(ConfigError, match="all alike"):
            made(rows)
    assert made.ledger.total == 0


def test_features_that_do_not_fit_are_mixed_and_that_is_said():
    with pytest.warns(HwloopWarning, match="9 features do not fit 5 free inputs"):
        made = layer(in_features=9)
    assert made(batch(6, 9)).shape == (6, 7)
    with pytest.warns(HwloopWarning), pytest.raises(ConfigError, match="input_range"):
        layer(in_features=9, input_range=(0, 1))


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0, np.nan), (-np.inf, 1)])
def test_a_range_that_is_none_is_refused(ends):
    with pytest.raises(ConfigError, match="input_range"):
        layer(input_range=ends)


class Silenced(Quadratic):
    """A rig that fails when it is told to."""

    fails = False

    def _measure(self, inputs):
        if self.fails:
            raise OSError("no answer")
        return super()._measure(inputs)


def test_a_first_batch_that_fails_fits_nothing():
    device = Silenced()
    made = PhysicalLayer(device, gradient="none")
    device.fails = True
    with pytest.raises(DeviceError):
        made(batch(8, 5) / 1000)
    assert not made.inputs.is_fitted
    device.fails = False
    torch.testing.assert_close(made(batch(8, 5)), layer()(batch(8, 5)))


def test_a_fit_that_fails_leaves_the_layer_as_it_was():
    device = Silenced()
    made = PhysicalLayer(device, gradient="none")
    made(batch(8, 5))
    expected, said = made.eval()(batch(8, 5)), repr(made)
    device.fails = True
    with pytest.raises(DeviceError):
        made.fit(batch(8, 5, seed=1) * torch.tensor([1.0, 1000.0, 1.0, 1.0, 1.0]))
    assert repr(made) == said
    torch.testing.assert_close(made(batch(8, 5)), expected, rtol=0, atol=0)


# -- what becomes of responses -----------------------------------------------------------------------------


def test_batch_is_what_batch_norm_does():
    made, norm = layer(), nn.BatchNorm1d(7, affine=False, dtype=torch.float64, eps=1e-12)
    raw = layer(standardise="none")
    batches = [batch(16, 5, seed=seed).double() / 4 for seed in range(12)]
    raw.fit(batches[0])
    for rows in batches:
        torch.testing.assert_close(made(rows), norm(raw(rows)), rtol=1e-3, atol=1e-3)
    rows = batch(16, 5, seed=20).double() / 4
    evaluated = made.eval()(rows)
    torch.testing.assert_close(evaluated[3:4], made(rows[3:4]), rtol=0, atol=0)  # a row stands alone
    torch.testing.assert_close(
        evaluated, (raw.eval()(rows) - made.responses.mean) / made.responses.var.sqrt(), rtol=1e-3, atol=1e-3
    )


def test_a_batch_of_one_row_is_refused_as_in_batch_norm_before_it_is_measured():
    made = layer(input_range=(-3, 3))
    with pytest.raises(ConfigError, match="drop_last"):
        made(batch(1, 5))
    assert made.ledger.total == 0
    assert layer(input_range=(-3, 3), standardise="none")(batch(1, 5)).shape == (1, 7)


@pytest.mark.parametrize("standardise", ["batch", "fitted"])
def test_an_evaluation_before_training_is_said_and_one_row_is_refused(standardise):
    """With input_range too, where the inputs are known but the responses are not."""
    made = layer(input_range=(-3, 3), standardise=standardise).eval()
    with pytest.raises(ConfigError, match=r"1 row alone cannot be standardised; train .* layer\.fit\(x\)"):
        made(batch(1, 5))
    assert made.ledger.total == 0
    with pytest.warns(HwloopWarning, match="its responses are standardised by this batch, for this once"):
        made(batch(4, 5))
    made.fit(batch(20, 5))
    assert float(made(batch(1, 5)).abs().min()) > 0


def test_small_units_are_standardised_like_large_ones():
    class Microvolts(Quadratic):
        def _measure(self, inputs):
            return 1e-9 * super()._measure(inputs)

    found = PhysicalLayer(Microvolts(), gradient="none")(batch(40, 5))
    torch.testing.assert_close(found.std(dim=0, correction=0), torch.ones(7), rtol=1e-3, atol=0)


def test_a_silent_output_is_zero_and_has_no_gradient_that_is_none():
    class Silent(Quadratic):
        def _measure(self, inputs):
            return super()._measure(inputs) * (np.arange(7) != 2)

    for name in STANDARDISATIONS:
        made = PhysicalLayer(Silent(), gradient="perturbation", standardise=name)
        rows = batch(8, 5).requires_grad_()
        found = made(rows)
        assert bool((found[:, 2] == 0).all())
        found.square().sum().backward()
        assert bool(torch.isfinite(rows.grad).all())


# -- rows --------------------------------------------------------------------------------------------------


def test_rows_are_counted_by_purpose_and_measured_once():
    made = layer()
    made(batch(6, 5))
    made(batch(6, 5))
    assert made.ledger["train"] == 6
    assert made.ledger.recalled["train"] == 6
    with torch.no_grad():
        made.eval()(torch.cat([batch(6, 5), batch(3, 5, seed=9)]))
        made(batch(3, 5, seed=9))
    assert made.ledger["evaluate"] == 3


def test_budget_and_session_are_those_that_are_given():
    session = hwloop.Session(Quadratic(), budget=10)
    made = PhysicalLayer(session, gradient="none")
    made(batch(6, 5))
    with pytest.raises(BudgetExceeded):
        made(batch(6, 5, seed=1))
    assert session.ledger.total == 6
    with pytest.raises(ConfigError, match="budget of its own"):
        PhysicalLayer(session, gradient="none", budget=3)


@pytest.mark.parametrize("rule", [PerturbationGradient(pairs=2), TwinGradient(rows=20, twin="linear")], ids=str)
def test_a_step_costs_what_the_layer_says(rule):
    made = layer(rule)
    made(batch(12, 5).requires_grad_()).sum().backward()
    assert made.ledger["train"] == made.step_rows(12)
    assert made.ledger["calibrate"] == made.gradient.first_rows
    before = made.ledger.total
    made(batch(12, 5, seed=1).requires_grad_()).sum().backward()
    assert made.ledger.total - before == made.step_rows(12)


def test_the_device_is_open_from_the_first_batch_until_the_layer_is_closed():
    happened = []

    class Watched(Quadratic):
        def open(self):
            happened.append("open")

        def close(self):
            happened.append("close")

    with PhysicalLayer(Watched(), gradient="none") as made:
        made(batch(6, 5))
        made(batch(6, 5, seed=1))
    assert happened == ["open", "close"]


# -- what torch does with modules --------------------------------------------------------------------------


@pytest.mark.parametrize("standardise", STANDARDISATIONS)
def test_a_state_gives_the_same_outputs_and_is_made_of_tensors(standardise, tmp_path):
    model = nn.Sequential(nn.Linear(4, 5), layer("perturbation", standardise=standardise), nn.Linear(7, 2))
    for seed in range(3):
        model(batch(40, 4, seed=seed)).sum().backward()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    again = nn.Sequential(nn.Linear(4, 5), layer("perturbation", standardise=standardise), nn.Linear(7, 2))
    again.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert all(isinstance(value, torch.Tensor) for value in model.state_dict().values())
    rows = batch(5, 4, seed=1)
    torch.testing.assert_close(again.eval()(rows), model.eval()(rows), rtol=0, atol=0)
    for one in (model, again):  # and the next perturbations are the same
        one.zero_grad()
        one(rows).sum().backward()
    torch.testing.assert_close(again[0].weight.grad, model[0].weight.grad, rtol=0, atol=0)


def test_a_state_of_another_device_is_refused_or_said():
    made = layer(standardise="fitted")
    expected = made(batch(6, 5))
    other = PhysicalLayer(Quadratic(seed=1), gradient="none", standardise="fitted")
    with pytest.raises(CheckpointError, match=r"Quadratic\.seed: 0, not 1"):
        other.load_state_dict(made.state_dict())
    warned = PhysicalLayer(Quadratic(seed=1), gradient="none", standardise="fitted", device_changed="warn")
    with pytest.warns(HwloopWarning, match="another device"):
        warned.load_state_dict(made.state_dict())
    assert not torch.equal(warned.eval()(batch(6, 5)), expected)
    state = made.state_dict() | {"_extra_state": torch.zeros(3, dtype=torch.uint8)}
    with pytest.raises(CheckpointError, match="names no device"):
        layer(standardise="fitted").load_state_dict(state)


def test_a_copy_measures_through_the_same_session():
    model = nn.Sequential(layer(), nn.Linear(7, 2))
    model(batch(6, 5))
    copied = copy.deepcopy(model)
    assert copied[0].session is model[0].session
    torch.testing.assert_close(copied(batch(6, 5)), model(batch(6, 5)), rtol=0, atol=0)
    assert copied[0].ledger["train"] == 6
    copied[0].fit(9 * batch(6, 5))
    assert not torch.equal(copied[0].inputs.encoder.gain, model[0].inputs.encoder.gain)


def test_what_cannot_hold_a_device_says_so():
    made = layer()
    with pytest.raises(TypeError, match="state_dict"):
        pickle.dumps(nn.Sequential(made))
    with pytest.raises(ConfigError, match="one device"):
        made._replicate_for_data_parallel()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own
def test_a_compiled_model_compiles_what_is_around_it():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.layer, self.behind = nn.Linear(4, 5), layer("perturbation"), nn.Linear(7, 2)

        def forward(self, x):
            return self.behind(torch.relu(self.layer(torch.tanh(self.before(x)))))

    model, rows, graphs = Model(), batch(12, 4), []
    model(rows)
    compiled = torch.compile(model, backend=lambda graph, inputs: graphs.append(graph) or graph.forward)
    torch.testing.assert_close(compiled(rows), model(rows))
    compiled(rows).sum().backward()
    assert model.before.weight.grad is not None
    assert len(graphs) == 2  # before and behind; nothing of the layer's own arithmetic


def test_it_says_what_it_is():
    shown = repr(nn.Sequential(layer("twin")))
    for words in ("5 -> 7 on Quadratic", "0 rows measured", "300 rows once", "uses a model"):
        assert words in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gradient": "perturbaton"}, "perturbation"),
        ({"gradient": "exact"}, "pull_back"),
        ({"gradient": "feedback"}, "FeedbackGradient"),
        ({"gradient": "none", "standardise": "bach"}, "batch"),
        ({"gradient": "none", "scaling": "globl"}, "global"),
        ({"gradient": "none", "in_features": 0}, "in_features"),
        ({"gradient": "none", "in_features": 2.5}, "in_features"),
        ({"gradient": "none", "device_changed": "no"}, "device_changed"),
        ({"gradient": "none", "device_settings": {"seed": 1}}, "by name"),
    ],
)
def test_a_mistake_is_one_line(options, said):
    with pytest.raises(ConfigError, match=said):
        PhysicalLayer(Quadratic(), **options)


def test_a_gradient_must_be_named():
    with pytest.raises(TypeError, match="gradient"):
        PhysicalLayer(Quadratic())


def test_a_device_by_name_is_built_to_fit():
    made = PhysicalLayer("relu-layer", 20, gradient="none", device_settings={"n_outputs": 9}, seed=3)
    assert isinstance(made.session.device, ReluLayer)
    assert made(batch(4, 20)).shape == (4, 9)
    assert "seed=3" in made.session.identity
    with pytest.raises(ConfigError, match="in_features"):
        PhysicalLayer("relu-layer", gradient="none")


def test_a_rule_of_ones_own():
    class Constant(LayerGradient):
        def pull_back(self, asked):
            return np.full_like(asked.stimuli, 0.25)

    made = layer(Constant(), input_range=(-4, 4))
    rows = batch(6, 5).requires_grad_()
    made(rows).sum().backward()
    torch.testing.assert_close(rows.grad, torch.full((6, 5), 0.25 * 2.0 / 8.0))

    class Narrow(LayerGradient):
        def pull_back(self, asked):
            return asked.by_responses

    with pytest.raises(ConfigError, match=r"Narrow\(\).pull_back gave an array of shape \(6, 7\)"):
        layer(Narrow(), input_range=(-4, 4))(rows).sum().backward()


def test_fitting_measures_only_what_is_standardised():
    for standardise, rows in (("none", 0), ("fitted", 8), ("batch", 8)):
        made = layer(standardise=standardise)
        made.fit(batch(8, 5))
        assert made.ledger.total == rows
