"""What a check of a device found: findings with their evidence, promise by promise."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from hwloop.html_report.summary import summary
from hwloop.probing.statistics import holm

FAMILY_ALPHA = 1e-4  # chance that any of the randomised tests of one report calls a sound device broken


class Status(enum.StrEnum):
    """PASS: the promise is kept; FAIL: it is broken; NOTE: it cannot be judged, or the user should know."""

    PASS = "pass"
    FAIL = "fail"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """The outcome for one promise.

    Attributes
    ----------
    status, summary
        The outcome, and one sentence that says it.
    evidence
        Named numbers and texts that the sentence rests on; units are in the names.
    test, p_value
        The statistical test, and its p-value before correction for multiple testing, where there is one.
    next_step
        What to do; empty where nothing is to be done.
    """

    status: Status
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    test: str = ""
    p_value: float | None = None
    next_step: str = ""


def passed(summary: str, **evidence: Any) -> Finding:
    """The promise is kept."""
    return Finding(Status.PASS, summary, evidence)


def failed(summary: str, next_step: str, **evidence: Any) -> Finding:
    """The promise is broken."""
    return Finding(Status.FAIL, summary, evidence, next_step=next_step)


def note(summary: str, next_step: str = "", **evidence: Any) -> Finding:
    """The promise cannot be judged, or something else is worth knowing."""
    return Finding(Status.NOTE, summary, evidence, next_step=next_step)


@dataclass(frozen=True)
class Undecided:
    """The outcome of a significance test, which depends on how many tests the whole report makes.

    Attributes
    ----------
    broken, kept
        The finding if the null hypothesis (the promise is kept) is rejected, and if it is not.
    p_value
        Of this promise's test.
    matters
        False for an effect that is too small to matter however significant it is, such as rounding.
    """

    broken: Finding
    kept: Finding
    test: str
    p_value: float
    matters: bool


def decide(outcomes: Sequence[Finding | Undecided]) -> list[Finding]:
    """Settle what is undecided, by Holm's procedure over all tests of the report.

    Holm, Scand. J. Stat. 6, 65 (1979): the chance of one false alarm or more stays below ``FAMILY_ALPHA``,
    however the tests depend on each other.
    """
    adjusted = iter(holm([o.p_value for o in outcomes if isinstance(o, Undecided)]))
    findings = []
    for outcome in outcomes:
        if isinstance(outcome, Undecided):
            rejected = next(adjusted) < FAMILY_ALPHA
            finding = outcome.broken if rejected and outcome.matters else outcome.kept
            findings.append(replace(finding, test=outcome.test, p_value=outcome.p_value))
        else:
            findings.append(outcome)
    return findings


@dataclass(frozen=True)
class Result:
    """A promise, and the finding about it."""

    promise: str
    question: str
    finding: Finding


@dataclass(frozen=True)
class Report:
    """All results of one device.

    Attributes
    ----------
    identity, spec
        What the device says of itself.
    rows, seconds
        What the check took: rows measured, and wall time.
    """

    identity: str
    spec: Mapping[str, Any]
    results: tuple[Result, ...]
    rows: int
    seconds: float
    seed: int

    @property
    def passed(self) -> bool:
        """Whether no promise is broken; a note breaks none."""
        return not self.broken

    @property
    def broken(self) -> list[str]:
        """Names of the broken promises."""
        return [result.promise for result in self.results if result.finding.status is Status.FAIL]

    def _repr_html_(self) -> str:
        verdict = "keeps its promises" if self.passed else f"breaks {', '.join(self.broken)}"
        lines = [
            (result.promise, result.finding.status.value, result.finding.summary, result.finding.next_step)
            for result in self.results
        ]
        facts = {"rows measured": f"{self.rows:,}", "time": f"{self.seconds:.1f} s", "seed": self.seed}
        return summary(f"{self.identity} {verdict}", facts, ("promise", "", "finding", "what to do"), lines)

    def __getitem__(self, promise: str) -> Finding:
        return next(result.finding for result in self.results if result.promise == promise)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and text, for JSON."""
        return {
            "identity": self.identity,
            "passed": self.passed,
            "broken": self.broken,
            "rows": self.rows,
            "seconds": self.seconds,
            "seed": self.seed,
            "spec": dict(self.spec),
            "results": [
                {"promise": result.promise, "question": result.question, **_plain(asdict(result.finding))}
                for result in self.results
            ],
        }


def _plain(value: Any) -> Any:
    """Without numpy's and enum's own types; a number that JSON cannot write becomes ``None``."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, str) else value
