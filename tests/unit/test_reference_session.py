"""A session that watches its device: when, at what cost, what follows, and the same again when it is resumed."""

from __future__ import annotations

import numpy as np
import pytest

import hwloop
from hwloop.device import DeviceWrapper
from hwloop.errors import BudgetExceeded, DeviceDrifted, DeviceError, HwloopWarning
from hwloop.events import ReferenceMeasured, RowsMeasured
from hwloop.journal import DiskJournal, InMemoryJournal

START, AGAIN = 32, 8  # rows of the first measurement and of a later one
ROWS = np.random.default_rng(0).uniform(-1, 1, (250, 10))


def fibre(**settings):
    settings = {"n_inputs": 10, "n_outputs": 30, "seed": 3, "read_noise": 0.003, **settings}
    return hwloop.open_device("optical-fibre", **settings)


def moving(gain_per_row=4e-4):
    return hwloop.Drifting(fibre(), gain_per_row=gain_per_row, offset_per_row=gain_per_row / 4)


def watched(device, **settings):
    budget, journal, listeners = (settings.pop(name, None) for name in ("budget", "journal", "listeners"))
    reference = hwloop.Reference(**{"every_rows": 100, **settings})
    return hwloop.Session(device, reference=reference, budget=budget, journal=journal, listeners=listeners or ())


def test_a_session_without_a_reference_measures_nothing_for_it():
    session = hwloop.Session(fibre(), budget=250)
    session.measure(ROWS)
    session.measure_reference()
    assert session.ledger.total == 250
    assert session.drift_curve == ()
    assert session.fingerprint() is None


def test_it_measures_at_the_start_after_every_so_many_rows_and_at_the_end():
    events = []
    session = watched(fibre(), listeners=[events.append])
    assert session.ledger.total == 0  # nothing before the first row
    session.measure(ROWS)
    assert [point.row for point in session.drift_curve] == [0, START + 100, START + AGAIN + 200]
    session.measure_reference()
    session.measure_reference()  # nothing was measured since
    assert session.ledger.rows["reference"] == START + 3 * AGAIN
    assert session.ledger["train"] == 250
    found = [event for event in events if isinstance(event, ReferenceMeasured)]
    assert found == list(session.drift_curve)
    counted = sum(event.rows for event in events if isinstance(event, RowsMeasured))
    assert counted == session.ledger.total == session.journal.rows
    assert {record.purpose for record in session.journal.records()} == {"train", "reference"}


def test_the_responses_are_those_of_a_session_that_does_not_watch_but_for_the_noise():
    still = {"read_noise": 0.0}
    np.testing.assert_array_equal(
        watched(fibre(**still)).measure(ROWS), hwloop.Session(fibre(**still)).measure(ROWS)
    )


def test_start_and_end_only():
    session = watched(fibre(), every_rows=0)
    session.measure(ROWS)
    session.measure_reference()
    assert session.ledger.rows["reference"] == START + AGAIN


def test_what_is_recalled_is_neither_counted_nor_corrected_twice():
    session = watched(moving(), limit=0.06, on_drift="restandardise")
    first = session.measure(ROWS[:90])
    np.testing.assert_array_equal(session.measure(ROWS[:90]), first)
    assert len(session.drift_curve) == 1
    session.measure(ROWS[90:200])  # beyond the limit on the way
    assert session.drift_curve[-1].action == "restandardise"
    measured = session.measure(ROWS[:40])
    assert session.ledger["train"] == 240  # it has forgotten those
    np.testing.assert_array_equal(session.measure(ROWS[:40]), measured)
    assert session.ledger["train"] == 240


@pytest.mark.parametrize("rows", [1, 100, 101, 250])
def test_a_budget_counts_the_reference_before_the_first_row(rows):
    needed = rows + START + (rows - 1) // 100 * AGAIN
    refused = watched(fibre(), budget=needed - 1)
    with pytest.raises(BudgetExceeded):
        refused.require(rows)
    with pytest.raises(BudgetExceeded):
        refused.measure(ROWS[:rows])
    assert refused.ledger.total == 0
    session = watched(fibre(), budget=needed)
    session.require(rows)
    session.measure(ROWS[:rows])
    assert session.ledger.total == needed
    with pytest.raises(BudgetExceeded):
        session.measure_reference()
    assert session.ledger.total == needed


def test_no_budget_is_overdrawn_by_a_drift_that_is_confirmed():
    session = watched(moving(), budget=START + 2 * AGAIN + 250, limit=0.06, on_drift="restandardise")
    with pytest.raises(BudgetExceeded):
        session.measure(ROWS)
    assert session.ledger.total <= session.budget


def test_the_forecast_of_a_run_covers_what_a_session_at_rest_measures():
    for every in (0, 1, 99, 100, 250):
        session = watched(fibre(), every_rows=every)
        session.measure(ROWS)
        session.measure_reference()
        assert session.ledger.rows["reference"] <= session.reference.rows_of_run(250, 1)
        assert session.reference.rows_of_run(250, 1) - session.ledger.rows["reference"] <= AGAIN


def test_warn_says_so_once_while_it_lasts():
    session = watched(moving(), limit=0.06)
    with pytest.warns(HwloopWarning, match=r"has drifted: at row 132 .*common gain 1\.\d") as said:
        session.measure(ROWS)
    assert len(said) == 1
    assert [point.action for point in session.drift_curve] == ["", "warn", "warn"]


def test_a_device_too_noisy_for_the_limit_is_named():
    with pytest.warns(HwloopWarning, match="too noisy"):
        watched(fibre(read_noise=0.2), limit=0.01).measure(ROWS[:1])


