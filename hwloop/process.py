"""Name this process, and this start of the computer, so that both are told from earlier ones."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

_DEAD = ("Z", "X", "x")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot() -> str:
    """A name of the present start of this computer; empty where the system gives none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True)
class ProcessName:
    """A process of some computer.

    Attributes
    ----------
    started
        In clock ticks since the computer was started; 0 if that is not known. A number that was given again to
        another process does not deceive it.
    boot, namespace
        Which start of which computer, and in which numbering of processes; empty if that is not known.
    """

    pid: int
    host: str
    started: int = 0
    boot: str = ""
    namespace: str = ""

    @classmethod
    def own(cls) -> Self:
        """The one that runs this."""
        _, started = _state_and_start(os.getpid()) or ("", 0)
        return cls(os.getpid(), socket.gethostname(), started, *_here())

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """What :meth:`as_dict` gave, perhaps long ago.

        Raises
        ------
        ValueError, KeyError, TypeError, OverflowError
        """
        return cls(
            int(described["pid"]),
            str(described["host"])[:100],
            int(described.get("started", 0)),
            str(described.get("boot", ""))[:100],
            str(described.get("namespace", ""))[:100],
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def is_gone(self) -> bool:
        """Whether it is known to be dead; a process of another computer, or of a container, never is.

        One that was killed and waits for its parent to take note of that is dead too.
        """
        if not (self.started and self.boot and self.namespace) or self.host != socket.gethostname()[:100]:
            return False
        if (self.boot, self.namespace) != _here():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass  # it is there, but belongs to somebody else
        found = _state_and_start(self.pid)
        return found is not None and (found[0] in _DEAD or found[1] != self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _state_and_start(pid: int) -> tuple[str, int] | None:
    """State and start of a process; ``None`` if that cannot be seen."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return (fields[0], int(fields[19])) if len(fields) > 19 else None


def _here() -> tuple[str, str]:
    """The present start of the computer, and the numbering of processes that is seen here."""
    try:
        return boot(), os.readlink("/proc/self/ns/pid")
    except OSError:
        return "", ""
