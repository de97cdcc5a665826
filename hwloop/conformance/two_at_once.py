"""Do two objects of a driver get in each other's way?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from hwloop.conformance.crossover import crossover
from hwloop.conformance.examination import Examination
from hwloop.conformance.finding import Finding, Undecided, failed, note
from hwloop.conformance.line_hook import Line
from hwloop.conformance.promise import Evidence, Promise
from hwloop.conformance.recovery import driver_lines
from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceError, HwloopError
from hwloop.probing.statistics import PAIRS
from hwloop.probing.stimuli import moderate, strong
from hwloop.session import Session

MOST_LINES = 10
WAIT_SECONDS = 0.25  # for the other device; it may rightly wait for a lock that the first one holds


class TwoAtOnce(Promise):
    """Two sessions with a device each, opened at the same moment, answer as each does alone.

    Hardware that serves one program only may refuse the second; it must say so with a DeviceError.
    """

    name = "two-at-once"
    question = "two sessions at once do not corrupt each other"

    def rows(self, examination: Examination) -> int:
        """A screen over lines of the driver, then the pairs, with the other device's rows."""
        return 2 * MOST_LINES + 5 + 3 * PAIRS

    def check(self, evidence: Evidence) -> Finding | Undecided:
        """The other device measures between two lines of the first one's driver, the worst that can be found."""
        examination = evidence.examination
        examination.require(self.rows(examination))
        survey = evidence.survey
        rng = examination.rng(self.name)
        probe, disturbing = moderate(examination.spec, 1, rng), strong(examination.spec, rng)
        try:
            journal = examination.journal_of("second-object")
            other = Session(examination.make_device(), journal=journal, budget=self.rows(examination))
        except (HwloopError, OSError) as error:
            return note(f"a second object could not be made ({error}), so two could not be used at once")
        try:
            refused = _open_together(examination, other)
        except DeviceError as error:
            return failed(
                f"opening two at the same moment fails: {error}", "let open() raise a DeviceError on the second"
            )
        if refused is not None:
            examination.open()
            examination.measure(probe)
            return note(f"the hardware serves one program at a time; the second was refused: {refused}")
        try:
            lines = driver_lines(examination, probe)
            if not lines:
                return note("no line of the driver runs in Python; two could not be interleaved")

            def beside(line: Line) -> Callable[[], Float64Array]:
                return lambda: _measured_beside(examination, probe, other, disturbing, line)

            def alone() -> Float64Array:
                return examination.measure(probe)

            reference = alone()
            chosen = [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, MOST_LINES).astype(int))]
            worst = max(chosen, key=lambda line: float(survey.distance(beside(line)(), reference)[0]))
            found = crossover(alone, beside(worst), survey, rng)
        finally:
            examination.rows_elsewhere += other.ledger.total
            examination.close(other)
        return found.outcome(
            "a row is answered otherwise when a second object of the driver measures meanwhile",
            "a row is answered alike while a second object of the driver measures",
            "keep everything in the object that belongs to it (no class attributes, globals or shared buffers); "
            "if both speak to one instrument, let the second open() fail with a DeviceError",
        )


def _open_together(examination: Examination, other: Session) -> DeviceError | None:
    """Open both at once; the error of the one that was refused, if one was.

    Raises
    ------
    DeviceError
        Both were refused, or something else than a DeviceError came.
    """
    examination.close()
    start = threading.Barrier(2)
    errors: list[BaseException] = []

    def attempt(session: Session) -> None:
        start.wait(timeout=10)
        try:
            session.open()
        except BaseException as error:  # judged below
            errors.append(error)

    def both() -> None:
        threads = [threading.Thread(target=attempt, args=(s,), daemon=True) for s in (examination.session, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    examination.bounded("open() of two at once", both)
    if len(errors) == 2 or any(not isinstance(error, DeviceError) for error in errors):
        raise DeviceError("; ".join(f"{type(error).__name__}: {error}" for error in errors))
    if not errors:
        return None
    other.close()
    return errors[0] if isinstance(errors[0], DeviceError) else None


def _measured_beside(
    examination: Examination, probe: Float64Array, other: Session, disturbing: Float64Array, line: Line
) -> Float64Array:
    """The response to a probe while, before a line of the driver, the other device measures a row."""

    def disturb() -> None:
        measurement = other.submit(disturbing, "calibrate")
        end = time.monotonic() + WAIT_SECONDS
        while measurement.rows_ready < 1 and time.monotonic() < end:
            time.sleep(1e-4)

    examination.hook.act_at(line, disturb)
    try:
        return examination.measure(probe)
    finally:
        examination.hook.disarm()
