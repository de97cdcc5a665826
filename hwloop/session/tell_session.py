"""What a device tells, brought to the session that measures with it."""

from __future__ import annotations

import weakref
from dataclasses import asdict
from typing import Any, Protocol

from hwloop.events import Event, MayStand
from hwloop.journal import Journal, Note
from hwloop.journal.record import POSITION


class Told(Protocol):
    """Takes what a device tells."""

    def device_event(self, event: Event) -> None:
        """Record it, and pass it on."""


class TellSession:
    """A device's listener that keeps no session alive; a copied device tells nobody until it is opened.

    Where hardware may stand goes to the journal, on the disk, even if the session is lost and only its device is
    still being closed: whoever opens the device next must know.
    """

    def __init__(self, session: Told | None, journal: Journal | None) -> None:
        self._session = None if session is None else weakref.ref(session)
        self._journal = None if journal is None else weakref.ref(journal)

    def __call__(self, event: Event) -> None:
        """Tell the session, if it is still there."""
        if isinstance(event, MayStand):
            self._keep(event)
            return
        session = None if self._session is None else self._session()
        if session is not None:
            session.device_event(event)

    def _keep(self, event: MayStand) -> None:
        journal = None if self._journal is None else self._journal()
        if journal is not None:
            journal.note(Note(POSITION, asdict(event)))
            journal.sync()

    def __reduce__(self) -> tuple[Any, ...]:
        return TellSession, (None, None)
