"""What a fit of an estimator or a reservoir has measured is never lost, and the next fit goes on from it."""

from __future__ import annotations

import copy
import multiprocessing
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from examples import each_row
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_fits import CLASSIFYING

import hwloop
from hwloop.registry import TRAINERS
from hwloop.session.kept_fit import KeptFit
from hwloop.training.echo_state import EchoState
from hwloop.training.reservoir import DigitalRecurrence, PhysicalMemory

pytestmark = pytest.mark.exhaustive

ROWS = np.random.default_rng(0).normal(size=(178, 6))
LABELS = np.arange(178) % 3
QUICK = {"min_steps": 40, "epochs": 2}
KILLS = 8
FOLDER = re.compile(r"rows are kept in (\S+);")


@pytest.fixture(autouse=True)
def temporary_files(tmp_path, monkeypatch):
    """Temporary files of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Rig(hwloop.Device):
    """A noisy rig that counts what it measures, on disk too, and fails once after some rows."""

    spec = hwloop.DeviceSpec(n_inputs=20, n_outputs=20, input_high=1.0, max_rows=10)
    harmless_settings = {"fails_after": "a fault", "count": "a file"}  # noqa: RUF012

    def __init__(self, serial: str = "7", fails_after: int | None = None, count: Path | None = None) -> None:
        self.serial, self.left, self.count = serial, fails_after, count
        self.matrix = np.random.default_rng(1).normal(size=(20, 20))
        self.rows = self._noise = 0

    def identify(self) -> str:
        return f"rig {self.serial}"

    def continue_from(self, rows: int) -> None:
        self._noise = rows

    def _measure(self, inputs):
        if self.left is not None and self.left < len(inputs):
            self.left = None
            raise TimeoutError("no answer")
        if self.left is not None:
            self.left -= len(inputs)
        numbers = self._noise + np.arange(len(inputs))
        self._noise += len(inputs)
        self.rows += len(inputs)
        if self.count is not None:
            with self.count.open("ab") as file:
                file.write(b"." * len(inputs))
        noise = np.stack([np.random.default_rng(int(number)).normal(size=20) for number in numbers])
        return np.tanh(inputs @ self.matrix) + 0.01 * noise


def classifier(device, **options):
    settings = {"stages": 2, "width": 10, "trainer_settings": QUICK, "random_state": 1} | options
    return hwloop.PhysicalClassifier(device, **settings)


def weights(model):
    return {name: tensor.numpy() for name, tensor in model.network_.state_dict().items()}


def assert_same(first, second):
    mine, theirs = weights(first), weights(second)
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name])


def kept_in(error):
    return Path(FOLDER.search(str(error.value))[1])


@pytest.mark.parametrize("journal", [None, "mine"])
@pytest.mark.parametrize("seed", each_row([1, None], 1, daily=[None]))
def test_a_time_out_loses_no_row(temporary_files, journal, seed):
    journal = journal and temporary_files / journal
    rig = Rig(fails_after=253)
    model = classifier(rig, journal=journal, random_state=seed)
    with pytest.raises(hwloop.DeviceTimeout, match=r"no answer.*; 248 rows are kept in .*next fit") as error:
        model.fit(ROWS, LABELS)
    folder = kept_in(error)
    assert folder.is_dir()
    assert folder.is_relative_to(temporary_files)
    model.fit(ROWS, LABELS)
    assert rig.rows == 356 == model.ledger_["train"]
    assert folder.exists() == (journal is not None)
    if seed is not None:
        assert_same(model, classifier(Rig()).fit(ROWS, LABELS))


# The two that are left out need more of a device than its answers.
@pytest.mark.slow
@pytest.mark.parametrize("trainer", sorted(set(CLASSIFYING) - {"eqprop", "exact-gradient"}))
def test_every_trainer_goes_on_to_the_same_bits(trainer):
    settings = {} if trainer == "readout" else {"epochs": 2}
    few, classes, whole = ROWS[:48], LABELS[:48], Rig()
    options = {"trainer": trainer, "trainer_settings": settings, "width": 6}
    expected = classifier(whole, **options).fit(few, classes)
    rig = Rig(fails_after=whole.rows * 3 // 5)
    model = classifier(rig, **options)
    with pytest.raises(hwloop.DeviceError, match="rows are kept in"):
        model.fit(few, classes)
    model.fit(few, classes)
    assert rig.rows == whole.rows
    assert_same(model, expected)


def test_a_generator_of_random_numbers_draws_for_the_retry_what_it_drew_before(temporary_files):
    rig = Rig(fails_after=253)
    model = classifier(rig, random_state=np.random.RandomState(3))
    with pytest.raises(hwloop.DeviceTimeout):
        model.fit(ROWS, LABELS)
    model.fit(ROWS, LABELS)
    assert rig.rows == 356
    whole = classifier(Rig(), random_state=np.random.RandomState(3)).fit(ROWS, LABELS)
    assert_same(model, whole)


def test_no_place_for_temporary_files_is_said_before_the_first_row(monkeypatch):
    def nowhere(*arguments, **options):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    rig = Rig()
    with pytest.raises(hwloop.ConfigError, match=r"no place for temporary files.*journal="):
        classifier(rig).fit(ROWS, LABELS)
    assert rig.rows == 0


def test_another_fit_begins_anew_and_leaves_the_rows_where_they_are(temporary_files):
    rig = Rig(fails_after=253)
    with pytest.raises(hwloop.DeviceTimeout) as error:
        classifier(rig).fit(ROWS, LABELS)
    for model, rows in ((classifier(rig, width=11), ROWS), (classifier(rig), ROWS + 1.0)):
        before = rig.rows
        model.fit(rows, LABELS)
        assert rig.rows == before + 356
    assert kept_in(error).is_dir()
    other = Rig()
    other.serial = "8"  # only known once it is open
    with pytest.raises(hwloop.JournalError, match=r"rig 7, but this is rig 8.*move it away"):
        classifier(other).fit(ROWS, LABELS)
    before = rig.rows
    classifier(rig).fit(ROWS, LABELS)
    assert rig.rows == before + 356 - 248


def test_a_fit_that_measured_nothing_leaves_nothing(temporary_files):
    for options in ({"budget": 10}, {"trainer": "loca"}, {"stages": 0}):
        with pytest.raises(hwloop.HwloopError) as error:
            classifier(Rig(), journal=temporary_files / "mine", **options).fit(ROWS, LABELS)
        assert "rows are kept" not in str(error.value)
    assert not list(temporary_files.glob("mine/*"))


def test_a_mistake_in_between_removes_nothing_that_was_kept(temporary_files):
    rig = Rig(fails_after=253)
    model = classifier(rig, journal=temporary_files / "mine")
    with pytest.raises(hwloop.DeviceTimeout):
        model.fit(ROWS, LABELS)
    with pytest.raises(hwloop.BudgetExceeded):
        clone(model).set_params(budget=10).fit(ROWS, LABELS)
    model.fit(ROWS, LABELS)
    assert rig.rows == 356


def test_a_journal_of_ones_own_keeps_fit_and_predictions_and_measures_neither_twice(temporary_files):
    rig, journal = Rig(), temporary_files / "mine"
    model = classifier(rig, journal=journal).fit(ROWS, LABELS)
    first, second = model.predict_proba(ROWS[:50] + 0.1), model.predict_proba(ROWS[50:80] - 0.1)
    rows, kept = rig.rows, weights(model)
    del model
    again = classifier(rig, journal=journal).fit(ROWS, LABELS)
    np.testing.assert_array_equal(again.predict_proba(ROWS[50:80] - 0.1), second)
    np.testing.assert_array_equal(again.predict_proba(ROWS[:50] + 0.1), first)
    assert rig.rows == rows
    for name, value in weights(again).items():
        np.testing.assert_array_equal(value, kept[name])
    again.predict_proba(ROWS[80:90] + 0.3)
    assert rig.rows == rows + 20


def test_two_that_are_fitted_into_one_journal_at_once_keep_out_of_each_others_way(temporary_files):
    rig, journal = Rig(), temporary_files / "mine"
    models = [classifier(rig, journal=journal).fit(ROWS, LABELS) for _ in range(2)]
    assert rig.rows == 2 * 356
    assert len(list(journal.iterdir())) == 2
    assert models[0].score(ROWS, LABELS) >= 0


@pytest.mark.slow(daily=True)
def test_copies_of_a_fitted_estimator_write_no_journal(temporary_files):
    model = classifier(Rig(), journal=temporary_files / "mine").fit(ROWS, LABELS)
    twin = copy.deepcopy(model)
    twin.predict(ROWS[:5] + 0.2)
    np.testing.assert_array_equal(twin.predict_proba(ROWS), model.predict_proba(ROWS))
    search = GridSearchCV(classifier(Rig(), journal=temporary_files / "search"), {"width": [5, 6]}, cv=2)
    search.fit(ROWS, LABELS)
    assert len(list((temporary_files / "search").iterdir())) == 5


def test_the_temporary_folder_must_be_this_users_own(temporary_files):
    import os

    others = temporary_files / f"hwloop-fits-{os.getuid()}"
    others.mkdir(mode=0o777)
    others.chmod(0o777)
    with pytest.raises(hwloop.DeviceTimeout) as error:
        classifier(Rig(fails_after=100)).fit(ROWS, LABELS)
    assert not kept_in(error).is_relative_to(others)


def test_a_damaged_folder_is_never_gone_on_from(temporary_files):
    model = classifier(Rig(fails_after=253), journal=temporary_files / "mine")
    with pytest.raises(hwloop.DeviceTimeout) as error:
        model.fit(ROWS, LABELS)
    [chunk] = kept_in(error).rglob("*.rows")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    with pytest.raises(hwloop.JournalError, match=r"is damaged.*hwloop verify"):
        model.fit(ROWS, LABELS)


def loop(session):
    return PhysicalMemory(session)


def recurrence(session):
    return DigitalRecurrence(session, feedback_channels=6, seed=3)


@pytest.mark.parametrize("same_session", each_row([True, False], False, daily=[True]))
@pytest.mark.parametrize("journal", [None, "mine"])
@pytest.mark.parametrize(("reservoir", "rows", "steps"), [(loop, 60, 10), (recurrence, 6, 20)])
def test_an_echo_state_network_loses_no_row_either(temporary_files, reservoir, rows, steps, journal, same_session):
    journal = journal and temporary_files / journal
    sequences = np.random.default_rng(5).normal(size=(rows, steps, 2))
    targets = np.cumsum(sequences[:, :, :1], axis=1)
    whole_rig = Rig()
    whole = EchoState(reservoir(hwloop.Session(whole_rig)), washout=2).fit(sequences, targets)
    rig = Rig(fails_after=40)
    session = hwloop.Session(rig)
    model = EchoState(reservoir(session), washout=2, journal=journal)
    with pytest.raises(hwloop.DeviceTimeout, match="rows are kept in") as error:
        model.fit(sequences, targets)
    if not same_session:
        model = EchoState(reservoir(hwloop.Session(rig)), washout=2, journal=journal)
    model.fit(sequences, targets)
    assert rig.rows == whole_rig.rows
    np.testing.assert_array_equal(model.predict(sequences), whole.predict(sequences))
    assert kept_in(error).exists() == (journal is not None)


def test_a_session_with_a_journal_of_its_own_keeps_the_rows_there(temporary_files):
    from hwloop.journal import DiskJournal

    sequences = np.random.default_rng(5).normal(size=(20, 10, 2))
    session = hwloop.Session(Rig(fails_after=15), journal=DiskJournal(temporary_files / "own"))
    with pytest.raises(hwloop.DeviceTimeout) as error:
        EchoState(loop(session)).fit(sequences, sequences)
    assert "rows are kept" not in str(error.value)
    with pytest.raises(hwloop.ConfigError, match="keeps a journal on disk already"):
        EchoState(loop(session), journal=temporary_files / "mine").fit(sequences, sequences)
    session.journal.close()


def fit_in_a_process(journal, count, result, trainer):
    settings = {} if trainer == "readout" else QUICK
    model = classifier(Rig(count=count), journal=journal, trainer=trainer, trainer_settings=settings)
    model.fit(ROWS, LABELS)
    hwloop.save_network(model.network_, result)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("trainer", ["local", "readout", "phyll"])
def test_killed_at_any_time_it_ends_as_if_it_had_never_been(temporary_files, trainer):
    assert trainer in TRAINERS.entries()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hwloop.estimator", "sklearn.datasets"])
    rng = np.random.default_rng(2)

    def begun(name):
        paths = [temporary_files / f"{name}-{what}" for what in ("journal", "count", "net.safetensors")]
        process = context.Process(target=fit_in_a_process, args=(*paths, trainer))
        process.start()
        return process, paths

    import time

    process, whole = begun("whole")
    begin = time.monotonic()
    process.join(120)
    assert process.exitcode == 0
    seconds, total, kills, run = time.monotonic() - begin, whole[1].stat().st_size, 0, 0
    while kills < KILLS:
        run, before, finished = run + 1, kills, False
        while not finished:
            process, paths = begun(f"run-{run}")
            begin = time.monotonic()
            process.join(rng.uniform(0.1, 0.9) * seconds if kills < KILLS else 120)
            finished = not process.is_alive()
            if finished:  # the machine is quicker than it was: so must the next kill be
                seconds = time.monotonic() - begin
            else:
                process.kill()
                kills += 1
            process.join()
            assert process.exitcode in (0, -9)
        assert paths[2].read_bytes() == whole[2].read_bytes()
        # Only what a call in flight had measured when it was killed is measured again.
        assert total <= paths[1].stat().st_size <= total + 10 * (kills - before)
        shutil.rmtree(paths[0])


def test_a_fit_that_ends_between_two_files_can_be_taken_up(temporary_files):
    path = temporary_files / "mine"
    with KeptFit(path, "fit", "rig", {"rows": 1}) as kept:
        folder = kept.path
    kept.close()
    (folder / "request.json").unlink()
    (folder / "state.json").unlink()
    assert {each.name for each in folder.iterdir()} <= {"lock", "lock.guard"}
    KeptFit(path, "fit", "rig", {"rows": 1}).close()


def _fit_and_remove(times: int) -> None:
    for _ in range(times):
        with KeptFit(None, "a fit", "rig", {"data": 1}) as kept:
            kept.drawn_once("seed", lambda: 1)
            assert kept.path.is_dir()


def test_fits_of_the_same_data_side_by_side_do_not_remove_what_another_writes(temporary_files):
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(_fit_and_remove, 12) for _ in range(4)]:
            done.result()
    assert not list(temporary_files.glob("hwloop-fits-*/*"))
