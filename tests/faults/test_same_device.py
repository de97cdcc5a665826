"""No row of one device is taken for another's: in journals, from earlier runs, by replay, pools and servers."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest

import hwloop
from hwloop.devices.calibrated import Calibrated
from hwloop.devices.faulty import Faulty
from hwloop.devices.pool import Pool
from hwloop.devices.remote import DeviceServer, RemoteDevice
from hwloop.devices.remote.address import Address
from hwloop.errors import HwloopWarning
from hwloop.events import DeviceDoubted, EarlierRowsFound
from hwloop.journal import DiskJournal, Note, ReadOnlyJournal, Record
from hwloop.session.same_device import settings_hash

ROWS = np.random.default_rng(0).random((4, 2))


class Instrument(hwloop.Device):
    spec = hwloop.DeviceSpec(2, 2, input_unit="V", output_unit="V")

    def __init__(self, serial="SN7"):
        self.serial = serial

    def identify(self):
        return f"ACME,1234,{self.serial}"

    def _measure(self, inputs):
        return 3 * inputs + 1


class Silent(hwloop.Device):
    """Says nothing of itself."""

    spec = hwloop.DeviceSpec(2, 2)

    def __init__(self, gain=1.0):
        self.gain = gain

    def _measure(self, inputs):
        return self.gain * inputs


def corrected(gain, offset):
    return Calibrated(Instrument(), {"kind": "affine", "gain": [gain] * 2, "offset": [offset] * 2})


def measured(device, journal, rows=ROWS, **options):
    heard = []
    with hwloop.Session(device, journal=journal, listeners=[heard.append], **options) as session:
        answers = session.measure(rows)
        journal.close()
    return answers, session, heard


def earlier(device, folder):
    measured(device, DiskJournal(folder))
    return ReadOnlyJournal(folder)


OTHERS = {
    "corrections": (lambda: corrected(2.0, 0.0), lambda: corrected(3.0, 1.0), "Calibrated.correction.gain"),
    "a wrapper": (Instrument, lambda: Calibrated(Instrument(), input_low=0.0), "Calibrated around Instrument"),
    "a serial number": (Instrument, lambda: Instrument("SN8"), "ACME,1234,SN8"),
    "faults": (
        lambda: Faulty(Instrument(), {"slow": 0.0}, output_range=(0, 1)),
        lambda: Faulty(Instrument(), {"slow": 0.0}, output_range=(0, 2)),
        "Faulty.output_range",
    ),
    "a setting of a silent driver": (Silent, lambda: Silent(2.0), "Silent.gain: 1, not 2"),
    "a member of a pool": (
        lambda: Pool([corrected(2.0, 0.0), corrected(2.0, 0.0)]),
        lambda: Pool([corrected(2.0, 0.0), corrected(2.0, 0.1)]),
        "Calibrated.correction.offset",
    ),
}


@pytest.mark.parametrize(("then", "now", "named"), OTHERS.values(), ids=OTHERS)
def test_rows_of_another_device_are_measured_again_and_the_difference_is_named(then, now, named, tmp_path):
    journal = earlier(then(), tmp_path / "old")
    answers, session, heard = measured(now(), DiskJournal(tmp_path / "new"), earlier=journal)
    np.testing.assert_array_equal(answers, now().measure(ROWS) if not isinstance(now(), Pool) else answers)
    assert (session.ledger.reused["train"], session.ledger["train"]) == (0, len(ROWS))
    (found,) = [event for event in heard if isinstance(event, EarlierRowsFound)]
    assert named in found.different


@pytest.mark.parametrize(("then", "now", "named"), OTHERS.values(), ids=OTHERS)
def test_a_journal_goes_on_with_no_other_device(then, now, named, tmp_path):
    earlier(then(), tmp_path / "old")
    journal = DiskJournal(tmp_path / "old")
    with (
        pytest.raises(hwloop.JournalError, match="was recorded on") as refused,
        hwloop.Session(now(), journal=journal),
    ):
        pass
    assert named in str(refused.value)
    journal.close()
    assert ReadOnlyJournal(tmp_path / "old").rows == len(ROWS)


@pytest.mark.parametrize(
    "same", [lambda: corrected(2.0, 0.0), Instrument, lambda: Pool([Instrument(), Instrument()])]
)
def test_the_same_device_built_again_reuses_and_goes_on_without_a_word(same, tmp_path):
    journal = earlier(same(), tmp_path / "old")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, session, heard = measured(same(), DiskJournal(tmp_path / "new"), earlier=journal)
        assert session.ledger.reused["train"] == len(ROWS)
        measured(same(), DiskJournal(tmp_path / "old"), np.vstack([ROWS, ROWS / 2]))
    assert not [event for event in heard if isinstance(event, DeviceDoubted)]


# -- nobody vouches ------------------------------------------------------------------------------------------


def test_what_no_serial_number_vouches_for_is_said_on_reuse_and_on_resume(tmp_path):
    journal = earlier(Silent(), tmp_path / "old")
    with pytest.warns(HwloopWarning, match="reuse: 4 recorded rows .*no serial number vouches for Silent"):
        _, session, heard = measured(Silent(), DiskJournal(tmp_path / "new"), earlier=journal)
    assert session.ledger.reused["train"] == len(ROWS)
    (doubt,) = [event for event in heard if isinstance(event, DeviceDoubted)]
    assert (doubt.doing, doubt.rows) == ("reuse", 4)
    with pytest.warns(HwloopWarning, match="resume: 4 recorded rows .*no serial number vouches for Silent"):
        measured(Silent(), DiskJournal(tmp_path / "old"))
    noted = [note for note in ReadOnlyJournal(tmp_path / "old").notes() if note.kind == "event"]
    assert noted[-1].details["event"] == "DeviceDoubted"


# -- journals from before descriptions -----------------------------------------------------------------------


def old_journal(folder, device, rows=ROWS):
    """As it was written then: rows under the identity's and the spec's fingerprint, and a note without more."""
    journal, identity = DiskJournal(folder), device.identify()
    fingerprint = settings_hash(identity, device.spec)
    journal.note(Note("device", {"settings": fingerprint, "identity": identity, "spec": device.spec.as_dict()}))
    journal.append(Record("train", fingerprint, 0, time.time(), 0.1, rows, device.measure(rows)))
    journal.close()
    return folder


def fibre(**settings):
    return hwloop.open_device("optical-fibre", n_inputs=2, n_outputs=2, **settings)


CERTAIN = {
    "a simulation": fibre,
    "a wrapped simulation": lambda: hwloop.Averaged(fibre(), 2),
    "an instrument without settings": type(
        "Plain", (Instrument,), {"__init__": lambda self: Instrument.__init__(self)}
    ),
}


@pytest.mark.parametrize("same", CERTAIN.values(), ids=CERTAIN)
def test_an_old_journal_that_says_everything_goes_on_and_is_reused(same, tmp_path):
    folder = old_journal(tmp_path / "old", same())
    _, session, _ = measured(same(), DiskJournal(tmp_path / "new"), earlier=ReadOnlyJournal(folder))
    assert session.ledger.reused["train"] == len(ROWS)
    _, session, _ = measured(same(), DiskJournal(folder), np.vstack([ROWS, ROWS / 2]))
    assert session.ledger["train"] == 2 * len(ROWS)
    with hwloop.Replay(folder) as replay:  # before and after are filed alike
        replay.measure(np.vstack([ROWS, ROWS / 2]))
    _, session, _ = measured(same(), DiskJournal(folder), np.vstack([ROWS, ROWS / 2]))


def test_an_old_journal_that_leaves_something_open_is_not_reused_and_goes_on_with_a_word(tmp_path):
    folder = old_journal(tmp_path / "old", corrected(2.0, 0.0))
    _, session, heard = measured(
        corrected(3.0, 1.0), DiskJournal(tmp_path / "new"), earlier=ReadOnlyJournal(folder)
    )
    assert session.ledger.reused["train"] == 0
    (found,) = [event for event in heard if isinstance(event, EarlierRowsFound)]
    assert "before devices were described in full" in found.different
    with pytest.warns(HwloopWarning, match="resume: 4 .*before devices were described in full"):
        measured(corrected(2.0, 0.0), DiskJournal(folder))


def test_an_old_journal_of_another_device_is_refused(tmp_path):
    folder = old_journal(tmp_path / "old", fibre())
    with pytest.raises(hwloop.JournalError, match="said of itself"):
        measured(fibre(seed=1), DiskJournal(folder))


# -- replay --------------------------------------------------------------------------------------------------


def test_a_replay_is_the_journal_that_it_answers_from(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    earlier(corrected(2.0, 0.0), first)
    earlier(corrected(3.0, 0.0), second)
    descriptions = [hwloop.Replay(path).describe() for path in (first, second)]
    assert descriptions[0] != descriptions[1]
    first.rename(tmp_path / "moved")
    assert hwloop.Replay(tmp_path / "moved").describe() == descriptions[0]


# -- elsewhere -----------------------------------------------------------------------------------------------


def test_a_server_whose_device_has_other_corrections_lends_another_device(tmp_path):
    def served(gain):
        return DeviceServer(lambda: corrected(gain, 0.0), Address("127.0.0.1", 0))

    with served(2.0) as server, RemoteDevice(str(server.address)) as device:
        assert device.describe() == corrected(2.0, 0.0).describe()
        journal = earlier(device, tmp_path / "old")
    with served(3.0) as server:
        device = RemoteDevice(str(server.address))
        _, session, heard = measured(device, DiskJournal(tmp_path / "new"), earlier=journal)
        assert session.ledger.reused["train"] == 0
    assert (
        "Calibrated.correction.gain: [2, 2], not [3, 3]"
        in next(e for e in heard if isinstance(e, EarlierRowsFound)).different
    )
    _, session, _ = measured(corrected(2.0, 0.0), DiskJournal(tmp_path / "here"), earlier=journal)
    assert session.ledger.reused["train"] == len(ROWS)  # where it is reached from makes it no other


def test_a_server_that_has_other_corrections_after_a_reconnect_is_refused():
    gains = iter([2.0, 2.0, 3.0])
    with DeviceServer(lambda: corrected(next(gains), 0.0), Address("127.0.0.1", 0)) as server:
        device = RemoteDevice(str(server.address))
        with device:
            device.measure(ROWS)
        with pytest.raises(hwloop.DeviceError, match=r"Calibrated\.correction\.gain: \[2, 2\], not \[3, 3\]"):
            device.open()


RIG = """
import hwloop

class Rig(hwloop.Device):
    spec = hwloop.DeviceSpec(2, 2)

    def __init__(self, gain=1.0):
        self.gain = gain

    def identify(self):
        return "rig 7"

    def _measure(self, inputs):
        return {factor} * self.gain * inputs
"""


def test_what_a_worker_serves_is_known_by_its_file_and_its_own_description(tmp_path):
    def described(folder, factor, **settings):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "rig.py").write_text(RIG.format(factor=factor))
        with hwloop.open_device("worker:this", target=f"{tmp_path / folder}/rig.py:Rig", **settings) as device:
            return device.describe()

    first, moved = described("a", 1.0), described("b", 1.0)
    assert first == moved
    assert (first.vouched, first.inside[0].name, first.inside[0].identity) == (True, "rig:Rig", "rig 7")
    assert "WorkerDevice.target.file" in first.differences(described("a", 2.0))[0]
    assert "Rig.gain: 1, not 2" in first.differences(described("b", 1.0, gain=2.0))
