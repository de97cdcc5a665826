"""What recording a row costs: session plus journal on a device that takes no time, beside a bare CRC append.

The bare append computes a CRC-32 over the very bytes that the journal stores and writes them to a file of the same
file system, with the same ``fdatasync`` at most every second: no journal with a checksum can do less. Both take
turns on the same stimuli in one process, so that whatever else the machine does slows both. The ratio is given of
wall time and of processor time, which a busy machine and a slow disk disturb less.

    python benchmarks/journal_cost.py [FOLDER]      # where to write, by default a new folder in the system's /tmp
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded

import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sizes import sized
from table import print_table

import hwloop
from hwloop.journal import DiskJournal

N_INPUTS, N_OUTPUTS = 64, 64
RECORD_ROWS = 1000
SYNC_SECONDS = 1.0
REPEATS = sized(5, short=1)
MARKS = sized((10_000, 100_000, 1_000_000), short=(2_000, 4_000))
ROWS = sized({1: 2_000, 32: 32_000, RECORD_ROWS: 200_000}, short={1: 20, 32: 320, RECORD_ROWS: 2_000})


class Instant(hwloop.Device):
    """Answers with the same readings in every call: a device without time of its own."""

    def __init__(self) -> None:
        self.spec = hwloop.DeviceSpec(N_INPUTS, N_OUTPUTS, max_rows=RECORD_ROWS)
        self._answers = np.random.default_rng(1).random((RECORD_ROWS, N_OUTPUTS), dtype=np.float32)

    def _measure(self, inputs: np.ndarray) -> np.ndarray:
        return self._answers[: len(inputs)]


class BareAppend:
    """CRC-32 and write, nothing else."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        self._synced = time.monotonic()

    def append(self, parts: list[bytes]) -> None:
        crc = 0
        for part in parts:
            crc = zlib.crc32(part, crc)
        os.writev(self._file, [crc.to_bytes(4, "little"), *parts])
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            os.fdatasync(self._file)
            self._synced = time.monotonic()

    def close(self) -> None:
        os.fdatasync(self._file)
        os.close(self._file)


class SideBySide:
    """A recorded session and a bare append that take turns, a few thousand rows each."""

    def __init__(self, folder: Path, rows_a_call: int) -> None:
        self.rows_a_call = rows_a_call
        self.calls_a_turn = max(1, min(200, 10_000 // rows_a_call))
        self.device = Instant()
        self.journal = DiskJournal(folder / "journal", sync_seconds=SYNC_SECONDS)
        self.session = hwloop.Session(self.device, journal=self.journal)
        self.bare = BareAppend(folder / "bare")
        self.rows = 0
        self.seconds, self.bare_seconds = np.zeros(2), np.zeros(2)  # wall, processor
        self._rng = np.random.default_rng(0)
        self._folder = folder

    def take_turns(self, until: int) -> None:
        """Measure and append until so many rows were recorded."""
        with self.session:
            while self.rows < until:
                shape = (self.calls_a_turn, self.rows_a_call, N_INPUTS)
                calls = self._rng.random(shape, dtype=np.float32)
                self.seconds += seconds_of(lambda: [self.session.measure(stimuli) for stimuli in calls])  # noqa: B023
                header = bytes(self.overhead_bytes())
                answers = self.device._answers[: self.rows_a_call].tobytes()
                parts = [[header, stimuli.tobytes(), answers] for stimuli in calls]
                self.bare_seconds += seconds_of(lambda: [self.bare.append(each) for each in parts])  # noqa: B023
                self.rows += len(calls) * self.rows_a_call

    def overhead_bytes(self) -> int:
        """What a record of the journal stores besides its arrays."""
        rows, stored = self.session.ledger.total, sum(p.stat().st_size for p in self._folder.rglob("*.rows"))
        return (stored - rows * 4 * (N_INPUTS + N_OUTPUTS)) // max(1, rows // self.rows_a_call)

    def close(self) -> None:
        self.journal.close()
        self.bare.close()


def seconds_of(work: Callable[[], object]) -> np.ndarray:
    """Wall seconds of a piece of work, and processor seconds of all threads."""
    begin = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.array([time.perf_counter(), time.process_time()]) - begin


def resident_bytes() -> int:
    """Memory that this process holds now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """Files that this process has open (Linux)."""
    return len(os.listdir("/proc/self/fd"))


def cost(folder: Path, rows_a_call: int) -> list[object]:
    """One line: microseconds a row of session plus journal and of the bare append, medians over repeats."""
    rows = ROWS[rows_a_call]
    measured = []
    for repeat in range(REPEATS):
        with tempfile.TemporaryDirectory(dir=folder, prefix=f"repeat-{repeat}-") as place:
            pair = SideBySide(Path(place), rows_a_call)
            pair.take_turns(rows)
            pair.close()
        measured.append((pair.seconds / rows, pair.bare_seconds / rows))
    own, bare = np.median(measured, axis=0)
    return [f"{rows_a_call:,} rows", *costs(own, bare, np.median([a / b for a, b in measured], axis=0))]


def costs(own: np.ndarray, bare: np.ndarray, ratio: np.ndarray) -> list[object]:
    """Cells: microseconds a row, in wall and processor time, of both, and their ratios."""
    pairs = [f"{a * 1e6:.2f} / {b * 1e6:.2f} us" for a, b in (own, bare)]
    return [*pairs, f"{ratio[0]:.1f} / {ratio[1]:.1f}"]


def long_run(folder: Path) -> list[list[object]]:
    """Cost of the rows that came last, memory and open files along a run of a million rows."""
    lines, memory = [], 0
    with tempfile.TemporaryDirectory(dir=folder, prefix="long-") as place:
        pair = SideBySide(Path(place), RECORD_ROWS)
        for mark in MARKS:
            rows, own, bare = pair.rows, pair.seconds.copy(), pair.bare_seconds.copy()
            pair.take_turns(mark)
            own, bare = (
                (now - before) / (mark - rows) for now, before in ((pair.seconds, own), (pair.bare_seconds, bare))
            )
            memory = memory or resident_bytes()
            grown = (resident_bytes() - memory) / 1e6
            lines.append([f"to {mark:,}", *costs(own, bare, own / bare), f"{grown:.1f} MB", open_files()])
        pair.close()
    return lines


def main(folder: Path) -> None:
    header = ["wall / processor", "session + journal", "bare CRC append", "ratio"]
    lines = [cost(folder, rows_a_call) for rows_a_call in reversed(ROWS)]
    what = f"{N_INPUTS} inputs and {N_OUTPUTS} outputs of float32"
    print_table(f"a row by the rows of a call, {what}, median of {REPEATS} runs", header, lines)
    header += [f"memory since {MARKS[0]:,}", "open files"]
    print_table(f"\na row along one run of {MARKS[-1]:,}, {RECORD_ROWS:,} rows a call", header, long_run(folder))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        main(Path(place))
