"""Does a device answer rightly again after a call was interrupted in the middle?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.conformance.examination import Examination, Interruption
from hwloop.conformance.finding import Finding, failed, note, passed
from hwloop.conformance.line_hook import Line
from hwloop.conformance.promise import Evidence, Promise
from hwloop.conformance.survey import Survey
from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceError
from hwloop.probing.stimuli import moderate, strong

MOST_LINES = 8
PROBES = 5  # a fault must show on each: not a glitch, and a link that lags may hold the right answer to one
REFERENCES = 3
MOST_GLITCHES = 0.1
CLEAR = 2.0  # times the distance of the farthest repeats: a response so far off is another one


class Recovery(Promise):
    """After a time-out or Ctrl-C in mid-call, close and open lead back to right answers, not to stale ones.

    A stale reply may stay in the link for good, so that no comparison can be repeated afterwards. Therefore no
    randomised test is made: an answer is wrong if it is farther off than any two repeats of the whole survey
    were, five times running, each time on another stimulus.
    """

    name = "recovery"
    question = "right answers after an interrupted call, close and open"

    def rows(self, examination: Examination) -> int:
        """Two a line of the driver, one of them interrupted; references; and the confirmation."""
        return 2 * (MOST_LINES + PROBES) + REFERENCES * (PROBES + 1) + 1

    def check(self, evidence: Evidence) -> Finding:
        """Interrupt a call just before each of some lines of the driver, as a time-out or Ctrl-C would."""
        examination, survey = evidence.examination, evidence.survey
        examination.require(self.rows(examination))
        rng = examination.rng(self.name)
        stimuli = np.concatenate([moderate(examination.spec, PROBES, rng), strong(examination.spec, rng)])
        lines = driver_lines(examination, stimuli[-1:])
        if not lines:
            return note("no line of the driver runs in Python, so no call of it could be interrupted")
        if survey.glitches.mean() > MOST_GLITCHES:
            return note("not checked: too many rows are lost to tell a stale answer", "mend 'repeatability' first")
        references = np.median([examination.measure_singly(stimuli) for _ in range(REFERENCES)], axis=0)
        between = survey.distance(references[:, None], references[None])[np.triu_indices(len(references), 1)]
        trial = _Trial(examination, survey, stimuli, references, limit=CLEAR * survey.farthest_repeats)
        chosen = [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, MOST_LINES).astype(int))]
        figures = {
            "lines_interrupted": len(chosen),
            "nearest_responses_over_noise": float(between.min()),
            "farthest_repeats_over_noise": survey.farthest_repeats,
        }
        for line in chosen:
            try:
                wrong = all(trial.goes_wrong(line, number) for number in range(PROBES))
            except DeviceError as error:
                return failed(
                    f"the device cannot be used again after a call was interrupted at {_place(line)}: {error}",
                    "make close() and open() work after a call that was left in the middle",
                    **figures,
                )
            if wrong:
                return failed(
                    f"after a call was interrupted at {_place(line)}, the reopened device answers wrongly",
                    "in close() or open() drop the connection or read it empty, so that a late reply cannot be "
                    "taken for the answer to the next question",
                    **figures,
                )
        if between.min() < trial.limit:
            return note(
                "the device opens again after interrupted calls, but its noise hides whether an answer is stale",
                "check again with hwloop.Averaged around the device",
                **figures,
            )
        return passed(f"right answers after calls interrupted at {len(chosen)} lines of the driver", **figures)


@dataclass(frozen=True)
class _Trial:
    """Interrupts the call for the last stimulus, reopens the device, and asks for one of the others."""

    examination: Examination
    survey: Survey
    stimuli: Float64Array
    references: Float64Array
    limit: float

    def goes_wrong(self, line: Line, number: int) -> bool:
        examination = self.examination
        examination.hook.act_at(line, _interrupt)
        examination.interrupted(self.stimuli[-1:])
        examination.reopen()
        answer = examination.measure(self.stimuli[number][None])[0]
        return bool(self.survey.distance(answer, self.references[number]) > self.limit)


def driver_lines(examination: Examination, stimulus: Float64Array) -> list[Line]:
    """Lines of the driver that run when one row is measured, each once, in order."""
    examination.open()
    examination.hook.watch()
    try:
        examination.measure(stimulus)
    finally:
        examination.hook.disarm()
    return list(examination.hook.lines)


def _interrupt() -> None:
    raise Interruption


def _place(line: Line) -> str:
    return f"{line[0].rpartition('/')[2]}:{line[1]}"
