"""Promises about what comes in between: interrupts in mid-call, replies after their time-out, a second object."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from hwloop.conformance.crossover import crossover
from hwloop.conformance.examination import ATTEMPTS, Examination, Unanswered, promise
from hwloop.conformance.guard import CodeLine, Hung
from hwloop.conformance.held_reply import HeldReply
from hwloop.conformance.report import Finding, Undecided, failed, note, passed
from hwloop.conformance.survey import ResponseSurvey
from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceError, HwloopError
from hwloop.probing.statistics import PAIRS
from hwloop.probing.stimuli import moderate, strong
from hwloop.session import Session

Item = TypeVar("Item")
REFERENCES = 3
MOST_GLITCHES = 0.1
CLEAR = 2.0  # times the distance of the farthest repeats: a response so far off is another one
INTERRUPTED_LINES = 8
PROBES = 5  # a fault must show on each: not a glitch, and a link that lags may hold the right answer to one
LATE_READS = 3
NEXT_ROWS = 4
LONGEST_SECONDS = 60.0  # of drivers whose own time-outs are long, fewer reads are tried
TRIALS = 5  # a fault must show in each
SHARED_LINES = 10
WAIT_SECONDS = 0.25  # for the other device; it may rightly wait for a lock that the first one holds
# Two a line of the driver, one of them interrupted; references; and the confirmation.
RECOVERY_ROWS = 2 * (INTERRUPTED_LINES + PROBES) + REFERENCES * (PROBES + 1) + 1
# One that is watched, references, and the trials.
LATE_ROWS = 1 + (REFERENCES + LATE_READS + TRIALS - 1) * (NEXT_ROWS + 1)
# A screen over lines of the driver, then the pairs, with the other device's rows.
TWO_ROWS = 2 * SHARED_LINES + 5 + 3 * PAIRS
LATE_ADVICE = (
    "after a time-out open the connection anew, before the next question or in open() after a DeviceDisconnected; "
    "where that is the same wire (serial, USB) read up to the answer to a question that only its own answer fits, "
    "or number the questions; hwloop.Retrying around the device opens it anew"
)


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """Some of many, evenly spread, the first and the last among them."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, most).astype(int))]


@dataclass(frozen=True)
class _RightAnswers:
    """Answers to some stimuli when nothing comes in between, to tell one from another's.

    Attributes
    ----------
    limit
        Distance beyond which an answer is another's.
    nearest
        Least distance of two right answers.
    """

    survey: ResponseSurvey
    responses: Float64Array

    @classmethod
    def measured(cls, examination: Examination, stimuli: Float64Array) -> _RightAnswers:
        repeats = [examination.measure_singly(stimuli) for _ in range(REFERENCES)]
        return cls(examination.survey, np.asarray(np.median(repeats, axis=0)))

    @property
    def limit(self) -> float:
        return CLEAR * self.survey.farthest_repeats

    @property
    def nearest(self) -> float:
        between = self.survey.distance(self.responses[:, None], self.responses[None])
        return float(between[np.triu_indices(len(between), 1)].min())


@promise("recovery", "right answers after an interrupted call, close and open", rows=RECOVERY_ROWS)
def recovery(examination: Examination) -> Finding:
    """After a time-out or Ctrl-C in mid-call, close and open lead back to right answers, not to stale ones.

    A stale reply may stay in the link for good, so that no comparison can be repeated afterwards. Therefore no
    randomised test is made: an answer is wrong if it is farther off than any two repeats of the whole survey
    were, five times running, each time on another stimulus. Calls are interrupted just before each of some lines
    of the driver.
    """
    survey = examination.survey
    recovery.require_rows(examination)
    rng = examination.rng("recovery")
    stimuli = np.concatenate([moderate(examination.spec, PROBES, rng), strong(examination.spec, rng)])
    interrupted, probes = stimuli[-1:], stimuli[:-1]
    lines = examination.driver_lines(interrupted)
    if not lines:
        return note("no line of the driver runs in Python, so no call of it could be interrupted")
    if survey.glitches.mean() > MOST_GLITCHES:
        return note("not checked: too many rows are lost to tell a stale answer", "mend 'repeatability' first")
    right = _RightAnswers.measured(examination, stimuli)
    chosen = _spread(lines, INTERRUPTED_LINES)
    figures = {
        "lines_interrupted": len(chosen),
        "nearest_responses_over_noise": right.nearest,
        "farthest_repeats_over_noise": survey.farthest_repeats,
    }

    def goes_wrong(line: CodeLine, number: int) -> bool:
        examination.interrupt(interrupted, line)
        examination.reopen()
        answer = examination.measure(probes[number][None])[0]
        return bool(survey.distance(answer, right.responses[number]) > right.limit)

    for line in chosen:
        place = f"{line[0].rpartition('/')[2]}:{line[1]}"
        try:
            wrong = all(goes_wrong(line, number) for number in range(PROBES))
        except DeviceError as error:
            return failed(
                f"the device cannot be used again after a call was interrupted at {place}: {error}",
                "make close() and open() work after a call that was left in the middle",
                **figures,
            )
        if wrong:
            return failed(
                f"after a call was interrupted at {place}, the reopened device answers wrongly",
                "in close() or open() drop the connection or read it empty, so that a late reply cannot be "
                "taken for the answer to the next question",
                **figures,
            )
    if right.nearest < right.limit:
        return note(
            "the device opens again after interrupted calls, but its noise hides whether an answer is stale",
            "check again with hwloop.Averaged around the device",
            **figures,
        )
    return passed(f"right answers after calls interrupted at {len(chosen)} lines of the driver", **figures)


