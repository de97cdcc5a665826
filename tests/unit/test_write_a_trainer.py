"""The documentation's trainer is one file: it trains, and is saved and loaded; the tables of trainers are true."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hwloop
from hwloop.registry import TRAINERS

DOCS = Path(__file__).parents[2] / "docs"
NAME = "margin_trainer"
SHIPPED = [name for name, entry in TRAINERS.entries().items() if entry.value.startswith("hwloop.")]
LOAD = """
import sys, numpy as np, hwloop
device = hwloop.open_device("optical-fibre", n_inputs=8, n_outputs=16, seed=3)
network = hwloop.load_network(sys.argv[1], hwloop.Session(device))
np.save(sys.argv[3], network.predict(np.load(sys.argv[2])))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the file of docs/write-a-trainer.md, installed under the name of its entry point."""
    text = (DOCS / "write-a-trainer.md").read_text(encoding="utf-8")
    code, entry = (re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "toml"))
    (tmp_path / f"{NAME}.py").write_text(code, encoding="utf-8")
    info = tmp_path / "margin-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: margin\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(
        re.sub(r'\[project.entry-points."(.*)"\]', r"[\1]", entry).replace('"', "")
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop(NAME, None)


def blobs() -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(60) % 3
    return np.random.default_rng(0).normal(size=(60, 5)) + 3.0 * np.eye(3, 5)[labels], labels


def trained() -> hwloop.PhysicalNetwork:
    device = hwloop.open_device("optical-fibre", n_inputs=8, n_outputs=16, seed=3)
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [hwloop.Stage(6), hwloop.Stage(6)], seed=1)
    hwloop.trainer("margin", margin=0.5, lr=0.02).fit(network, *blobs())
    return network


def test_one_file_is_a_trainer(folder):
    assert "margin heads" in TRAINERS.describe()["margin"].lower()
    assert hwloop.trainer(f"{NAME}:margin").cost(60, 3, 2) == 120
    assert "By how much the true class's log-odds" in inspect.getdoc(TRAINERS.load("margin"))
    assert "margin = " in pydoc.render_doc(hwloop.trainer("margin")), "help() shows the options of what was made"
    for options, said in (
        ({"margin": -1.0}, "margin must be positive"),
        ({"margins": 1.0}, "did you mean 'margin'"),
    ):
        with pytest.raises(hwloop.ConfigError, match=said):
            hwloop.trainer("margin", **options)
    network = trained()
    inputs, labels = blobs()
    assert (network.predict(inputs) == labels).mean() > 0.9
    hwloop.save_network(network, folder / "net.safetensors")
    device = hwloop.open_device("optical-fibre", n_inputs=8, n_outputs=16, seed=3)
    again = hwloop.load_network(folder / "net.safetensors", hwloop.Session(device))
    assert type(again.readout.heads[0]).kind == "margin"
    np.testing.assert_array_equal(again.predict(inputs), network.predict(inputs))


@pytest.mark.slow
def test_a_process_that_never_heard_of_its_head_loads_it_by_the_entry_point(folder):
    network, (inputs, _) = trained(), blobs()
    hwloop.save_network(network, folder / "net.safetensors")
    np.save(folder / "inputs.npy", inputs)
    program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{LOAD}"
    arguments = [str(folder / name) for name in ("net.safetensors", "inputs.npy", "predicted.npy")]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=240)
    np.testing.assert_array_equal(np.load(folder / "predicted.npy"), network.predict(inputs))


@pytest.mark.parametrize("name", SHIPPED)
def test_tables_and_docstrings_come_from_the_declarations(name):
    factory = TRAINERS.load(name)
    said = factory.declaration
    values = "yes" if "regression" in TRAINERS.build(name).serves else "no"
    row = [f"`{name}`", said.learns, said.rows, said.later or said.predict, values]
    page = "output-error.md" if said.later else "trainers.md"
    assert f"| {' | '.join(row)} |" in (DOCS / page).read_text(encoding="utf-8")
    text = inspect.getdoc(factory)
    assert all(part in text for part in ("\nNeeds ", "\nSource: ", "\nRows: "))
    for option in set(inspect.signature(factory).parameters) - {"seed"}:
        assert re.search(rf"\b{option}\b", text), option
