"""Watches a session's device by its reference stimuli: when they are due, how far it moved, what follows."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError, DeviceDrifted, HwloopWarning
from hwloop.events import ReferenceMeasured
from hwloop.journal import Note
from hwloop.journal.record import PAUSED, RESTANDARDISED
from hwloop.reference import Change, Fingerprint, Noise, Reference, Responses
from hwloop.reference.drift import DriftCorrection, averaged, change, fitted_correction, noise_of
from hwloop.reference.fingerprint import reference_stimuli, stimuli_hash
from hwloop.session.measurement import Monitor
from hwloop.session.recorder import Answer, Recorder


class ReferenceMonitor(Monitor):
    """Measures reference stimuli by row counts, never by the clock, so that a run executed again does the same.

    Parameters
    ----------
    reference
        What to measure, when, and what follows.
    recorder
        Of the session. Notes in its journal say where an earlier run paused.
    forget
        Makes the session forget what was measured before.

    Attributes
    ----------
    name
        The device's class.
    first, latest
        The first responses, and the latest, both as the device gave them; with them ``noise``.
    """

    first: Responses
    latest: Responses
    noise: Noise

    def __init__(self, reference: Reference, recorder: Recorder, forget: Callable[[], None]) -> None:
        super().__init__(type(recorder.device).__name__)
        self.reference = reference
        self.name = self.device
        self._policy = POLICIES[reference.on_drift]
        if recorder.device.spec.tunables:
            if reference.on_drift == "restandardise":
                raise ConfigError(
                    f"on_drift = restandardise cannot serve {self.device}: its tunables change the responses, and "
                    "a correction found while they rest holds under no other tuning; take warn or pause"
                )
            # Always the same tuning, or a change of it would be taken for drift.
            self.tuning = recorder.device.spec.tunable_rest
        self._stimuli = reference_stimuli(recorder.device.spec, reference.stimuli, reference.seed)
        self._recorder = recorder
        self._forget = forget
        self._correction: DriftCorrection | None = None
        self._answered: list[Float64Array] = []  # of the measurement in progress, which may be interrupted
        self._next_row = 0
        self._rows_since = 0
        self._asked_for = True
        self._noted = {
            (note.kind, note.details.get("row"))
            for note in recorder.journal.notes()
            if note.kind in (PAUSED, RESTANDARDISED)
        }

    # -- when ------------------------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Before the first row, after every so many, and where it was asked for."""
        return self._asked_for or self._rows_since >= self.reference.period_rows

    @property
    def rows_until_due(self) -> float:
        """Rows of other purposes that may be measured before it is due."""
        return self.reference.period_rows - self._rows_since

    def rows_ahead(self, rows: int) -> int:
        """Reference rows that measuring so many others brings with it, as long as the device does not move."""
        size, since, at_once = len(self._stimuli), self._rows_since, 0
        if self.is_due:
            passes = 1 if self.curve else self.reference.passes
            since, at_once = 0, max(0, passes * size - sum(map(len, self._answered)))
        return at_once + max(0, int((since + rows - 1) // self.reference.period_rows)) * size

    def count(self, rows: int) -> None:
        """Take note of rows that were measured for other purposes."""
        self._rows_since += rows

    def ask(self) -> None:
        """Measure the reference before the next row, if any was measured since the last time."""
        self._asked_for = self._asked_for or self._rows_since > 0

    # -- measuring -------------------------------------------------------------------------------------

    def measure(self, answer: Callable[[Float64Array], Answer]) -> ReferenceMeasured:
        """Measure the reference; ``answer`` gives responses to the first of the stimuli that it is asked for.

        A measurement that was interrupted goes on where it stopped, so that the order of the rows in the
        journal stays that of a run that was never interrupted.
        """
        passes = self._passes(answer, 1 if self.curve else self.reference.passes)
        first_row = self._next_row - passes.shape[0] * passes.shape[1]
        if not self.curve:
            self.first, self.noise = averaged(passes), noise_of(passes)
        else:
            while self._repeated_here():
                passes = self._passes(answer, len(passes) + 1)
            if not self.is_replaying and self._needs_repeating(passes):
                passes = self._passes(answer, max(len(passes), 1 + self.reference.passes))
        self.latest = averaged(passes)
        self._answered, self._rows_since = [], 0
        self._asked_for = (PAUSED, self._next_row) in self._noted
        self.curve.append(self._point(first_row))
        return self.curve[-1]

    def _needs_repeating(self, passes: Float64Array) -> bool:
        """Whether to measure more exactly before anything follows: an excess may have been a glitch."""
        if len(passes) > 1:
            return True  # so it was found before it was interrupted
        beyond = self._remaining(averaged(passes)).drift > self.reference.limit
        return beyond and self._acts_after(self.curve[-1])

    def _repeated_here(self) -> bool:
        """Whether an earlier run measured the stimuli once more here, whatever its limit and policy were."""
        if (PAUSED, self._next_row) in self._noted:
            return False  # what follows is the next measurement
        stimulus = self._recorder.next_recorded_stimulus()
        return stimulus is not None and np.array_equal(stimulus, self._stimuli[0])

    def _passes(self, answer: Callable[[Float64Array], Answer], passes: int) -> Float64Array:
        asked = np.tile(self._stimuli, (passes, 1))
        while (done := sum(map(len, self._answered))) < len(asked):
            given = answer(asked[done:])
            self._answered.append(given.responses)
            self._next_row = given.first_row + len(given.responses)
        return np.concatenate(self._answered).reshape(passes, len(self._stimuli), -1)

    def _point(self, first_row: int) -> ReferenceMeasured:
        # The first measurement tells no change, but the noise floor of those to come.
        now = self.latest if self.curve else Responses(self.first.mean, 1)
        moved, remaining = change(self.first, now, self.noise), self._remaining(now)
        most = int(np.argmax(moved.by_output))
        return ReferenceMeasured(
            device=self.device,
            row=first_row,
            passes=self.latest.passes,
            drift=moved.drift,
            noise_floor=moved.noise_floor,
            gain=moved.gain,
            decorrelation=moved.decorrelation,
            most_moved_output=most,
            most_moved_drift=float(moved.by_output[most]),
            remaining=remaining.drift,
            action=self.reference.on_drift if remaining.drift > self.reference.limit else "",
        )

    def _remaining(self, responses: Responses) -> Change:
        """Change since the first measurement that the correction leaves."""
        return change(self.first, Responses(self.corrected(responses.mean), responses.passes), self.noise)

    # -- what follows ----------------------------------------------------------------------------------

    def act(self) -> None:
        """What follows from the latest measurement.

        Raises
        ------
        DeviceDrifted
            The run is to pause.
        """
        if len(self.curve) == 1:
            warn_of_noise(self)
        elif self._asked_for:
            return  # an earlier run paused here; the reference is measured again, as it was then
        elif self.curve[-1].action and self._acts_after(self.curve[-2]):
            self._policy.act(self)

    def _acts_after(self, before: ReferenceMeasured) -> bool:
        """Whether an excess has consequences, given the measurement before it."""
        return self._policy.every_time or not before.action

    @property
    def is_replaying(self) -> bool:
        """Whether an earlier run went on from here."""
        return self._recorder.is_replaying

    def pause(self) -> None:
        """Measure again before the next row, now and whenever this run is executed again."""
        self._note_once(PAUSED, {})
        self._asked_for = True

    def restandardise(self, correction: DriftCorrection) -> Change:
        """Forget what was measured before, correct what follows; returns the change that this leaves."""
        self._correction = correction
        self._forget()
        self._note_once(RESTANDARDISED, {"slope": correction.slope.tolist(), "offset": correction.offset.tolist()})
        return self._remaining(self.latest)

    def _note_once(self, kind: str, details: dict[str, object]) -> None:
        if (kind, self._next_row) not in self._noted:
            self._noted.add((kind, self._next_row))
            self._recorder.journal.note(Note(kind, {"row": self._next_row, **details}))

    def corrected(self, responses: Float64Array) -> Float64Array:
        """Responses (rows, n_outputs) that were measured or recalled since the last measurement, as returned.

        The memory forgets whenever the correction changes, so all that it still knows takes the same one.
        """
        return responses if self._correction is None else self._correction.apply(responses)

    def fingerprint(self) -> Fingerprint | None:
        """How the device answers, as last measured and corrected; ``None`` before."""
        if not self.curve:
            return None
        responses = Responses(self.corrected(self.latest.mean), self.latest.passes)
        return Fingerprint(self.device, self.reference.seed, stimuli_hash(self._stimuli), responses, self.noise)


class DriftPolicy(ABC):
    """What follows when a reference measurement lies beyond the limit.

    ``every_time`` says whether it follows again at the next one, if that is still beyond.
    """

    every_time = True

    @abstractmethod
    def act(self, monitor: ReferenceMonitor) -> None:
        """Do it; called on the device's thread, before the next row."""


class Warn(DriftPolicy):
    """Goes on, with a :class:`hwloop.errors.HwloopWarning` each time the limit is crossed."""

    every_time = False

    def act(self, monitor: ReferenceMonitor) -> None:
        _warn(f"{drift_text(monitor)}. The run goes on; on_drift = pause or restandardise would act on it")


class Pause(DriftPolicy):
    """Stops before the next row; the reference is measured again before any other row is."""

    def act(self, monitor: ReferenceMonitor) -> None:
        """Raise :class:`hwloop.errors.DeviceDrifted`, unless an earlier run went on from here."""
        if monitor.is_replaying:
            return
        monitor.pause()
        raise DeviceDrifted(
            f"{drift_text(monitor)}. What was measured is kept. Check warm-up, alignment and supply, then go "
            "on: the reference is measured again first. To go on with the device as it is, set a larger limit, or "
            "on_drift to warn or restandardise, under [reference] in run.toml"
        )


class CorrectDrift(DriftPolicy):
    """Takes the change of every output's gain and offset out of the rows from here on."""

    def act(self, monitor: ReferenceMonitor) -> None:
        """Fit a new correction, always from raw responses to the first ones; warn if it leaves too much."""
        left = monitor.restandardise(fitted_correction(monitor.first, monitor.latest, monitor.noise))
        if left.drift > monitor.reference.limit and not monitor.curve[-2].action:
            _warn(
                f"{drift_text(monitor)}. Gains and offsets explain part of it only: {100 * left.drift:.3g} % "
                "is left after restandardising. Train again, or set on_drift to pause"
            )


def warn_of_noise(monitor: ReferenceMonitor) -> None:
    """Say so if the device is too noisy for the limit to mean anything."""
    floor, limit = monitor.curve[0].noise_floor, monitor.reference.limit
    if floor > limit:
        _warn(
            f"{monitor.name} is too noisy to see a drift of {100 * limit:.3g} %, the limit: noise alone "
            f"may change the responses by {100 * floor:.2g} % of their spread, and only a larger drift is "
            "seen. Average more readings, or set a larger limit"
        )


POLICIES: dict[str, DriftPolicy] = {"warn": Warn(), "pause": Pause(), "restandardise": CorrectDrift()}


def drift_text(monitor: ReferenceMonitor) -> str:
    """How far the device has moved, and since when."""
    point, before = monitor.curve[-1], monitor.curve[-2]
    since = "as before" if before.action else f"at row {before.row:,} it was still within it"
    return (
        f"{monitor.name} has drifted: at row {point.row:,} its responses to the reference stimuli differ from the "
        f"first ones by {100 * point.remaining:.3g} % of their spread, and the limit is "
        f"{100 * monitor.reference.limit:.3g} % ({since}; common gain {point.gain:.3f}, "
        f"noise explains at most {100 * point.noise_floor:.2g} %)"
    )


def _warn(text: str) -> None:
    warnings.warn(text, HwloopWarning, stacklevel=2)
