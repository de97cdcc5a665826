"""Switches an output off when the program that drives it has died, whatever killed it.

A small process of its own that waits at the end of a pipe. The program says ``armed`` while the output may be on,
and ``disarmed`` after it has brought the output to its safe state. When the pipe ends with ``armed``, the program
is gone: the watchdog opens a connection of its own and sends the commands that make the output safe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence

from hwloop.devices.scpi import Line, ScpiLink
from hwloop.errors import HwloopError

ARMED, DISARMED = b"armed\n", b"disarmed\n"
ATTEMPTS_SECONDS = 30.0  # the instrument may need a while to notice that its old connection is gone
ATTEMPT_SECONDS = 2.0
PAUSE_SECONDS = 0.5


class OutputWatchdog:
    """The program's end.

    Parameters
    ----------
    resource, visa_library, line
        As :class:`hwloop.devices.scpi.ScpiLink` takes them.
    commands
        What makes the output safe.
    """

    def __init__(self, resource: str, visa_library: str | None, commands: Sequence[str], line: Line) -> None:
        self._arguments = [resource, visa_library or "", json.dumps(dataclasses.asdict(line)), *commands]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The watchdog's process; ``None`` before it was needed."""
        return None if self._process is None else self._process.pid

    def arm(self) -> None:
        """From now on the end of this program switches the output off. Starts the process where there is none."""
        if self._process is None or self._process.poll() is not None:
            # A session of its own: Ctrl-C at the terminal is for the program, which then needs its watchdog most.
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            weakref.finalize(self, _end, self._process)
        self._say(ARMED)

    def disarm(self) -> None:
        """The output is safe; the end of this program means nothing."""
        if self._process is not None:
            self._say(DISARMED)

    def _say(self, word: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # a watchdog that died is started again when it is armed
            self._process.stdin.write(word)
            self._process.stdin.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let go of the pipe, and of the process once it has done its part."""
    with contextlib.suppress(OSError):
        assert process.stdin is not None
        process.stdin.close()
    try:
        process.wait(ATTEMPTS_SECONDS + ATTEMPT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def make_safe(resource: str, visa_library: str | None, commands: Sequence[str], line: Line) -> bool:
    """Send the commands on a fresh connection, again and again for 30 s; whether they were sent."""
    end = time.monotonic() + ATTEMPTS_SECONDS
    while time.monotonic() < end:
        link = ScpiLink(
            resource,
            timeout_seconds=ATTEMPT_SECONDS,
            open_timeout_seconds=ATTEMPT_SECONDS,
            visa_library=visa_library,
            line=line,
        )
        try:
            link.open()
            link.write(*commands)
            link.wait_until_complete()
            return True
        except HwloopError:
            time.sleep(PAUSE_SECONDS)
        finally:
            link.close()
    return False


def main() -> int:
    """The process: ``python -m hwloop.devices.waveform.watchdog RESOURCE LIBRARY LINE COMMAND...``."""
    resource, library, line, *commands = sys.argv[1:]
    armed = False
    for word in sys.stdin.buffer:
        armed = word == ARMED
    safe = not armed or make_safe(resource, library or None, commands, Line(**json.loads(line)))
    return 0 if safe else 1


if __name__ == "__main__":
    sys.exit(main())
