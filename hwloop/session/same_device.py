"""Compares the device that is open with the ones that journals name, and finds the rows that are its own."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwloop.device import Device, DeviceDescription, DeviceSpec
from hwloop.errors import ConfigError, JournalError
from hwloop.journal import Journal, Note
from hwloop.journal.record import DEVICE
from hwloop.session.device_state import unvouched_rows
from hwloop.session.known_rows import Freshness, RowMemory, keys_under, row_keys
from hwloop.session.recorder import Recorder

SHOWN_DIFFERENCES = 5


@dataclass(frozen=True)
class CurrentDevice:
    """A device that is open, as it is compared with those that journals name.

    Attributes
    ----------
    old_fingerprint
        What a journal called it before devices were described in full.
    old_is_certain
        Whether that said everything: where its identity leaves no setting out.
    """

    description: DeviceDescription
    identity: str
    old_fingerprint: str
    old_is_certain: bool
    file: str = ""

    @property
    def name_and_file(self) -> str:
        """Who it says that it is, and the device file that it was built from."""
        return f"{self.identity} ({self.file})" if self.file else self.identity

    @classmethod
    def of(cls, device: Device, identity: str) -> CurrentDevice:
        """Describe a device that has just been opened; called on the thread that owns it."""
        return cls(
            device.describe(identity),
            identity,
            settings_hash(identity, device.spec),
            _states_settings(device),
            device.built_from,
        )

    def note(self, earlier: Iterable[str]) -> Note:
        """The note that names it in a journal, with the fingerprints of earlier rows that stand for its own."""
        return Note(
            DEVICE,
            {
                "settings": self.description.digest(),
                "identity": self.identity,
                "spec": self.description.spec.as_dict(),
                "description": self.description.as_dict(),
                "earlier": sorted(earlier),
            },
        )


@dataclass(frozen=True)
class RecordedDevice:
    """A device that a journal names.

    Attributes
    ----------
    fingerprint
        What its rows are filed under.
    description
        ``None`` where the journal is older than descriptions.
    earlier
        Fingerprints of the rows of earlier runs that its run took for its own; ``None`` where that was not noted.
    """

    fingerprint: str
    identity: str
    description: DeviceDescription | None
    earlier: tuple[str, ...] | None = field(default=None)

    @classmethod
    def named_in(cls, journal: Journal) -> list[RecordedDevice]:
        """Every device that a journal names, in order.

        Raises
        ------
        JournalError
            A note cannot be read.
        """
        return [cls._of(note.details) for note in journal.notes() if note.kind == DEVICE]

    @classmethod
    def _of(cls, details: Mapping[str, Any]) -> RecordedDevice:
        try:
            stored, earlier = details.get("description"), details.get("earlier")
            return cls(
                str(details["settings"]),
                str(details["identity"]),
                None if stored is None else DeviceDescription.from_dict(stored),
                None if earlier is None else tuple(map(str, earlier)),
            )
        except (ConfigError, KeyError, TypeError) as error:
            raise JournalError(
                f"the journal describes its device in a way that cannot be used ({type(error).__name__}: "
                f"{error}); was it recorded by another version of hwloop?"
            ) from error

    @property
    def earlier_fingerprints(self) -> tuple[str, ...]:
        """What rows of earlier runs its run takes: before they were noted, those that are filed under its own."""
        return (self.fingerprint,) if self.earlier is None else self.earlier

    def differences(self, device: CurrentDevice) -> list[str]:
        """List how the open device differs from the recorded one, the recorded value first."""
        if self.description is not None:
            return self.description.differences(device.description)
        if self.fingerprint == device.old_fingerprint:
            return []
        if self.identity != device.identity:
            return [f"it said of itself {self.identity!r}, not {device.identity!r}"]
        return ["its channels, limits, units or pace were others"]

    def doubts(self, device: CurrentDevice) -> list[str]:
        """List why rows of the same fingerprint may still be another device's; empty if they cannot."""
        found = device.description.doubts()
        if self.description is None and not device.old_is_certain:
            found.append(
                f"it was recorded before devices were described in full, and {self.identity!r} does not say every "
                "setting"
            )
        return found


