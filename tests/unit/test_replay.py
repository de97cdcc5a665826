"""A device made of a journal: what was recorded answers, in the recorded order, and nothing else does."""

from __future__ import annotations

import time

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop import ConfigError, JournalError, NearestReplay, Replay, Session
from hwloop.journal import DiskJournal, Note, Record
from hwloop.replay.recordings import Recordings


class Counter(hwloop.Device):
    """Answers with the number of rows that it has measured, so that no two answers are alike."""

    def __init__(self, width=2, seconds=0.25):
        self.spec = hwloop.DeviceSpec(
            width, 1, input_low=[-1.0, 0.0], input_high=[1.0, 4.0], input_unit="V", row_seconds=seconds
        )
        self.rows = 0

    def identify(self):
        return "counter no. 3"

    def _measure(self, inputs):
        self.rows += len(inputs)
        return np.arange(self.rows - len(inputs), self.rows, dtype=float)[:, None]


A, B, C = [0.5, 1.0], [-0.5, 2.0], [0.0, 4.0]


def record(folder, calls):
    """Measure the calls, each a list of stimuli, whether they are known or not."""
    journal = DiskJournal(folder)
    with Session(Counter(), journal=journal) as session:
        for call in calls:
            session.measure(np.array(call), purpose="repeat")
    journal.close()
    return folder


def measured(device, *stimuli):
    return device.measure(np.array(stimuli)).ravel().tolist()


@pytest.fixture
def night(tmp_path):
    """A run's folder with one journal: A is rows 0, 3 and 4, B row 1 and 5, C row 2."""
    record(tmp_path / "night" / "journal" / "seed-0-device-0", [[A, B], [C, A, A], [B]])
    return tmp_path / "night"


def test_a_stimulus_is_answered_in_the_recorded_order_and_then_by_its_last_recording(night):
    with Replay(night) as device:
        assert measured(device, C, A, B, A) == [2, 0, 1, 3]
        assert measured(device, A, A, B, B, C) == [4, 4, 5, 5, 2]
    with device:  # closing is no rewinding
        assert measured(device, A) == [4]
    assert measured(Replay(night), A) == [0]


def test_it_is_the_recorded_device_but_waits_for_nothing(night):
    device = Replay(night)
    assert device.identify() == "replay of counter no. 3"
    assert (device.spec.n_inputs, device.spec.input_unit, device.spec.row_seconds) == (2, "V", None)
    np.testing.assert_array_equal(device.spec.high, [1.0, 4.0])
    with pytest.raises(hwloop.LimitError):
        device.measure([[0.0, 5.0]])


def test_a_row_that_was_never_measured_names_the_nearest_its_distance_and_its_number(night):
    device = Replay(night)
    with pytest.raises(JournalError) as caught:
        measured(device, A, [-0.5, 2.4])
    message = str(caught.value)
    # B differs by 0.4 V of 4 V on channel 1 alone: sqrt(0.1^2 / 2)
    assert "row 1 of this call" in message
    assert "number 1, at a distance of 0.0707" in message
    assert "channel 1: 2.4 V asked, 2 V recorded" in message
    assert "hwloop.NearestReplay" in message
    assert measured(device, A) == [0]  # the call that failed has used nothing up


def test_the_smallest_difference_is_another_row(night):
    with pytest.raises(JournalError, match="never measured"):
        measured(Replay(night), [np.nextafter(0.5, 1), 1.0])
    assert measured(Replay(night), [-0.0, 4.0]) == [2]


def test_the_nearest_answers_where_that_is_asked_for(night):
    device = NearestReplay(night, max_distance=0.1)
    assert device.identify() == "nearest replay of counter no. 3"
    assert measured(device, A, [-0.5, 2.4], [0.6, 1.0], B) == [0, 1, 3, 5]
    assert device.rows_substituted == 2
    assert device.largest_distance == pytest.approx(0.1 / np.sqrt(2))
    with pytest.raises(JournalError, match=r"within a distance of 0\.1\. The nearest recorded row is number 0"):
        measured(device, [0.9, 1.5])
    with pytest.raises(ConfigError, match="max_distance"):
        NearestReplay(night, max_distance=-1)


def test_a_run_that_goes_on_gets_what_comes_behind_its_recorded_rows(night):
    device = Replay(night)
    device.continue_from(4)  # A, B, C, A
    assert measured(device, A, B, C) == [4, 5, 2]


def test_rows_under_other_settings_do_not_answer(night):
    folder = night / "journal" / "seed-0-device-0"
    journal = DiskJournal(folder)
    spec = Counter(seconds=None).spec.as_dict()
    journal.note(Note("device", {"settings": "other", "identity": "counter no. 4", "spec": spec}))
    with pytest.raises(JournalError, match=r"holds no row of counter no\. 4"):
        measured(Replay(folder), A)
    journal.append(Record("train", "other", journal.rows, 0.0, 0.0, np.array([C]), np.array([[99.0]])))
    journal.close()
    device = Replay(folder)
    assert measured(device, C, C) == [99, 99]
    with pytest.raises(JournalError, match="never measured"):
        measured(device, A)


