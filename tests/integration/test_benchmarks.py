"""Every file of benchmarks/ runs in a short form: what the documents' tables come from still works."""

from __future__ import annotations

import importlib.util
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwloop.errors import ConfigError, DatasetError
from hwloop.experiments import data_files

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHARED = {"calibration_truth", "loops", "series_rivals", "sizes", "table"}  # imported by the others
ALL = sorted({path.stem for path in BENCHMARKS.glob("*.py")} - SHARED)

# What a file is given where ``--short`` alone does not do. In braces: the fixtures below.
ARGUMENTS = {
    "arena_pairs": ["{arena}", "--of", "local@2"],
    "arena_setting": ["{arena}", "--trainer", "local", "--options", '{"epochs": 2}', "--against", "readout"],
    "fit_phyll_preset": ["--short", "{tmp_path}/preset.json"],
    "journal_cost": ["--short", "{tmp_path}"],
    "published_figures": [
        "--cases",
        "local",
        "--folder",
        "{digits_as_mnist}",
        "--out",
        "{tmp_path}/figures.jsonl",
    ],
}
EXTRAS = {"brian2_rows": "snntorch", "fdtd_cells": "numba", "lif_rows": "norse"}
MEASURED = {"acoustic_twin", "drift_adaptation", "fit_phyll_preset"}
FIGURE = re.compile(r"\d")


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    """The folder of a small arena that has been held."""
    folder = tmp_path_factory.mktemp("arena") / "held"
    settings = ["device.settings.n_outputs=40", "network.width=20"]
    words = ["arena", "wine-optical", "--trainers", "local,readout", "--budget", "2", "--seeds", "2"]
    words += ["--trials", "1", "--out", str(folder), *(word for each in settings for word in ("--set", each))]
    done = run([sys.executable, "-m", "hwloop.cli", *words], folder.parent)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def digits_as_mnist(tmp_path_factory):
    """A few images of noise, in the four files that MNIST comes in."""
    folder, rng = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 20)):
        for name, array in (
            ("images-idx3", rng.integers(0, 256, (count, 28, 28))),
            ("labels-idx1", np.arange(count) % 10),
        ):
            header = struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    return folder


def run(command, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "HWLOOP_SHORT_BENCHMARK"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


def check(name, request, tmp_path):
    """Runs, says nothing of an error, and prints a title, a heading and at least one line with figures."""
    words = ARGUMENTS.get(name, ["--short"])
    wanted = {"tmp_path"} | {part for word in words for part in re.findall(r"\{(\w+)\}", word)}
    places = {each: str(request.getfixturevalue(each)) for each in wanted}
    filled = [re.sub(r"\{(\w+)\}", lambda found: places[found[1]], word) for word in words]
    done = run([sys.executable, str(BENCHMARKS / f"{name}.py"), *filled], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 2, done.stdout
    assert FIGURE.search(lines[-1]), done.stdout


@pytest.mark.parametrize("name", ALL)
def test_it_has_a_short_form(name):
    short = "--short" in ARGUMENTS.get(name, ["--short"])
    assert not short or "sized(" in (BENCHMARKS / f"{name}.py").read_text(), (
        f"benchmarks/{name}.py: take its sizes from sizes.sized(full, short), or name its arguments here"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in {*EXTRAS, *MEASURED, "lava_rows"}])
def test_its_short_form_runs(name, request, tmp_path):
    check(name, request, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXTRAS)
def test_its_short_form_runs_with_an_extra(name, request, tmp_path):
    if importlib.util.find_spec(EXTRAS[name]) is None:
        pytest.skip(f"needs {EXTRAS[name]}")
    check(name, request, tmp_path)


@pytest.mark.slow
def test_its_short_form_runs_with_lava(request, tmp_path):
    from hwloop.devices.worker.environments import environment_python

    try:
        environment_python("lava")
    except ConfigError as error:
        pytest.skip(str(error))
    check("lava_rows", request, tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("name", sorted(MEASURED))
def test_its_short_form_runs_on_measured_data(name, request, tmp_path):
    try:
        for file in data_files.ALL:
            data_files.find(file)
    except DatasetError as error:
        pytest.skip(str(error))
    check(name, request, tmp_path)
