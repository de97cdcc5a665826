"""Is an answer that comes after its time-out nobody's answer?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.conformance.examination import ATTEMPTS, Examination, Unanswered
from hwloop.conformance.finding import Finding, failed, note, passed
from hwloop.conformance.held_reply import HeldReply
from hwloop.conformance.promise import Evidence, Promise
from hwloop.conformance.recovery import CLEAR, MOST_GLITCHES, REFERENCES
from hwloop.conformance.survey import Survey
from hwloop.conformance.within import Hung
from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceError
from hwloop.probing.stimuli import moderate

MOST_READS = 3
NEXT_ROWS = 4
LONGEST_SECONDS = 60.0  # of drivers whose own time-outs are long, fewer reads are tried
TRIALS = 5  # a fault must show in each
ADVICE = (
    "after a time-out open the connection anew, before the next question or in open() after a DeviceDisconnected; "
    "where that is the same wire (serial, USB) read up to the answer to a question that only its own answer fits, "
    "or number the questions; hwloop.Retrying around the device opens it anew"
)


class LateReplies(Promise):
    """A reply that comes after its time-out is never taken for the answer to a later question.

    As in :class:`Recovery` no test can be randomised, for a stale reply may stay in the link for good: an answer
    is another's if it is farther off than any two repeats of the survey were, and fits a row before it; wrong are
    also the late row itself, if it is that far off, and all the next ones if they are; in each of some trials.
    """

    name = "late-replies"
    question = "an answer that comes after its time-out is nobody's answer"

    def rows(self, examination: Examination) -> int:
        """One that is watched, references, and the trials."""
        return 1 + REFERENCES * (NEXT_ROWS + 1) + (MOST_READS + TRIALS - 1) * (NEXT_ROWS + 1)

    def check(self, evidence: Evidence) -> Finding:
        """Keep back the reply to a row until the next question is asked, at some reads of the driver."""
        examination, survey = evidence.examination, evidence.survey
        examination.require(1)
        stimuli = moderate(examination.spec, NEXT_ROWS + 1, examination.rng(self.name))
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
            examination.require(self.rows(examination) - 1)
            if survey.glitches.mean() > MOST_GLITCHES:
                return note("not tried: too many rows are lost to tell a late reply", "mend 'repeatability' first")
            reads = held.reads
            references = np.median([examination.measure_singly(stimuli) for _ in range(REFERENCES)], axis=0)
            trial = _Trial(examination, survey, stimuli, references, CLEAR * survey.farthest_repeats, held)
            try:
                return _judged(trial, reads)
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


def _judged(trial: _Trial, reads: int) -> Finding:
    distances = trial.survey.distance(trial.references[:, None], trial.references[None])
    nearest = float(distances[np.triu_indices(len(distances), 1)].min())
    figures: dict[str, Any] = {"nearest_responses_over_noise": nearest, "reads_a_row": reads}
    late, begin = 0, time.monotonic()
    for at in np.unique(np.linspace(0, reads - 1, MOST_READS).astype(int)):
        if late and time.monotonic() - begin > LONGEST_SECONDS:
            break
        for _ in range(TRIALS):
            wrong = trial.wrong_rows(int(at))
            late += trial.fired
            if not wrong:
                break
        else:
            return failed(
                f"a reply came after its time-out (read {at + 1} of {reads} of a row), and {wrong} of "
                f"{NEXT_ROWS + 1} rows, that one and the next, were answered wrongly without an error",
                ADVICE,
                wrong_rows=wrong,
                **figures,
            )
    if not late:
        return note("not tried: no read of the driver could be made to time out", **figures)
    if nearest < trial.limit:
        return note(
            "the device answers again after late replies, but its noise hides whose answer it is",
            "check again with hwloop.Averaged around the device",
            **figures,
        )
    return passed(f"right answers after {late} replies that came too late", late_replies=late, **figures)


@dataclass
class _Trial:
    """Holds back the reply to the first stimulus, and asks for the others."""

    examination: Examination
    survey: Survey
    stimuli: Float64Array
    references: Float64Array
    limit: float
    held: HeldReply
    fired: bool = False  # whether the driver met a late reply in the last trial

    def wrong_rows(self, at: int) -> int:
        """Rows that got another's answer, or all were far off; 0 if the link is in step."""
        self.examination.reopen()
        self.held.arm(at)
        first = self.examination.attempted(self.stimuli[:1])
        answers = [np.full_like(self.references[0], np.nan) if first is None else first]
        self.fired = self.held.fired
        answers += [self._answer(row) for row in range(1, len(self.stimuli))]
        distances = self.survey.distance(np.array(answers)[:, None], self.references)  # NaN where a call failed
        far = np.diagonal(distances) > self.limit
        earlier = np.tril(distances <= self.limit, -1).any(axis=1)
        if far[0] or far[1:].all():
            return int(far.sum())
        return int((far & earlier).sum())

    def _answer(self, row: int) -> Float64Array:
        """As a retry has it: a call that fails, and says so, is made again on a fresh connection."""
        for _ in range(ATTEMPTS):
            answer = self.examination.attempted(self.stimuli[row][None])
            if answer is not None:
                return answer
            self.examination.close()
        raise DeviceError("every call fails")
