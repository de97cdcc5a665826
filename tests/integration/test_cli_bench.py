"""``hwloop bench`` in a process of its own: one line when it listens, a clean end, and no open door."""

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app

SMALL = ["--set", "n_inputs=4", "--set", "n_outputs=6"]


@contextmanager
def served(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", "from hwloop.cli import main; main()", "bench", *SMALL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(name, message):
    _, host, port, _ = name.split("::")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(message.encode() + b"\n")
        return client.makefile("rb").readline().decode().strip()


@pytest.mark.parametrize("end", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_one_line_of_json_and_a_clean_end(end):
    with served("--json", "--set", "bench.guard_seconds=2e-6", "--set", "noise_of_range=0") as process:
        found = json.loads(process.stdout.readline())
        assert list(found) == ["generator", "oscilloscope", "device_toml"]
        assert ask(found["generator"], "*IDN?").split(",")[1] == "33522B"
        assert ask(found["oscilloscope"], "*IDN?").split(",")[1] == "DSOX1102G"
        table = tomllib.loads(Path(found["device_toml"]).read_text())
        assert table["device"] == "waveform"
        assert table["settings"]["generator"] == found["generator"]
        assert (table["settings"]["n_inputs"], table["settings"]["guard_seconds"]) == (4, 2e-6)
        process.send_signal(end)
        stdout, stderr = process.communicate(timeout=20)
        assert (process.returncode, stdout, stderr) == (0, "", "")
        assert not Path(found["device_toml"]).exists()  # its ports are no more


@pytest.mark.slow
def test_without_json_it_says_where_things_are(tmp_path):
    with served("--toml", str(tmp_path / "rig.toml")) as process:
        lines = dict(process.stdout.readline().split() for _ in range(3))
        assert lines["device"] == str(tmp_path / "rig.toml")
        assert ask(lines["generator"], "*OPC?") == "1"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[1] == "Ctrl-C ends the bench.\n"
        assert (tmp_path / "rig.toml").exists()


@pytest.mark.slow
def test_another_address_warns():
    with served("--json", "--host", "0.0.0.0") as process:
        found = json.loads(process.stdout.readline())
        assert ask(found["generator"], "*OPC?") == "1"
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
        assert stderr.startswith("hwloop: warning: listening on 0.0.0.0: everyone who reaches this computer")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--substrate", "optical-fiber"], "did you mean 'optical-fibre'"),
        (["--set", "n_outptus=3"], "did you mean 'n_outputs'"),
        (["--set", "bench.gard_seconds=3"], "did you mean 'guard_seconds'"),
        (["--set", "scope.noise=3"], "substrate.NAME or bench.NAME"),
        (["--set", "n_outputs=0"], "n_outputs must be at least 1"),
        (["--set", "latency_seconds=-1"], "latency_seconds must be at least 0"),
        (["--set", "n_outputs"], "no key=value"),
        (["--host", "no-such-host.invalid"], "cannot listen on no-such-host.invalid"),
        (["--toml", "/nowhere/rig.toml"], "cannot be written"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(arguments, message):
    done = CliRunner().invoke(app, ["bench", *SMALL, *arguments])
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("hwloop: error: ")
    assert "Traceback" not in done.output
