"""Asks the device after every answer who it is, and how far it has come: the one is checked, the other kept."""

from __future__ import annotations

import json
import math
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hwloop.device import Device, DeviceDescription, DeviceSpec
from hwloop.device.hold import HeldDevice, Hold, Holder, changing_itself, hold_of
from hwloop.errors import ConfigError, DeviceChanged, DeviceError, HwloopError, HwloopWarning, JournalError
from hwloop.journal import Journal, Note
from hwloop.journal.record import PROGRESS

# An identity that takes longer may have come over a cable, where asking costs time and may disturb.
FROM_MEMORY_SECONDS = 1e-4
DOUBTFUL_SECONDS = 1e-2
# Such a device is asked again this often at most, and so that asking takes this share of the time at most.
ASKED_EVERY_SECONDS = 10.0
ASKING_SHARE = 0.01
SHOWN_DIFFERENCES = 3
UNVOUCHED = "unvouched"  # kind of the note in the journal
NEVER_BACK = "attempts"  # a key of progress


class IdentityCheck:
    """Remembers who answered when a session was opened first, and refuses everybody else.

    Every reopening inside the device is watched by :mod:`hwloop.device.hold`. This watches what that cannot see:
    the session's own reopening, a spec or setting that changes, and an identity that changes with no call failing.
    The identity is asked after every answer where that costs nothing; else every few seconds, at checkpoints and
    before the session closes (docs/decisions/0054).

    Attributes
    ----------
    identity
        What the device said of itself when it was opened first; empty before.
    is_in_doubt
        The last call failed: what the device says of itself now is the business of whoever reopens it.
    """

    def __init__(self, device: Device, journal: Journal) -> None:
        self._device = device
        self._journal = journal
        self._name = type(device).__name__
        self._description: DeviceDescription | None = None
        self._spec: DeviceSpec | None = None
        self._hold: Hold | None = None
        self._settings: dict[str, Any] = {}
        self._units: list[tuple[weakref.ref[HeldDevice], str]] = []
        self._asking_seconds = float("inf")
        self._asked_at = 0.0
        self._rows_vouched = 0
        self._noted_rows = 0
        self.identity = ""
        self.is_in_doubt = False

    def opened(self, identity: str, description: DeviceDescription, holder: Holder) -> None:
        """Compare who was opened with who was opened before; called on the thread that owns the device.

        Raises
        ------
        DeviceChanged
        """
        self._hold = hold_of(self._device)
        if self._description is None:
            self.identity, self._description, self._spec = identity, description, description.spec
            self._settings = self._hold.settings_changed
        different = description.differences(self._description)
        if different:
            raise self._changed("; ".join(different[:SHOWN_DIFFERENCES]))
        if identity != self.identity:
            raise self._said(identity)
        found = [
            (hold.device, hold.identity) for hold in holder.holds if hold.identity is not None and hold.device()
        ]
        for unit, who in self._units:
            now = next((other for device, other in found if device() is unit()), who)
            if now != who:
                raise self._changed(f"{type(unit()).__name__}, inside of it, says {now!r} of itself, not {who!r}")
        self._units = found
        self._asking_seconds = self._quickest(self._hold.asking_seconds)
        self._asked_at, self._rows_vouched, self.is_in_doubt = time.monotonic(), self._journal.rows, False

    def _quickest(self, seconds: float) -> float:
        """How long the device takes to say who it is; asked again where other programs may have held it up."""
        for _ in range(4):
            if not FROM_MEMORY_SECONDS < seconds < DOUBTFUL_SECONDS:
                break
            began = time.perf_counter()
            if (found := self._device.identify()) != self.identity:
                raise self._said(found)
            seconds = min(seconds, time.perf_counter() - began)
        return seconds

    def __getstate__(self) -> dict[str, Any]:
        """A copy knows the device; the objects inside of it are copied too, or not, and looked at anew."""
        return {**self.__dict__, "_units": [], "_hold": None}

    def check_answer(self) -> None:
        """Refuse an answer of another device before it is recorded; raises as :meth:`confirm`."""
        spec = self._device.spec
        settings = self._settings if self._hold is None else self._hold.settings_changed
        if self._spec is not None and spec is not self._spec:
            different = spec.differences(self._spec)
            if different:
                raise self._changed("; ".join(different))
        if settings != self._settings:
            names = [name for name in settings | self._settings if settings.get(name) != self._settings.get(name)]
            raise self._changed(
                "; ".join(f"{name} was set to {settings.get(name, 'what it was before')}" for name in names)
                + " (or, if the driver keeps its state in that attribute, give the attribute another name than "
                "the argument)"
            )
        self.is_in_doubt = False
        if self._asking_seconds <= FROM_MEMORY_SECONDS:
            found = self._device.identify()
            if found != self.identity:
                raise self._said(found)
        elif time.monotonic() - self._asked_at >= max(ASKED_EVERY_SECONDS, self._asking_seconds / ASKING_SHARE):
            self._ask()

    def confirm(self) -> None:
        """Ask the device who it is, unless nothing was measured since it last said so; between two of its calls.

        Raises
        ------
        DeviceChanged
            It says from which row on nobody knows who answered, and so does a note in the journal.
        """
        is_asked_always = self._asking_seconds <= FROM_MEMORY_SECONDS
        if self._spec is None or is_asked_always or self.is_in_doubt:
            return
        if self._journal.rows > self._rows_vouched:
            self._ask()

    def _ask(self) -> None:
        began, first, rows = time.monotonic(), self._rows_vouched, self._journal.rows
        try:
            found = self._device.identify()
        except DeviceChanged:
            raise
        except Exception as error:
            warnings.warn(
                f"{self._name} was measured but could not say who it is ({type(error).__name__}: {error}); until "
                f"it does, nothing vouches for the rows from {first:,} on. Check its connection",
                HwloopWarning,
                stacklevel=2,
            )
            return
        finally:
            self._asked_at = time.monotonic()
            self._asking_seconds = max(self._asking_seconds, self._asked_at - began)
        if found == self.identity:
            self._rows_vouched = rows
            return
        self._asked_at = -math.inf  # whoever answers next is asked at once
        since = ""
        if rows > first:
            since = (
                f"rows {first:,} to {rows - 1:,} of the journal were recorded since it last said who it is, and "
                "nothing vouches for them"
            )
            if self._noted_rows != rows:
                self._noted_rows = rows
                self._journal.note(Note(UNVOUCHED, {"first_row": first, "end_row": rows, "identity": found}))
        raise self._said(found, since)

    def _said(self, found: str, since: str = "") -> DeviceChanged:
        return self._changed(f"it says {found!r} of itself, not {self.identity!r}", since)

    def _changed(self, difference: str, since: str = "") -> DeviceChanged:
        return DeviceChanged(
            f"{self._name} is another device than this session was opened on: {difference}. "
            f"{since[:1].upper()}{since[1:] or 'Nothing that it measured since is recorded'}. Connect the first "
            "one again, or make a new session for this one"
        )


