"""Whether the device that is open is the one that a journal was recorded on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwloop.device import Device, DeviceDescription, DeviceSpec
from hwloop.errors import ConfigError, JournalError
from hwloop.journal import Journal, Note
from hwloop.journal.record import DEVICE

SHOWN_DIFFERENCES = 5


@dataclass(frozen=True)
class DeviceAtHand:
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
    def in_words(self) -> str:
        """Who it says that it is, and the device file that it was built from."""
        return f"{self.identity} ({self.file})" if self.file else self.identity

    @classmethod
    def of(cls, device: Device, identity: str) -> DeviceAtHand:
        """A device that is open and has just said who it is; called on the thread that owns it."""
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

    def differences(self, device: DeviceAtHand) -> list[str]:
        """In what the device at hand is another one, in words, the recorded value first; empty for the same."""
        if self.description is not None:
            return self.description.differences(device.description)
        if self.fingerprint == device.old_fingerprint:
            return []
        if self.identity != device.identity:
            return [f"it said of itself {self.identity!r}, not {device.identity!r}"]
        return ["its channels, limits, units or pace were others"]

    def doubts(self, device: DeviceAtHand) -> list[str]:
        """Why the same fingerprint may hide another device all the same, in words; empty if it cannot."""
        found = device.description.doubts()
        if self.description is None and not device.old_is_certain:
            found.append(
                f"it was recorded before devices were described in full, and {self.identity!r} does not say every "
                "setting"
            )
        return found


def in_words(differences: Sequence[str]) -> str:
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
