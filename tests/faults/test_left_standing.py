"""Hardware that keeps its last value, under a slew limit: wherever a process ends, the next one makes no jump.

Hardware here is a number that only rows, and closing, change. What a killed process, and a computer that lost its
power, leave behind is copied in the midst of a run, at any row; one test really kills.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import hwloop
from hwloop.deadline import Deadline
from hwloop.device.streams import NoiseStream
from hwloop.devices import slew_limited
from hwloop.journal import DiskJournal, InMemoryJournal

pytestmark = pytest.mark.exhaustive

STEP = 0.1


def on_disk(folder, **settings):
    return contextlib.closing(DiskJournal(folder, **settings))


BLOCKS = [[[0.1]], [[0.95], [0.9]], [[0.92]], [[0.2], [0.25], [0.27]], [[0.6]]]


MOVING = threading.Lock()  # no other bench moves while a copy is made


class Bench:
    """What is really there; ``watch`` is called before and after every row."""

    def __init__(self, at=0.0) -> None:
        self.at = at
        self.rows = 0
        self.jumps: list[tuple[float, float]] = []
        self.watch = lambda: None
        self.says_where = False
        self.cannot_close = False

    def drive(self, value: float, heater) -> None:
        with MOVING:
            if not heater.is_open:
                raise ConnectionResetError("closed")  # as by a driver that drops its connection
            self.watch()
            if abs(value - self.at) > STEP * (1 + 1e-9):
                self.jumps.append((self.at, value))
            self.at = value
            self.rows += 1
            self.watch()


class Heater(hwloop.Device):
    """Answers with noise that counts its rows, hidden ones too."""

    spec = hwloop.DeviceSpec(1, 2)
    harmless_settings = {"bench": "the heater itself"}  # noqa: RUF012

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.rows_measured = 0
        self.is_open = False
        self._noise = NoiseStream(5, "heater")

    def identify(self):
        return "heater 7"

    def continue_from(self, rows):
        self.rows_measured = rows

    def open(self):
        self.is_open = True

    def close(self):
        if not self.is_open:
            return  # as many drivers: also where it could not be closed the first time
        with MOVING:
            self.is_open = False
            if self.bench.cannot_close:
                raise ConnectionResetError("no answer to OUTPUT OFF")
            self.bench.at = 0.0

    def position(self):
        return [self.bench.at] if self.bench.says_where else None

    def _measure(self, inputs):
        for value in inputs[:, 0]:
            self.bench.drive(float(value), self)
        noise = self._noise.normals(self.rows_measured, len(inputs), 2)
        self.rows_measured += len(inputs)
        return inputs + noise


def slew(device, **settings):
    return hwloop.SlewLimited(device, STEP, **settings)


def retried(device):
    faulty = hwloop.Faulty(device, {"timeout": 0.1, "crash": 0.05}, seed=1)
    return hwloop.Retrying(slew(faulty), retries=20, stop_after=99, backoff_seconds=0, plausible=[])


STACKS = {
    "slew": lambda benches: slew(Heater(benches[0])),
    "retrying": lambda benches: retried(Heater(benches[0])),
    "averaged outside": lambda benches: hwloop.Averaged(slew(Heater(benches[0])), 2),
    "averaged inside": lambda benches: slew(hwloop.Averaged(Heater(benches[0]), 2)),
    "settled inside": lambda benches: slew(hwloop.Settled(Heater(benches[0]), 1)),
    "quantized": lambda benches: hwloop.Quantized(slew(Heater(benches[0])), dac_bits=6),
    "drifting": lambda benches: hwloop.Drifting(slew(hwloop.Drifting(Heater(benches[0]), 0.1)), 0.1),
    "pool": lambda benches: hwloop.Pool([slew(Heater(bench)) for bench in benches]),
    "pool of retrying": lambda benches: hwloop.Pool([retried(Heater(bench)) for bench in benches]),
    "retried pool": lambda benches: hwloop.Retrying(STACKS["pool"](benches), plausible=[]),
}


def measured(stack, benches, journal):
    session = hwloop.Session(STACKS[stack](benches), journal=journal)
    session.open()
    answers = [session.measure(block) for block in BLOCKS]
    with contextlib.suppress(hwloop.DeviceError):  # the walk to rest may meet a fault
        session.close()
    return answers


class Snapshots:
    """Copies of a journal's folder and of the benches, as they are whenever a bench is about to move or has."""

    def __init__(self, folder: Path, benches, every: int, power_cut: dict | None, most: float) -> None:
        self.folder, self.benches, self.every, self.power_cut = folder, benches, every, power_cut
        self.most = most
        self.seen, self.taken = 0, []
        for bench in benches:
            bench.watch = self.watch

    def watch(self) -> None:
        self.seen += 1
        if self.seen % self.every or len(self.taken) == self.most:
            return
        copy = self.folder.with_name(f"copy-{self.seen}")
        shutil.copytree(self.folder, copy)
        if self.power_cut is not None:  # what was never synced is gone
            for chunk in copy.glob("*.rows"):
                os.truncate(chunk, self.power_cut.get(chunk.name, 0))
        self.taken.append((copy, [bench.at for bench in self.benches]))


