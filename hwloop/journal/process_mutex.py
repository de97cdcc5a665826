"""A lock for the threads of one process: in a process that was forked meanwhile it is refused, not waited for."""

from __future__ import annotations

import os
import threading
from types import TracebackType

from hwloop.errors import JournalError


class ProcessMutex:
    """A reentrant lock. A forked process has not the thread that may hold it, and would wait for ever.

    Parameters
    ----------
    what
        It protects, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._process = os.getpid()
        self._lock = threading.RLock()

    @property
    def is_parents(self) -> bool:
        """Whether this is a forked copy."""
        return self._process != os.getpid()

    def require_own(self) -> None:
        """Refuse a forked copy.

        Raises
        ------
        JournalError
        """
        if self.is_parents:
            raise JournalError(
                f"{self._what} is open in process {self._process}, and this is process {os.getpid()}, forked from "
                "it: close it before forking, or open a journal of its own here"
            )

    def __enter__(self) -> None:
        self.require_own()
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
