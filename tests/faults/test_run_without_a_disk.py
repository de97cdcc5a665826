"""A run whose disk fails: it stops with one line and its exit code, and every row that was recorded is whole."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from examples import each_row
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.journal import ReadOnlyJournal, disk

EXPERIMENT = """
name = "disk"
dataset = "digits"
device = "lab:Fibre"
trainer = "readout"
[network]
stages = 1
width = 20
[evidence]
floors = false
"""
# A fibre of 200 outputs that removes a folder when it has measured so many rows.
DEVICE = '''
import os, shutil, time
from hwloop.simulators.optical_fibre import OpticalFibre

class Fibre(OpticalFibre):
    """Answers alike in every process."""

    def __init__(self, n_inputs, seed=0):
        super().__init__(n_inputs=n_inputs, n_outputs=200, seed=seed)
        self.rows = 0

    def _measure(self, inputs):
        self.rows += len(inputs)
        doomed = os.environ.get("REMOVED_WHILE_RUNNING")
        if doomed and self.rows > 600:
            shutil.rmtree(doomed, ignore_errors=True)
            time.sleep(0.4)
        return super()._measure(inputs)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "disk.toml").write_text(EXPERIMENT)
    (tmp_path / "lab.py").write_text(DEVICE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("lab", None)


def in_process(*words):
    return CliRunner().invoke(app, list(words))


def command(folder, *words, largest_file_kib=None, as_nobody_special=False, **environment):
    """The command in a process of its own; no file of it may grow beyond so many KiB; rights bind root too."""
    bound = as_nobody_special and os.geteuid() == 0
    prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if bound else []
    limit = f"ulimit -f {largest_file_kib}; " if largest_file_kib else ""
    return subprocess.run(
        [*prefix, "bash", "-c", f'{limit}exec "$@"', "bash", sys.executable, "-m", "hwloop.cli", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_one_clear_line(stderr, *parts):
    (line,) = [line for line in stderr.splitlines() if line.startswith("hwloop: ")]
    assert all(part in line for part in parts), line
    assert "Traceback" not in stderr
    assert "unexpected" not in stderr


def assert_whole(run):
    """Whatever the journal holds is what the run without trouble measured."""
    path = Path("journal", "seed-0-device-0")
    whole = ReadOnlyJournal("whole" / path)
    found = ReadOnlyJournal(run / path) if (run / path).is_dir() else None
    if found is None or not found.rows:
        return 0
    assert all(damage.torn for damage in found.damage)
    numbers = np.arange(found.rows)
    for part, expected in zip(found.read_rows(numbers), whole.read_rows(numbers), strict=True):
        np.testing.assert_array_equal(part, expected)
    return found.rows


@pytest.mark.slow
@pytest.mark.parametrize("kib", [4, 40, 700])
def test_a_full_disk(folder, kib):
    """The limit of a file's size stands for a disk that is full: the kernel refuses the write half-way."""
    assert in_process("run", "disk.toml", "--out", "whole").exit_code == 0
    done = command(folder, "run", "disk.toml", "--out", "full", largest_file_kib=kib)
    assert done.returncode == 3
    assert_one_clear_line(done.stderr, "cannot be written", "hwloop resume full")
    rows = assert_whole(folder / "full")
    assert rows or kib < 700
    damaged = [line for line in in_process("verify", "full").stdout.splitlines() if line.startswith("damaged")]
    assert all("index.sqlite" in line and "made again" in line for line in damaged)
    resumed = in_process("resume", "full")
    assert resumed.exit_code == 0, resumed.output
    assert assert_whole(folder / "full") > rows
    final = Path("checkpoints", "final.safetensors")
    assert (folder / "full" / final).read_bytes() == (folder / "whole" / final).read_bytes()


@pytest.mark.parametrize("part", each_row(["metrics.jsonl", "000000.rows"], "000000.rows"))
def test_a_disk_that_is_full_from_some_moment_on(folder, monkeypatch, part):
    """No more space for one file: the run says so, and what was recorded before is whole."""
    assert in_process("run", "disk.toml", "--out", "whole").exit_code == 0
    really_write, writes = os.writev, []

    def full(file, buffers):
        writes.append(file)
        if len(writes) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really_write(file, buffers)

    if part == "000000.rows":
        monkeypatch.setattr(disk.os, "writev", full)
    else:
        monkeypatch.setattr(Path, "open", _full_where(part, Path.open))
    done = in_process("run", "disk.toml", "--out", "full")
    monkeypatch.undo()
    assert done.exit_code == 3
    assert_one_clear_line(done.stderr, "No space left on device", "resume")
    os.chdir(folder)
    rows = assert_whole(folder / "full")
    assert rows if part == "000000.rows" else not rows


def _full_where(name, really_open):
    """``Path.open`` that opens /dev/full instead of one file."""

    def opened(path, *arguments, **options):
        return really_open(Path("/dev/full") if path.name == name else path, *arguments, **options)

    return opened


@pytest.mark.slow
def test_a_folder_that_is_removed_while_the_run_writes_it(folder):
    done = command(folder, "run", "disk.toml", "--out", "gone", REMOVED_WHILE_RUNNING=str(folder / "gone"))
    assert done.returncode == 3
    assert_one_clear_line(done.stderr, "gone")
    assert "hwloop resume" not in done.stderr  # there is nothing to go on with
    assert not (folder / "gone" / "state.json").exists()


def test_a_place_that_cannot_be_written(folder):
    (folder / "file").write_text("")
    for out in ("/proc/run", "file/run"):
        done = in_process("run", "disk.toml", "--out", out)
        assert done.exit_code in (2, 3)
        assert_one_clear_line(done.stderr, out)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="nothing is read-only for root")
def test_a_read_only_folder(folder):
    """A new run in it is refused, and so is going on with one that has become read-only."""
    assert command(folder, "run", "disk.toml", "--out", "whole").returncode == 0
    done = command(folder, "run", "disk.toml", "--out", "full", largest_file_kib=700)
    assert done.returncode == 3
    (folder / "locked").mkdir()
    places = [folder / "locked", folder / "full", *(folder / "full").rglob("*")]
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        for words in (("run", "disk.toml", "--out", "locked/run"), ("resume", "full")):
            done = command(folder, *words, as_nobody_special=True)
            assert done.returncode in (2, 3)
            assert_one_clear_line(done.stderr, words[-1], "Permission denied")
        assert assert_whole(folder / "full")
        assert command(folder, "verify", "full", as_nobody_special=True).returncode == 0
    finally:
        for path in places:
            path.chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_flipped_byte_in_a_run_is_reported_and_never_trained_on(folder, seed):
    assert in_process("run", "disk.toml", "--out", "whole").exit_code == 0
    shutil.copytree("whole", "flipped")
    chunk = folder / "flipped" / "journal" / "seed-0-device-0" / "000000.rows"
    data = bytearray(chunk.read_bytes())
    data[int(np.random.default_rng(seed).integers(len(data)))] ^= 0x10
    chunk.write_bytes(bytes(data))
    for words in (("verify", "flipped"), ("replay", "flipped")):
        done = in_process(*words)
        assert done.exit_code == 3
        assert "Traceback" not in done.output + done.stderr
    assert_one_clear_line(done.stderr, "journal")
