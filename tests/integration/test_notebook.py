"""A notebook that is really executed: bars, frames, tables and figures come out of its cells."""

from __future__ import annotations

import importlib

import pytest

CELLS = [
    "import hwloop\nfrom hwloop.conformance import check_device\nfrom hwloop.layers import PhysicalNetwork, Stage",
    "small = {'device.settings.n_outputs': 30, 'trainer.settings.epochs': 2, 'network.stages': 1}\n"
    "evidence = hwloop.run('digits-optical', settings=small, out='run', seeds=2, floors=False)",
    "evidence",
    "device = hwloop.open_device('relu-layer', n_inputs=8, n_outputs=12)\ndevice",
    "session = hwloop.Session(device)\nsession",
    "network = PhysicalNetwork(session, [Stage(4)])\nnetwork",
    "import numpy as np\nrng = np.random.default_rng(0)\n"
    "history = hwloop.trainer('local', epochs=2).fit(network, rng.normal(size=(30, 5)), np.arange(30) % 3)\n"
    "history.plot()",
    "check_device(lambda: hwloop.open_device('relu-layer', n_inputs=4, n_outputs=3), rows=200)",
    "from hwloop.calibration import calibrate\ncalibrate(hwloop.open_device('linear-instrument'), 2000)",
]


def executed(folder, monkeypatch):
    """The cells' outputs, as a front end gets them: a list of MIME bundles a cell."""
    for module in ("nbclient", "nbformat", "ipykernel", "ipywidgets"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            pytest.skip(f"{error}: notebooks are an extra")
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return [[output.get("data", {}) for output in cell.outputs] for cell in notebook.cells], notebook


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the notebook's own libraries
def test_every_cell_shows_what_it_holds(tmp_path, monkeypatch):
    shown, notebook = executed(tmp_path, monkeypatch)
    _, run, evidence, device, session, network, history, check, calibration = shown
    pages = [data["text/html"] for data in run if "text/html" in data]
    assert any("<iframe srcdoc=" in page and "physical, 1 stage, local" in page for page in pages)
    assert any("report: run/report.html" in page for page in pages)
    assert any("application/vnd.jupyter.widget-view+json" in data for data in run)  # the bar
    assert not [out for cell in notebook.cells for out in cell.outputs if out.output_type == "error"]
    for cell, words in (
        (evidence, "physical, 1 stage, local"),
        (device, "ReluLayer"),
        (session, "Session"),
        (network, "not trained"),
        (check, "keeps its promises"),
        (calibration, "Calibration of"),
    ):
        [data] = [data for data in cell if "text/html" in data]
        assert words in data["text/html"]
        assert len(data["text/html"]) < 20_000
    assert any("image/png" in data for data in history)