class Still:
    """A course of drift on which nothing moves."""

    def position(self, first, rows):
        return np.zeros(rows)


def test_pause_stops_before_the_next_row_and_measures_again_first():
    device = moving()
    device.identify = lambda: "the same rig before and after it was seen to"
    session = watched(device, limit=0.06, on_drift="pause")
    with pytest.raises(DeviceDrifted, match=r"run\.toml"):
        session.measure(ROWS)
    assert session.ledger["train"] == 100
    with pytest.raises(DeviceDrifted):
        session.measure(ROWS)
    assert session.ledger["train"] == 100
    device._gain = device._offset = Still()  # somebody has seen to it
    np.testing.assert_allclose(session.measure(ROWS), fibre(read_noise=0).measure(ROWS), atol=0.3)
    assert session.ledger["train"] == 250


def test_restandardising_takes_the_drift_out():
    truth = fibre(read_noise=0.0).measure(ROWS)
    plain = hwloop.Session(moving()).measure(ROWS)
    session = watched(moving(), every_rows=20, limit=0.06, on_drift="restandardise")
    corrected = session.measure(ROWS)
    # At its end the second device has moved twice as far: it measured the reference in between.
    errors = [np.sqrt(np.mean((found - truth)[200:] ** 2)) for found in (plain, corrected)]
    assert errors[1] < 0.4 * errors[0]
    assert session.drift_curve[-1].drift > 5 * session.drift_curve[-1].remaining
    assert len(corrections_noted(session.journal)[0]["slope"]) == 30


def test_rows_of_earlier_runs_are_forgotten_too():
    earlier = InMemoryJournal()
    hwloop.Session(moving(), journal=earlier).measure(ROWS)
    session = hwloop.Session(
        moving(), earlier=earlier, reference=hwloop.Reference(every_rows=0, limit=0.06, on_drift="restandardise")
    )
    session.measure(ROWS[:10], "repeat")
    session.device.rows_measured += 500
    session.measure(ROWS)
    assert session.ledger.reused["train"] == 240  # and 10 recalled
    session.measure_reference()
    assert session.drift_curve[-1].action == "restandardise"
    session.measure(ROWS)
    assert session.ledger["train"] == 250


class Dying(DeviceWrapper):
    """Fails for good after a number of rows."""

    def __init__(self, device, rows):
        super().__init__(device)
        self.left = rows

    def _measure(self, inputs):
        self.left -= len(inputs)
        if self.left < 0:
            raise ConnectionError("cable pulled")
        return self.device.measure(inputs)

    def identify(self):
        return self.device.identify()

    def describe(self, identity=""):
        return self.device.describe(identity)  # it is no wrapper but a fault


def measured(session):
    """A little run: fresh rows, rows to recall, others, and the end."""
    parts = [session.measure(ROWS[:120]), session.measure(ROWS[60:250], "evaluate")]
    session.measure_reference()
    return np.concatenate(parts)


def corrections_noted(journal):
    return [note.details for note in journal.notes() if note.kind == "restandardised"]


@pytest.mark.parametrize(
    ("on_drift", "every"),
    [
        ("restandardise", 89),
        *(pytest.param(name, 23, marks=pytest.mark.slow) for name in ("restandardise", "warn")),
    ],
)
@pytest.mark.filterwarnings("ignore:.*has drifted")
def test_a_session_that_died_anywhere_goes_on_to_the_last_bit(tmp_path, on_drift, every):
    settings = {"every_rows": 40, "limit": 0.06, "on_drift": on_drift}
    whole = watched(moving(), journal=InMemoryJournal(), **settings)
    expected = measured(whole)
    assert any(point.action for point in whole.drift_curve)
    for rows in range(5, whole.ledger.total, every):
        journal = DiskJournal(tmp_path / str(rows))
        with pytest.raises(DeviceError):
            measured(watched(Dying(moving(), rows), journal=journal, **settings))
        journal.close()
        journal = DiskJournal(tmp_path / str(rows))
        assert journal.rows <= rows
        resumed = watched(moving(), journal=journal, **settings)
        np.testing.assert_array_equal(measured(resumed), expected)
        assert resumed.drift_curve == whole.drift_curve
        assert resumed.ledger.rows == whole.ledger.rows
        assert journal.rows == whole.journal.rows
        assert corrections_noted(journal) == corrections_noted(whole.journal)
        journal.close()


@pytest.mark.parametrize("now", [{"limit": 5.0}, {"on_drift": "warn"}, {"on_drift": "restandardise"}])
@pytest.mark.filterwarnings("ignore:.*has drifted")
def test_a_paused_session_goes_on_with_another_limit_or_policy_and_replays(tmp_path, now):
    settings = {"every_rows": 40, "limit": 0.06, "on_drift": "pause"}
    for _ in range(3):  # it does not get better
        journal = DiskJournal(tmp_path / "journal")
        with pytest.raises(DeviceDrifted):
            measured(watched(moving(), journal=journal, **settings))
        journal.close()
    journal = DiskJournal(tmp_path / "journal")
    resumed = watched(moving(), journal=journal, **{**settings, **now})
    expected = measured(resumed)
    rows = journal.rows
    journal.close()
    journal = DiskJournal(tmp_path / "journal")
    replayed = watched(Dying(moving(), 0), journal=journal, **{**settings, **now})
    np.testing.assert_array_equal(measured(replayed), expected)
    assert replayed.drift_curve == resumed.drift_curve
    assert journal.rows == rows
    journal.close()
