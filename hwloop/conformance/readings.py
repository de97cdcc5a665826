"""Is every call answered, with real readings of the right shape?"""

from __future__ import annotations

from hwloop.conformance.examination import Examination
from hwloop.conformance.finding import Finding, failed, passed
from hwloop.conformance.promise import Evidence, Promise
from hwloop.probing.stimuli import moderate


class Readings(Promise):
    """Every call of the whole check was answered: shape (rows, n_outputs), no NaN, no SCPI 9.91E37, no error."""

    name = "readings"
    question = "every call is answered with real readings"

    def rows(self, examination: Examination) -> int:
        """One, where the other checks measured none."""
        return 1

    def check(self, evidence: Evidence) -> Finding:
        """Judges what the other checks have seen, so it comes after them."""
        examination = evidence.examination
        if not examination.rows and not examination.incidents:
            examination.measure(moderate(examination.spec, 1, examination.rng(self.name)))
        failures = len(examination.incidents)
        if failures:
            first = examination.incidents[0]
            advice = (
                "find out why it hangs" if examination.hung else "mend it, or wrap the device in hwloop.Retrying"
            )
            return failed(
                f"{failures} call{'s' * (failures > 1)} failed, first: {first}",
                f"{advice}; a failed call ends a run",
                failed_calls=failures,
                rows=examination.rows,
            )
        return passed(f"{examination.rows} rows answered", rows=examination.rows)
