"""Says in the journal which device answers, and refuses another one than it was recorded on."""

from __future__ import annotations

from collections.abc import Iterable

from hwloop.errors import JournalError
from hwloop.session.recorder import Recorder
from hwloop.session.same_device import DeviceAtHand, RecordedDevice, in_words


def recorded_device(recorder: Recorder, device: DeviceAtHand) -> RecordedDevice | None:
    """The device that a journal with rows was recorded on, which must be the one at hand.

    ``None`` for a new journal, and where this session has opened its device before.

    Raises
    ------
    JournalError
        The journal holds rows of another device, or of this one under other settings.
    """
    if recorder.settings or not recorder.journal.rows:
        return None
    named = RecordedDevice.named_in(recorder.journal)
    if not named:
        return None
    recorded = named[-1]
    different = recorded.differences(device)
    if different:
        raise JournalError(
            f"the journal was recorded on {recorded.identity}, but this is {device.in_words}; recorded, and now: "
            f"{in_words(different)}. Go on with the device and the settings that it was recorded on, or start a "
            "new run"
        )
    return recorded


def note_device(
    recorder: Recorder, device: DeviceAtHand, recorded: RecordedDevice | None, earlier: Iterable[str]
) -> None:
    """File what is measured from here on under this device, and note it where it is another than before.

    Parameters
    ----------
    recorded
        What :func:`recorded_device` found: a journal goes on under the name that it began with.
    earlier
        Fingerprints of the rows of earlier runs that stand for this device.
    """
    digest = device.description.digest()
    if recorded is not None:
        recorder.settings, recorder.described_as = recorded.fingerprint, digest
    elif recorder.described_as != digest:
        recorder.settings = recorder.described_as = digest
        recorder.journal.note(device.note(earlier))