class TestChoice:
    @pytest.fixture
    def two_seeds(self, night):
        record(night / "journal" / "seed-1-device-0", [[C]])
        return night

    def test_several_journals_must_be_told_apart(self, two_seeds):
        with pytest.raises(ConfigError, match=r"choose one: run_seed=0 device_number=0, run_seed=1"):
            Replay(two_seeds)
        assert measured(Replay(two_seeds, run_seed=1), C) == [0]
        with pytest.raises(ConfigError, match="no journal of run_seed=7"):
            Replay(two_seeds, run_seed=7)

    def test_by_name(self, two_seeds):
        device = hwloop.open_device("replay", path=str(two_seeds), run_seed=0, device_number=0)
        assert measured(device, C) == [2]
        assert isinstance(hwloop.open_device("replay-nearest", path=str(two_seeds), run_seed=1), NearestReplay)
        with pytest.raises(ConfigError, match="path"):
            hwloop.open_device("replay")

    @pytest.mark.parametrize("path", ["nowhere", "empty", "file", "nul\0"])
    def test_a_path_without_a_journal(self, tmp_path, path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match="journal"):
            Replay(f"{tmp_path}/{path}")


@pytest.mark.parametrize(
    "spec", [{}, {"n_inputs": 0, "n_outputs": 1}, {"n_inputs": 1, "n_outputs": 1, "x": 1}, []]
)
def test_an_unusable_description_of_the_device_is_one_clear_error(tmp_path, spec):
    journal = DiskJournal(tmp_path)
    journal.note(Note("device", {"settings": "s", "identity": "i", "spec": spec}))
    journal.close()
    with pytest.raises(JournalError, match="cannot be used"):
        Replay(tmp_path)


def test_a_journal_that_names_no_device(tmp_path):
    journal = DiskJournal(tmp_path)
    journal.note(Note("other"))
    journal.close()
    with pytest.raises(JournalError, match="names no device"):
        Replay(tmp_path)


class Listed:
    """As much of a journal as the recordings read."""

    def __init__(self, calls):
        self.calls = calls

    def records(self):
        first = 0
        for call in self.calls:
            stimuli = np.array(call, dtype=float)[:, None]
            yield Record("train", "s", first, 0.0, 0.0, stimuli, stimuli)
            first += len(call)


@examples(200)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=8), st.data())
def test_the_kth_request_gets_the_kth_recording(calls, data):
    recordings = Recordings(Listed(calls), "s")
    order = [stimulus for call in calls for stimulus in call]
    asked = dict.fromkeys(order, 0)
    for _ in range(4):
        request = data.draw(st.lists(st.sampled_from(order), min_size=1, max_size=8))
        expected = []
        for stimulus in request:
            places = [number for number, each in enumerate(order) if each == stimulus]
            expected.append(places[min(asked[stimulus], len(places) - 1)])
            asked[stimulus] += 1
        assert recordings.next_numbers(np.array(request, dtype=float)[:, None]).tolist() == expected


@examples(100)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=8), st.integers(0, 50))
def test_to_continue_is_to_have_asked_for_the_recorded_rows(calls, rows):
    order = [stimulus for call in calls for stimulus in call]
    asked, told = Recordings(Listed(calls), "s"), Recordings(Listed(calls), "s")
    for stimulus in order[:rows]:
        asked.next_numbers(np.array([[float(stimulus)]]))
    told.continue_from(rows)
    everything = np.unique(order).astype(float)[:, None]
    for _ in range(3):
        assert (told.next_numbers(everything) == asked.next_numbers(everything)).all()


@pytest.mark.slow
def test_hundreds_of_thousands_of_rows_are_replayed_without_holding_them(tmp_path):
    import tracemalloc

    rng = np.random.default_rng(0)
    journal = DiskJournal(tmp_path)
    journal.note(Note("device", {"settings": "s", "identity": "i", "spec": hwloop.DeviceSpec(64, 64).as_dict()}))
    stimuli = rng.random((1000, 64), dtype=np.float32).astype(float)
    for call in range(300):
        stimuli[:, 0] = call / 512
        journal.append(Record("train", "s", journal.rows, 0.0, 0.0, stimuli, stimuli * 2))
    journal.close()
    tracemalloc.start()
    begin = time.perf_counter()
    device = Replay(tmp_path)
    stimuli[:, 0] = 7 / 512
    np.testing.assert_array_equal(device.measure(stimuli), stimuli * 2)
    assert time.perf_counter() - begin < 30
    assert tracemalloc.get_traced_memory()[1] < 100e6  # the rows are 300 MB
    tracemalloc.stop()
