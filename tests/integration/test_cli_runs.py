"""``hwloop runs``, ``verify`` and ``export`` as a user calls them."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def night(make_run, tmp_path):
    return make_run(tmp_path / "runs" / "night1")


def test_runs_is_a_table_with_a_line_a_run(command, night, make_run, tmp_path):
    (make_run(tmp_path / "runs" / "night2", "running") / "run.toml").unlink()
    (tmp_path / "runs" / "[red]odd").mkdir()
    done = command("runs")
    assert done.exit_code == 0, done.output
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert all(text in lines["night1"] for text in ("finished", "20", "90.0 %", "rig"))
    assert "interrupted" in lines["night2"]
    assert "75.0 % (1 seed)" in lines["night2"]
    assert "broken" in lines["[red]odd"]
    assert "[red]odd: holds no run" in done.stdout


def test_runs_as_json_is_one_list(command, night):
    (found,) = json.loads(command("runs", "--json").stdout)
    assert (found["name"], found["state"], found["rows"], found["test_accuracy"]) == (
        "night1",
        "finished",
        20,
        0.9,
    )


def test_runs_without_any_says_so(command):
    done = command("runs")
    assert done.exit_code == 0
    assert "no runs in runs" in done.stderr
    assert command("runs", "nowhere").exit_code == 2


def test_verify_shows_what_was_measured_and_is_0_when_all_is_whole(command, night):
    done = command("verify", "runs/night1")
    assert done.exit_code == 0, done.output
    for text in ("finished since", "rig no. 7", "train", "evaluate", "index consistent", "every record is whole"):
        assert text in done.stdout


def test_verify_is_3_with_the_place_of_the_damage(command, night):
    chunk = night / "journal" / "seed-0-device-0" / "000000.rows"
    chunk.write_bytes(chunk.read_bytes()[:-7])
    done = command("verify", "runs/night1")
    assert done.exit_code == 3
    assert "damaged: journal/seed-0-device-0: 000000.rows, byte " in done.stdout
    found = command("verify", "runs/night1", "--json")
    assert found.exit_code == 3
    assert json.loads(found.stdout)["is_whole"] is False


def test_verify_is_2_for_what_is_no_run(command):
    done = command("verify", "nowhere")
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_control_characters_in_a_damaged_file_do_not_reach_the_terminal(command, night):
    state = json.loads((night / "state.json").read_text())
    (night / "state.json").write_text(json.dumps({**state, "device": "\x1b[2Jrig", "detail": "\x07"}))
    for arguments in (["runs"], ["verify", "runs/night1"]):
        assert not set(command(*arguments).stdout) & {"\x1b", "\x07"}


@pytest.mark.parametrize("to", ["hdf5", "netcdf", "parquet"])
def test_export_names_the_file_that_it_wrote(command, night, to):
    pytest.importorskip("h5netcdf")
    done = command("export", "runs/night1", "--to", to, "-o", "rows.out")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("rows.out: 20 rows in 1 group, ")
    again = command("export", "runs/night1", "--to", to, "-o", "rows.out")
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert command("export", "runs/night1", "--to", to, "-o", "rows.out", "--force").exit_code == 0


def test_looking_at_runs_loads_no_torch(night, tmp_path):
    watch = (
        "import sys; from hwloop.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'sklearn', 'scipy', 'matplotlib', 'h5py', 'pyarrow'}"
        " & set(sys.modules)))"
    )
    for arguments in (["runs"], ["verify", "runs/night1"]):
        done = subprocess.run(
            [sys.executable, "-c", watch, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith("[]")


def test_help_is_instant(tmp_path):
    code = "from hwloop.cli import main; main()"
    seconds = []
    for _ in range(3):
        begin = processor_seconds()
        subprocess.run([sys.executable, "-c", code, "--help"], cwd=tmp_path, capture_output=True, check=True)
        seconds.append(processor_seconds() - begin)
    assert min(seconds) < 1.0  # 0.15 s on an idle machine; imports of numpy or rich would show


def processor_seconds():
    """Of the processes that were waited for: others on the machine do not count."""
    times = os.times()
    return times.children_user + times.children_system


def on_terminal(words, folder, width):
    """What a command prints on a terminal of so many columns."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        os.execve(sys.executable, [sys.executable, "-m", "hwloop.cli", *words], {**environment, "TERM": "xterm"})
    said = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says so where the child is gone
            break
        if not part:
            break
        said += part
    os.close(terminal)
    os.waitpid(child, 0)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", said.decode())


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize(
    ("words", "whole"),
    [
        (["runs"], ["night1", "finished", "90.0 %"]),
        (["verify", "runs/night1"], ["seed-0-device-0", "evaluate"]),
        (["list"], ["mnist1d-fibre-nonlinear", "channel-competition"]),
        (["info", "optical-fibre"], ["full_well_electrons", "default 0.01"]),
        (["check", "linear-instrument", "--rows", "60", "--only", "limits"], ["limits", "pass"]),
    ],
    ids=lambda found: found[0] if isinstance(found, list) else found,
)
def test_a_narrow_terminal_shows_whole_names_and_figures(night, tmp_path, words, whole, width):
    said = on_terminal(words, tmp_path, width)
    assert "…" not in said.replace(":…", "")
    assert all(text in said for text in whole), said
    ruled = [line for line in said.splitlines() if set(line.strip()) == {"─"}]
    assert all(len(line) <= width for line in ruled)