@promise("late-replies", "an answer that comes after its time-out is nobody's answer", rows=LATE_ROWS)
def late_replies(examination: Examination) -> Finding:
    """A reply that comes after its time-out is never taken for the answer to a later question.

    As in :data:`recovery` no test can be randomised, for a stale reply may stay in the link for good: an answer
    is another's if it is farther off than any two repeats of the survey were, and fits a row before it; wrong are
    also the late row itself, if it is that far off, and all the next ones if they are; in each of some trials.
    """
    survey = examination.survey
    examination.require(1)
    stimuli = moderate(examination.spec, NEXT_ROWS + 1, examination.rng("late-replies"))
    held = HeldReply()
    examination.open()
    with held.installed(), examination.guard.around(held.during):
        held.arm(None)
        examination.measure(stimuli[:1])
        if not held.reads:
            return note(
                "not tried: the driver reads nothing through PyVISA, PySerial, a socket or a terminal in this "
                "process, on the thread that calls it"
            )
        examination.require(LATE_ROWS - 1)
        if survey.glitches.mean() > MOST_GLITCHES:
            return note("not tried: too many rows are lost to tell a late reply", "mend 'repeatability' first")
        reads = held.reads
        trial = _LateReplyTrial(examination, stimuli, _RightAnswers.measured(examination, stimuli), held)
        try:
            return trial.judged(reads)
        except Hung:
            return note(
                "the driver still waited for a reply that did not come when the check gave up",
                "give every read a time-out, or check with a longer --timeout",
            )
        except Unanswered:
            raise
        except DeviceError as error:
            return failed(
                f"the device cannot be used again after a reply came too late: {error}",
                "make close() and open() work after a time-out",
            )


@dataclass
class _LateReplyTrial:
    """Holds back the reply to the first stimulus, and asks for the others."""

    examination: Examination
    stimuli: Float64Array
    right: _RightAnswers
    held: HeldReply

    def judged(self, reads: int) -> Finding:
        """Keep back the reply until the next question is asked, at some of the driver's reads."""
        nearest = self.right.nearest
        figures: dict[str, Any] = {"nearest_responses_over_noise": nearest, "reads_a_row": reads}
        late, begin = 0, time.monotonic()
        for at in _spread(range(reads), LATE_READS):
            if late and time.monotonic() - begin > LONGEST_SECONDS:
                break
            for _ in range(TRIALS):
                wrong, fired = self._wrong_rows(at)
                late += fired
                if not wrong:
                    break
            else:
                return failed(
                    f"a reply came after its time-out (read {at + 1} of {reads} of a row), and {wrong} of "
                    f"{NEXT_ROWS + 1} rows, that one and the next, were answered wrongly without an error",
                    LATE_ADVICE,
                    wrong_rows=wrong,
                    **figures,
                )
        if not late:
            return note("not tried: no read of the driver could be made to time out", **figures)
        if nearest < self.right.limit:
            return note(
                "the device answers again after late replies, but its noise hides whose answer it is",
                "check again with hwloop.Averaged around the device",
                **figures,
            )
        return passed(f"right answers after {late} replies that came too late", late_replies=late, **figures)

    def _wrong_rows(self, at: int) -> tuple[int, bool]:
        """Rows that got another's answer, or all were far off; and whether the driver met a late reply."""
        self.examination.reopen()
        self.held.arm(at)
        first = self.examination.attempted(self.stimuli[:1])
        answers = [np.full_like(self.right.responses[0], np.nan) if first is None else first]
        fired = self.held.fired
        answers += [self._answer(row) for row in self.stimuli[1:]]
        # NaN where a call failed
        distances = self.right.survey.distance(np.array(answers)[:, None], self.right.responses)
        far = np.diagonal(distances) > self.right.limit
        earlier = np.tril(distances <= self.right.limit, -1).any(axis=1)
        wrong = far if far[0] or far[1:].all() else far & earlier
        return int(wrong.sum()), fired

    def _answer(self, stimulus: Float64Array) -> Float64Array:
        """As a retry has it: a call that fails, and says so, is made again on a fresh connection."""
        for _ in range(ATTEMPTS):
            answer = self.examination.attempted(stimulus[None])
            if answer is not None:
                return answer
            self.examination.close()
        raise DeviceError("every call fails")


@promise("two-at-once", "two sessions at once do not corrupt each other", rows=TWO_ROWS)
def two_at_once(examination: Examination) -> Finding | Undecided:
    """Two sessions with a device each, opened at the same moment, answer as each does alone.

    Hardware that serves one program only may refuse the second; it must say so with a DeviceError. The other
    device measures between two lines of the first one's driver, the worst that can be found.
    """
    two_at_once.require_rows(examination)
    survey = examination.survey
    rng = examination.rng("two-at-once")
    probe, disturbing = moderate(examination.spec, 1, rng), strong(examination.spec, rng)
    try:
        journal = examination.journal_of("second-object")
        other = Session(examination.make_device(), journal=journal, budget=TWO_ROWS)
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

    def disturb() -> None:
        measurement = other.submit(disturbing, "calibrate")
        end = time.monotonic() + WAIT_SECONDS
        while measurement.rows_ready < 1 and time.monotonic() < end:
            time.sleep(1e-4)

    def beside(line: CodeLine) -> Float64Array:
        """The response while, before a line of the driver, the other device measures a row."""
        examination.injector.act_at(line, disturb)
        try:
            return examination.measure(probe)
        finally:
            examination.injector.disarm()

    def alone() -> Float64Array:
        return examination.measure(probe)

    try:
        lines = examination.driver_lines(probe)
        if not lines:
            return note("no line of the driver runs in Python; two could not be interleaved")
        reference = alone()
        worst = max(
            _spread(lines, SHARED_LINES), key=lambda line: float(survey.distance(beside(line), reference)[0])
        )
        found = crossover(alone, lambda: beside(worst), survey, rng)
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
