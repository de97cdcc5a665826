"""One writer at a time: the second names the first, and a lock whose owner was killed holds nobody up."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.errors import JournalError
from hwloop.journal import DiskJournal, Note
from hwloop.journal.lock import WriterLock, writer_of
from hwloop.process import ProcessName

HOLDER = """
import sys, time
from pathlib import Path
from hwloop.journal.lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes the folder, until the test ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_names_the_first(tmp_path, holder):
    expected = f"process {holder.pid} on {socket.gethostname()}"
    with pytest.raises(JournalError, match=expected):
        WriterLock(tmp_path)
    assert writer_of(tmp_path) == expected


def test_the_lock_of_a_killed_process_is_free(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / "lock").read_text())["pid"] == holder.pid  # it could not sign off
    assert writer_of(tmp_path) is None
    lock = WriterLock(tmp_path)
    assert writer_of(tmp_path) == f"process {os.getpid()} on {socket.gethostname()}"
    lock.release()
    assert writer_of(tmp_path) is None


def test_resume_of_a_run_that_is_being_written_is_refused_in_one_line(make_run, tmp_path):
    run = make_run(tmp_path / "night", "running")
    (run / "run.toml").write_text(
        'name = "x"\ndataset = "digits"\ndevice = "optical-fibre"\ntrainer = "readout"\n'
    )
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    try:
        done = CliRunner().invoke(app, ["resume", str(run)])
    finally:
        process.kill()
        process.communicate()
    assert done.exit_code == 3
    assert f"is being written by process {process.pid} on {socket.gethostname()}" in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert all(path.read_bytes() == content for path, content in before.items())


def test_whoever_only_asks_who_writes_never_gets_in_the_way_of_a_writer(tmp_path):
    WriterLock(tmp_path).release()
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            writer_of(tmp_path)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(200):
            WriterLock(tmp_path).release()
    finally:
        stop.set()
        for thread in asking:
            thread.join()


def test_a_writer_waits_for_one_who_asks_but_not_for_a_writer(tmp_path):
    WriterLock(tmp_path).release()
    asking = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    threading.Timer(0.03, os.close, [asking]).start()
    lock = WriterLock(tmp_path)
    begin = time.monotonic()
    with pytest.raises(JournalError):
        WriterLock(tmp_path)
    assert time.monotonic() - begin < 1
    lock.release()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"pid": 1e999, "host": 1}', b'{"pid": {}}', b"\xff" * 5000]
)
def test_a_lock_whose_owner_cannot_be_read_still_holds(tmp_path, content):
    lock = WriterLock(tmp_path)
    (tmp_path / "lock").write_bytes(content)
    with pytest.raises(JournalError, match="another process"):
        WriterLock(tmp_path)
    lock.release()


FORKING = """
import ctypes, os, signal, sys, time
from pathlib import Path
from hwloop.journal import DiskJournal
journal = DiskJournal(Path(sys.argv[1]))
fork = {"python": os.fork, "library": ctypes.CDLL(None).fork}[sys.argv[2]]
helper = fork()
if not helper:
    time.sleep(60)
    os._exit(0)
print(helper, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("reaped", [True, False])
@pytest.mark.parametrize("kind", ["python", "library"])
def test_a_helper_that_a_driver_forked_keeps_no_lock(tmp_path, kind, reaped):
    """A killed process leaves a folder free, whoever of its helpers lives on with its files open."""
    process = subprocess.Popen([sys.executable, "-c", FORKING, str(tmp_path), kind], stdout=subprocess.PIPE)
    helper = int(process.stdout.readline())
    try:
        with pytest.raises(JournalError, match=f"process {process.pid} "):
            WriterLock(tmp_path)
        process.kill()
        if reaped:
            process.wait()
        else:  # its parent takes no note of its death
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        os.kill(helper, 0)
        assert writer_of(tmp_path) is None
        lock = WriterLock(tmp_path)
        assert writer_of(tmp_path) == f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(JournalError, match=f"process {os.getpid()} "):
            WriterLock(tmp_path)
        lock.release()
        assert writer_of(tmp_path) is None
    finally:
        os.kill(helper, signal.SIGKILL)
        process.kill()
        process.communicate()


def test_a_forked_copy_neither_writes_nor_frees_the_journal(tmp_path):
    journal = DiskJournal(tmp_path)
    journal.note(Note("before"))
    child = os.fork()
    if not child:
        try:
            journal.note(Note("in the copy"))
        except JournalError as error:
            os._exit(7 if "forked" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    with pytest.raises(JournalError, match="is being written by"):
        WriterLock(tmp_path)
    journal.note(Note("after"))
    assert [note.kind for note in journal.notes()] == ["before", "after"]
    journal.close()


def test_of_many_who_find_the_lock_of_a_dead_process_held_one_gets_it(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", FORKING, str(tmp_path), "library"], stdout=subprocess.PIPE)
    helper = int(process.stdout.readline())
    process.kill()
    process.wait()
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom hwloop.journal.lock import WriterLock\n"
        "sys.stdin.readline()\nlock = WriterLock(Path(sys.argv[1]))\nprint('mine', flush=True)\ntime.sleep(60)"
    )
    many = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for each in many:
            each.stdin.write("go\n")
            each.stdin.flush()
        owners = [each for each in many if each.stdout.readline() == "mine\n"]
        assert len(owners) == 1
        assert f"process {owners[0].pid} " in writer_of(tmp_path)
    finally:
        os.kill(helper, signal.SIGKILL)
        for each in [process, *many]:
            each.kill()
            each.communicate()


@pytest.mark.parametrize(
    "changed", [{"boot": "another"}, {"namespace": "pid:[1]"}, {"host": "elsewhere"}, {"started": 0}, {"boot": ""}]
)
def test_a_process_that_cannot_be_judged_counts_as_alive(changed):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    named = ProcessName.own().as_dict() | {"pid": dead.pid}
    assert ProcessName.from_dict(named).is_gone()
    assert not ProcessName.from_dict(named | changed).is_gone()
    assert not ProcessName.own().is_gone()
    assert ProcessName.from_dict(ProcessName.own().as_dict() | {"started": 1}).is_gone()  # its number went on


def test_a_lock_that_is_a_link_is_refused(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").symlink_to(elsewhere)
    with pytest.raises(JournalError, match="cannot be written"):
        WriterLock(tmp_path / "run")
    assert writer_of(tmp_path / "run") is None
    assert elsewhere.read_text() == "precious"
