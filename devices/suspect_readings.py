"""Doubted answers: when one that looks wrong is taken for right after all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.devices.plausibility import Exchange, PlausibilityCheck
from hwloop.errors import BadReading

# The same bits so often, each time on a freshly opened device but the first, are no accident.
CONFIRMATIONS = 3
# A check that was wrong so often does not suit the device.
FALSE_ALARMS = 5
WITNESSES = 3


class SuspectReadings:
    """Judges each answer by plausibility checks, and clears up false alarms.

    A doubted answer is refused; the caller opens the device anew and measures again. Where the check is a
    guess, the device gave the same bits :data:`CONFIRMATIONS` times running, and a *witness* (a row that was
    measured earlier, with another response) does not get this response too, the device is alive and the
    answer genuine: it is believed. A dead or frozen device answers the witness as it answers everything, and
    is never believed; nor is one that never gave any other answer.

    Parameters
    ----------
    checks
        What to judge by.

    Attributes
    ----------
    retired
        Checks that raised :data:`FALSE_ALARMS` false alarms, and are not asked any more.
    """

    def __init__(self, checks: Iterable[PlausibilityCheck]) -> None:
        self.checks = list(checks)
        self._given = tuple(self.checks)
        self.retired: list[PlausibilityCheck] = []
        self._false_alarms: Counter[PlausibilityCheck] = Counter()
        self._before: Exchange | None = None
        self._witnesses: list[Exchange] = []  # one row each
        self._suspect: Exchange | None = None
        self._times = 0

    def judge(self, now: Exchange, measure: Callable[[Float64Array], Float64Array]) -> None:
        """Accept an answer, or refuse it; may measure one row, the witness, through ``measure``.

        Raises
        ------
        BadReading
            A check doubts the answer, and nothing speaks for it so far.
        DeviceError
            The witness could not be measured.
        """
        objections = self._objections(now)
        if objections:
            came_again = self._came_again(now)
            guesses = all(check.is_a_guess for check in objections)
            if not (came_again and guesses and self._device_is_alive(now, measure)):
                raise next(iter(objections.values()))
            for check in objections:
                self._count_false_alarm(check)
        self._accept(now)

    def progress(self, with_answer: bool) -> dict[str, Any]:
        """What later judgements rest on, as plain values; the latest answer itself only where it is wanted.

        Hardware does not repeat an answer from before it was opened again, a simulation of such replies may.
        """
        own: dict[str, Any] = {
            "false_alarms": [self._false_alarms[check] for check in self._given],
            "witnesses": [_plain(witness) for witness in self._witnesses],
        }
        if with_answer and self._before is not None:
            own["before"] = _plain(self._before)
        return own

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Judge as whoever's :meth:`progress` this is."""
        for check, alarms in zip(self._given, progress.get("false_alarms", ()), strict=False):
            self._false_alarms[check] = alarms
            if alarms >= FALSE_ALARMS and check in self.checks:
                self.checks.remove(check)
                self.retired.append(check)
        self._witnesses = [_exchange(witness) for witness in progress.get("witnesses", ())]
        if "before" in progress:
            self._before = _exchange(progress["before"])

    def _objections(self, now: Exchange) -> dict[PlausibilityCheck, BadReading]:
        objections = {}
        for check in self.checks:
            try:
                check.check(now, self._before)
            except BadReading as doubt:
                name = type(check).__name__
                objections[check] = BadReading(
                    f"{name}: {doubt} (if that is right for this device, leave {name} out of plausible)"
                )
        return objections

    def _came_again(self, now: Exchange) -> bool:
        same = self._suspect is not None and _equal(now, self._suspect)
        self._times = self._times + 1 if same else 1
        self._suspect = now
        return self._times >= CONFIRMATIONS

    def _device_is_alive(self, now: Exchange, measure: Callable[[Float64Array], Float64Array]) -> bool:
        for witness in reversed(self._witnesses):
            if not _among(witness.responses, now.responses):
                return not _among(measure(witness.stimuli), now.responses)
        return False

    def _count_false_alarm(self, check: PlausibilityCheck) -> None:
        self._false_alarms[check] += 1
        if self._false_alarms[check] >= FALSE_ALARMS:
            self.checks.remove(check)
            self.retired.append(check)

    def _accept(self, now: Exchange) -> None:
        # Copies: what is kept must not keep a caller's whole array alive with it.
        self._before = Exchange(now.stimuli.copy(), now.responses)
        self._suspect, self._times = None, 0
        first = Exchange(now.stimuli[:1].copy(), now.responses[:1].copy())
        # The first that differ will do, and need not be written down again and again.
        if len(self._witnesses) < WITNESSES and not any(
            np.array_equal(first.responses, witness.responses) for witness in self._witnesses
        ):
            self._witnesses.append(first)


def _plain(exchange: Exchange) -> list[Any]:
    return [exchange.stimuli.tolist(), exchange.responses.tolist()]


def _exchange(plain: list[Any]) -> Exchange:
    stimuli, responses = (np.array(values, dtype=np.float64) for values in plain)
    return Exchange(stimuli, responses)


def _equal(one: Exchange, other: Exchange) -> bool:
    return np.array_equal(one.stimuli, other.stimuli) and np.array_equal(one.responses, other.responses)


def _among(response: Float64Array, responses: Float64Array) -> bool:
    """Whether a response, shape (1, n_outputs), is one of the rows."""
    return bool(np.all(responses == response, axis=1).any())
