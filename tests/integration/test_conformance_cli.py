"""``hwloop check`` as a user calls it, and the pytest class in a driver's own repository."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.runs.summary import list_runs

ROOT = Path(__file__).parents[2]
LAB = """
import time
import numpy as np
import hwloop

class MyRig(hwloop.Device):
    spec = hwloop.DeviceSpec(n_inputs=4, n_outputs=3, input_unit="V", output_unit="V")
    def __init__(self, port="/dev/ttyUSB0", gain=1.0):
        self.gain, self.rng = gain, np.random.default_rng(0)
    def identify(self):
        return "\\x1b[2Jrig no. 7"
    def _measure(self, inputs):
        return np.tanh(self.gain * inputs[:, :3]) + 0.01 * self.rng.normal(size=(len(inputs), 3))

class Leaking(MyRig):
    last = 0.0
    def _measure(self, inputs):
        responses = super()._measure(inputs) + 0.2 * self.last
        self.last = responses[-1]
        return responses

class Raising(MyRig):
    def __init__(self):
        raise RuntimeError("no such port")

class Unreachable(MyRig):
    def open(self):
        raise ConnectionRefusedError("nobody listens")

class Hanging(MyRig):
    rows = 0
    def _measure(self, inputs):
        self.rows += len(inputs)
        while self.rows > 30:
            time.sleep(0.1)
        return super()._measure(inputs)

class Slow(MyRig):
    spec = hwloop.DeviceSpec(n_inputs=4, n_outputs=3, row_seconds=0.02)
    def close(self):
        with open("closed", "w"):
            pass
    def _measure(self, inputs):
        time.sleep(0.02 * len(inputs))
        return super()._measure(inputs)

no_device = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "lab.py").write_text(LAB)
    (tmp_path / "rig.toml").write_text('device = "lab:MyRig"\n[settings]\ngain = 2.0\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("lab", None)


@pytest.fixture
def command(folder):
    return lambda *arguments: CliRunner().invoke(app, ["check", *arguments])


def process(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", "from hwloop.cli import main; main()", "check", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_sound_rig_is_0_and_a_table_with_its_forecast(command):
    done = command("rig.toml")
    assert done.exit_code == 0, done.output
    assert re.search(r"checking: \d+ rows", done.stderr)
    assert "no promise broken" in done.stdout
    (kept,) = list_runs(Path("runs"))
    assert (kept.state, kept.experiment) == ("finished", "check of rig.toml")
    counted = int(re.search(r"\((\d+) rows", done.stdout)[1])
    assert counted - 5 < kept.rows <= counted  # all but those that the check itself interrupts
    assert "\x1b" not in done.stdout
    for promise in ("limits", "memory", "two-at-once", "closing"):
        assert promise in done.stdout


def test_a_broken_rig_is_1_with_what_to_do(command):
    done = command("lab:Leaking", "--only", "memory")
    assert done.exit_code == 1, done.output
    assert "To do" in done.stdout
    assert "settling" in done.stdout
    assert "broken: memory" in done.stdout


def test_json_is_one_object_with_every_finding(command):
    done = command("lab:MyRig", "--json", "--set", "gain=3.0", "--rows", "200")
    found = json.loads(done.stdout)
    assert (found["passed"], found["target"], found["broken"]) == (True, "lab:MyRig", [])
    assert found["rows"] <= 200
    by_name = {result["promise"]: result for result in found["results"]}
    assert by_name["repeatability"]["evidence"]["noise_percent_of_span"] > 0
    assert by_name["memory"]["status"] == "note"
    assert "rows" in by_name["memory"]["summary"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["optical-fibr"], 2, "did you mean 'optical-fibre'"),
        (["lab:Raising"], 2, "no such port"),
        (["lab:no_device"], 2, "cannot be made"),
        (["lab:Missing"], 2, "cannot be imported"),
        (["nolab:MyRig"], 2, "cannot be imported"),
        (["missing.toml"], 2, "no such file"),
        (["lab:MyRig", "--set", "gian=2"], 2, "did you mean 'gain'"),
        (["lab:MyRig", "--set", "gain"], 2, "key=value"),
        (["lab:MyRig", "--only", "memry"], 2, "did you mean 'memory'"),
        (["lab:Unreachable"], 3, "nobody listens"),
    ],
)
def test_a_mistake_is_one_clear_line(command, arguments, code, says):
    done = command(*arguments)
    assert done.exit_code == code, done.output
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list_runs(Path("runs"))


@pytest.mark.slow
def test_ctrl_c_closes_the_device_and_is_130(folder):
    running = process(folder, "lab:Slow")
    assert "checking" in running.stderr.readline()
    time.sleep(0.5)
    (folder / "closed").unlink(missing_ok=True)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=20)
    assert running.returncode == 130
    last_line = errors.strip().splitlines()[-1]
    assert last_line.startswith("hwloop: interrupted; what was measured is kept in runs/")
    assert (folder / "closed").exists()
    (kept,) = list_runs(folder / "runs")
    assert (kept.state, kept.path.endswith(kept.name)) == ("interrupted", True)
    assert kept.rows > 0


@pytest.mark.slow
def test_a_hanging_device_is_named_and_the_command_ends(folder):
    running = process(folder, "lab:Hanging", "--timeout", "0.5", "--json")
    output, _ = running.communicate(timeout=20)
    assert running.returncode == 1
    assert json.loads(output)["broken"] == ["readings"]


def test_the_check_loads_no_torch(folder):
    watch = (
        "import sys; from hwloop.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch, "check", "lab:MyRig", "--only", "limits"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]")


@pytest.mark.slow
def test_the_class_of_the_document_runs_in_a_drivers_own_repository(folder):
    """The example of docs/check-a-driver.md, with a rig and a voltmeter for it."""
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/check-a-driver.md").read_text(), re.M | re.S)
    (folder / "mylab").mkdir()
    (folder / "mylab" / "__init__.py").touch()
    (folder / "mylab" / "drivers.py").write_text(LAB)
    meter = "\n\nclass my_voltmeter:\n    read = staticmethod(lambda: 0.0)\n"
    broken = (
        "\n\nclass TestLeaking(hwloop.testing.DeviceConformance):\n"
        "    def make_device(self):\n        import lab\n        return lab.Leaking()\n"
    )
    (folder / "test_rig.py").write_text(example + meter + broken)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_rig.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "TestLeaking::test_memory" in done.stdout, done.stdout
    assert "the response depends on the row before" in done.stdout
    assert "TestMyRig::" not in done.stdout.partition("short test summary")[2]
    failed, passed = re.search(r"(\d+) failed, (\d+) passed", done.stdout).groups()
    assert int(failed) + int(passed) == 38
