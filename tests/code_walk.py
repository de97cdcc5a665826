"""Records through which files of the project a call goes, thread by thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hwloop

ROOT = Path(hwloop.__file__).parents[1]


@dataclass
class CodeWalk:
    """Files whose functions were entered, in order, by the name of the thread; a file of the tests is ``driver``.

    Threads are recorded that start while :func:`recorded_walk` is open, and what happens while ``running``.
    """

    running: bool = False
    entered: dict[str, list[str]] = field(default_factory=dict)

    def profile(self, frame: Any, event: str, argument: object) -> None:
        """Take down a call; what the interpreter calls a profile function."""
        if not (self.running and event == "call"):
            return
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path != Path(__file__):
            name = str(path.relative_to(ROOT))
            place = "driver" if name.startswith("tests") else name
            self.entered.setdefault(threading.current_thread().name, []).append(place)

    def of(self, thread: str) -> list[str]:
        """The files of a thread, without repeats that follow each other."""
        files = self.entered.get(thread, [])
        return [file for number, file in enumerate(files) if not number or file != files[number - 1]]

    def during(self, action: Callable[[], object]) -> None:
        """Record while this is done."""
        self.entered.clear()
        self.running = True
        try:
            action()
        finally:
            self.running = False


@contextmanager
def recorded_walk() -> Iterator[CodeWalk]:
    """Record this thread and those that start inside."""
    walk = CodeWalk()
    before = sys.getprofile()
    threading.setprofile(walk.profile)
    sys.setprofile(walk.profile)
    try:
        yield walk
    finally:
        sys.setprofile(before)
        threading.setprofile(None)  # type: ignore[arg-type]


def told_walk(page: str, heading: str) -> list[str]:
    """The files that the numbered steps of a section of a page begin with."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines[lines.index(heading) + 1 :]:
        if line.startswith("#"):
            break
        number, _, rest = line.partition(". `")
        if number.isdigit():
            found.append(rest.partition("`")[0])
    return found
