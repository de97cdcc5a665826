"""The command line, in a process of its own: exit codes, one clear line, and a last line that parses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app

DEVICES = """
import time
import numpy as np
import hwloop

class Failing(hwloop.Device):
    spec = hwloop.DeviceSpec(n_inputs=120, n_outputs=10)
    def _measure(self, inputs):
        raise ConnectionError("cable pulled")

class NotANumber(Failing):
    def _measure(self, inputs):
        return np.full((len(inputs), 10), np.nan)

class Slow(Failing):
    spec = hwloop.DeviceSpec(n_inputs=120, n_outputs=10, row_seconds=0.02)
    def _measure(self, inputs):
        time.sleep(0.02 * len(inputs))
        return inputs[:, :10]
"""
QUICK = ["--set", "device.settings.n_outputs=30", "--set", "trainer.settings.epochs=2"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "lab.py").write_text(DEVICES)
    return tmp_path


@pytest.fixture
def in_process(folder, monkeypatch):
    """The command in this process: the same code, without the seconds that another start takes."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield lambda *arguments: CliRunner().invoke(app, list(arguments))
    sys.modules.pop("lab", None)


def command(*arguments):
    return [sys.executable, "-c", "from hwloop.cli import main; main()", *arguments]


def environment(folder):
    return {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def hwloop_command(folder, *arguments):
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=120
    )


def test_help_and_version_load_nothing_heavy(folder):
    watch = (
        "import sys; from hwloop.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'sklearn', 'scipy', 'matplotlib', 'pydantic', 'numpy'}"
        " & set(sys.modules)))"
    )
    for option in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", watch, option], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stdout.strip().endswith("[]")


def test_list_names_everything_with_a_line(in_process):
    done = in_process("list")
    assert done.exit_code == 0
    for name in ("digits-optical", "vowels-acoustic", "optical-fibre", "local", "phyll", "readout", "digits"):
        line = next(line for line in done.stdout.splitlines() if line.split()[:1] == [name])
        assert len(line.split()) > 3


@pytest.mark.slow
def test_json_is_the_last_line_and_alone_on_standard_output(folder):
    done = hwloop_command(folder, "run", "--seeds", "1", "--json", "--out", "first", *QUICK)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    found = json.loads(done.stdout)
    assert list(found) == [
        "experiment",
        "device",
        "trainer",
        "dataset",
        "seeds",
        "test_accuracy",
        "test_interval",
        "floors",
        "ceiling",
        "multiply_adds",
        "pareto_front",
        "physics_adds",
        "physics_adds_over",
        "physics_adds_over_linear",
        "input_scaling",
        "rows",
        "rows_per_train_sample",
        "duty_cycle",
        "wall_seconds",
        "run_dir",
        "task",
        "test_score",
        "description",
        "derived_from",
        "verdict",
        "began",
        "ended",
        "resumed",
        "operator",
        "notes",
        "tags",
    ]
    assert found["rows_per_train_sample"] == 2.0
    assert 0.5 < found["test_accuracy"]["mean"] <= 1.0
    assert found["physics_adds"]["low"] is None
    assert found["run_dir"] == "first"
    assert (folder / "first" / "report.html").exists()
    assert "forecast: up to" in done.stderr
    assert "physics adds" in done.stderr
    assert "report: first/report.html" in done.stderr


def test_a_name_that_is_unknown_is_answered_before_torch_is_loaded(folder):
    watch = (
        "import sys; from hwloop.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    arguments = ["run", "--set", "trainer=phyl"]
    done = subprocess.run([sys.executable, "-c", watch, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout.strip() == "False False"
    assert done.stderr.startswith("hwloop: error: unknown trainer 'phyl': did you mean 'phyll'? Known: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits-opticl"], "did you mean 'digits-optical'"),
        (["nowhere.toml"], "no such file"),
        (["--set", "trainer=phyl"], "did you mean 'phyll'"),
        (["--set", "device=optical-fiber"], "did you mean 'optical-fibre'"),
        (["--set", "dataset=digit"], "did you mean 'digits'"),
        (["--set", "network.widht=3"], "did you mean 'width'"),
        (["--set", "device.settings.n_outptus=3"], "did you mean 'n_outputs'"),
        (["--set", "trainer.settings.lrr=3"], "did you mean 'lr'"),
        (["--set", "budget=10"], "nothing was measured"),
        (["--seeds", "0"], "number of seeds"),
        (["--set", "dataset=vowels", "--set", "dataset.settings.path=nowhere"], "github.com"),
        (["--out", "."], "not empty"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(in_process, arguments, message):
    done = in_process("run", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.output
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_devices_failure_is_exit_code_3_and_keeps_the_run(folder):
    done = hwloop_command(folder, "run", "--set", "device=lab:Failing", "--out", "kept")
    assert done.returncode == 3
    assert "cable pulled" in done.stderr.splitlines()[-1]
    assert "kept in kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert '"RunStopped"' in (folder / "kept" / "metrics.jsonl").read_text()


def test_a_reading_that_is_not_a_number_is_a_devices_failure(in_process):
    done = in_process("run", "--set", "device=lab:NotANumber")
    assert done.exit_code == 3
    assert "not a reading" in done.stderr


@pytest.mark.slow
def test_without_json_the_table_goes_to_standard_output(in_process):
    done = in_process("run", "--seeds", "1", "--no-floors", "--out", "second", *QUICK)
    assert done.exit_code == 0, done.stderr
    heading, table = done.stdout.split("─\n")
    rows = table.split("\n\n")[0].splitlines()
    assert "evidence.floors=false" in heading
    assert [row.split("  ")[0] for row in rows] == ["physical, 2 stages, local"]
    assert "no floors were run" in done.stdout


def test_debug_shows_the_traceback(in_process):
    done = in_process("--debug", "run", "nothing")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr


@pytest.mark.slow
def test_ctrl_c_says_what_was_kept_and_exits_with_130(folder):
    process = subprocess.Popen(
        command("run", "--set", "device=lab:Slow", "--out", "kept"),
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = folder / "kept" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and "RowsMeasured" in metrics.read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1] == (
        "hwloop: interrupted; 0 of 5 seeds finished, kept in kept; go on with: hwloop resume kept"
    )
    assert "Traceback" not in stderr
