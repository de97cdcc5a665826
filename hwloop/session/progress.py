"""Keeps a device's progress in the journal, flattened to paths, and hands it back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hwloop.device import Device
from hwloop.device.hold import changing_itself
from hwloop.errors import ConfigError, DeviceError, HwloopError, JournalError
from hwloop.journal import Journal, Note
from hwloop.journal.record import PROGRESS

NEVER_BACK = "attempts"


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
        now = self._now()
        if not self._kept and now == {"rows": rows}:
            return {}
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
        name = type(self._device).__name__
        try:
            flat = dict(_flat(self._device.progress(), ""))
            json.dumps(flat, allow_nan=False)
        except HwloopError:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"{name}.progress() gives something that a journal cannot keep ({error}); give whole numbers, "
                "floats, text, lists and dictionaries of them: int(n), array.tolist()"
            ) from error
        except Exception as error:
            raise DeviceError(f"{name}.progress() failed ({type(error).__name__}: {error}); mend it") from error
        return flat


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
