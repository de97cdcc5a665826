"""The walks of docs/architecture.md are what the code does, and stay as short as they are."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from code_walk import CodeWalk, recorded_walk, told_walk

import hwloop
from hwloop.experiment.partition import partition
from hwloop.experiments.datasets import split
from hwloop.journal import DiskJournal
from hwloop.registry import DATASETS

PAGE = "docs/architecture.md"
DEVICE = "hwloop-device"
ROWS = np.linspace(0.0, 1.0, 24).reshape(12, 2)


class Doubler(hwloop.Device):
    """A simulated device without state, which says who it is from memory."""

    spec = hwloop.DeviceSpec(n_inputs=2, n_outputs=2)
    simulated = True

    def identify(self):
        return "doubler"

    def _measure(self, inputs):
        return 2 * inputs


def moves(walk):
    return len(walk) - 1


def files(walk):
    return list(dict.fromkeys(file for file in walk if file != "driver"))


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Of a block of rows that nobody has measured yet, once everything is open and has measured before."""
    folder = tmp_path_factory.mktemp("walk") / "journal"
    with recorded_walk() as found, hwloop.Session(Doubler(), journal=DiskJournal(folder)) as session:
        session.measure(ROWS[:4])
        found.during(lambda: session.measure(ROWS[4:8]))
    return found


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """Of the same block where a run goes on that has recorded it: the journal answers."""
    folder = tmp_path_factory.mktemp("again") / "journal"
    journal = DiskJournal(folder)
    with hwloop.Session(Doubler(), journal=journal) as session:
        session.measure(ROWS[:8])
    journal.close()
    with recorded_walk() as found, hwloop.Session(Doubler(), journal=DiskJournal(folder)) as session:
        session.measure(ROWS[:4])
        found.during(lambda: session.measure(ROWS[4:8]))
    assert "driver" not in found.of(DEVICE)
    return found


def to_the_device(walk: CodeWalk) -> list[str]:
    """From the caller to the job that it hands to the device's thread, and from there to the driver."""
    caller = walk.of("MainThread")
    device = walk.of(DEVICE)
    handed = caller[caller.index("hwloop/session/session.py") : caller.index("hwloop/session/owner.py")]
    return handed + device[: device.index("driver") + 1]


def test_the_way_to_the_driver(walk):
    found = to_the_device(walk)
    assert files(found) == told_walk(PAGE, "### To the driver")
    assert len(files(found)) <= 8
    assert moves(found) <= 12, found


def test_the_way_back_into_the_journal(walk):
    device = walk.of(DEVICE)
    back = device[device.index("driver") : device.index("hwloop/session/measurement.py", device.index("driver"))]
    assert files(back) == told_walk(PAGE, "### Back into the journal")
    assert len(files(back)) <= 8
    assert moves(back) <= 12, back


def test_the_way_when_the_journal_answers(again):
    device = again.of(DEVICE)
    start = device.index("hwloop/session/recorder.py")
    found = device[start : device.index("hwloop/session/measurement.py", start)]
    assert files(found) == told_walk(PAGE, "### Again, from the journal")
    assert moves(found) <= 6, found


class Quarter(Doubler):
    """As many outputs as a small stage needs, for 64 features and a reference slot."""

    spec = hwloop.DeviceSpec(n_inputs=66, n_outputs=12)

    def _measure(self, inputs):
        return inputs[:, :12] / 4


def test_a_row_goes_from_the_dataset_to_the_weights_by_the_told_files():
    def train():
        data = partition(DATASETS.build("digits"), 0, split, 0.25, 0.0)
        network = hwloop.PhysicalNetwork(session, [hwloop.Stage(6)], seed=0)
        hwloop.trainer("local", epochs=1, min_steps=4).fit(network, data.train.inputs, data.train.targets)

    with recorded_walk() as found, hwloop.Session(Quarter()) as session:
        train()  # what is imported late is imported now
        session.forget()
        found.during(train)
    walk = files(found.of(threading.current_thread().name))
    told = told_walk(PAGE, "## A row, from dataset to weights, file by file")
    assert told == [file for file in walk if file in told]
    assert len(told) == 20
    assert len(walk) <= 40
