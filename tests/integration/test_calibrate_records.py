"""What a calibration keeps: rows that survive a stop, files that are whole, older ones beside them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

from hwloop import Device, DeviceSpec
from hwloop.calibration import calibrate
from hwloop.cli.app import app
from hwloop.deadline import Deadline
from hwloop.errors import ConfigError, DeviceError, DeviceTimeout, HwloopError
from hwloop.journal import ReadOnlyJournal
from hwloop.runs.recording_folder import RecordingFolder
from hwloop.runs.summary import summary_of
from hwloop.simulators.linear_instrument import LinearInstrument


class Lab(Device):
    """Doubles its stimuli; from ``dies_at`` rows on it answers no more."""

    spec = DeviceSpec(2, 2, -1.0, 1.0, max_rows=1)

    def __init__(self):
        self.rows, self.dies_at = 0, np.inf

    def _measure(self, inputs):
        if self.rows >= self.dies_at:
            raise TimeoutError("no answer")
        self.rows += len(inputs)
        return 2 * inputs


def hwloop_command(*arguments):
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)])


# Forgets each row at once: what a calibration was when it was stopped is in its journal alone.
FORGETFUL = ["linear-instrument", "--set", "time_constant=0.0", "--set", "memory=0.0", "--budget", "600"]


def begun(tmp_path, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", "from hwloop.cli import main; main()", "calibrate", *arguments],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr.readline()  # the forecast, or that of the settling sweep
    return process


def rows_kept(folder):
    with contextlib.suppress(HwloopError, OSError):
        return sum(journal.rows for path in folder.glob("journal/*") if (journal := ReadOnlyJournal(path)))
    return 0


def wait_for_rows(folder, rows):
    deadline = Deadline.after(60.0)
    while rows_kept(folder) < rows:
        assert not deadline.expired
        time.sleep(0.02)


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_measured_and_says_so(tmp_path):
    process = begun(tmp_path, "linear-instrument", "--set", "row_seconds=0.01")
    wait_for_rows(tmp_path / "calibrated.rows", 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "rows are kept in calibrated.rows: the same command goes on with them" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["calibrated.rows"]
    assert summary_of(tmp_path / "calibrated.rows").state == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("settling", [[], ["--settling", "hold_seconds=1e-4,2e-4,4e-4,8e-4"]])
def test_a_killed_calibration_goes_on_at_its_row_and_finds_the_same(settling, tmp_path, monkeypatch):
    (killed := tmp_path / "killed").mkdir()
    (whole := tmp_path / "whole").mkdir()
    arguments = [*FORGETFUL, *settling] if not settling else [*FORGETFUL[:-1], "1200", *settling]
    process = begun(killed, *arguments, "--set", "row_seconds=0.002")
    wait_for_rows(killed / "calibrated.rows", 250)
    process.kill()
    process.wait()
    process.stderr.close()
    kept = rows_kept(killed / "calibrated.rows")
    found = []
    for folder in (killed, whole):
        monkeypatch.chdir(folder)
        done = hwloop_command(*arguments, "--set", "row_seconds=0.002")
        assert done.exit_code == 0, done.stderr
        found.append(json.loads((folder / "calibrated.json").read_text()))
    assert 250 <= kept < found[0]["rows"]
    total = rows_kept(killed / "calibrated.rows")
    assert total == rows_kept(whole / "calibrated.rows")  # none lost, none doubled
    of_time = ("latency", "row_time", "rows_per_second")
    for name, figure in found[1]["figures"].items():
        if name not in of_time:
            assert found[0]["figures"][name] == figure
    assert found[1]["interrupted_at"] == 0
    if not settling:
        assert found[0]["interrupted_at"] == kept
        assert any("interrupted" in warning for warning in found[0]["warnings"])


@pytest.mark.filterwarnings("ignore:resume. 253 recorded rows")  # the device has no serial number
def test_a_calibration_that_fails_in_the_middle_loses_no_row(tmp_path):
    device = Lab()
    device.dies_at = 253
    with RecordingFolder(tmp_path / "rows", "calibration", "lab", {}) as folder:
        with pytest.raises(DeviceTimeout):
            calibrate(device, 400, journal=folder.journal("calibration"))
        assert folder.journal("calibration").rows == 253
    device.dies_at = np.inf
    with RecordingFolder(tmp_path / "rows", "calibration", "lab", {}) as folder:
        found = calibrate(device, 400, journal=folder.journal("calibration"))
    assert device.rows == 400
    assert found.interrupted_at == 253


def test_another_request_sets_aside_what_was_measured_for_the_first(tmp_path):
    path = tmp_path / "calibrated.rows"
    for budget, aside in ((1, None), (2, "calibrated.rows-1"), (2, None), (3, "calibrated.rows-2")):
        with RecordingFolder(path, "calibration", "lab", {"budget": budget}) as folder:
            assert (folder.set_aside and folder.set_aside.name) == aside
    with RecordingFolder(path, "calibration", "lab", {"budget": 3}) as folder:
        folder.finish()
    with RecordingFolder(path, "calibration", "lab", {"budget": 3}) as folder:
        assert folder.set_aside.name == "calibrated.rows-3"  # a finished one is not taken up
    (foreign := tmp_path / "foreign").mkdir()
    (foreign / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="holds something else"):
        RecordingFolder(foreign, "calibration", "lab", {})
    (tmp_path / "link").symlink_to(foreign)
    with pytest.raises(ConfigError, match="is no folder"):
        RecordingFolder(tmp_path / "link", "calibration", "lab", {})


@pytest.mark.slow
def test_older_files_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calibrated.toml").write_text("mine")
    for _ in range(2):
        assert hwloop_command(*FORGETFUL[:-1], 300).exit_code == 0
    assert (tmp_path / "calibrated.toml.1").read_text() == "mine"
    assert tomllib.loads((tmp_path / "calibrated.toml.2").read_text())["device"] == "linear-instrument"
    assert (tmp_path / "calibrated.json.1").exists()


@pytest.mark.parametrize("place", ["/proc/calibrated.toml", "/dev/null/calibrated.toml"])
def test_an_unwritable_place_is_refused_before_the_first_row(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = hwloop_command("linear-instrument", "-o", place)
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "forecast" not in done.stderr
    report = hwloop_command("linear-instrument", "--report", "/proc/nowhere")
    assert report.exit_code == 2
    assert not list(tmp_path.iterdir())


ODD_NAME = 'ACME\x00,7\x1b[2J a"b\\c\r\nd Müller\u2028\x85\x7f\ufeff' + "x" * 5000


@pytest.mark.slow
def test_any_identity_gives_a_file_that_can_be_read(tmp_path, monkeypatch):
    class Odd(LinearInstrument):
        def identify(self):
            return ODD_NAME

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hwloop.cli.calibration_request.open_device", lambda name, **settings: Odd(**settings))
    done = hwloop_command("linear-instrument", "--budget", "300")
    assert done.exit_code == 0, done.stderr
    table = tomllib.loads((tmp_path / "calibrated.toml").read_text(encoding="utf-8"))
    assert table["device"] == "linear-instrument"


@pytest.mark.parametrize(
    ("identity", "advice"), [(b"ACME,7", "bytes.*decode"), ("\udcff", "latin-1"), (None, "NoneType")]
)
def test_an_identity_that_is_no_text_is_named(identity, advice):
    class Raw(Lab):
        def identify(self):
            return identity

    with pytest.raises(DeviceError, match=rf"identify\(\).*{advice}"):
        calibrate(Raw(), 400)
