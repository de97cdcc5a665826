"""Other people's loops train a model with a physical layer unmodified; docs/pytorch.md runs word for word."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import each_row
from torch import nn

from hwloop.errors import HwloopWarning
from hwloop.nn import FeedbackGradient, PhysicalLayer, TwinGradient

pytestmark = pytest.mark.usefixtures("devices_closed")

PAGE = Path(__file__).parents[2] / "docs" / "pytorch.md"


def extra(name):
    """A module of the extra ``loops``; where it does not import, the reason why the test is skipped."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # Lightning's metrics import torchvision, which other builds of torch do not load
        pytest.skip(f"{name} cannot be imported ({type(error).__name__}: {error})")


def quarters(samples=120):
    """Which side of a line through the plane: exclusive-or of two signs, which no linear map tells."""
    x = np.random.default_rng(0).uniform(-1, 1, (samples, 2)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def layers(gradient):
    head = nn.Linear(30, 2)
    rule = FeedbackGradient(output=head) if gradient == "feedback" else gradient
    layer = PhysicalLayer("relu-layer", 4, gradient=rule, input_range=(-3, 3), device_settings={"n_outputs": 30})
    return nn.Linear(2, 4), nn.BatchNorm1d(4, affine=False), layer, head


GRADIENTS = ["exact", "perturbation", TwinGradient(rows=100, twin="linear"), "feedback"]


@pytest.mark.parametrize("gradient", each_row(GRADIENTS, "perturbation", "feedback"), ids=str)
def test_a_plain_loop(gradient):
    torch.manual_seed(0)
    model = nn.Sequential(*layers(gradient))
    x, y = (torch.from_numpy(each) for each in quarters())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before = model[0].weight.detach().clone()
    for _ in range(30):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        accuracy = float((model(x).argmax(dim=1) == y).float().mean())
    assert accuracy > 0.7
    assert not torch.equal(model[0].weight, before)
    assert model[2].ledger["train"] == 30 * model[2].step_rows(len(x))


class Net(nn.Sequential):
    def __init__(self, gradient: str = "perturbation") -> None:
        super().__init__(*layers(gradient))


@pytest.mark.slow
def test_skorch(tmp_path):
    skorch = extra("skorch")
    from sklearn.base import clone

    torch.manual_seed(0)
    x, y = quarters()
    net = skorch.NeuralNetClassifier(
        Net,
        criterion=nn.CrossEntropyLoss,
        lr=0.1,
        batch_size=24,
        max_epochs=25,
        verbose=0,
        optimizer__momentum=0.9,
    )
    net.fit(x, y)
    assert net.score(x, y) > 0.85
    layer = net.module_[2]
    assert layer.ledger["train"] == 25 * layer.step_rows(96)  # skorch keeps a fifth for validation
    net.save_params(f_params=tmp_path / "net.pt")
    again = clone(net).initialize()
    again.load_params(f_params=tmp_path / "net.pt")
    np.testing.assert_array_equal(again.predict_proba(x), net.predict_proba(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning's own advice
def test_lightning(tmp_path):
    lightning = extra("lightning")
    from torch.utils.data import DataLoader, TensorDataset

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def training_step(self, batch, number):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch, number):
            self.log("accuracy", (self.net(batch[0]).argmax(dim=1) == batch[1]).float().mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    lightning.seed_everything(0, verbose=False)
    data = TensorDataset(*(torch.from_numpy(each) for each in quarters()))
    loaders = DataLoader(data, batch_size=24, shuffle=True), DataLoader(data, batch_size=60)
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=20, accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    module.net[2].inputs.is_fitted.fill_(False)  # as without input_range: Lightning evaluates before it trains
    with pytest.warns(HwloopWarning, match="evaluated before it has seen a training batch"):
        trainer.fit(module, *loaders)
    assert float(trainer.callback_metrics["accuracy"]) > 0.85
    layer = module.net[2]
    assert layer.ledger["train"] == 20 * layer.step_rows(120)
    again = Module.load_from_checkpoint(trainer.checkpoint_callback.best_model_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again.net(data.tensors[0]), module.eval().net(data.tensors[0]), rtol=0, atol=0)


def blocks():
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_page_trains_and_prints_what_it_says(capsys):
    exec(compile(blocks()[0], str(PAGE), "exec"), {})
    accuracy, train, evaluate = capsys.readouterr().out.split()
    assert float(accuracy) > 0.85
    assert (train, evaluate) == ("10800", "597")
    assert "10,800 for training, 597 for the evaluation" in PAGE.read_text(encoding="utf-8")


def test_the_pages_own_rule_runs():
    names = {}
    exec(compile(blocks()[1], str(PAGE), "exec"), names)
    rows = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    names["layer"](rows).square().sum().backward()
    assert rows.grad.shape == (6, 8)


@pytest.mark.slow
def test_the_pages_skorch_runs(capsys):
    extra("skorch")
    exec(compile(blocks()[2], str(PAGE), "exec"), {"__name__": "page"})
    score, rows = capsys.readouterr().out.split()
    assert float(score) > 0.5
    assert rows == "1800"
    assert len(blocks()) == 3
