"""A reader that goes away, as in ``hwloop run | head``: the device is safe first, and the end is quiet."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

DEVICE = '''
import hwloop
from pathlib import Path

class Rig(hwloop.Device):
    """Says how it was left."""

    def __init__(self):
        self.spec = hwloop.DeviceSpec(n_inputs=120, n_outputs=10)

    def open(self):
        Path("opened").write_text("opened")

    def close(self):
        Path("safe").write_text("safe")

    def _measure(self, inputs):
        return inputs[:, :10]
'''
RUN = (
    *("run", "digits-optical", "--set", "device=lab:Rig", "--set", "network.stages=1", "--seeds", "1"),
    *("--set", "trainer.settings.epochs=2", "--no-floors", "--out", "night"),
)
MEASURED = "note: stage 1: 1 of 10 device outputs"  # the first line after rows were measured


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "lab.py").write_text(DEVICE)
    return tmp_path


def into_a_closed_pipe(folder, words, broken, until=""):
    """Exit code, and what came out of the other stream; one is read until a line and then closed, or at once."""
    reading, writing = os.pipe()
    reader = ["grep", "--max-count=1", until] if until else ["head", "-n", "0"]
    head = subprocess.Popen(reader, stdin=reading, stdout=subprocess.DEVNULL)
    os.close(reading)
    if not until:
        head.wait()
    try:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | dict.fromkeys(broken, writing)
        done = subprocess.run(
            [sys.executable, "-m", "hwloop.cli", *words],
            **streams,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
        head.wait()
    return done.returncode, (done.stdout or "") + (done.stderr or "")


@pytest.mark.parametrize("words", ["list", "runs --json", "runs", "--help", "run --help"])
def test_a_table_that_nobody_reads_ends_as_a_program_does_that_gets_sigpipe(folder, make_run, words):
    make_run(folder / "runs" / "night")
    assert into_a_closed_pipe(folder, words.split(), ["stdout"]) == (141, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "until"),
    [(["stdout"], ""), (["stderr"], ""), (["stderr"], MEASURED), (["stdout", "stderr"], MEASURED)],
)
def test_a_run_whose_output_nobody_reads_leaves_its_device_safe_and_its_rows_kept(folder, broken, until):
    code, said = into_a_closed_pipe(folder, RUN, broken, until)
    assert code == 141
    assert "Traceback" not in said
    assert "rror" not in said
    assert (folder / "safe").exists() == (folder / "opened").exists()
    if until or broken == ["stdout"]:  # otherwise the forecast already finds nobody
        assert (folder / "safe").exists()
        assert (folder / "night" / "journal").is_dir()
