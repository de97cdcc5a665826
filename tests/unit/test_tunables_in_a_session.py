"""Rows are measured under a tuning: remembered, counted, recorded, resumed, reused by stimulus and tuning."""

import contextlib
import shutil
from dataclasses import replace

import h5netcdf
import numpy as np
import pytest
from pyarrow import parquet
from tuned_devices import OTHER, TunedLayer, TunedRig

from hwloop import (
    BudgetExceeded,
    ConfigError,
    DeviceError,
    JournalError,
    LimitError,
    NearestReplay,
    Reference,
    Replay,
    Session,
    TuningError,
)
from hwloop.calibration import calibrate
from hwloop.calibration.figure_table import figure_lines
from hwloop.experiment.seed_run import require_budget
from hwloop.journal import DiskJournal, InMemoryJournal, ReadOnlyJournal, Record
from hwloop.journal.frame import rows_arrays, rows_header
from hwloop.runs.layout import JournalFolder
from hwloop.runs.netcdf_file import write_netcdf
from hwloop.runs.parquet_file import write_parquet
from hwloop.runs.recorded_rows import row_blocks, survey
from hwloop.runs.verification import check_journal
from hwloop.session.account import Forecast, Place

X = np.random.default_rng(0).uniform(-1, 1, (6, 4))
WALKED = {"phases": [1.0, -1.0, 1.0]}  # two writes from rest, and from OTHER
SET = np.array([0.5, -0.5, 0.25, 1, 0, 1, 1])


def walk(session):
    """Rows under three tunings, some of them known; gives all answers."""
    answers = [session.measure(X), session.measure(X, tuning=OTHER), session.measure(X[:3])]
    session.tune(WALKED)
    answers += [session.measure(X[:2]), session.measure(X, "evaluate"), session.measure(X[:2], tuning=OTHER)]
    answers += [session.measure(X[:1], "repeat")]
    return answers


def test_rows_are_remembered_by_stimulus_and_tuning():
    device = TunedLayer(noise=0.1)
    with Session(device) as session:
        first, other, again, walked, both, known, repeated = walk(session)
        np.testing.assert_array_equal(first[:3], again)
        np.testing.assert_array_equal(walked, both[:2])
        np.testing.assert_array_equal(known, other[:2])
        assert len(np.unique(np.concatenate([first, other, both, repeated]), axis=0)) == 19
        assert session.ledger.rows == {
            **dict.fromkeys(session.ledger.rows, 0),
            "train": 14,
            "evaluate": 4,
            "repeat": 1,
        }
        assert session.ledger.writes["train"] == session.ledger.total_writes == 1 + 2
        assert "2 writes" in str(session.forecast(3, writes=2))


def test_what_cannot_be_set_is_refused_before_a_row():
    with Session(TunedLayer()) as session:
        with pytest.raises(LimitError, match="'phases', value 0"):
            session.measure(X, tuning={"phases": [9, 0, 0]})
        with pytest.raises(TuningError, match="'phase'"):
            session.tune({"phase": 0})
        with pytest.raises(TuningError, match="None is no tuning"):
            session.tune(None)
        assert session.ledger.total == 0


def test_the_budget_holds_writes_too():
    with Session(TunedLayer(), write_budget=1) as session:
        session.measure(X, tuning=OTHER)
        with pytest.raises(BudgetExceeded, match=r"2 writes of tunables .* budget of 1 writes leaves 0"):
            session.measure(X, tuning=WALKED)
        with pytest.raises(BudgetExceeded, match=r"needs 5 rows and 3 writes, .*but the budget of 1 writes"):
            session.require(5, writes=3)
        assert (session.ledger.total, session.writes_left) == (6, 0)


@pytest.mark.parametrize("stop", [0, 7, 13])
def test_a_run_that_was_stopped_takes_the_same_path(tmp_path, stop):
    with Session(TunedLayer(noise=0.1), journal=InMemoryJournal()) as session:
        expected, whole = walk(session), session.ledger
    journal = DiskJournal(tmp_path / "journal")
    with pytest.raises(BudgetExceeded), Session(TunedLayer(noise=0.1), journal=journal, budget=stop) as session:
        walk(session)
    journal.close()
    journal = DiskJournal(tmp_path / "journal")
    with Session(TunedLayer(noise=0.1), journal=journal) as session:
        for answer, given in zip(walk(session), expected, strict=True):
            np.testing.assert_array_equal(answer, given)
        assert session.ledger.rows == whole.rows
        assert session.ledger.writes == whole.writes
        place = session.place()
    journal.close()
    assert Place.from_dict(place.as_dict()) == place
    recorded = ReadOnlyJournal(tmp_path / "journal")
    assert sum(record.writes for record in recorded.records()) == whole.total_writes
    with Session(TunedLayer(noise=0.1), journal=DiskJournal(tmp_path / "journal")) as session:
        session.skip_to(place)
        assert session.ledger.writes == whole.writes
        np.testing.assert_array_equal(session.measure(X, tuning=OTHER), expected[1])
        session.journal.close()
    with Session(TunedLayer(noise=0.1), earlier=recorded) as session:
        np.testing.assert_array_equal(session.measure(X, tuning=OTHER), expected[1])
        assert (session.ledger.total, session.ledger.total_writes) == (0, 0)


