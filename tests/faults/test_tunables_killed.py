"""Kill -9 at random times while rows are measured under changing tunings: nothing is lost, doubled or another."""

import time

import numpy as np
import pytest
from tuned_devices import TunedLayer

from hwloop import Session
from hwloop.journal import DiskJournal, ReadOnlyJournal
from hwloop.runs.layout import JournalFolder
from hwloop.runs.verification import check_journal

CALLS, KILLS = 120, 4


def walk(folder, counted):
    """Rows under random tunings, some asked for again; counts every row that the device measures."""

    class Counting(TunedLayer):
        def _measure(self, inputs):
            with counted.open("ab") as file:
                file.write(b"." * len(inputs))
            return super()._measure(inputs)

    rng = np.random.default_rng(5)
    journal = DiskJournal(folder)
    with Session(Counting(noise=0.1), journal=journal) as session:
        tunings = [session.device.spec.nearest_tuning(rng.uniform(-1, 1, 7)) for _ in range(9)]
        for _ in range(CALLS):
            stimuli = rng.uniform(-1, 1, (int(rng.integers(1, 4)), 4))
            session.measure(
                stimuli, tuning=tunings[int(rng.integers(9))], purpose=str(rng.choice(["train", "repeat"]))
            )
        np.save(counted.with_name(f"{folder.name}.npy"), [*session.ledger.writes.values(), session.ledger.total])
    journal.close()


@pytest.mark.slow
def test_killed_at_random_times_it_ends_as_if_it_had_never_been(tmp_path, processes):
    walk(tmp_path / "whole", tmp_path / "counted-whole")
    rng = np.random.default_rng(0)
    folder, counted = tmp_path / "killed", tmp_path / "counted"
    whole = ReadOnlyJournal(tmp_path / "whole")
    for rows in [*sorted(rng.choice(whole.rows - 20, KILLS, replace=False)), None]:
        process = processes.Process(target=walk, args=(folder, counted))
        process.start()
        while rows is not None and process.is_alive() and measured(counted) <= rows:
            time.sleep(0.001)
        if rows is not None:
            process.kill()
        process.join(120)
        assert process.exitcode == (0 if rows is None else -9)
    assert whole.rows <= measured(counted) <= whole.rows + 3 * KILLS  # what was in flight is measured again
    ended, numbers = ReadOnlyJournal(folder), np.arange(whole.rows)
    for part, expected in zip(ended.read_rows(numbers), whole.read_rows(numbers), strict=True):
        np.testing.assert_array_equal(part, expected)
    for number in numbers:
        np.testing.assert_array_equal(ended.tuning(number), whole.tuning(number))
    assert ended.writes(0, ended.rows)[0] == whole.writes(0, whole.rows)[0]
    np.testing.assert_array_equal(np.load(tmp_path / "killed.npy"), np.load(tmp_path / "whole.npy"))
    assert not check_journal(JournalFolder.at(folder)).problems


def measured(counted):
    """Rows that the device has answered, in all processes."""
    return counted.stat().st_size if counted.exists() else 0
