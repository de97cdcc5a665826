"""Footprint, sparsities and effective operations are those that the neurobench package gives.

``neurobench_figures.json`` was made by this file's ``main``, with neurobench 2.3.0 beside snntorch and this torch:
``pip install --no-deps --target pkg neurobench && PYTHONPATH=pkg python tests/unit/test_workload.py``.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from hwloop.experiment.workload import workload_of

FIGURES = Path(__file__).with_name("neurobench_figures.json")


def _pruned(layer, modulus):
    with torch.no_grad():
        numbers = torch.arange(layer.weight.numel(), dtype=torch.float32).reshape(layer.weight.shape)
        layer.weight.copy_(torch.where(numbers % modulus == 0, 0.0, torch.sin(numbers + 1.0)))
        layer.bias.copy_(torch.cos(torch.arange(len(layer.bias), dtype=torch.float32)))
    return layer


def _rows(*shape):
    numbers = torch.arange(int(torch.tensor(shape).prod()), dtype=torch.float32).reshape(shape)
    return torch.where(numbers % 5 == 0, 0.0, torch.cos(1.7 * numbers))


MODELS = {
    "readout": lambda: (nn.Sequential(_pruned(nn.Linear(12, 4), 1000)), _rows(7, 12)),
    "pruned readout": lambda: (nn.Sequential(_pruned(nn.Linear(12, 4), 3)), _rows(7, 12)),
    "mlp": lambda: (
        nn.Sequential(_pruned(nn.Linear(10, 8), 2), nn.ReLU(), _pruned(nn.Linear(8, 3), 4)),
        _rows(9, 10),
    ),
    "convolution": lambda: (
        nn.Sequential(_pruned(nn.Conv1d(1, 3, 5, 2), 7), nn.ReLU(), nn.Flatten(), _pruned(nn.Linear(24, 4), 3)),
        _rows(6, 1, 19),
    ),
    "spikes in": lambda: (
        nn.Sequential(_pruned(nn.Linear(10, 8), 2), nn.Sigmoid(), _pruned(nn.Linear(8, 3), 4)),
        torch.sign(_rows(9, 10)),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_figures_are_neurobenchs(name):
    model, rows = MODELS[name]()

    expected = json.loads(FIGURES.read_text(encoding="utf-8"))["figures"][name]

    assert workload_of(model, rows).as_dict() == pytest.approx(expected, rel=1e-9)


def _by_neurobench(model, rows):
    from neurobench.metrics.static import ConnectionSparsity, Footprint
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    wrapped = TorchModel(model)
    wrapped.register_hooks()
    wrapped(rows)
    operations = SynapticOperations()(wrapped, None, (rows, None))
    return {
        "footprint": Footprint()(wrapped),
        "connection_sparsity": ConnectionSparsity()(wrapped),
        "activation_sparsity": ActivationSparsity()(wrapped, None, None),
        "effective_macs": operations["Effective_MACs"],
        "effective_acs": operations["Effective_ACs"],
        "dense": operations["Dense"],
    }


def main():
    figures = {name: _by_neurobench(*make()) for name, make in MODELS.items()}
    FIGURES.write_text(json.dumps({"made_by": "neurobench 2.3.0", "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