def test_another_tuning_than_recorded_is_another_path(tmp_path):
    with Session(TunedLayer(), journal=DiskJournal(tmp_path)) as session:
        session.measure(X, tuning=OTHER)
    session.journal.close()
    with Session(TunedLayer(), journal=DiskJournal(tmp_path)) as session:
        with pytest.raises(JournalError, match="left its recorded path at row 0: it asks for another tuning"):
            session.measure(X, tuning=WALKED)
        session.journal.close()


def test_a_device_that_is_closed_between_jobs_is_tuned_again_and_that_counts_once():
    rig = TunedRig()
    session = Session(rig)
    session.tune(OTHER)
    session.measure(X[:2])
    session.measure(X[2:4])
    assert rig.writes == 2 * [[0.0] * 7, SET.tolist(), [0.0] * 7]
    assert session.ledger.total_writes == 1


def test_sessions_on_one_device_pay_for_their_own_writes():
    rig = TunedRig()
    with Session(rig) as one, Session(rig) as other:
        for part in (slice(0, 2), slice(2, 4)):
            one.measure(X[part], tuning=OTHER)
            other.measure(X[part])
        assert one.ledger.total_writes == other.ledger.total_writes + 1 == 2


def test_reference_stimuli_are_measured_at_rest():
    device = TunedLayer()
    with Session(device, reference=Reference(every_rows=8, passes=4)) as session:
        for tuning in (OTHER, WALKED, OTHER):
            session.measure(X, "repeat", tuning=tuning)
        session.measure_reference()
        assert len(session.drift_curve) > 2
        assert all(point.drift == 0 for point in session.drift_curve)
        assert session.ledger.writes["reference"] > 0


@pytest.fixture
def recorded(tmp_path):
    """A journal of rows under three tunings, and what each of them was answered."""
    journal = DiskJournal(tmp_path / "journal")
    with Session(TunedLayer(noise=0.1), journal=journal) as session:
        answers = walk(session)
        ledger = session.ledger
    journal.close()
    return tmp_path, answers, ledger


def test_a_journal_answers_by_stimulus_and_tuning(recorded):
    folder, answers, ledger = recorded
    replay = Replay(folder / "journal")
    assert replay.spec.tunables == TunedLayer().spec.tunables
    with Session(replay) as session:
        for answer, given in zip(walk(session), answers, strict=True):
            np.testing.assert_array_equal(answer, given)
        assert session.ledger.writes == ledger.writes
        with pytest.raises(JournalError, match=r"no row that was measured under this tuning .*phases"):
            session.measure(X, tuning={"phases": [0.1, 0.2, 0.3]})
    with Session(NearestReplay(folder / "journal")) as session:
        near = session.measure(X + 1e-6 * (X < 0), tuning=OTHER)
        np.testing.assert_array_equal(near, answers[1])


def test_a_journal_with_tunings_is_verified_and_exported(recorded):
    folder, _, ledger = recorded
    journal = JournalFolder.at(folder / "journal")
    check = check_journal(journal)
    assert check.damage == check.problems == check.missing_rows == []
    assert sum(each.writes for each in check.measured) == ledger.total_writes
    found = survey(journal)
    (device,) = found.devices.values()
    assert (device.n_tunables, device.rows) == (7, 19)
    (block,) = row_blocks(found)
    np.testing.assert_array_equal(block.tuning[[0, 6]], [np.zeros(7), SET])
    write_parquet(folder / "rows.parquet", {}, [device], [block])
    np.testing.assert_array_equal(parquet.read_table(folder / "rows.parquet")["tuning"][6].as_py(), SET)
    write_netcdf(folder / "rows.nc", {}, [device], [block])
    with h5netcdf.File(folder / "rows.nc") as file:
        np.testing.assert_array_equal(file["journal"]["tuning"][6], SET)


