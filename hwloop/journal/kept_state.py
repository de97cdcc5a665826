"""What a journal says of the state of a device, brought together from its records and notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROGRESS, POSITION = "progress", "position"  # kinds of notes; of a record, the field
STATES = frozenset({PROGRESS, POSITION})  # there may be very many such notes, and of each only the last counts


class KeptState:
    """The last that was said of everything.

    Attributes
    ----------
    progress
        By path; see :class:`hwloop.journal.Record`. Notes of it tell of calls that failed.
    positions
        By place: where hardware may stand (:class:`hwloop.events.MayStand`).
    """

    def __init__(self) -> None:
        self.progress: dict[str, Any] = {}
        self.positions: dict[str, dict[str, Any]] = {}

    def enter_rows(self, changed: Mapping[str, Any]) -> None:
        """Take in what a record of rows says."""
        self.progress.update(changed)

    def enter_note(self, kind: str, details: Mapping[str, Any]) -> None:
        """Take in what a note says, if it is one of these."""
        if kind == PROGRESS:
            self.progress.update(details)
        elif kind == POSITION and isinstance(details.get("place"), str):
            self.positions[details["place"]] = dict(details)