def unvouched_rows(journal: Journal) -> list[range]:
    """Rows that a journal holds of an unknown unit: another one was found behind them than before."""
    notes = [note.details for note in journal.notes() if note.kind == UNVOUCHED]
    return [range(int(note["first_row"]), int(note["end_row"])) for note in notes]


class ProgressKeeper:
    """Writes a device's progress into the journal call by call, and restores it from there.

    A device that counts nothing but the rows that were asked of it writes nothing.
    """

    def __init__(self, device: Device, journal: Journal) -> None:
        self._device = device
        self._journal = journal
        self._kept = journal.progress()
        self._asked = False

    def check(self) -> None:
        """Ask once before the first row: what cannot be kept is an error before anything was measured.

        Raises
        ------
        ConfigError
            The device's ``progress()`` gives no plain values.
        """
        if not self._asked:
            self._now()
            self._asked = True

    def resume(self, rows: int) -> None:
        """Tell the device where the journal ends, which holds so many rows.

        Raises
        ------
        JournalError
            What the journal holds is of no use to this device.
        """
        try:
            with changing_itself(self._device, self._device.devices_inside):
                if self._kept:
                    self._device.resume(nested({"rows": rows, **self._kept}))
                elif rows:
                    self._device.continue_from(rows)
        except HwloopError:
            raise
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise JournalError(
                f"{type(self._device).__name__} cannot go on from the progress that the journal holds "
                f"({type(error).__name__}: {error}); was it recorded by another version?"
            ) from error

    def changed(self, rows: int) -> dict[str, Any]:
        """What to record behind the row with this number."""
        said = self._said()
        says_rows_alone = isinstance(said, dict) and len(said) == 1 and type(said.get("rows")) is int
        if not self._kept and says_rows_alone and said["rows"] == rows:  # as nearly always
            return {}
        now = self._plain(said)
        return {path: value for path, value in now.items() if self._kept.get(path) != value}

    def recorded(self, changed: Mapping[str, Any]) -> None:
        """It is in the journal."""
        self._kept.update(changed)

    def failed(self) -> None:
        """Note what a call that failed has moved for good."""
        now = self._now()
        moved = {path: value for path, value in now.items() if path.rpartition("/")[2] == NEVER_BACK}
        moved = {path: value for path, value in moved.items() if value > self._kept.get(path, 0)}
        if moved:
            self._journal.note(Note(PROGRESS, moved))
            self._kept.update(moved)

    def _now(self) -> dict[str, Any]:
        return self._plain(self._said())

    def _said(self) -> Any:
        try:
            return self._device.progress()
        except HwloopError:
            raise
        except Exception as error:
            raise self._unusable(error) from error

    def _plain(self, said: Any) -> dict[str, Any]:
        try:
            flat = dict(_flat(said, ""))
            json.dumps(flat, allow_nan=False)
        except Exception as error:
            raise self._unusable(error) from error
        return flat

    def _unusable(self, error: Exception) -> HwloopError:
        name = type(self._device).__name__
        if isinstance(error, (TypeError, ValueError, RecursionError)):
            return ConfigError(
                f"{name}.progress() gives something that a journal cannot keep ({error}); give whole numbers, "
                "floats, text, lists and dictionaries of them: int(n), array.tolist()"
            )
        return DeviceError(f"{name}.progress() failed ({type(error).__name__}: {error}); mend it")


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every leaf with its path; a list is a leaf unless it holds tables alone."""
    if isinstance(value, Mapping) and value:
        for key, inside in value.items():
            if not isinstance(key, str) or "/" in key:
                raise TypeError(f"the key {key!r} is no text without a slash")
            yield from _flat(inside, f"{path}/{key}" if path else key)
    elif isinstance(value, Sequence) and value and all(isinstance(each, Mapping) for each in value):
        for number, inside in enumerate(value):
            yield from _flat(inside, f"{path}/{number}")
    else:
        yield path, value


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Tables and lists from paths."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *above, last = path.split("/")
        table = tree
        for key in above:
            table = table.setdefault(key, {})
        table[last] = value
    return {key: _with_lists(value) for key, value in tree.items()}


def _with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inside = {key: _with_lists(each) for key, each in value.items()}
    if inside and all(key.isdigit() for key in inside):
        return [inside[key] for key in sorted(inside, key=int)]
    return inside