class Remembering(TunedLayer):
    """Its state goes on from row to row, as far as the first pixel lets it; the last input resets."""

    def __init__(self):
        super().__init__()
        self.spec = replace(self.spec, streams=True)
        self.state = 0.0

    def _measure(self, inputs):
        answers = []
        for row in inputs:
            self.state = row[0] + (0.0 if row[-1] > 0 else (0.2 + 0.7 * self.tuning[3]) * self.state)
            answers.append([self.state, self.tuning[0], row[1]])
        return np.array(answers)


def test_a_stream_is_driven_again_under_the_tunings_that_its_rows_had():
    rows = np.column_stack([X[:, :3], [1, -1, -1, -1, -1, -1]])
    tunings = [None, OTHER, None, WALKED, OTHER, OTHER]

    def driven(opened_between):
        session = Session(Remembering())
        with session if not opened_between else contextlib.nullcontext():
            pairs = zip(rows, tunings, strict=True)
            answers = [session.measure(row[None], tuning=tuning) for row, tuning in pairs]
        return np.concatenate(answers), session.ledger

    (once, ledger), (again, counted) = driven(False), driven(True)
    np.testing.assert_array_equal(once, again)
    assert (ledger.rows, ledger.writes) == (counted.rows, counted.writes)


def test_a_run_is_refused_whose_writes_its_budget_does_not_cover():
    forecast = Forecast(10, None, 30)
    require_budget(None, forecast, 1, write_budget=30)
    with pytest.raises(BudgetExceeded, match="needs up to 10 rows and 30 writes, but its write_budget is 29"):
        require_budget(None, forecast, 1, write_budget=29)


def test_a_rig_that_must_be_walked_starts_where_a_killed_process_left_it(tmp_path, monkeypatch):
    def opened(folder, stands):
        rig = TunedRig()
        rig._values = np.array(stands, dtype=float)
        return rig, DiskJournal(folder)

    rig, journal = opened(tmp_path / "a", np.zeros(7))
    session = Session(rig, journal=journal)
    session.open()
    session.measure(X, tuning=WALKED)
    journal.close()  # and the process is killed
    for stands in ([1, -1, 1, 0, 0, 0, 0], [0.75, -0.6, 0.5, 0, 0, 0, 0]):  # there, or on the last step of the way
        shutil.copytree(tmp_path / "a", tmp_path / str(stands))
        after, again = opened(tmp_path / str(stands), stands)
        with Session(after, journal=again) as resumed:
            resumed.measure(X, tuning=WALKED)
            resumed.measure(X)
        again.close()
        walked = np.array([stands, *after.writes])
        assert np.abs(np.diff(walked[:, :3], axis=0)).max() <= 0.5 + 1e-9
        assert after.writes[-1] == [0.0] * 7
    monkeypatch.setattr("hwloop.device.tuning.boot", lambda: "another boot")
    after, again = opened(tmp_path / "a", np.zeros(7))
    with pytest.raises(DeviceError, match=r"may have lost its power.*Nothing was written"):
        Session(after, journal=again).open()
    assert after.writes == []
    again.close()
    session.close()  # whatever becomes of its journal
    assert rig.events[-2:] == [[0.0] * 7, "close"]


def test_a_calibration_measures_what_tunables_do_and_how_they_return():
    found = calibrate(TunedLayer(noise=0.01), 900)
    effect, back, unsettled = (found.figures[f"tunable_{name}"] for name in ("effect", "return", "unsettled"))
    assert (effect.low > 0.1).all()
    assert (back.value < 0.05).all()
    assert (unsettled.value < 0.05).all()
    assert found.rows == 900
    assert any(line.group == "Tunables" for line in figure_lines(found.figures))


def test_what_is_written_of_a_device_without_tunables_is_what_it_was():
    record = Record("train", "rig", 0, 1e9, 0.5, np.ones((1, 2)), np.ones((1, 3)))
    keys = ["kind", "purpose", "step", "device", "first_row", "rows", "started_seconds", "duration_seconds"]
    assert list(rows_header(record)) == keys
    assert list(rows_arrays(record)) == ["stimuli", "responses"]
    assert "writes" not in Place(0, "", {}, {}, {}, {"train": 0}).as_dict()


def test_a_correction_found_at_rest_is_not_applied_under_another_tuning():
    with pytest.raises(ConfigError, match="on_drift = restandardise cannot serve TunedLayer"):
        Session(TunedLayer(), reference=Reference(on_drift="restandardise"))