def joined(differences: Sequence[str]) -> str:
    """The first differences, and how many there are besides."""
    more = len(differences) - SHOWN_DIFFERENCES
    return "; ".join([*differences[:SHOWN_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])


def settings_hash(identity: str, spec: DeviceSpec) -> str:
    """What a device was known by in a journal before devices were described in full (docs/decisions/0042)."""
    text = json.dumps([identity, spec.as_dict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _states_settings(device: Device) -> bool:
    """Whether a device's identity names every setting that changes an answer, and so do those inside."""
    own = device.identity_states_settings or not device.described_settings()
    return own and all(map(_states_settings, device.devices_inside))


def recorded_device(recorder: Recorder, device: CurrentDevice) -> RecordedDevice | None:
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
            f"the journal was recorded on {recorded.identity}, but this is {device.name_and_file}; recorded, and "
            f"now: {joined(different)}. Go on with the device and the settings that it was recorded on, or start "
            "a new run"
        )
    return recorded


def note_device(
    recorder: Recorder, device: CurrentDevice, recorded: RecordedDevice | None, earlier: Iterable[str]
) -> None:
    """File new rows under this device, and note it in the journal if it is new there.

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


@dataclass(frozen=True)
class EarlierRows:
    """The rows of a journal that stand for the device at hand.

    Attributes
    ----------
    memory
        Finds them.
    fingerprints
        What they are filed under.
    different
        Where there are none: in what the recorded device was another one, in words.
    """

    memory: RowMemory
    fingerprints: frozenset[str]
    different: str = ""


def earlier_rows(
    journal: Journal, device: CurrentDevice, decided: tuple[str, ...] | None, freshness: Freshness
) -> EarlierRows:
    """The rows that a journal holds of one device under the same settings.

    Parameters
    ----------
    journal
        Is only read.
    decided
        The fingerprints that the run took when it began, if it goes on now: it stays with them.
    freshness
        Its limit in seconds holds here too; one in rows does not, for the rows of another run have no place in
        the order of this one's.
    """
    memory = RowMemory(journal, Freshness(seconds=freshness.seconds))
    named = {recorded.fingerprint: recorded for recorded in RecordedDevice.named_in(journal)}
    own = _own_fingerprints(device, named) if decided is None else frozenset(decided)
    others: Counter[str] = Counter()
    unvouched = unvouched_rows(journal)
    for record in journal.records():
        if any(record.first_row in rows for rows in unvouched):
            continue
        if record.device in own:
            memory.remember(keys_under(row_keys(record.stimuli), record.tuning), record.first_row)
        else:
            others[record.device] += len(record.stimuli)
    return EarlierRows(memory, own, "" if len(memory) else _differences(device, named, others))


def _own_fingerprints(device: CurrentDevice, named: dict[str, RecordedDevice]) -> frozenset[str]:
    """Fingerprints that rows of this device may be filed under; an old one only if it left nothing out."""
    own = {device.description.digest()}
    if device.old_is_certain:
        own.add(device.old_fingerprint)
    own |= {each.fingerprint for each in named.values() if each.description and not each.differences(device)}
    return frozenset(own)


def _differences(device: CurrentDevice, named: dict[str, RecordedDevice], others: Counter[str]) -> str:
    """How the device at hand differs from the recorded one that is most like it."""
    if not others:
        return ""
    if device.old_fingerprint in others:
        return (
            f"{others[device.old_fingerprint]:,} rows of {device.identity} were recorded before devices were "
            "described in full, and that does not say every setting"
        )
    found = [named[each].differences(device) for each in others if each in named]
    described = [named[each].description for each in others if each in named]
    alike = [
        words
        for words, description in zip(found, described, strict=True)
        if description is not None and description.name == device.description.name
    ]
    return joined(min(alike or found, key=len)) if found else ""


def note_same_device(own: Journal, disk: Journal) -> None:
    """Say in a journal which device answers, and refuse one that was recorded on another."""
    [*_, mine] = [note for note in own.notes() if note.kind == DEVICE]
    theirs = [note for note in disk.notes() if note.kind == DEVICE]
    if theirs and theirs[-1].details["settings"] != mine.details["settings"]:
        raise JournalError(
            f"the journal was recorded on {theirs[-1].details['identity']}, but this is "
            f"{mine.details['identity']}; go on with the device and the settings that it was "
            "recorded on, or into another journal"
        )
    if not theirs:
        disk.note(mine)
