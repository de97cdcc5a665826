"""Does a device say who it is, always the same?"""

from __future__ import annotations

import re

from hwloop.conformance.examination import Examination
from hwloop.conformance.finding import Finding, failed, note, passed
from hwloop.conformance.promise import Evidence, Promise

ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


class Identity(Promise):
    """``identify`` names the instrument, or the simulator with its settings; name and spec never change."""

    name = "identity"
    question = "the device says who it is, always the same"

    def check(self, evidence: Evidence) -> Finding:
        """Open it several times."""
        examination = evidence.examination
        names = self._names(examination)
        first = names[0]
        if not isinstance(first, str) or not first.strip():
            return failed(f"identify() returns {first!r}, no name", "return the *IDN? reply or a serial number")
        if len(set(names)) > 1:
            return failed(
                f"identify() changes: {names[0]!r}, then {next(n for n in names if n != first)!r}",
                "return what names the hardware and its settings, without times, counters or addresses; a run "
                "could not be resumed otherwise",
                identities=len(set(names)),
            )
        if ADDRESS.search(first):
            return failed(
                f"identify() holds a memory address, another one in every process: {first!r}",
                "return the *IDN? reply or a serial number",
            )
        if examination.device.spec != examination.spec:
            return failed("the spec changes when the device is opened", "set the spec before open(), once")
        if first == type(examination.device).__name__:
            return note(
                f"identify() gives only the name of the class, {first}",
                "return the *IDN? reply or a serial number: a run is resumed only on the device that it began on",
            )
        return passed(f"the same name in {len(names)} openings", openings=len(names))

    def _names(self, examination: Examination) -> list[str]:
        names = []
        for _ in range(3):
            examination.open()
            names.append(examination.bounded("identify()", examination.name.ask))
            examination.close()
        examination.open()
        # Asked again while it is open, on the thread that owns the device nothing else runs meanwhile.
        names.append(examination.bounded("identify()", examination.name.ask))
        return names
