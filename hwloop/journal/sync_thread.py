"""Brings what was written to the disk soon enough that nobody has to wait for it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from hwloop.errors import JournalError

TIDY_SECONDS = 1.0  # what else there is to do while nothing is synced is done at least so often
REST_SECONDS = 0.02  # between two syncs that nobody waits for: jobs of one row must not keep a disk busy
_REST_TIMES = 4  # and so many times as long as the last one took
_LOOK_SECONDS = 1.0  # how often one who waits looks whether the thread still lives


class SyncThread:
    """Syncs at the latest when half of ``sync_seconds`` has passed since the oldest write that is not synced.

    Whoever writes waits only where a disk is so slow that the other half passes too: then a row that is in use
    would be older than ``sync_seconds`` and not synced. A sync that fails is never tried again, for the kernel
    may have given up what it could not write: the failure is everybody's from then on.

    Parameters
    ----------
    sync
        Brings to the disk what was written before it was called; runs on the thread, under no lock.
    tidy
        Called after every sync, and at least every second while something waits for one.
    where
        What is synced, for messages.
    """

    def __init__(
        self, sync: Callable[[], None], tidy: Callable[[], None], sync_seconds: float, where: object
    ) -> None:
        self._sync, self._tidy, self._where = sync, tidy, where
        self._sync_seconds = sync_seconds
        self._changed = threading.Condition()
        self._written = self._synced = 0  # numbers of writes
        self._oldest = self._in_flight = math.inf  # since when something waits to be synced, or is being synced
        self._wanted = math.inf  # when somebody wants a sync that is not due yet
        self._rest_until = 0.0
        self._failure: BaseException | None = None
        self._was_told = False
        self._stopping = False
        self._thread: threading.Thread | None = None  # started by the first write

    def require_sound(self) -> None:
        """Refuse to go on after a sync that failed.

        Raises
        ------
        JournalError
        """
        if self._failure is None and self._thread is not None and not self._thread.is_alive():
            self._failure = RuntimeError("the thread that syncs has ended")
        if isinstance(self._failure, JournalError):
            self._was_told = True
            raise JournalError(str(self._failure)) from self._failure
        if self._failure is not None:
            self._was_told = True
            reason = getattr(self._failure, "strerror", None) or self._failure
            raise JournalError(
                f"{self._where} cannot be synced ({reason}); what was written in the last moments may not be on "
                "the disk, so nothing more is recorded. Check the disk, then resume"
            ) from self._failure

    def wrote(self) -> None:
        """Take note of a write, and wait while the oldest one is overdue.

        Raises
        ------
        JournalError
            A sync has failed.
        """
        with self._changed:
            self._written += 1
            if self._oldest == math.inf:
                self._oldest = time.monotonic()
                if self._thread is None:
                    self._start()
                self._changed.notify_all()
            while min(self._oldest, self._in_flight) + self._sync_seconds <= time.monotonic():
                self.require_sound()
                self._changed.wait(_LOOK_SECONDS)
            self.require_sound()

    def begin(self) -> None:
        """Sync soon, and return at once."""
        with self._changed:
            if self._oldest < math.inf and self._wanted == math.inf:
                self._wanted = max(time.monotonic(), self._rest_until)
                self._changed.notify_all()

    def finish(self) -> None:
        """Return when everything that was written before is synced.

        Raises
        ------
        JournalError
        """
        with self._changed:
            target = self._written
            while self._synced < target:
                self.require_sound()
                self._wanted = 0.0
                self._changed.notify_all()
                self._changed.wait(_LOOK_SECONDS)
            self.require_sound()

    def stop(self) -> None:
        """Sync what is left and end the thread; safe to call twice.

        Raises
        ------
        JournalError
            A sync has failed, and nobody was told yet.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if self._failure is not None and not self._was_told:
            self.require_sound()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="hwloop-sync", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while self._wait():
                if self._begin_due():
                    begin = time.monotonic()
                    self._sync()
                    self._end_sync(begin)
                self._tidy()
        except BaseException as failure:
            with self._changed:
                self._failure = failure
                self._changed.notify_all()

    def _wait(self) -> bool:
        """Until there is something to do; ``False`` when everything is done."""
        with self._changed:
            if self._oldest == math.inf:
                self._changed.wait_for(lambda: self._oldest < math.inf or self._stopping)
            pause = min(self._due_seconds() - time.monotonic(), TIDY_SECONDS)
            if pause > 0:
                self._changed.wait(pause)
            return self._oldest < math.inf or not self._stopping

    def _due_seconds(self) -> float:
        return -math.inf if self._stopping else min(self._oldest + self._sync_seconds / 2, self._wanted)

    def _begin_due(self) -> bool:
        with self._changed:
            if self._oldest == math.inf or self._due_seconds() > time.monotonic():
                return False
            self._target, self._in_flight = self._written, self._oldest
            self._oldest = self._wanted = math.inf
            return True

    def _end_sync(self, begin: float) -> None:
        with self._changed:
            end = time.monotonic()
            self._synced, self._in_flight = self._target, math.inf
            self._rest_until = end + max(REST_SECONDS, _REST_TIMES * (end - begin))
            self._changed.notify_all()