@pytest.fixture
def synced(monkeypatch):
    """Sizes of the chunks when they were last synced."""
    sizes: dict[str, int] = {}

    def noting(real):
        def sync(file):
            real(file)
            sizes[Path(os.readlink(f"/proc/self/fd/{file}")).name] = os.fstat(file).st_size

        return sync

    for name in ("fdatasync", "fsync"):
        monkeypatch.setattr(os, name, noting(getattr(os, name)))
    return sizes


def check_every_snapshot(stack, tmp_path, power_cut, every, most=float("inf")):
    reference = measured(stack, (Bench(), Bench()), InMemoryJournal())
    benches = (Bench(), Bench())
    folder = tmp_path / "journal"
    snapshots = Snapshots(folder, benches, every, power_cut, most)
    with on_disk(folder, sync_seconds=60.0) as journal:
        measured(stack, benches, journal)
    assert not any(bench.jumps for bench in benches)
    assert len(snapshots.taken) >= 2
    for copy, places in snapshots.taken:
        after = [Bench(at) for at in places]
        with on_disk(copy) as journal:
            again = measured(stack, after, journal)
        assert not any(bench.jumps for bench in after), (copy.name, places, [bench.jumps for bench in after])
        for one, other in zip(reference, again, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=copy.name)


@pytest.mark.parametrize("stack", STACKS)
def test_a_killed_process_is_gone_on_from_without_a_jump_and_with_the_same_bits(stack, tmp_path):
    check_every_snapshot(stack, tmp_path, None, every=23, most=2)


@pytest.mark.parametrize("stack", ["slew", "pool"])
def test_so_is_a_computer_that_lost_its_power(stack, tmp_path, synced):
    check_every_snapshot(stack, tmp_path, synced, every=23, most=2)


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("power", [True, False], ids=["power cut", "killed"])
def test_at_every_row(stack, power, tmp_path, synced):
    check_every_snapshot(stack, tmp_path, synced if power else None, every=1)


KILLED = """
import os, sys
from pathlib import Path
import hwloop
from hwloop.journal import DiskJournal

folder, last = Path(sys.argv[1]), int(sys.argv[2])
heater, log = folder / "heater", folder / "log"


class Heater(hwloop.Device):
    spec = hwloop.DeviceSpec(1, 1)
    rows = 0

    def identify(self):
        return "heater 7"

    def close(self):
        log.open("a").write("safe\\n")
        heater.write_text("0")

    def _measure(self, inputs):
        for value in inputs[:, 0]:
            Heater.rows += 1
            if Heater.rows == last:
                os.kill(os.getpid(), 9)
            log.open("a").write(f"{value}\\n")
            heater.write_text(str(value))
        return inputs


with hwloop.Session(hwloop.SlewLimited(Heater(), 0.1), journal=DiskJournal(folder / "journal")) as session:
    for block in ([[0.1]], [[0.95], [0.9]], [[0.92]], [[0.2], [0.25]]):
        session.measure(block)
"""


def run_killed(folder, last):
    return subprocess.run([sys.executable, "-c", KILLED, str(folder), str(last)], capture_output=True).returncode


def check_log(folder):
    at = 0.0
    for line in (folder / "log").read_text().split():
        value = 0.0 if line == "safe" else float(line)
        assert line == "safe" or abs(value - at) <= 0.1 + 1e-9, f"a jump from {at} to {value}"
        at = value


