"""A recorded run as a fixture of somebody's own tests: the examples of docs/test-your-rig.md, really run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hwloop.experiment.config import validated
from hwloop.experiment.runner import run_experiment
from hwloop.experiments.datasets import split

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "test-your-rig.md"
RUN = {
    "name": "recorded",
    "dataset": "digits",
    "device": {"name": "optical-fibre", "settings": {"n_outputs": 20}},
    "trainer": {"name": "local", "settings": {"epochs": 2}},
    "network": {"stages": 1, "width": 10},
    "evidence": {"floors": False},
    "seeds": [0],
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder of tests with a recorded run in it, named as the page names it."""
    folder = tmp_path_factory.mktemp("my_lab") / "tests"
    folder.mkdir()
    run_experiment(validated(RUN, "test"), split, out=folder / "recordings" / "night1")
    return folder


def pytest_on(folder, source):
    (folder / "test_rig.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=folder.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_examples_of_the_page_pass(recorded):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    source = "\n\n".join(block for block in blocks if "night1" in block)
    tests = source.count("def test_")
    assert tests >= 2
    done = pytest_on(recorded, source)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{tests} passed" in done.stdout


def test_a_result_that_differs_from_the_recorded_one_fails_the_test_by_name(recorded):
    metrics = recorded / "recordings" / "night1" / "metrics.jsonl"
    before = metrics.read_text()
    changed = re.sub(r'"accuracy": [0-9.]+', '"accuracy": 0.123', before)
    assert changed != before
    metrics.write_text(changed)
    try:
        done = pytest_on(recorded, "def test_it(replay_run):\n    replay_run('recordings/night1')\n")
    finally:
        metrics.write_text(before)
    assert done.returncode == 1
    assert "differs from what was recorded in\n  seed 0: scores" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_device_of_the_fixture_answers_to_the_last_bit_and_is_closed_afterwards(recorded):
    done = pytest_on(
        recorded,
        """
import numpy as np
import pytest
import hwloop
from hwloop.journal import ReadOnlyJournal

def test_it(recorded_device):
    device = recorded_device("recordings/night1")
    record = next(ReadOnlyJournal(device.folder).records())
    np.testing.assert_array_equal(device.measure(record.stimuli), record.responses)
    with pytest.raises(hwloop.JournalError, match="nearest recorded row is number"):
        device.measure(record.stimuli * 0.999)

def test_a_missing_run_is_named(recorded_device):
    with pytest.raises(hwloop.ConfigError, match="night2"):
        recorded_device("recordings/night2")
""",
    )
    assert done.returncode == 0, done.stdout + done.stderr
