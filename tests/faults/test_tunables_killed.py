"""Kill -9 at random times while rows are measured under changing tunings: nothing is lost, doubled or another."""

import time

import numpy as np
import pytest
from tuned_devices import walk

from hwloop.journal import ReadOnlyJournal
from hwloop.runs.layout import JournalFolder
from hwloop.runs.verification import check_journal

KILLS = 4


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