def test_a_process_that_is_really_killed(tmp_path):
    assert [run_killed(tmp_path, last) for last in (13, 4, 0)] == [-9, -9, 0]
    check_log(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_process_that_is_killed_again_and_again(seed, tmp_path):
    rng = np.random.default_rng(seed)
    while run_killed(tmp_path, int(rng.integers(1, 40))):
        check_log(tmp_path)
    check_log(tmp_path)


# -- what may have happened beside -----------------------------------------------------------------------


def left_at(value, tmp_path, **claims):
    """A journal of a process that was killed with the heater at a value, and the heater."""
    bench = Bench()

    class Killed(BaseException):
        pass

    def kill():
        if abs(bench.at - value) < 1e-9:
            shutil.copytree(tmp_path / "journal", tmp_path / "left")
            raise Killed

    with on_disk(tmp_path / "journal") as journal:
        session = hwloop.Session(slew(Heater(bench), **claims), journal=journal)
        session.open()
        session.measure([[0.1]])
        bench.watch = kill
        with pytest.raises(Killed):
            session.measure([[value]])
        bench.watch = lambda: None
        session.close()
    return DiskJournal(tmp_path / "left"), Bench(value)


def go_on(journal, device):
    with contextlib.closing(journal), hwloop.Session(device, journal=journal) as session:
        session.measure([[0.1]])
        return session.measure([[0.5]])


def test_what_the_device_says_counts_more_than_the_journal(tmp_path):
    journal, bench = left_at(0.8, tmp_path)
    bench.at, bench.says_where = 0.3, True  # somebody turned a knob
    go_on(journal, slew(Heater(bench)))
    assert bench.rows
    assert not bench.jumps


def test_after_a_restart_of_the_computer_the_device_may_have_lost_its_power_too(tmp_path, monkeypatch):
    journal, bench = left_at(0.8, tmp_path)
    monkeypatch.setattr(slew_limited, "boot", lambda: "another start")
    with pytest.raises(hwloop.DeviceError, match=r"between \[0\] and \[0.8\].*stands_at"):
        go_on(journal, slew(Heater(bench)))
    assert bench.rows == 0


def test_the_operator_tells_where_it_stands(tmp_path, monkeypatch):
    journal, bench = left_at(0.8, tmp_path)
    monkeypatch.setattr(slew_limited, "boot", lambda: "another start")
    bench.at = 0.0  # its plug was pulled
    go_on(journal, slew(Heater(bench), stands_at=0.0))
    assert bench.rows
    assert not bench.jumps


def test_what_was_told_long_ago_is_not_believed(tmp_path):
    with on_disk(tmp_path / "journal") as journal, hwloop.Session(slew(Heater(Bench())), journal=journal) as s:
        s.measure([[0.1]])
    bench = Bench()
    with pytest.raises(hwloop.DeviceError, match="closed since; remove stands_at"):
        go_on(DiskJournal(tmp_path / "journal"), slew(Heater(bench), stands_at=0.8))
    assert bench.rows == 0


def test_what_a_watchdog_may_have_brought_to_rest_may_stand_there(tmp_path):
    class Watched(Heater):
        rests_when_left = True

    journal, bench = left_at(0.8, tmp_path)
    with contextlib.closing(journal), hwloop.Session(slew(Watched(bench)), journal=InMemoryJournal()) as session:
        session.device.stood(journal.positions())
        with pytest.raises(hwloop.DeviceError, match=r"between \[0\] and \[0.8\]"):
            session.measure([[0.1]])
    assert bench.rows == 0


def test_near_its_rest_nobody_has_to_tell(tmp_path, monkeypatch):
    journal, bench = left_at(0.2, tmp_path)
    monkeypatch.setattr(slew_limited, "boot", lambda: "another start")
    bench.at = 0.0
    go_on(journal, slew(Heater(bench)))
    assert bench.rows
    assert not bench.jumps


def test_after_closing_failed_nothing_is_believed_but_the_device(tmp_path):
    bench = Bench()
    bench.cannot_close = True
    device = slew(Heater(bench))
    with on_disk(tmp_path / "journal") as journal:
        session = hwloop.Session(device, journal=journal)
        session.open()
        session.measure([[0.9]])
        bench.watch = lambda: (_ for _ in ()).throw(ConnectionResetError("cable"))
        with pytest.raises(hwloop.DeviceDisconnected):
            session.measure([[0.5]])
        with pytest.raises(hwloop.DeviceError, match="OUTPUT OFF"):
            session.close()
        session.close()
        bench.watch, bench.cannot_close, rows = lambda: None, False, bench.rows
        shutil.copytree(tmp_path / "journal", tmp_path / "left" / "journal")
        with pytest.raises(hwloop.DeviceError, match="does not know where the device stands"):
            session.measure([[0.1]])
    assert bench.rows == rows
    with pytest.raises(hwloop.DeviceError, match="does not know where the device stands"):
        go_on_at(tmp_path / "left", bench)
    assert bench.rows == rows


def go_on_at(tmp_path, bench):
    with on_disk(tmp_path / "journal") as journal, hwloop.Session(slew(Heater(bench)), journal=journal) as s:
        s.measure([[0.9]])
        s.measure([[0.5]])


def test_a_fault_in_a_block_and_a_new_process(tmp_path):
    bench = Bench()

    def fail():
        if bench.at > 0.6:
            raise ConnectionResetError("cable")

    bench.watch = fail
    with on_disk(tmp_path / "journal") as journal:
        session = hwloop.Session(slew(Heater(bench)), journal=journal)
        with pytest.raises(hwloop.DeviceDisconnected):
            session.measure([[0.3], [0.9], [0.2]])
    assert bench.at == 0.0  # its driver's own safe state, without a walk: the link may be gone
    bench.watch = lambda: None
    go_on_at(tmp_path, bench)
    assert not bench.jumps


def test_one_that_is_closed_at_once_makes_no_jump_later(tmp_path):
    """On a disk that is too slow for its last word the next session refuses."""
    bench = Bench()
    journal = DiskJournal(tmp_path / "journal")
    session = hwloop.Session(slew(Heater(bench)), journal=journal)
    session.open()
    session.measure([[0.9]])
    assert session.abort(Deadline.after(5.0)) == []
    assert bench.at == 0.0
    try:
        go_on_at(tmp_path, bench)
    except hwloop.DeviceError as error:
        refusal = str(error)
    else:
        refusal = "does not know where the device stands"
    assert "does not know where the device stands" in refusal
    assert not bench.jumps


def test_a_session_that_is_lost_leaves_word(tmp_path):
    bench = Bench()
    journal = DiskJournal(tmp_path / "journal")
    session = hwloop.Session(slew(Heater(bench)), journal=journal)
    session.open()
    session.measure([[0.9]])
    owner = session._owner
    del session
    owner.close()
    assert bench.at == 0.0
    journal.close()
    go_on_at(tmp_path, bench)
    assert not bench.jumps


def test_where_no_word_can_be_left_nothing_is_moved(tmp_path):
    class Full(InMemoryJournal):
        def note(self, note):
            if note.kind == "position":
                raise hwloop.JournalError("no space left")
            super().note(note)

    bench = Bench()
    with hwloop.Session(slew(Heater(bench)), journal=Full()) as session:
        with pytest.raises(hwloop.JournalError, match="no space"):
            session.measure([[0.5]])
        assert bench.rows == 0


def test_a_second_opening_moves_nothing_in_the_books(tmp_path):
    bench = Bench()
    device = slew(Heater(bench))
    device.open()
    device.measure([[0.9]])
    device.open()
    device.measure([[0.5]])
    device.close()
    assert not bench.jumps


def test_rows_that_stay_near_each_other_go_out_in_one_call_and_under_one_note():
    notes = []
    device = slew(Heater(Bench()))
    device.listener = notes.append
    calls = []
    inner = device.device
    real = inner._measure
    inner._measure = lambda inputs: calls.append(len(inputs)) or real(inputs)
    with device:
        device.measure([[0.05], [0.12], [0.03], [0.1], [0.05]])
        device.measure([[0.05], [0.15]])
    assert calls[:2] == [5, 2]
    assert len(notes) <= 4  # that is, two before rows were sent, two when it was closed


@pytest.mark.parametrize("said", [[0.1, 0.2], [np.nan], "nowhere", [7.0]])
def test_a_position_that_cannot_be_is_refused(said):
    class Says(Heater):
        def position(self):
            return said

    with pytest.raises((hwloop.DeviceError, ValueError)):
        slew(Says(Bench())).open()
