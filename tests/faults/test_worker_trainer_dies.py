"""The trainer is killed: the worker brings its device to the safe state by itself, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from helpers import PATIENCE_SECONDS, wait_until

RIG = f"{Path(__file__).parent / 'worker_rig.py'}:Rig"
TRAINER = """
import sys
import numpy as np
from hwloop.devices.worker import WorkerDevice

device = WorkerDevice(target=sys.argv[1], folder=sys.argv[2])
device.open()
device.measure(np.zeros((2, 4)))
print("measured", flush=True)
while sys.argv[3] == "measuring":
    device.measure(np.zeros((2, 4)))
sys.stdin.read()
"""


class Lab:
    """A trainer in a process of its own, and what is left after its death."""

    def __init__(self, folder):
        self.folder = folder
        self.mark = uuid.uuid4().hex

    def start(self, mode):
        words = [sys.executable, "-c", TRAINER, RIG, str(self.folder), mode]
        variables = {**os.environ, "HWLOOP_TEST_MARK": self.mark, "TMPDIR": str(self.folder)}
        trainer = subprocess.Popen(words, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert trainer.stdout.readline() == b"measured\n"
        return trainer

    def next_call(self, fault):
        new = self.folder / "fault.new"
        new.write_text(fault)
        new.rename(self.folder / "fault")  # whole: the rig looks for it all the time

    def kill(self, trainer):
        trainer.kill()
        for stream in (trainer.stdin, trainer.stdout):
            stream.close()
        trainer.wait()

    @property
    def said(self):
        return (self.folder / "said").read_text().split()

    def is_empty(self):
        """Whether none of its processes lives."""
        for folder in Path("/proc").iterdir():
            try:
                alive = (
                    folder.name.isdigit() and (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
                )
                if alive and self.mark.encode() in (folder / "environ").read_bytes():
                    return False
            except OSError:
                continue
        return True


@pytest.mark.parametrize(
    "doing",
    [
        "sleep",
        *(
            pytest.param(doing, marks=pytest.mark.slow)
            for doing in ("idle", "measuring", "compute", "children_and_sleep")
        ),
    ],
)
def test_safe_state_is_reached_while(tmp_path, doing):
    lab = Lab(tmp_path)
    trainer = lab.start("measuring" if doing != "idle" else "idle")
    if doing not in ("idle", "measuring"):
        lab.next_call(doing)
        done = {"sleep": "asleep", "compute": "computing", "children_and_sleep": "forked"}[doing]
        wait_until(lambda: done in lab.said)
    lab.kill(trainer)
    wait_until(lab.is_empty)
    assert lab.said.count("safe") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("doing", "done"), [("hold_lock", "holding"), ("stop", "stopped")])
def test_a_worker_that_can_do_nothing_is_ended_all_the_same(tmp_path, doing, done):
    lab = Lab(tmp_path)
    trainer = lab.start("measuring")
    lab.next_call(doing)
    wait_until(lambda: done in lab.said)
    lab.kill(trainer)
    wait_until(lab.is_empty)


@pytest.mark.slow
def test_twenty_trainers(tmp_path):
    for number in range(20):
        lab = Lab(tmp_path / str(number))
        lab.folder.mkdir()
        lab.kill(lab.start(("idle", "measuring")[number % 2]))
        wait_until(lab.is_empty)
        assert lab.said == ["built", "open", "safe"]


@pytest.mark.slow
def test_ctrl_c_in_the_trainer_is_not_the_workers(tmp_path):
    lab = Lab(tmp_path)
    trainer = lab.start("idle")
    trainer.send_signal(signal.SIGINT)
    with trainer.stdin, trainer.stdout:
        trainer.wait(PATIENCE_SECONDS)
    wait_until(lab.is_empty)
    assert lab.said == ["built", "open", "safe"]


FORKING_TRAINER = """
import os, sys, time
import numpy as np
from hwloop.devices.worker import WorkerDevice

device = WorkerDevice(target=sys.argv[1], folder=sys.argv[2])
device.open()
if os.fork() == 0:
    sys.exit()  # with all that an interpreter does at its end
os.wait()
device.measure(np.zeros((2, 4)))
child = os.fork()
if child == 0:
    time.sleep(600)  # as a data loader's process does, with everything that it inherited
print(child, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_the_trainers_own_forks_neither_end_the_worker_nor_keep_it_alive(tmp_path):
    lab = Lab(tmp_path)
    words = [sys.executable, "-c", FORKING_TRAINER, RIG, str(tmp_path)]
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    trainer = subprocess.Popen(words, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = int(trainer.stdout.readline())
    try:
        assert lab.said == ["built", "open"]
        lab.kill(trainer)
        wait_until(lambda: "safe" in lab.said)
    finally:
        os.kill(child, signal.SIGKILL)
